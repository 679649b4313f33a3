// baleen run: the whole path, from text to text: prompt -> tokens -> engine -> sampler -> text.
#include <chrono>
#include <memory>
#include <random>

#include "base/json.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/run_options.h"
#include "cli/stdio.h"
#include "cli/text_output.h"

namespace baleen::cli {
namespace {

struct Completion {
    std::vector<TokenId> tokens;  // as sampled, the end-of-text id included
    std::string_view reason;
    double prefill_tok_s = 0;  // 0: none measured, here and below
    double decode_tok_s = 0;
};

// Why a text ended.
constexpr std::string_view kEos = "eos", kStop = "stop", kLength = "length",
                           kContextFull = "context full", kInterrupted = "interrupted";

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Result<std::vector<TokenId>> encode_prompt(const Tokenizer& tokenizer, const std::string& text,
                                           const RunArgs& args, const Config& config) {
    auto tokens = tokenizer.encode(text);
    if (!tokens) return std::move(tokens).error().in("prompt");
    if (!args.no_bos) tokens->insert(tokens->begin(), static_cast<TokenId>(config.bos_token_id));
    if (tokens->empty())
        return make_error(ErrorCode::kInvalidArgument,
                          "prompt: empty, expected at least one token with --no-bos");
    for (const TokenId token : *tokens)
        if (token >= config.vocab_size)
            return make_error(ErrorCode::kInvalidArgument,
                              "prompt: the tokenizer gives id {}, the model has 0 to {}; they do "
                              "not belong together",
                              token, config.vocab_size - 1);
    return tokens;
}

// Returns false when interrupted.
Result<bool> prefill(Session& session, std::span<const TokenId> prompt, Completion& completion) {
    const auto begin = std::chrono::steady_clock::now();
    Progress progress("prefill", Progress::Unit::kTokens);
    const auto extended = session.extend(prompt, [&](size_t done, size_t total) {
        progress.update(done, total);
        return !interrupted();
    });
    if (!extended && extended.error().code != ErrorCode::kCancelled) return extended.error();
    completion.prefill_tok_s = static_cast<double>(session.length()) / seconds_since(begin);
    return extended.has_value();
}

// Samples until something ends the text; returns what.
Result<std::string_view> decode(Session& session, Sampler& sampler, TextOutput& output,
                                const RunArgs& args, const Config& config,
                                std::vector<TokenId>& tokens) {
    while (static_cast<int64_t>(tokens.size()) < args.max_tokens) {
        if (interrupted()) return kInterrupted;
        if (!tokens.empty()) {  // the token before; the last one is never run through the model
            if (session.length() == config.max_position_embeddings) return kContextFull;
            TRY(session.extend({&tokens.back(), 1}));
        }
        const TokenId token = TRY(sampler.sample(session.logits())).token;
        tokens.push_back(token);
        if (token == config.eos_token_id && !args.ignore_eos) return kEos;
        if (!TRY(output.push(token))) return kStop;
    }
    return kLength;
}

std::string rate(double tok_s) {
    return tok_s > 0 ? fmt::format("{:.2f} tok/s", tok_s) : "-";
}

Result<void> report(const Completion& completion, const TextOutput& output, const Session& session,
                    const RunArgs& args, size_t prompt_tokens) {
    const auto number = [](double v) { return v > 0 ? Json(v) : Json(nullptr); };
    if (args.json)
        TRY(write_stdout(dump_json(Json{{"text", output.text()},
                                        {"tokens", completion.tokens},
                                        {"prompt_tokens", prompt_tokens},
                                        {"finish_reason", completion.reason},
                                        {"prefill_tok_s", number(completion.prefill_tok_s)},
                                        {"decode_tok_s", number(completion.decode_tok_s)},
                                        {"kv_bytes", session.bytes()},
                                        {"seed", args.sampling.seed}}) +
                         "\n"));
    if (!args.json) fmt::print(stderr, "\n");  // the text ended where it ended
    fmt::print(stderr,
               "prompt {} tokens, prefill {}; generated {} tokens, decode {}; KV {}; seed {}; "
               "ended by: {}\n",
               prompt_tokens, rate(completion.prefill_tok_s), completion.tokens.size(),
               rate(completion.decode_tok_s), bytes_text(session.bytes()), args.sampling.seed,
               completion.reason);
    return {};
}

Result<int> run(RunArgs args) {
    TRY(args.model.choose());
    const std::string text = TRY(args.read_prompt());
    const Tokenizer tokenizer =
        TRY(Tokenizer::load(args.tokenizer.empty() ? args.model.directory : args.tokenizer));
    const EngineOptions options = TRY(args.model.engine_options());
    const auto engine = TRY(Engine::load(args.model.directory, options));
    const Config& config = engine->config();
    const std::vector<TokenId> prompt = TRY(encode_prompt(tokenizer, text, args, config));
    std::random_device entropy;
    args.sampling.seed = args.seed ? *args.seed : entropy();
    Sampler sampler = TRY(Sampler::create(args.sampling, engine->vocab_size()));
    TextOutput output(tokenizer, args.stops,
                      args.json ? TextOutput::Echo::kNone : TextOutput::Echo::kStdout);
    Session session = engine->new_session();
    Completion completion{.reason = kInterrupted};

    watch_interrupts();
    if (TRY(prefill(session, prompt, completion))) {
        const auto begin = std::chrono::steady_clock::now();
        const int64_t before = session.length();
        completion.reason = TRY(decode(session, sampler, output, args, config, completion.tokens));
        completion.decode_tok_s =
            static_cast<double>(session.length() - before) / seconds_since(begin);
    }
    TRY(output.finish());
    TRY(report(completion, output, session, args, prompt.size()));
    return completion.reason == kInterrupted ? kExitInterrupted : kExitOk;
}

}  // namespace

void add_run(CLI::App& app, Chosen& chosen) {
    CLI::App* command = app.add_subcommand("run", "Continue a prompt and stream the text");
    auto args = std::make_shared<RunArgs>();
    args->add_to(*command);
    command->callback([args, &chosen] { chosen.run = [args] { return run(*args); }; });
}

}  // namespace baleen::cli
