// baleen logits: the numbers themselves, for tests and comparisons.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/npy.h"
#include "cli/stdio.h"
#include "engine/engine.h"

namespace baleen::cli {
namespace {

constexpr size_t kTokensFileBytesMax = size_t{64} << 20;

struct LogitsArgs {
    ModelArgs model;
    std::string tokens;
    bool all = false;
    bool mtp = false;
    bool json = false;
    std::string npy;
    std::string trace;
    size_t chunk = 0;
};

// "1,2,3", or "@FILE" with ids separated by commas or white space.
Result<std::vector<TokenId>> parse_tokens(const std::string& text) {
    if (text.starts_with('@'))
        return parse_tokens(TRY(read_file(text.substr(1), kTokensFileBytesMax)));
    std::vector<TokenId> tokens;
    const char* p = text.data();
    const char* const end = p + text.size();
    while (p != end) {
        if (*p == ',' || std::isspace(static_cast<unsigned char>(*p)) != 0) {
            ++p;
            continue;
        }
        TokenId token;
        const auto [next, error] = std::from_chars(p, end, token);
        if (error != std::errc())
            return make_error(ErrorCode::kInvalidArgument,
                              "--tokens: bad id at byte {}, expected integers separated by commas",
                              p - text.data());
        tokens.push_back(token);
        p = next;
    }
    if (tokens.empty())
        return make_error(ErrorCode::kInvalidArgument, "--tokens: no ids, expected at least one");
    return tokens;
}

// Collects the trace tensors of all chunks and writes one <name>.npy each: f32 [T, ...].
class TraceFiles {
  public:
    explicit TraceFiles(std::string directory) : directory_(std::move(directory)) {}

    TraceSink sink() {
        return [this](const std::string& name, std::span<const float> values,
                      std::span<const size_t> shape) {
            Tensor& tensor = tensors_[name];
            tensor.values.insert(tensor.values.end(), values.begin(), values.end());
            if (tensor.shape.empty())
                tensor.shape.assign(shape.begin(), shape.end());
            else
                tensor.shape[0] += shape[0];
        };
    }

    Result<void> write() const {
        std::error_code error;
        std::filesystem::create_directories(directory_, error);
        if (error)
            return make_error(ErrorCode::kIo, "{}: cannot create: {}", directory_, error.message());
        for (const auto& [name, tensor] : tensors_) {
            NpyWriter writer =
                TRY(NpyWriter::create(fmt::format("{}/{}.npy", directory_, name), tensor.shape));
            TRY(writer.write(tensor.values));
            TRY(writer.close());
        }
        return {};
    }

  private:
    struct Tensor {
        std::vector<size_t> shape;
        std::vector<float> values;
    };
    std::string directory_;
    std::map<std::string, Tensor> tensors_;
};

Json json_row(std::span<const float> values) {
    Json row = Json::array();
    for (float v : values)
        row.push_back(std::isfinite(v) ? Json(v) : Json(nullptr));  // JSON has no NaN
    return row;
}

// Where the rows go: JSON in memory, npy straight to the file.
class Output {
  public:
    static Result<Output> open(const LogitsArgs& args, size_t rows, size_t vocab) {
        Output output;
        output.vocab_ = vocab;
        if (!args.npy.empty()) {
            const size_t shape[] = {rows, vocab};
            output.npy_ = std::make_unique<NpyWriter>(TRY(NpyWriter::create(args.npy, shape)));
        }
        output.json_ = Json::array();
        return output;
    }
    Result<void> add(std::span<const float> rows) {
        if (npy_) return npy_->write(rows);
        for (size_t i = 0; i < rows.size(); i += vocab_)
            json_.push_back(json_row(rows.subspan(i, vocab_)));
        return {};
    }
    Result<void> finish(const char* key) {
        if (npy_) return npy_->close();
        return write_stdout(dump_json(Json{{"shape", {json_.size(), vocab_}}, {key, json_}}) +
                            "\n");
    }

  private:
    size_t vocab_ = 0;
    std::unique_ptr<NpyWriter> npy_;
    Json json_;
};

// MTP logits: row t combines the streams at t with token t + 1 (spec 9.1).
Result<void> run_mtp(Session& session, std::span<const TokenId> tokens, const LogitsArgs& args,
                     size_t vocab) {
    const size_t first = args.all ? 0 : tokens.size() - 2;
    Output output = TRY(Output::open(args, tokens.size() - 1 - first, vocab));
    std::vector<float> logits(vocab);
    for (size_t t = 0; t + 1 < tokens.size(); ++t) {
        TRY(session.extend(tokens.subspan(t, 1)));
        if (t < first) continue;
        TRY(session.draft_logits(tokens[t + 1], logits));
        TRY(output.add(logits));
    }
    return output.finish("mtp_logits");
}

Result<void> run_main_model(Session& session, std::span<const TokenId> tokens,
                            const LogitsArgs& args, size_t vocab) {
    const size_t chunk = args.chunk == 0 ? SIZE_MAX : args.chunk;
    Output output = TRY(Output::open(args, args.all ? tokens.size() : 1, vocab));
    if (args.all) {
        const auto sink = [&](std::span<const float> rows) { return output.add(rows); };
        TRY(session.extend_all_logits(tokens, sink, chunk));
    } else {
        TRY(session.extend(tokens, nullptr, chunk));
        TRY(output.add(session.logits()));
    }
    return output.finish("logits");
}

Result<int> run(const LogitsArgs& args) {
    if (args.json != args.npy.empty())
        return make_error(ErrorCode::kInvalidArgument, "give one of --json and --npy FILE");
    const std::vector<TokenId> tokens = TRY(parse_tokens(args.tokens));
    if (args.mtp && tokens.size() < 2)
        return make_error(ErrorCode::kInvalidArgument, "--mtp: one token, expected at least two");
    EngineOptions options = TRY(args.model.engine_options());
    options.mtp = args.mtp;
    options.model.rows_max = std::min(options.model.rows_max, tokens.size());
    if (args.chunk > 0) options.model.rows_max = std::min<size_t>(args.chunk, 4096);
    const std::unique_ptr<Engine> engine = TRY(Engine::load(args.model.directory, options));
    TraceFiles trace(args.trace);
    if (!args.trace.empty()) engine->model().set_trace(trace.sink());
    Session session = engine->new_session();
    const auto body = args.mtp ? run_mtp : run_main_model;
    TRY(body(session, tokens, args, engine->vocab_size()));
    if (!args.trace.empty()) TRY(trace.write());
    return kExitOk;
}

}  // namespace

void add_logits(CLI::App& app, Chosen& chosen) {
    CLI::App* command =
        app.add_subcommand("logits", "Compute logits of a token sequence, for tests");
    auto args = std::make_shared<LogitsArgs>();
    args->model.add_to(*command, ModelArgs::Without::kError);
    command->add_option("--tokens", args->tokens, "Token ids 0,17,4 or @FILE")->required();
    command->add_flag("--all", args->all, "All positions, not only the last");
    command->add_flag("--mtp", args->mtp, "Logits of the MTP block, given each next token");
    command->add_flag("--json", args->json, "Print {\"shape\", \"logits\"} as JSON");
    command->add_option("--npy", args->npy, "Write float32 [positions, vocab] to this file");
    command->add_option("--chunk", args->chunk, "Tokens per forward pass (same bits for any)")
        ->check(CLI::Range(1, 4096));
    command->add_option("--trace", args->trace,
                        "Write every named tensor of the pass to this folder as NAME.npy");
    command->footer(
        "Examples:\n"
        "  baleen logits --model DIR --tokens 0,17,4 --json\n"
        "  baleen logits --model DIR --tokens @ids.txt --all --npy logits.npy --numerics exact\n"
        "  baleen logits --model DIR --tokens 0,17,4 --json --trace trace/ --impl ref");
    command->callback([args, &chosen] { chosen.run = [args] { return run(*args); }; });
}

}  // namespace baleen::cli
