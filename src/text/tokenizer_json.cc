#include "text/tokenizer_json.h"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/json.h"
#include "text/pretokenizer.h"
#include "text/utf8.h"

namespace baleen {
namespace {

using Kind = SortedJson::value_t;

// A value as error messages show it: one line of JSON, cut when long.
std::string shown(const SortedJson& value) {
    constexpr size_t kShownMax = 60;
    // Containers are named, not printed: a hostile file may hold a large one anywhere.
    if (value.is_object()) return fmt::format("an object of {} keys", value.size());
    if (value.is_array()) return fmt::format("a list of {} values", value.size());
    std::string text = value.dump(-1, ' ', false, SortedJson::error_handler_t::replace);
    if (text.size() <= kShownMax) return text;
    size_t end = kShownMax;
    while ((static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
    return text.substr(0, end) + "...";
}

std::string shown_text(std::string_view text) {
    return shown(SortedJson(text));
}

const char* kind_name(Kind kind) {
    switch (kind) {
        case Kind::object: return "an object";
        case Kind::array: return "a list";
        case Kind::string: return "a string";
        case Kind::boolean: return "true or false";
        default: return "a number";
    }
}

// object[key], which must be there and of that kind. `where` names the object in messages.
Result<const SortedJson*> member(const SortedJson& object, const std::string& where,
                                 const std::string& key, Kind kind) {
    const auto it = object.find(key);
    if (it == object.end())
        return make_error(ErrorCode::kCorrupt, "{}{} is missing, expected {}", where, key,
                          kind_name(kind));
    if (it->type() != kind)
        return make_error(ErrorCode::kCorrupt, "{}{} is {}, expected {}", where, key, shown(*it),
                          kind_name(kind));
    return &*it;
}

// object[key] must be absent, null or one of the values that change nothing.
Result<void> require_neutral(const SortedJson& object, const std::string& where, const char* key,
                             const std::vector<SortedJson>& neutral) {
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) return {};
    for (const SortedJson& value : neutral)
        if (*it == value) return {};
    return make_error(ErrorCode::kUnsupported, "{}{} is {}, supported is {}", where, key,
                      shown(*it), neutral.empty() ? "null" : shown(neutral.front()));
}

Result<void> require_type(const SortedJson& object, const std::string& where, const char* type) {
    const SortedJson* found = TRY(member(object, where, "type", Kind::string));
    if (*found != type)
        return make_error(ErrorCode::kUnsupported, "{}type is {}, supported is \"{}\"", where,
                          shown(*found), type);
    return {};
}

Result<void> require_value(const SortedJson& object, const std::string& where, const char* key,
                           const SortedJson& expected) {
    const SortedJson* found = TRY(member(object, where, key, expected.type()));
    if (*found != expected)
        return make_error(ErrorCode::kUnsupported, "{}{} is {}, supported is {}", where, key,
                          shown(*found), shown(expected));
    return {};
}

// One of the three Split steps.
Result<void> check_split(const SortedJson& step, const std::string& where,
                         std::string_view expected) {
    if (!step.is_object())
        return make_error(ErrorCode::kCorrupt, "{} is {}, expected an object", where, shown(step));
    const std::string inside = where + ".";
    TRY(require_type(step, inside, "Split"));
    TRY(require_value(step, inside, "behavior", "Isolated"));
    TRY(require_value(step, inside, "invert", false));
    const SortedJson* pattern = TRY(member(step, inside, "pattern", Kind::object));
    const SortedJson* regex = TRY(member(*pattern, inside + "pattern.", "Regex", Kind::string));
    const auto& found = regex->get_ref<const std::string&>();
    if (found == expected) return {};
    const auto [a, b] = std::mismatch(found.begin(), found.end(), expected.begin(), expected.end());
    return make_error(ErrorCode::kUnsupported,
                      "{}.pattern.Regex is {}, which differs from the supported one at byte {}",
                      where, shown(*regex), a - found.begin());
}

Result<void> check_pre_tokenizer(const SortedJson& root) {
    const SortedJson* section = TRY(member(root, "", "pre_tokenizer", Kind::object));
    TRY(require_type(*section, "pre_tokenizer.", "Sequence"));
    const SortedJson* steps = TRY(member(*section, "pre_tokenizer.", "pretokenizers", Kind::array));
    constexpr size_t kNumSteps = kPreTokenizerPatterns.size() + 1;
    if (steps->size() != kNumSteps)
        return make_error(ErrorCode::kUnsupported,
                          "pre_tokenizer.pretokenizers has {} steps, supported are {}",
                          steps->size(), kNumSteps);
    for (size_t i = 0; i < kPreTokenizerPatterns.size(); ++i)
        TRY(check_split((*steps)[i], fmt::format("pre_tokenizer.pretokenizers[{}]", i),
                        kPreTokenizerPatterns[i]));
    const std::string where = fmt::format("pre_tokenizer.pretokenizers[{}].", kNumSteps - 1);
    const SortedJson& bytes = steps->back();
    if (!bytes.is_object())
        return make_error(ErrorCode::kCorrupt, "{} is {}, expected an object", where, shown(bytes));
    TRY(require_type(bytes, where, "ByteLevel"));
    TRY(require_value(bytes, where, "add_prefix_space", false));
    return require_value(bytes, where, "use_regex", false);
}

// The sections around the model: they must leave text and ids as they are.
Result<void> check_surroundings(const SortedJson& root) {
    const SortedJson no_steps = {{"type", "Sequence"}, {"normalizers", SortedJson::array()}};
    TRY(require_neutral(root, "", "normalizer", {no_steps}));
    TRY(require_neutral(root, "", "truncation", {}));
    TRY(require_neutral(root, "", "padding", {}));
    TRY(check_pre_tokenizer(root));
    if (const auto post = root.find("post_processor"); post != root.end() && !post->is_null()) {
        TRY(member(root, "", "post_processor", Kind::object));
        TRY(require_type(*post, "post_processor.", "ByteLevel"));  // changes offsets only
    }
    const SortedJson* decoder = TRY(member(root, "", "decoder", Kind::object));
    return require_type(*decoder, "decoder.", "ByteLevel");
}

Result<void> check_model(const SortedJson& model) {
    TRY(require_type(model, "model.", "BPE"));
    TRY(require_neutral(model, "model.", "dropout", {}));
    TRY(require_neutral(model, "model.", "unk_token", {}));
    TRY(require_neutral(model, "model.", "continuing_subword_prefix", {""}));
    TRY(require_neutral(model, "model.", "end_of_word_suffix", {""}));
    TRY(require_neutral(model, "model.", "byte_fallback", {false}));
    return require_neutral(model, "model.", "ignore_merges", {false});
}

// The byte-to-symbol map of GPT-2 (spec/tokenizer.md, "Encoding", step 3), backwards.
class ByteSymbols {
  public:
    ByteSymbols() {
        for (int& byte : byte_of_) byte = -1;
        size_t next = 0x100;
        for (int byte = 0; byte < 256; ++byte) {
            const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) ||
                                   (byte >= 174 && byte <= 255);
            byte_of_[printable ? static_cast<size_t>(byte) : next++] = byte;
        }
    }

    // The bytes that a vocabulary entry stands for; nothing if some character is not a byte symbol.
    // REQUIRES: valid UTF-8.
    std::optional<std::string> bytes_of(std::string_view symbols) const {
        std::string bytes;
        for (size_t at = 0; at < symbols.size();) {
            const Utf8Char c = decode_valid_utf8(symbols.data() + at);
            if (c.code >= byte_of_.size() || byte_of_[c.code] < 0) return std::nullopt;
            bytes.push_back(static_cast<char>(byte_of_[c.code]));
            at += c.size;
        }
        return bytes;
    }

  private:
    std::array<int, 0x100 + 68> byte_of_;  // by code point of the symbol; -1: not a symbol
};

// Fills a TokenizerFile from a JSON tree that outlives it.
class Reader {
  public:
    Result<TokenizerFile> read(const SortedJson& root) {
        const SortedJson* model = TRY(member(root, "", "model", Kind::object));
        const SortedJson* vocab = TRY(member(*model, "model.", "vocab", Kind::object));
        const SortedJson* merges = TRY(member(*model, "model.", "merges", Kind::array));
        const SortedJson* added = TRY(member(root, "", "added_tokens", Kind::array));
        TRY(check_model(*model));
        TRY(check_surroundings(root));
        TRY(read_vocab(*vocab, added->size()));
        TRY(read_added_tokens(*added));
        TRY(check_ids());
        TRY(read_merges(*merges));
        return std::move(file_);
    }

  private:
    // what: says in messages whose id it is; called only for them, there are many entries.
    template <typename What>
    Result<TokenId> token_id(const SortedJson& value, const What& what) const {
        if (!value.is_number_unsigned() || value.get<uint64_t>() >= taken_.size())
            return make_error(ErrorCode::kCorrupt, "{} has id {}, expected an integer 0 to {}",
                              what(), shown(value), taken_.size() - 1);
        return value.get<TokenId>();
    }

    Result<void> read_vocab(const SortedJson& vocab, size_t num_added) {
        if (vocab.size() + num_added > kVocabSizeMax)
            return make_error(ErrorCode::kExhausted,
                              "model.vocab and added_tokens hold {} entries, at most {} are read",
                              vocab.size() + num_added, kVocabSizeMax);
        taken_.assign(vocab.size() + num_added, false);
        has_bytes_.assign(taken_.size(), false);
        file_.token_bytes.resize(taken_.size());
        file_.added.resize(taken_.size());
        file_.byte_ids.fill(-1);
        ids_.reserve(vocab.size());
        for (const auto& [symbols, value] : vocab.items()) TRY(read_vocab_entry(symbols, value));
        return {};
    }

    Result<void> read_vocab_entry(const std::string& symbols, const SortedJson& value) {
        const auto what = [&] { return "model.vocab: " + shown_text(symbols); };
        const TokenId id = TRY(token_id(value, what));
        const auto at = static_cast<size_t>(id);
        if (taken_[at])
            return make_error(ErrorCode::kCorrupt, "{} has id {}, which another entry has", what(),
                              id);
        taken_[at] = true;
        ids_.emplace(symbols, id);
        std::optional<std::string> bytes = symbols_.bytes_of(symbols);
        if (!bytes) return {};  // can only be an added token as well; see check_ids
        has_bytes_[at] = true;
        if (bytes->size() == 1) file_.byte_ids[static_cast<uint8_t>((*bytes)[0])] = id;
        file_.token_bytes[at] = std::move(*bytes);
        return {};
    }

    Result<void> read_added_tokens(const SortedJson& added) {
        std::set<std::string_view> texts;
        for (size_t i = 0; i < added.size(); ++i) {
            const std::string where = fmt::format("added_tokens[{}]", i);
            if (!added[i].is_object())
                return make_error(ErrorCode::kCorrupt, "{} is {}, expected an object", where,
                                  shown(added[i]));
            TRY(read_added_token(added[i], where, texts));
        }
        return {};
    }

    Result<void> read_added_token(const SortedJson& entry, const std::string& where,
                                  std::set<std::string_view>& texts) {
        const std::string inside = where + ".";
        const SortedJson* content = TRY(member(entry, inside, "content", Kind::string));
        const auto& text = content->get_ref<const std::string&>();
        if (text.empty() || text.size() > kAddedTokenBytesMax)
            return make_error(ErrorCode::kUnsupported, "{}.content has {} bytes, allowed 1 to {}",
                              where, text.size(), kAddedTokenBytesMax);
        if (!texts.insert(text).second)
            return make_error(ErrorCode::kCorrupt, "{}.content is {}, which another entry has",
                              where, shown_text(text));
        for (const char* flag : {"single_word", "lstrip", "rstrip"})
            TRY(require_value(entry, inside, flag, false));
        const SortedJson* normalized = TRY(member(entry, inside, "normalized", Kind::boolean));
        const TokenId id = TRY(token_id(entry.value("id", SortedJson()), [&] { return where; }));
        TRY(place_added_token(text, id, where));
        (normalized->get<bool>() ? file_.second_round : file_.first_round).push_back({text, id});
        return {};
    }

    // An added token is a vocabulary entry of the same text and id, or has an id of its own.
    Result<void> place_added_token(const std::string& text, TokenId id, const std::string& where) {
        const auto at = static_cast<size_t>(id);
        const auto in_vocab = ids_.find(text);
        if (in_vocab == ids_.end() ? bool{taken_[at]} : in_vocab->second != id)
            return make_error(ErrorCode::kCorrupt,
                              "{}: {} has id {}, but model.vocab or another added token disagrees",
                              where, shown_text(text), id);
        // The merges could make it as well, and then it would have to stand for other bytes.
        if (has_bytes_[at] && file_.token_bytes[at] != text)
            return make_error(ErrorCode::kUnsupported,
                              "{}: {} is a vocabulary entry that stands for other bytes", where,
                              shown_text(text));
        taken_[at] = true;
        file_.added[at] = true;
        file_.token_bytes[at] = text;
        return {};
    }

    // Ids run from 0 without a hole; every token that is not added has bytes; every byte has a
    // token.
    Result<void> check_ids() {
        while (!taken_.empty() && !taken_.back()) taken_.pop_back();  // entries counted twice
        for (size_t id = 0; id < taken_.size(); ++id)
            if (!taken_[id])
                return make_error(ErrorCode::kCorrupt, "id {} has no token, but {} has", id,
                                  taken_.size() - 1);
        for (size_t id = 0; id < taken_.size(); ++id)
            if (!has_bytes_[id] && !file_.added[id])
                return make_error(ErrorCode::kUnsupported,
                                  "model.vocab: id {} is not in byte symbols and no added token",
                                  id);
        file_.token_bytes.resize(taken_.size());
        file_.added.resize(taken_.size());
        for (size_t byte = 0; byte < file_.byte_ids.size(); ++byte)
            if (file_.byte_ids[byte] < 0)
                return make_error(ErrorCode::kUnsupported,
                                  "model.vocab has no token for byte {:#04x}", byte);
        return {};
    }

    Result<void> read_merges(const SortedJson& merges) {
        if (merges.size() > kVocabSizeMax)
            return make_error(ErrorCode::kExhausted,
                              "model.merges holds {} merges, at most {} are read", merges.size(),
                              kVocabSizeMax);
        file_.merges.reserve(merges.size());
        std::unordered_map<uint64_t, size_t> rank_of_pair(2 * merges.size());
        for (size_t rank = 0; rank < merges.size(); ++rank) {
            const Merge merge = TRY(read_merge(merges[rank], rank));
            const uint64_t pair =
                static_cast<uint64_t>(merge.left) << 32 | static_cast<uint32_t>(merge.right);
            if (const auto [it, is_new] = rank_of_pair.emplace(pair, rank); !is_new)
                return make_error(ErrorCode::kCorrupt, "model.merges[{}] repeats model.merges[{}]",
                                  rank, it->second);
            file_.merges.push_back(merge);
        }
        return {};
    }

    Result<Merge> read_merge(const SortedJson& entry, size_t rank) const {
        const auto parts = merge_parts(entry);
        if (!parts)
            return make_error(ErrorCode::kCorrupt, "model.merges[{}] is {}, expected two tokens",
                              rank, shown(entry));
        const auto& [left, right] = *parts;
        const std::string merged = std::string(left) + std::string(right);
        return Merge{TRY(known(left, rank)), TRY(known(right, rank)), TRY(known(merged, rank))};
    }

    // "left right", or ["left", "right"] as newer versions of the reference write it.
    static std::optional<std::pair<std::string_view, std::string_view>> merge_parts(
        const SortedJson& merge) {
        if (merge.is_string()) {
            const std::string_view text = merge.get_ref<const std::string&>();
            const size_t blank = text.find(' ');
            if (blank == text.npos || text.find(' ', blank + 1) != text.npos) return std::nullopt;
            return std::pair{text.substr(0, blank), text.substr(blank + 1)};
        }
        if (!merge.is_array() || merge.size() != 2) return std::nullopt;
        if (!merge[0].is_string() || !merge[1].is_string()) return std::nullopt;
        return std::pair<std::string_view, std::string_view>{
            merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
    }

    // A token that merges may use: one that stands for its bytes.
    Result<TokenId> known(std::string_view symbols, size_t rank) const {
        const auto it = ids_.find(symbols);
        if (it == ids_.end() || !has_bytes_[static_cast<size_t>(it->second)])
            return make_error(ErrorCode::kCorrupt,
                              "model.merges[{}] needs the token {}, model.vocab lacks it", rank,
                              shown_text(symbols));
        return it->second;
    }

    TokenizerFile file_;
    ByteSymbols symbols_;
    std::vector<bool> taken_;                            // ids seen; size = most ids there can be
    std::unordered_map<std::string_view, TokenId> ids_;  // model.vocab
    std::vector<bool> has_bytes_;                        // vocabulary entries in byte symbols
};

}  // namespace

Result<TokenizerFile> parse_tokenizer_json(std::string_view text) {
    const SortedJson root = TRY(parse_sorted_json(text));
    if (!root.is_object())
        return make_error(ErrorCode::kCorrupt, "the file is {}, expected an object", shown(root));
    return Reader().read(root);
}

}  // namespace baleen
