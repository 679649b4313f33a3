// PrefixCache: what sequences left behind, found again by their tokens. A radix tree over token
// ids whose nodes may hold a restore point (engine.h) at their end. Points share pages with each
// other and with running sessions by reference count; least recently used ones go first.
// Owned by the scheduler and used from its engine thread.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/token.h"
#include "engine/engine.h"

namespace baleen {

class PrefixCache {
    struct Node;

  public:
    // bytes_max: of pages, hot states and tokens together; a page held by several points, or by
    // running sessions too, counts once.
    PrefixCache(size_t page_bytes, size_t bytes_max);
    PrefixCache(const PrefixCache&) = delete;
    PrefixCache& operator=(const PrefixCache&) = delete;

    ~PrefixCache();

    struct Match {
        const RestorePoint* point = nullptr;  // null: nothing worth taking up
        size_t prefix_tokens = 0;             // for Session::resume(*point, first prefix_tokens)
        size_t resumed_tokens = 0;            // where that begins to run
        size_t matched_tokens = 0;            // longest prefix shared with any stored sequence
        bool diverged = false;                // and a stored one goes on differently there
        Node* node = nullptr;                 // of the point
    };
    // What leaves the fewest tokens of the prompt to run; at least its last one is left. The point
    // stays valid until the next insert or eviction.
    Match lookup(std::span<const TokenId> prompt) const;
    // The match was used: it is evicted later than others.
    void touch(const Match& match);

    // Keeps a point at the end of tokens. One that is there already stays, and counts as used.
    // Then evicts down to bytes_max. REQUIRES: tokens.size() == point.position() > 0.
    void insert(std::span<const TokenId> tokens, RestorePoint point);
    bool contains(std::span<const TokenId> tokens) const;

    // Drops the least recently used point. False when there is none.
    bool evict();
    // The same, first those that are alone in holding a page.
    bool evict_for_pages();
    void clear();

    size_t entries() const { return points_.size(); }
    uint64_t evictions() const { return evictions_; }
    size_t bytes() const { return pages_held_ * page_bytes_ + hot_bytes_ + token_bytes_; }

  private:
    // A node without a point has at least two children, the root aside.
    struct Node {
        Node* parent = nullptr;
        std::vector<TokenId> edge;  // tokens from the parent's end to this node's
        size_t end = 0;             // depth of this node's end, in tokens
        std::map<TokenId, std::unique_ptr<Node>> children;  // by first token of their edge
        std::optional<RestorePoint> point;                  // position end
        std::list<Node*>::iterator used;                    // in points_, where there is a point
    };
    // How far tokens lead down.
    struct Walk {
        Node* node = nullptr;   // the deepest one entered; they stop on its edge or at its end
        size_t matched = 0;     // tokens that match
        Node* point = nullptr;  // the deepest with a point at or before `matched`
    };
    Walk walk(std::span<const TokenId> tokens) const;
    Node* add_node(std::span<const TokenId> tokens);
    static Node* split(Node* node, size_t end);
    void drop_point(Node* node);
    void prune(Node* node);
    void hold_pages(const RestorePoint& point);
    void release_pages(const RestorePoint& point);

    size_t page_bytes_;
    size_t bytes_max_;
    std::unique_ptr<Node> root_;
    std::list<Node*> points_;             // most recently used first
    std::vector<uint32_t> page_holders_;  // per page of the pool: points that hold it
    size_t pages_held_ = 0;
    size_t hot_bytes_ = 0;
    size_t token_bytes_ = 0;
    uint64_t evictions_ = 0;
};

}  // namespace baleen
