#include "engine/prefix_cache.h"

#include <algorithm>

#include "base/check.h"

namespace baleen {

PrefixCache::PrefixCache(size_t page_bytes, size_t bytes_max)
    : page_bytes_(page_bytes), bytes_max_(bytes_max), root_(std::make_unique<Node>()) {}

PrefixCache::~PrefixCache() {
    clear();
}

// ---- finding -----------------------------------------------------------------------------------

PrefixCache::Walk PrefixCache::walk(std::span<const TokenId> tokens) const {
    Walk walk{.node = root_.get()};
    while (walk.matched < tokens.size()) {
        const auto child = walk.node->children.find(tokens[walk.matched]);
        if (child == walk.node->children.end()) break;
        walk.node = child->second.get();
        const std::vector<TokenId>& edge = walk.node->edge;
        const std::span<const TokenId> rest = tokens.subspan(walk.matched);
        const auto stop = std::ranges::mismatch(edge, rest).in1;
        walk.matched += static_cast<size_t>(stop - edge.begin());
        if (stop != edge.end()) break;
        if (walk.node->point) walk.point = walk.node;
    }
    return walk;
}

PrefixCache::Match PrefixCache::lookup(std::span<const TokenId> prompt) const {
    Match match;
    if (prompt.empty()) return match;
    Walk w = walk(prompt);
    match.matched_tokens = w.matched;
    if (w.matched == prompt.size())
        w = walk(prompt.first(prompt.size() - 1));
    else
        match.diverged = w.matched < w.node->end || !w.node->children.empty();
    if (w.matched == 0) return match;
    const auto consider = [&](Node* node, size_t prefix) {
        if (!node->point) return;
        const size_t resumed = static_cast<size_t>(
            Session::resumed_length(*node->point, static_cast<int64_t>(prefix)));
        if (resumed <= match.resumed_tokens) return;
        match.point = &*node->point;
        match.node = node;
        match.prefix_tokens = prefix;
        match.resumed_tokens = resumed;
    };
    if (w.point != nullptr) consider(w.point, w.point->end);
    // Sequences that share everything matched and go on: to be cut back. One token is dropped for
    // nothing; for more it does not matter which of them it is.
    consider(w.node, w.matched);
    for (const auto& [token, child] : w.node->children)
        if (w.node->end == w.matched && child->edge.size() == 1) consider(child.get(), w.matched);
    Node* leaf = w.node;
    while (!leaf->children.empty()) leaf = leaf->children.begin()->second.get();
    consider(leaf, w.matched);
    return match;
}

void PrefixCache::touch(const Match& match) {
    points_.splice(points_.begin(), points_, match.node->used);
}

bool PrefixCache::contains(std::span<const TokenId> tokens) const {
    const Walk w = walk(tokens);
    return w.point != nullptr && w.point->end == tokens.size();
}

// ---- keeping -----------------------------------------------------------------------------------

void PrefixCache::insert(std::span<const TokenId> tokens, RestorePoint point) {
    CHECK_EQ(static_cast<int64_t>(tokens.size()), point.position());
    CHECK(!tokens.empty());
    Node* const node = add_node(tokens);
    if (node->point) {
        points_.splice(points_.begin(), points_, node->used);
        return;
    }
    hold_pages(point);
    hot_bytes_ += point.hot_bytes();
    node->point.emplace(std::move(point));
    node->used = points_.insert(points_.begin(), node);
    while (bytes() > bytes_max_ && evict()) {
    }
}

// The node whose end is the end of tokens, made where it is missing.
PrefixCache::Node* PrefixCache::add_node(std::span<const TokenId> tokens) {
    const Walk w = walk(tokens);
    Node* node = w.node;
    if (w.matched < node->end) node = split(node, w.matched);
    if (w.matched == tokens.size()) return node;
    auto child = std::make_unique<Node>();
    child->parent = node;
    child->edge.assign(tokens.begin() + static_cast<long>(w.matched), tokens.end());
    child->end = tokens.size();
    token_bytes_ += child->edge.size() * sizeof(TokenId);
    return (node->children[tokens[w.matched]] = std::move(child)).get();
}

// A new node that ends on node's edge, after `end` tokens of the sequence, and has it as a child.
PrefixCache::Node* PrefixCache::split(Node* node, size_t end) {
    const size_t kept = node->edge.size() - (node->end - end);
    std::unique_ptr<Node>& slot = node->parent->children.at(node->edge[0]);
    auto upper = std::make_unique<Node>();
    upper->parent = node->parent;
    upper->edge.assign(node->edge.begin(), node->edge.begin() + static_cast<long>(kept));
    upper->end = end;
    node->edge.erase(node->edge.begin(), node->edge.begin() + static_cast<long>(kept));
    node->parent = upper.get();
    upper->children[node->edge[0]] = std::move(slot);
    slot = std::move(upper);
    return slot.get();
}

// ---- dropping ----------------------------------------------------------------------------------

bool PrefixCache::evict() {
    if (points_.empty()) return false;
    drop_point(points_.back());
    ++evictions_;
    return true;
}

// Histories part by copying a page and going on in pages of their own, so a point whose last page
// is shared holds none alone.
bool PrefixCache::evict_for_pages() {
    const auto alone = std::find_if(points_.rbegin(), points_.rend(), [](const Node* node) {
        const std::span<const PageRef> pages = node->point->kv().pages();
        return !pages.empty() && !pages.back().is_shared();
    });
    if (alone == points_.rend()) return evict();
    drop_point(*alone);
    ++evictions_;
    return true;
}

void PrefixCache::drop_point(Node* node) {
    release_pages(*node->point);
    hot_bytes_ -= node->point->hot_bytes();
    points_.erase(node->used);
    node->point.reset();
    prune(node);
}

// Removes node if nothing needs it any more, and its parents with it.
void PrefixCache::prune(Node* node) {
    while (node->parent != nullptr && !node->point && node->children.empty()) {
        Node* const parent = node->parent;
        token_bytes_ -= node->edge.size() * sizeof(TokenId);
        parent->children.erase(node->edge[0]);
        node = parent;
    }
    if (node->parent == nullptr || node->point || node->children.size() != 1) return;
    std::unique_ptr<Node> child = std::move(node->children.begin()->second);
    child->edge.insert(child->edge.begin(), node->edge.begin(), node->edge.end());
    child->parent = node->parent;
    node->parent->children.at(child->edge[0]) = std::move(child);
}

// Level by level: a conversation may be thousands of nodes deep.
void PrefixCache::clear() {
    std::vector<std::unique_ptr<Node>> nodes;
    nodes.push_back(std::exchange(root_, std::make_unique<Node>()));
    while (!nodes.empty()) {
        const std::unique_ptr<Node> node = std::move(nodes.back());
        nodes.pop_back();
        for (auto& [token, child] : node->children) nodes.push_back(std::move(child));
    }
    points_.clear();
    page_holders_.clear();
    pages_held_ = hot_bytes_ = token_bytes_ = 0;
}

void PrefixCache::hold_pages(const RestorePoint& point) {
    for (const PageRef& page : point.kv().pages()) {
        if (page.page_idx() >= page_holders_.size()) page_holders_.resize(page.page_idx() + 1);
        if (page_holders_[page.page_idx()]++ == 0) ++pages_held_;
    }
}

void PrefixCache::release_pages(const RestorePoint& point) {
    for (const PageRef& page : point.kv().pages())
        if (--page_holders_[page.page_idx()] == 0) --pages_held_;
}

}  // namespace baleen
