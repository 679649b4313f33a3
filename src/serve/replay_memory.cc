#include "serve/replay_memory.h"

#include <algorithm>
#include <unordered_map>

#include "base/json.h"

namespace baleen::serve {
namespace {

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kBlank = " \t\r\n";
    const size_t begin = text.find_first_not_of(kBlank);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::string content_text(const Message& message) {
    std::string text;
    for (size_t i = 0; i < message.content.size(); ++i) {
        if (i > 0) text += "\n\n";
        text += message.content[i].text + message.content[i].unsupported_kind;
    }
    return text;
}

// One spelling for all arguments that mean the same: sorted keys, no white space.
std::string normal_arguments(const std::string& arguments) {
    const auto value = parse_sorted_json(arguments);
    return value ? value->dump(-1, ' ', false, SortedJson::error_handler_t::replace) : arguments;
}

void add_visible(KeyedHash& hash, std::string_view role, std::string_view content) {
    hash.add(role).add(trimmed(content));
}

void add_call(KeyedHash& hash, const std::string& name, const std::string& arguments) {
    hash.add(name).add(normal_arguments(arguments));
}

Fingerprint message_hash(const KeyedHash::Key& key, const Fingerprint& before,
                         const Message& message) {
    KeyedHash hash(key);
    hash.add(before.hex());
    add_visible(hash, std::to_string(static_cast<int>(message.role)), content_text(message));
    for (const ToolCall& call : message.tool_calls) add_call(hash, call.name, call.arguments);
    return hash.finish();
}

std::string place_name(const Fingerprint& fingerprint) {
    return "place:" + fingerprint.hex();
}

}  // namespace

size_t SampledAnswer::bytes() const {
    size_t bytes = sizeof *this + tokens.size() * sizeof(TokenId) + message.reasoning.size() +
                   message.content.size();
    for (const ParsedCall& call : message.tool_calls)
        bytes += sizeof call + call.name.size() + call.arguments.size();
    return bytes;
}

std::vector<Fingerprint> place_hashes(const KeyedHash::Key& key,
                                      const std::vector<Message>& messages) {
    std::vector<Fingerprint> hashes;
    Fingerprint before;
    for (const Message& message : messages)
        hashes.push_back(before = message_hash(key, before, message));
    return hashes;
}

bool same_visible(const Message& message, const ParsedMessage& answer) {
    if (trimmed(content_text(message)) != trimmed(answer.content)) return false;
    if (message.tool_calls.size() != answer.tool_calls.size()) return false;
    for (size_t i = 0; i < message.tool_calls.size(); ++i) {
        const ToolCall& sent = message.tool_calls[i];
        const ParsedCall& sampled = answer.tool_calls[i];
        if (sent.name != sampled.name || !sampled.complete ||
            normal_arguments(sent.arguments) != normal_arguments(sampled.arguments))
            return false;
    }
    return true;
}

void ReplayMemory::remember(SampledAnswer answer, const std::vector<std::string>& keys) {
    auto entry = std::make_shared<Entry>();
    entry->bytes = answer.bytes();
    for (const std::string& key : keys) entry->bytes += 2 * key.size() + 64;
    entry->answer = std::move(answer);
    entry->keys = keys;
    if (entry->bytes > bytes_max_) return;
    const std::lock_guard lock(mutex_);
    bytes_ += entry->bytes;
    entries_.push_front(std::move(entry));
    for (const std::string& key : keys) by_key_[key] = entries_.begin();  // the latest answer wins
    evict();
}

void ReplayMemory::evict() {
    while (bytes_ > bytes_max_) {
        const auto last = std::prev(entries_.end());
        for (const std::string& key : (*last)->keys)
            if (const auto it = by_key_.find(key); it != by_key_.end() && it->second == last)
                by_key_.erase(it);
        bytes_ -= (*last)->bytes;
        entries_.erase(last);
    }
}

std::shared_ptr<const ReplayMemory::Entry> ReplayMemory::find(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto it = by_key_.find(key);
    if (it == by_key_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, it->second);
    return *it->second;
}

size_t ReplayMemory::recall(Conversation& conversation, const std::vector<Seals>& seals) {
    // An id that stands on two calls says nothing about either.
    std::unordered_map<std::string, int> id_counts;
    for (const Message& message : conversation.messages)
        for (const ToolCall& call : message.tool_calls) ++id_counts[call.id];
    const std::vector<Fingerprint> places = place_hashes(key_, conversation.messages);
    size_t recalled = 0;
    for (size_t i = 0; i < conversation.messages.size(); ++i) {
        Message& message = conversation.messages[i];
        if (message.role != Role::kAssistant) continue;
        std::vector<std::string> keys;
        if (i < seals.size()) keys = seals[i];
        for (const ToolCall& call : message.tool_calls)
            if (!call.id.empty() && id_counts[call.id] == 1) keys.push_back(call.id);
        const size_t own_keys = keys.size();
        keys.push_back(place_name(places[i]));
        for (size_t k = 0; k < keys.size(); ++k) {
            const auto entry = find(keys[k]);
            if (!entry) continue;
            const SampledAnswer& answer = entry->answer;
            if (answer.thinking_mode == conversation.thinking_mode &&
                same_visible(message, answer.message)) {
                message.sampled = answer.tokens;
                ++recalled;
                break;
            }
            if (k < own_keys && message.reasoning.empty())
                message.reasoning = answer.message.reasoning;
        }
    }
    return recalled;
}

std::string ReplayMemory::place_after(const std::vector<Message>& messages,
                                      const ParsedMessage& answer) const {
    Message message{.role = Role::kAssistant};
    message.content.push_back({.text = answer.content});
    for (const ParsedCall& call : answer.tool_calls)
        message.tool_calls.push_back({.name = call.name, .arguments = call.arguments});
    const std::vector<Fingerprint> before = place_hashes(key_, messages);
    return place_name(message_hash(key_, before.empty() ? Fingerprint{} : before.back(), message));
}

size_t ReplayMemory::bytes() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
}

size_t ReplayMemory::size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
}

}  // namespace baleen::serve
