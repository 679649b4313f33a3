// Time of one mask over the whole vocabulary, by where in the output the next token stands:
//   constraint_bench TOKENIZER_JSON
// warm: the next tokens of the same text, as while a value is written. first: a new request with
// known rules, this place not yet visited in its text. cold: new rules, nothing is known.
#include <benchmark/benchmark.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "text/output_constraint.h"

namespace baleen {
namespace {

constexpr size_t kVocabSize = 129'280;
constexpr int64_t kRemaining = 1'000'000;

constexpr const char* kParameters = R"({"type":"object","properties":{
  "path":{"type":"string"}, "limit":{"type":"integer","minimum":1,"maximum":5000},
  "options":{"type":"object","properties":{"name":{"type":"string"},"ratio":{"type":"number"},
    "mode":{"enum":["fast","slow"]}},"required":["name"]},
  "anything":{}}, "required":["path"]})";

std::vector<ToolSchema> tools() {
    std::vector<ToolSchema> all;
    for (const char* name : {"read_file", "write_file", "search", "run_command", "list_folder"})
        all.push_back({name, kParameters, false});
    return all;
}

struct Place {
    std::string name;
    std::string text;  // the output so far
};

std::vector<Place> places() {
    const std::string tag = "<\uFF5CDSML\uFF5C";
    const std::string invoke = "\n\n" + tag + "tool_calls>\n" + tag + "invoke name=\"search\">\n";
    const auto parameter = [&](const std::string& name, const std::string& flag) {
        return invoke + tag + "parameter name=\"" + name + "\" string=\"" + flag + "\">";
    };
    const std::string open(40, '[');
    return {{"tag", "\n\n" + tag + "tool_calls>\n<"},
            {"tag_letters", "\n\n" + tag + "tool_ca"},
            {"tool_name", "\n\n" + tag + "tool_calls>\n" + tag + "invoke name=\""},
            {"parameter_name", invoke + tag + "parameter name=\""},
            {"string_value", parameter("path", "true") + "src/main.c"},
            {"number", parameter("limit", "false") + "12"},
            {"object_key", parameter("options", "false") + "{\"name\": \"x\", \""},
            {"json_string", parameter("options", "false") + "{\"name\": \"some text"},
            {"json_number", parameter("options", "false") + "{\"name\": \"x\", \"ratio\": 0.5"},
            {"any_value", parameter("anything", "false") + "{\"k\": "},
            {"any_key", parameter("anything", "false") + "{\"some key"},
            {"nested_40_string", parameter("anything", "false") + open + "\"text"},
            {"nested_40_value", parameter("anything", "false") + open}};
}

OutputRules rules() {
    OutputRules result;
    result.tools = tools();
    result.tool_choice = ToolChoice::kRequired;
    return result;
}

class Bench {
  public:
    explicit Bench(const std::string& path) : tokenizer_(Tokenizer::load(path).value()) {
        forget();
    }
    void forget() { vocabulary_ = make_vocabulary(tokenizer_, kVocabSize); }

    std::unique_ptr<TokenConstraint> start(const std::string& text) const {
        auto constraint = make_output_constraint(vocabulary_, rules()).value();
        for (const TokenId token : tokenizer_.encode(text).value()) constraint->accept(token);
        return constraint;
    }

    void mask(TokenConstraint& constraint) {
        std::fill(allowed_.begin(), allowed_.end(), ~uint64_t{0});
        CHECK(constraint.restrict_next(allowed_, kRemaining) ==
              TokenConstraint::Restriction::kMasked);
        benchmark::DoNotOptimize(allowed_.data());
    }

  private:
    Tokenizer tokenizer_;
    std::shared_ptr<const Vocabulary> vocabulary_;
    std::vector<uint64_t> allowed_ = std::vector<uint64_t>((kVocabSize + 63) / 64);
};

void warm(benchmark::State& state, Bench& bench, const std::string& text) {
    const auto constraint = bench.start(text);
    bench.mask(*constraint);
    for (auto _ : state) bench.mask(*constraint);
}

void first(benchmark::State& state, Bench& bench, const std::string& text) {
    bench.mask(*bench.start(text));
    for (auto _ : state) {
        state.PauseTiming();
        const auto constraint = bench.start(text);
        state.ResumeTiming();
        bench.mask(*constraint);
    }
}

void cold(benchmark::State& state, Bench& bench, const std::string& text) {
    for (auto _ : state) {
        state.PauseTiming();
        bench.forget();
        const auto constraint = bench.start(text);
        state.ResumeTiming();
        bench.mask(*constraint);
    }
}

void compile(benchmark::State& state, Bench& bench) {
    for (auto _ : state) {
        state.PauseTiming();
        bench.forget();
        state.ResumeTiming();
        benchmark::DoNotOptimize(bench.start(""));
    }
}

int run_main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (argc != 2) {
        fmt::print(stderr, "usage: constraint_bench TOKENIZER_JSON\n");
        return 2;
    }
    Bench bench(argv[1]);
    benchmark::RegisterBenchmark("compile 5 tools", [&](auto& state) { compile(state, bench); })
        ->Unit(benchmark::kMicrosecond)
        ->Iterations(10);
    for (const Place& place : places()) {
        const auto add = [&](const char* kind, auto measure, int iterations) {
            benchmark::RegisterBenchmark(
                (std::string(kind) + "/" + place.name).c_str(),
                [&bench, place, measure](auto& state) { measure(state, bench, place.text); })
                ->Unit(benchmark::kMicrosecond)
                ->Iterations(iterations);
        };
        add("warm", warm, 2000);
        add("first", first, 50);
        add("cold", cold, 3);
    }
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}

}  // namespace
}  // namespace baleen

int main(int argc, char** argv) {
    return baleen::run_main(argc, argv);
}
