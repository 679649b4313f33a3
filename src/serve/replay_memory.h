// ReplayMemory: the exact tokens of answers given, so that the next request of a conversation
// renders the same bytes although clients drop reasoning, trim newlines and re-serialise arguments
// (spec/chat-encoding.md, section 15).
//
// An answer is found again by what the client carries back: the ids of its calls, an Anthropic
// signature, a Responses encrypted_content, or its place (a keyed hash of the visible conversation
// up to and including it). All four are unguessable; what is found is used only if the visible
// message is still the one that was sent. Bounded; the least recently used go first. Any thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/secret.h"
#include "base/token.h"
#include "serve/job.h"
#include "text/completion_parser.h"

namespace baleen::serve {

struct SampledAnswer {
    std::vector<TokenId> tokens;  // as sampled, stop token excluded
    ParsedMessage message;        // what the client was sent
    ThinkingMode thinking_mode = ThinkingMode::kThinking;

    size_t bytes() const;
};

// The hashes of a conversation's visible content: [i] covers messages 0..i. Reasoning and ids are
// not visible.
std::vector<Fingerprint> place_hashes(const KeyedHash::Key& key,
                                      const std::vector<Message>& messages);

class ReplayMemory {
  public:
    explicit ReplayMemory(size_t bytes_max) : bytes_max_(bytes_max) {}

    // keys: call ids, seals, and the place.
    void remember(SampledAnswer answer, const std::vector<std::string>& keys);

    // Fills in `sampled` of every assistant message that is found unchanged, and the reasoning of
    // those whose calls are known but whose visible part has changed. Returns how many of the first
    // kind. seals: [messages].
    size_t recall(Conversation& conversation, const std::vector<Seals>& seals);

    // The place key of an answer that follows these messages.
    std::string place_after(const std::vector<Message>& messages,
                            const ParsedMessage& answer) const;

    size_t bytes() const;
    size_t size() const;

  private:
    struct Entry {
        SampledAnswer answer;
        std::vector<std::string> keys;
        size_t bytes = 0;
    };
    using Entries = std::list<std::shared_ptr<const Entry>>;  // most recently used first

    std::shared_ptr<const Entry> find(const std::string& key);
    void evict();

    const size_t bytes_max_;
    const KeyedHash::Key key_ = KeyedHash::random_key();
    mutable std::mutex mutex_;
    // Guarded by mutex_:
    Entries entries_;
    std::unordered_map<std::string, Entries::iterator> by_key_;
    size_t bytes_ = 0;
};

// The call names and arguments of two messages are the same, arguments compared as JSON values
// (key order and white space do not count), and so is the content but for white space at its ends.
bool same_visible(const Message& message, const ParsedMessage& answer);

}  // namespace baleen::serve
