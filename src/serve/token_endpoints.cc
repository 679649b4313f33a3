// Token in, token out: /generate for reinforcement learning and evaluation, and the tokenizer.
#include "serve/api_error.h"
#include "serve/endpoints.h"
#include "serve/raw_generation.h"
#include "serve/requests.h"

namespace baleen::serve {
namespace {

Result<RawJob> read_generate(const JsonText& body, const Service& service) {
    RawJob job{.tokens_max = 128};
    if (const JsonText* ids = body.find_set("input_ids"))
        job.prompt = TRY(token_ids(*ids, "input_ids"));
    else if (const auto text = TRY(string_field(body, "text")))
        job.prompt = TRY(service.tokenizer.encode(*text));
    else
        return make_error(ErrorCode::kInvalidArgument,
                          "input_ids is missing, expected a list of token ids (or text)");
    if (const JsonText* params = body.find_set("sampling_params")) {
        Job fields;
        TRY(read_sampling(*params, fields));
        job.sampling = fields.sampling;
        job.seed_given = fields.seed_given;
        if (const auto seed = TRY(int_field(*params, "sampling_seed", INT64_MIN, INT64_MAX))) {
            job.sampling.seed = static_cast<uint64_t>(*seed);
            job.seed_given = true;
        }
        job.tokens_max = TRY(int_field(*params, "max_new_tokens", 1, INT32_MAX)).value_or(128);
        job.stops = TRY(stops_field(*params, "stop"));
        job.ignore_eos = TRY(bool_field(*params, "ignore_eos")).value_or(false);
        const auto choices_max = static_cast<int64_t>(service.options.choices_max);
        job.choices = static_cast<size_t>(TRY(int_field(*params, "n", 1, choices_max)).value_or(1));
        if (const JsonText* ids = params->find_set("stop_token_ids"))
            job.stop_ids = TRY(token_ids(*ids, "stop_token_ids"));
    }
    job.id = TRY(string_field(body, "rid")).value_or("");
    if (TRY(bool_field(body, "return_logprob")).value_or(false))
        job.top_logprobs =
            static_cast<int>(TRY(int_field(body, "top_logprobs_num", 0, 20)).value_or(0));
    return job;
}

Json finish_json(const RawChoice& choice, int64_t tokens_max) {
    if (!choice.ended) return nullptr;
    if (choice.finish == "length") return {{"type", "length"}, {"length", tokens_max}};
    Json json = {{"type", "stop"}};
    if (choice.matched_token >= 0) json["matched"] = choice.matched_token;
    if (!choice.matched_stop.empty()) json["matched"] = choice.matched_stop;
    return json;
}

// How much of a choice was sent before.
struct Sent {
    size_t bytes = 0, tokens = 0;
};

// What comes after `sent`. Logprobs are [logprob, id]: of the distribution that was sampled (after
// temperature, filters and masks); `output_token_model_logprobs` of the model's own.
Json generate_json(const RawJob& job, const RawAnswer& answer, size_t choice_idx, Sent sent) {
    const RawChoice& choice = answer.choices[choice_idx];
    Json ids = Json::array(), drawn = Json::array(), own = Json::array(), top = Json::array();
    for (const RawToken& token : std::span(choice.tokens).subspan(sent.tokens)) {
        ids.push_back(token.token);
        if (job.top_logprobs < 0) continue;
        drawn.push_back({token.logprob, token.token});
        own.push_back({token.model_logprob, token.token});
        Json candidates = Json::array();
        for (const TokenLogprob& candidate : token.top)
            candidates.push_back({candidate.logprob, candidate.token});
        top.push_back(std::move(candidates));
    }
    Json meta = {{"id", answer.id},
                 {"prompt_tokens", job.prompt.size()},
                 {"completion_tokens", choice.tokens.size()},
                 {"cached_tokens", answer.cache.cached_tokens},
                 {"finish_reason", finish_json(choice, job.tokens_max)},
                 {"weight_version", "0"}};
    if (job.top_logprobs >= 0) {
        meta["output_token_logprobs"] = std::move(drawn);
        meta["output_token_model_logprobs"] = std::move(own);
        meta["output_top_logprobs"] = std::move(top);
    }
    return {{"text", choice.text.text().substr(sent.bytes, choice.text.certain() - sent.bytes)},
            {"output_ids", std::move(ids)},
            {"meta_info", std::move(meta)}};
}

Result<void> stream_generate(Service& service, net::Exchange& exchange, const RawJob& job) {
    EventStream events(exchange);
    TRY(check_prompt(service, job.prompt));
    TRY(events.begin({}));
    std::vector<Sent> sent(job.choices);
    const RawSink sink = [&](size_t i, const RawAnswer& so_far) -> Result<void> {
        Json chunk = generate_json(job, so_far, i, sent[i]);
        chunk["index"] = i;
        sent[i] = {so_far.choices[i].text.certain(), so_far.choices[i].tokens.size()};
        return events.send(chunk);
    };
    const Result<RawAnswer> answer =
        run_raw(service, exchange, job, sink, [&] { return events.comment(); });
    if (!answer) TRY(events.send(error_json(api_error(answer.error()), ErrorStyle::kOpenAi)));
    TRY(events.send_text("[DONE]"));
    events.end();
    return {};
}

}  // namespace

Result<void> serve_generate(Service& service, net::Exchange& exchange, const JsonText& body) {
    const RawJob job = TRY(read_generate(body, service));
    if (TRY(bool_field(body, "stream")).value_or(false))
        return stream_generate(service, exchange, job);
    const RawAnswer answer = TRY(run_raw(service, exchange, job, nullptr, nullptr));
    Json all = Json::array();
    for (size_t i = 0; i < answer.choices.size(); ++i)
        all.push_back(generate_json(job, answer, i, {}));
    respond_json(exchange, 200, all.size() == 1 ? all[0] : all);
    return {};
}

// {"text" or "prompt", "plain": false} or a chat request ({"messages", ...}) to {"tokens",
// "count"}.
Result<void> serve_tokenize(Service& service, net::Exchange& exchange, const JsonText& body) {
    std::vector<TokenId> ids;
    if (body.find_set("messages") != nullptr) {
        Job job = TRY(read_chat_request(body, service.options));
        service.replay.recall(job.conversation, job.seals);
        ids = TRY(tokenize(TRY(render(job.conversation)), service.tokenizer)).tokens;
    } else {
        auto text = TRY(string_field(body, "text"));
        if (!text) text = TRY(string_field(body, "prompt"));
        if (!text)
            return make_error(ErrorCode::kInvalidArgument,
                              "text is missing, expected a string (or messages)");
        const bool plain = TRY(bool_field(body, "plain")).value_or(false);
        ids = TRY(plain ? service.tokenizer.encode_plain(*text) : service.tokenizer.encode(*text));
    }
    respond_json(exchange, 200,
                 {{"tokens", ids},
                  {"count", ids.size()},
                  {"max_model_len", service.options.context_tokens_max}});
    return {};
}

Result<void> serve_detokenize(Service& service, net::Exchange& exchange, const JsonText& body) {
    const JsonText* tokens = body.find_set("tokens");
    if (tokens == nullptr)
        return make_error(ErrorCode::kInvalidArgument,
                          "tokens is missing, expected a list of token ids");
    const std::vector<TokenId> ids = TRY(token_ids(*tokens, "tokens"));
    const std::string text = TRY(service.tokenizer.decode(ids));
    respond_json(exchange, 200, {{"text", text}, {"prompt", text}});
    return {};
}

}  // namespace baleen::serve
