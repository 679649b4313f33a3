#include "serve/service.h"

#include <algorithm>

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
      replay(service_options.replay_bytes_max) {
    const int64_t model = scheduler.config().max_position_embeddings;
    int64_t& context = options.context_tokens_max;
    context = context > 0 ? std::min(context, model) : model;
}

Service::~Service() = default;

}  // namespace baleen::serve
