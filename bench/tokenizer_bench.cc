// MB/s of the tokenizer on one core. Arguments beside those of Google Benchmark:
//   tokenizer_bench TOKENIZER_JSON TEXT_FILE...
// Every text file is one encode benchmark of its first 8 MiB; runs without a cut are always
// measured.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace baleen {
namespace {

constexpr size_t kTextBytesMax = size_t{8} << 20;

void encode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
    size_t num_tokens = 0;
    for (auto _ : state) num_tokens = tokenizer.encode(text).value().size();
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
    state.counters["tokens"] = static_cast<double>(num_tokens);
    state.counters["bytes_per_token"] =
        static_cast<double>(text.size()) / static_cast<double>(num_tokens);
}

void decode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
    const std::vector<TokenId> ids = tokenizer.encode(text).value();
    for (auto _ : state) benchmark::DoNotOptimize(tokenizer.decode(ids).value());
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}

// The front of the file that is whole, valid characters.
std::string text_of(const std::string& path) {
    const MappedFile file = MappedFile::open(path).value();
    std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    text = text.substr(0, kTextBytesMax);
    return std::string(text.substr(0, first_invalid_utf8(text)));
}

std::string repeated(const std::string& unit) {
    std::string text;
    while (text.size() < size_t{1} << 20) text += unit;
    return text;
}

void add_benchmarks(const Tokenizer& tokenizer, const std::string& name, const std::string& text) {
    benchmark::RegisterBenchmark(("encode/" + name).c_str(), [&tokenizer, text](auto& state) {
        encode(state, tokenizer, text);
    })->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(("decode/" + name).c_str(), [&tokenizer, text](auto& state) {
        decode(state, tokenizer, text);
    })->Unit(benchmark::kMillisecond);
}

int run_main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (argc < 2) {
        fmt::print(stderr, "usage: tokenizer_bench TOKENIZER_JSON TEXT_FILE...\n");
        return 2;
    }
    const std::string path = argv[1];
    const Tokenizer tokenizer = Tokenizer::load(path).value();
    benchmark::RegisterBenchmark("load", [&path](auto& state) {
        for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::load(path).value().vocab_size());
    })->Unit(benchmark::kMillisecond);
    for (int i = 2; i < argc; ++i) add_benchmarks(tokenizer, argv[i], text_of(argv[i]));
    for (const std::string unit : {"a", " ", "7", "\U0001F600", "\u4E00"})
        add_benchmarks(tokenizer, "run of " + unit, repeated(unit));
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}

}  // namespace
}  // namespace baleen

int main(int argc, char** argv) {
    return baleen::run_main(argc, argv);
}
