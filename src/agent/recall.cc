#include "agent/recall.h"

#include <algorithm>
#include <chrono>

#include "engine/sampler.h"

namespace baleen::agent {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

// What a length takes, summed over its haystacks.
struct Effort {
    size_t prefill_tokens = 0, decode_tokens = 0;
    double prefill_s = 0, decode_s = 0;
};

// Greedy tokens after the session's last one: as many as `expected`, or up to the end marker.
Result<std::vector<TokenId>> decode(Session& session, Sampler& sampler,
                                    std::span<const TokenId> expected, Effort& effort) {
    std::vector<TokenId> answer;
    const auto begin = Clock::now();
    while (true) {
        answer.push_back(TRY(sampler.sample(session.logits())).token);
        if (answer.size() == expected.size() || answer.back() == expected.back()) break;
        TRY(session.extend({&answer.back(), 1}));
        ++effort.decode_tokens;
    }
    effort.decode_s += seconds_since(begin);
    return answer;
}

Result<RecallQuestion> ask(const Session& prefix, const Tokenizer& tokenizer, Sampler& sampler,
                           const Fact& fact, Effort& effort) {
    Session session = prefix.fork();
    TRY(session.extend(fact.question));
    const std::vector<TokenId> answer = TRY(decode(session, sampler, fact.answer, effort));
    const auto matching =
        static_cast<size_t>(std::ranges::mismatch(answer, fact.answer).in1 - answer.begin());
    const auto text = [&](std::span<const TokenId> tokens) -> Result<std::string> {
        if (!tokens.empty() && tokens.back() == fact.answer.back())
            tokens = tokens.first(tokens.size() - 1);
        return tokenizer.decode(tokens);
    };
    return RecallQuestion{
        .key = fact.key,
        .depth = static_cast<double>(fact.position) / static_cast<double>(prefix.length()),
        .exact = matching == fact.answer.size(),
        .first = matching > fact.value_idx,
        .expected = TRY(text(fact.answer)),
        .answer = TRY(text(answer))};
}

}  // namespace

std::vector<size_t> spread_choice(size_t num_facts, size_t wanted, Rng& rng) {
    const size_t count = std::min(num_facts, wanted);
    std::vector<size_t> chosen;
    for (size_t i = 0; i < count; ++i) {  // one of each of `count` parts
        const size_t begin = i * num_facts / count;
        const size_t end = (i + 1) * num_facts / count;
        chosen.push_back(begin + rng.next_below(end - begin));
    }
    return chosen;
}

Result<RecallRow> evaluate_recall(Engine& engine, const Tokenizer& tokenizer,
                                  const HaystackMaker& maker, int64_t length,
                                  const RecallOptions& options, const EvalProgress& progress) {
    const int64_t allowed = engine.config().max_position_embeddings - maker.answer_tokens_max();
    if (length > allowed)
        return make_error(ErrorCode::kInvalidArgument,
                          "length {}: an answer takes up to {} tokens more, and the model has {}: "
                          "allowed up to {}",
                          length, maker.answer_tokens_max(),
                          engine.config().max_position_embeddings, allowed);
    const auto begin = Clock::now();
    Sampler sampler = TRY(Sampler::create({.greedy = true}, engine.vocab_size()));
    RecallRow row{.length = length, .blocks = length / 4, .index_topk = engine.config().index_topk};
    Effort effort;
    const std::string prefill_task = fmt::format("recall {}: prefill", length);
    const std::string ask_task = fmt::format("recall {}: questions", length);
    uint64_t state = options.seed;
    Rng rng(split_mix64(state) ^ static_cast<uint64_t>(length));
    while (row.questions.size() < options.questions) {
        const Haystack haystack = TRY(maker.make(length, rng));
        Session session = engine.new_session();
        const auto prefill_begin = Clock::now();
        TRY(session.extend(haystack.tokens, [&](size_t done, size_t total) {
            return progress({.task = prefill_task,
                             .unit = EvalStep::Unit::kTokens,
                             .done = done,
                             .total = total});
        }));
        effort.prefill_s += seconds_since(prefill_begin);
        effort.prefill_tokens += haystack.tokens.size();
        row.kv_bytes = session.bytes();
        row.facts += haystack.facts.size();
        for (const size_t fact_idx :
             spread_choice(haystack.facts.size(), options.questions - row.questions.size(), rng)) {
            if (!progress(
                    {.task = ask_task, .done = row.questions.size(), .total = options.questions}))
                return make_error(ErrorCode::kCancelled, "interrupted after {} of {} questions",
                                  row.questions.size(), options.questions);
            RecallQuestion question =
                TRY(ask(session, tokenizer, sampler, haystack.facts[fact_idx], effort));
            question.haystack = row.haystacks;
            row.exact.add(question.exact);
            row.first.add(question.first);
            row.depths[std::min<size_t>(9, static_cast<size_t>(question.depth * 10))].add(
                question.exact);
            row.questions.push_back(std::move(question));
        }
        ++row.haystacks;
    }
    row.prefill_tok_s = static_cast<double>(effort.prefill_tokens) / effort.prefill_s;
    row.decode_tok_s = static_cast<double>(effort.decode_tokens) / effort.decode_s;
    row.seconds = seconds_since(begin);
    return row;
}

}  // namespace baleen::agent
