// baleen chat: a conversation in the terminal, with the model in this process.
#include "base/file.h"
#include "base/log.h"
#include "cli/chat_loop.h"
#include "cli/chat_options.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "engine/engine.h"

namespace baleen::cli {
namespace {

constexpr size_t kToolsBytesMax = size_t{16} << 20;

Result<int> chat(ChatArgs args) {
    TRY(args.model.choose());
    set_log_level(LogLevel::kError);
    const serve::ServiceOptions options = TRY(args.service_options());
    std::unique_ptr<serve::Script> script;
    if (!args.script.empty()) script = TRY(serve::Script::load(args.script));
    ChatSession::Settings settings{.system = args.system,
                                   .thinking = TRY(parse_thinking(args.think)),
                                   .sampling = args.sampling,
                                   .seed = args.seed};
    TRY(args.sampling.validate());
    const Tokenizer tokenizer =
        TRY(Tokenizer::load(args.tokenizer.empty() ? args.model.directory : args.tokenizer));
    if (tokenizer.token_id(kEos) < 0)
        return make_error(ErrorCode::kInvalidArgument, "the tokenizer has no {}, which chat needs",
                          kEos);
    EngineOptions engine_options = TRY(args.model.engine_options());
    engine_options.mtp = args.mtp;
    auto engine = TRY(Engine::load(args.model.directory, engine_options));
    const auto vocabulary = make_vocabulary(tokenizer, engine->vocab_size());
    Scheduler scheduler(std::move(engine), {.running_max = 1});
    serve::Service service(options, scheduler, tokenizer, vocabulary, script.get());
    ChatSession session(service, std::move(settings));
    if (!args.tools.empty()) {
        const auto declared = session.declare_tools(TRY(read_file(args.tools, kToolsBytesMax)));
        if (!declared) return Error(declared.error()).in(args.tools);
    }
    watch_every_interrupt();
    ChatLoop loop(service, session, {.history = args.history, .reasoning = args.reasoning});
    return loop.run();
}

}  // namespace

void add_chat(CLI::App& app, Chosen& chosen) {
    CLI::App* command = app.add_subcommand("chat", "Talk with a model in the terminal");
    auto args = std::make_shared<ChatArgs>();
    args->add_to(*command);
    command->callback([args, &chosen] { chosen.run = [args] { return chat(*args); }; });
}

}  // namespace baleen::cli
