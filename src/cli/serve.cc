// baleen serve: the HTTP APIs over one model.
#include <chrono>
#include <thread>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/serve_options.h"
#include "cli/stdio.h"
#include "serve/api_server.h"

namespace baleen::cli {
namespace {

Result<int> serve(ServeArgs args) {
    TRY(args.model.choose());
    const serve::ApiServerOptions options = TRY(args.server_options());
    std::unique_ptr<serve::Script> script;
    if (!args.script.empty()) script = TRY(serve::Script::load(args.script));
    Tokenizer tokenizer =
        TRY(Tokenizer::load(args.tokenizer.empty() ? args.model.directory : args.tokenizer));
    EngineOptions engine_options = TRY(args.model.engine_options());
    engine_options.mtp = args.mtp;
    engine_options.kv_bytes_max = args.kv_bytes_max();
    auto engine = TRY(Engine::load(args.model.directory, engine_options));
    const auto server = TRY(serve::ApiServer::start(options, std::move(engine),
                                                    std::move(tokenizer), std::move(script)));
    watch_interrupts();
    watch_termination();
    const std::string address = server->address();
    TRY(write_stdout((address.starts_with("unix:") ? address : "http://" + address) + "\n"));
    fmt::print(stderr, "serving {} (dialect {}{}); Ctrl-C stops\n", options.service.model_name,
               dialect_name(options.service.dialect),
               args.script.empty() ? "" : ", scripted answers");
    while (!interrupted()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    fmt::print(stderr, "stopping: up to {} s for running requests, Ctrl-C again ends them\n",
               args.grace_s);
    const auto result =
        server->shutdown(std::chrono::steady_clock::now() + std::chrono::seconds(args.grace_s));
    fmt::print(stderr, "stopped: {} requests cancelled, {} connections cut\n",
               result.cancelled_requests, result.cut_connections);
    return kExitOk;
}

}  // namespace

void add_serve(CLI::App& app, Chosen& chosen) {
    CLI::App* command =
        app.add_subcommand("serve", "Serve the OpenAI and Anthropic APIs over HTTP");
    auto args = std::make_shared<ServeArgs>();
    args->add_to(*command);
    command->callback([args, &chosen] { chosen.run = [args] { return serve(*args); }; });
}

}  // namespace baleen::cli
