#include "serve/service.h"

#include "serve/request_log.h"

namespace baleen::serve {

Service::Service(const ServiceOptions& service_options, Scheduler& service_scheduler,
                 const Tokenizer& service_tokenizer,
                 std::shared_ptr<const Vocabulary> service_vocabulary, Script* service_script)
    : options(service_options),
      scheduler(service_scheduler),
      tokenizer(service_tokenizer),
      vocabulary(std::move(service_vocabulary)),
      script(service_script),
      replay(service_options.replay_bytes_max) {}

Service::~Service() = default;

int64_t Service::context_tokens_max() const {
    const int64_t model = scheduler.config().max_position_embeddings;
    return options.context_tokens_max > 0 ? std::min(options.context_tokens_max, model) : model;
}

}  // namespace baleen::serve
