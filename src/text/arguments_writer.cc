#include "text/arguments_writer.h"

#include "text/argument_json.h"

namespace baleen {

std::string ArgumentsWriter::advance(std::string piece) {
    size_ += piece.size();
    return piece;
}

std::string ArgumentsWriter::begin_parameter(const std::string& name) {
    const auto [place, is_new] = places_.try_emplace(name, members_.size());
    if (is_new) members_.push_back({name});
    is_repeating_ = !is_new;
    has_repeated_ |= is_repeating_;
    current_ = place->second;
    std::string piece = (is_empty_ ? "{" : ", ") + json_quoted(name) + ": ";
    is_empty_ = false;
    members_[current_].value_begin = size_ + piece.size();
    return advance(std::move(piece));
}

std::string ArgumentsWriter::value(std::string_view json) {
    members_[current_].value_end = size_ + json.size();
    return advance(std::string(json));
}

std::string ArgumentsWriter::begin_string() {
    return advance("\"");
}

std::string ArgumentsWriter::string_piece(std::string_view text) {
    std::string piece;
    append_json_escaped(text, piece);
    return advance(std::move(piece));
}

std::string ArgumentsWriter::end_string() {
    return value("\"");
}

std::string ArgumentsWriter::end_call() {
    return advance(is_empty_ ? "{}" : "}");
}

std::string ArgumentsWriter::without_repetitions(std::string_view arguments) const {
    std::string text = "{";
    for (const Member& member : members_) {
        if (text.size() > 1) text += ", ";
        text += json_quoted(member.name) + ": ";
        text += arguments.substr(member.value_begin, member.value_end - member.value_begin);
    }
    return text + '}';
}

}  // namespace baleen
