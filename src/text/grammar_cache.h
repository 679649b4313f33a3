// The compiled grammars of recent requests, by the text of their rules: an agent sends the same
// tools with every request. Usable from any thread.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace baleen {

struct OutputGrammar;

class GrammarCache {
  public:
    static constexpr size_t kEntriesMax = 16;

    // Null when there is none.
    std::shared_ptr<OutputGrammar> find(const std::string& key) {
        const std::scoped_lock lock(mutex_);
        for (auto it = entries_.begin(); it != entries_.end(); ++it) {
            if (it->first != key) continue;
            entries_.splice(entries_.begin(), entries_, it);
            return it->second;
        }
        return nullptr;
    }

    void insert(std::string key, std::shared_ptr<OutputGrammar> grammar) {
        const std::scoped_lock lock(mutex_);
        entries_.emplace_front(std::move(key), std::move(grammar));
        if (entries_.size() > kEntriesMax) entries_.pop_back();
    }

  private:
    std::mutex mutex_;
    std::list<std::pair<std::string, std::shared_ptr<OutputGrammar>>> entries_;  // newest first
};

}  // namespace baleen
