// Script: answers written in advance, for tests of whole conversations (docs/api.md, "Scripted
// answers"). The forward pass, the KV cache and everything around run as always; only the sampled
// tokens are forced. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/token_constraint.h"
#include "serve/job.h"
#include "text/tokenizer.h"

namespace baleen::serve {

class Script {
  public:
    // {"turns": [{"when": {...}, "reasoning", "content", "tool_calls", "raw", "repeat"}],
    //  "otherwise": {...}}. kInvalidArgument names the turn and the field.
    static Result<std::unique_ptr<Script>> parse(std::string_view json);
    static Result<std::unique_ptr<Script>> load(const std::string& path);

    struct Answer {
        std::optional<size_t> turn;  // none: "otherwise"
        Prompt completion;           // without its end marker
    };
    // The answer to a request: the first unused turn that matches. kNotFound: nothing matches and
    // there is no "otherwise".
    Result<Answer> answer(const Job& job, bool in_reasoning);

  private:
    struct Turn {
        std::optional<std::string> api;
        std::optional<bool> tools;
        std::optional<std::string> last_role;
        std::string contains;
        std::optional<std::string> reasoning;
        std::string content;
        std::vector<ToolCall> tool_calls;
        std::optional<std::string> raw;
        bool repeat = false;
        bool used = false;
    };
    static Result<Turn> read_turn(const Json& json);
    static bool matches(const Turn& turn, const Job& job);
    static Result<Prompt> completion(const Turn& turn, const Job& job, bool in_reasoning);

    std::mutex mutex_;
    std::vector<Turn> turns_;  // guarded by mutex_
    std::optional<Turn> otherwise_;
};

// Forces these tokens, one after the other, then finishes.
class ForcedTokens final : public TokenConstraint {
  public:
    explicit ForcedTokens(std::vector<TokenId> tokens) : tokens_(std::move(tokens)) {}
    Restriction restrict_next(std::span<uint64_t> allowed, int64_t remaining) override;
    void accept(TokenId token) override;

  private:
    std::vector<TokenId> tokens_;
    size_t next_ = 0;
};

}  // namespace baleen::serve
