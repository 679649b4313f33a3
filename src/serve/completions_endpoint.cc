// OpenAI Completions: raw text or tokens continued, no chat.
#include "base/secret.h"
#include "serve/api_error.h"
#include "serve/endpoints.h"
#include "serve/raw_generation.h"
#include "serve/requests.h"

namespace baleen::serve {
namespace {

// Control tokens in the text count, as the caller writes a whole prompt. BOS is put in front of
// text, not of tokens.
Result<std::vector<TokenId>> prompt_tokens(const Service& service, const JsonText& prompt) {
    if (prompt.is_string()) {
        std::vector<TokenId> ids = {service.tokenizer.token_id(kBos)};
        const std::vector<TokenId> text = TRY(service.tokenizer.encode(prompt.string()));
        if (!text.empty() && text.front() == ids.front()) ids.clear();
        ids.insert(ids.end(), text.begin(), text.end());
        return ids;
    }
    if (prompt.is_array() && prompt.size() == 1 &&
        !(prompt.at(0).kind() == JsonText::Kind::kInteger))
        return prompt_tokens(service, prompt.at(0));
    if (!prompt.is_array() || prompt.size() == 0)
        return wrong_field("prompt", prompt, "a string or a list of token ids");
    if (!(prompt.at(0).kind() == JsonText::Kind::kInteger))
        return make_error(ErrorCode::kInvalidArgument,
                          "prompt has {} prompts, expected one: send the others as requests of "
                          "their own",
                          prompt.size());
    return token_ids(prompt, "prompt");
}

Result<RawJob> read_job(const JsonText& body, const Service& service) {
    Job fields;
    TRY(read_sampling(body, fields));
    RawJob job{.sampling = fields.sampling, .seed_given = fields.seed_given};
    const JsonText* prompt = body.find_set("prompt");
    if (prompt == nullptr)
        return make_error(ErrorCode::kInvalidArgument,
                          "prompt is missing, expected a string or a list of token ids");
    job.prompt = TRY(prompt_tokens(service, *prompt));
    job.tokens_max = TRY(int_field(body, "max_tokens", 1, INT32_MAX)).value_or(16);
    job.stops = TRY(stops_field(body, "stop"));
    job.choices = static_cast<size_t>(
        TRY(int_field(body, "n", 1, static_cast<int64_t>(service.options.choices_max)))
            .value_or(1));
    job.top_logprobs = static_cast<int>(TRY(int_field(body, "logprobs", 0, 20)).value_or(-1));
    job.ignore_eos = TRY(bool_field(body, "ignore_eos")).value_or(false);
    if (body.find_set("suffix") != nullptr)
        return make_error(
            ErrorCode::kInvalidArgument,
            "suffix is not supported: write the fill-in-the-middle tokens into prompt");
    return job;
}

Json logprobs_json(const Service& service, std::span<const RawToken> tokens) {
    const auto text = [&](TokenId id) {
        return service.tokenizer.contains(id) ? Json(service.tokenizer.token_bytes(id)) : Json("");
    };
    Json json = {{"tokens", Json::array()},
                 {"token_logprobs", Json::array()},
                 {"top_logprobs", Json::array()},
                 {"token_ids", Json::array()}};
    for (const RawToken& token : tokens) {
        json["tokens"].push_back(text(token.token));
        json["token_ids"].push_back(token.token);
        json["token_logprobs"].push_back(token.model_logprob);
        Json top = Json::object();
        for (const TokenLogprob& candidate : token.top)
            top[std::string(service.tokenizer.contains(candidate.token)
                                ? service.tokenizer.token_bytes(candidate.token)
                                : "")] = candidate.logprob;
        json["top_logprobs"].push_back(std::move(top));
    }
    return json;
}

Json choice_json(const Service& service, const RawJob& job, size_t index, std::string_view text,
                 std::span<const RawToken> tokens, const RawChoice& choice) {
    return {{"index", index},
            {"text", text},
            {"logprobs", job.top_logprobs >= 0 ? logprobs_json(service, tokens) : Json(nullptr)},
            {"finish_reason", choice.ended ? Json(choice.finish) : Json(nullptr)}};
}

Json usage_json(const RawAnswer& answer, size_t prompt_tokens) {
    size_t sampled = 0;
    for (const RawChoice& choice : answer.choices) sampled += choice.tokens.size();
    return {{"prompt_tokens", prompt_tokens},
            {"completion_tokens", sampled},
            {"total_tokens", prompt_tokens + sampled},
            {"prompt_tokens_details", {{"cached_tokens", answer.cache.cached_tokens}}}};
}

struct Sent {
    size_t bytes = 0, tokens = 0;
};

Result<void> stream_completion(Service& service, net::Exchange& exchange, const RawJob& job,
                               const Json& head, bool with_usage) {
    EventStream events(exchange);
    std::vector<Sent> sent(job.choices);
    const auto begin_once = [&]() -> Result<void> {
        return exchange.has_begun() ? Result<void>() : events.begin({});
    };
    const RawSink sink = [&](size_t i, const RawAnswer& so_far) -> Result<void> {
        const RawChoice& choice = so_far.choices[i];
        const std::string_view text =
            std::string_view(choice.text.text())
                .substr(sent[i].bytes, choice.text.certain() - sent[i].bytes);
        if (text.empty() && !choice.ended) return {};
        TRY(begin_once());
        Json chunk = head;
        chunk["choices"] = Json::array({choice_json(
            service, job, i, text, std::span(choice.tokens).subspan(sent[i].tokens), choice)});
        sent[i] = {choice.text.certain(), choice.tokens.size()};
        return events.send(chunk);
    };
    const Result<RawAnswer> answer = run_raw(service, exchange, job, sink, [&]() -> Result<void> {
        TRY(begin_once());
        return events.comment();
    });
    if (!answer && !exchange.has_begun()) return answer.error();
    if (!answer) {
        TRY(events.send(error_json(api_error(answer.error()), ErrorStyle::kOpenAi)));
    } else if (with_usage) {
        Json chunk = head;
        chunk["choices"] = Json::array();
        chunk["usage"] = usage_json(*answer, job.prompt.size());
        TRY(events.send(chunk));
    }
    TRY(events.send_text("[DONE]"));
    events.end();
    return {};
}

}  // namespace

Result<void> serve_completions(Service& service, net::Exchange& exchange, const JsonText& body) {
    const RawJob job = TRY(read_job(body, service));
    const Json head = {
        {"id", "cmpl-" + random_name(24)},
        {"object", "text_completion"},
        {"created", unix_time()},
        {"model", TRY(string_field(body, "model")).value_or(service.options.model_name)}};
    bool with_usage = false;
    if (const JsonText* options = body.find_set("stream_options"))
        with_usage = TRY(bool_field(*options, "include_usage")).value_or(false);
    if (TRY(bool_field(body, "stream")).value_or(false))
        return stream_completion(service, exchange, job, head, with_usage);
    const RawAnswer answer = TRY(run_raw(service, exchange, job, nullptr, nullptr));
    Json response = head;
    response["choices"] = Json::array();
    for (size_t i = 0; i < answer.choices.size(); ++i) {
        const RawChoice& choice = answer.choices[i];
        response["choices"].push_back(
            choice_json(service, job, i, choice.text.text(), choice.tokens, choice));
    }
    response["usage"] = usage_json(answer, job.prompt.size());
    respond_json(exchange, 200, response);
    return {};
}

}  // namespace baleen::serve
