// The serving parser: one state at a time, each with the marks that end it. Bytes go through the
// state's matchers one by one and are stashed until no matcher can claim them any more; then they
// are what the state's text is (emit). A complete mark changes the state (act).
#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "text/argument_json.h"
#include "text/arguments_wrapper.h"
#include "text/arguments_writer.h"
#include "text/completion_parser.h"
#include "text/json_extent.h"
#include "text/serving_markers.h"
#include "text/utf8.h"

namespace baleen {
namespace {

// As many blanks as there are characters.
std::string blanked(std::string_view text) {
    const auto characters = std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    });
    return std::string(static_cast<size_t>(characters), ' ');
}

}  // namespace

struct ServingParser::State {
    explicit State(ServingParserOptions given);

    void push(std::string_view bytes, bool is_control);
    void finish();

    ServingParserOptions options;
    ParsedMessage message;
    bool stopped = false;
    std::string stop_sequence;
    bool in_calls = false;
    bool is_malformed = false;
    size_t repaired_values = 0;
    size_t unwrapped_calls = 0;
    std::vector<ParserEvent>* events = nullptr;  // of the push under way
    size_t first_event = 0;                      // that it has added
    ParserState state = ParserState::kAnswer;

  private:
    void feed(char byte, bool is_control);
    bool feed_matchers(char byte, bool is_control, Mark& mark, size_t& size);
    void release_certain();
    void clear_stash();
    void enter(ParserState next);
    void enter_answer();

    void act(Mark mark, const std::string& text);
    void close_call(const std::string& text);
    void begin_call();
    void begin_parameter();
    void end_value();

    void emit(std::string_view text);
    void emit_event(ParserEvent::Kind kind, std::string text);
    void emit_arguments(std::string piece);

    std::array<std::vector<MarkMatcher>, kParserStateCount> matchers_;  // made when first needed
    bool has_doubled_bars_ = false;  // the block opened with them
    std::string pending_;            // an incomplete character
    bool pending_is_control_ = false;
    std::string stash_;  // bytes from stash_begin_ on: matched against, not yet emitted
    size_t stash_begin_ = 0;
    size_t newline_run_ = 0;  // newlines at the end of the stash
    bool at_start_ = true;    // of reasoning or answer: newlines are dropped
    JsonExtent json_;
    std::string held_;  // a name, or a value that must be JSON, so far
    ArgumentsWriter arguments_;
    ArgumentsWrapper wrapper_;
};

ServingParser::State::State(ServingParserOptions given) : options(std::move(given)) {
    for (const std::string& stop : options.stops) CHECK(!stop.empty());
    if (options.in_reasoning)
        enter(ParserState::kReasoning);
    else
        enter_answer();
}

// A character's bytes come from one place: a change of origin ends an incomplete one.
void ServingParser::State::push(std::string_view bytes, bool is_control) {
    std::string text;
    if (is_control != pending_is_control_ && !pending_.empty()) {
        pending_.clear();
        for (const char byte : kReplacementCharacter) feed(byte, pending_is_control_);
    }
    pending_is_control_ = is_control;
    pending_ += bytes;
    drain_utf8(pending_, text);
    for (const char byte : text) feed(byte, is_control);
    release_certain();
}

void ServingParser::State::finish() {
    switch (state) {
        case ParserState::kReasoning:
        case ParserState::kAnswer:
        case ParserState::kBeforeJson:
        case ParserState::kJson:
        case ParserState::kAfterJson:
            if (!pending_.empty())
                for (const char byte : kReplacementCharacter) feed(byte, false);
            emit(std::string_view(stash_).substr(stash_begin_));
            break;
        // An unfinished call: what was held back may be part of a closing tag and is no argument.
        default: break;
    }
    enter(ParserState::kDone);
}

void ServingParser::State::feed(char byte, bool is_control) {
    if (state == ParserState::kDone) return;
    if (at_start_ && byte == '\n') return;
    at_start_ = false;
    stash_ += byte;
    if (state == ParserState::kJson) json_.feed(byte);
    Mark mark{};
    size_t size = 0;
    if (!feed_matchers(byte, is_control, mark, size)) {
        newline_run_ = byte == '\n' ? newline_run_ + 1 : 0;
        return;
    }
    const size_t mark_begin = stash_.size() - size;
    emit(std::string_view(stash_).substr(stash_begin_, mark_begin - stash_begin_));
    act(mark, stash_.substr(mark_begin));
}

// True when a mark is complete; of several the one that began first.
bool ServingParser::State::feed_matchers(char byte, bool is_control, Mark& mark, size_t& size) {
    const bool in_json = state == ParserState::kJson && json_.is_inside();
    for (auto& [candidate, matcher] : matchers_[static_cast<size_t>(state)]) {
        const bool is_tag = candidate == Mark::kBlockOpen || candidate == Mark::kDoubledBlockOpen ||
                            candidate == Mark::kThinkEnd;
        if (in_json && is_tag) {
            matcher.reset();
            continue;
        }
        if (!matcher.feed(byte, is_control, newline_run_)) continue;
        const size_t matched = matcher.held(newline_run_);
        if (matched <= size) continue;
        mark = candidate;
        size = matched;
    }
    return size > 0;
}

// Emits what no matcher can claim any more.
void ServingParser::State::release_certain() {
    if (stash_begin_ == stash_.size()) return;
    size_t held = 0;
    const bool in_json = state == ParserState::kJson && json_.is_inside();
    for (const MarkMatcher& entry : matchers_[static_cast<size_t>(state)])
        held = std::max(held, entry.matcher.held(in_json ? 0 : newline_run_));
    const size_t certain = stash_.size() - stash_begin_ - held;
    emit(std::string_view(stash_).substr(stash_begin_, certain));
    stash_begin_ += certain;
    if (stash_begin_ * 2 < stash_.size()) return;
    stash_.erase(0, stash_begin_);
    stash_begin_ = 0;
}

void ServingParser::State::clear_stash() {
    stash_.clear();
    stash_begin_ = 0;
    newline_run_ = 0;
}

void ServingParser::State::enter(ParserState next) {
    state = next;
    clear_stash();
    std::vector<MarkMatcher>& matchers = matchers_[static_cast<size_t>(state)];
    if (matchers.empty()) matchers = make_matchers(state, options, has_doubled_bars_);
    for (MarkMatcher& entry : matchers) entry.matcher.reset();
}

void ServingParser::State::enter_answer() {
    enter(options.json_mode ? ParserState::kBeforeJson : ParserState::kAnswer);
    at_start_ = true;
}

void ServingParser::State::act(Mark mark, const std::string& text) {
    switch (mark) {
        case Mark::kStop:
            stopped = true;
            stop_sequence = text;
            enter(ParserState::kDone);
            break;
        case Mark::kThinkEnd:
            if (state == ParserState::kReasoning)
                enter_answer();
            else
                enter(state);  // a stray one
            break;
        case Mark::kBlockOpen:
        case Mark::kDoubledBlockOpen:
            has_doubled_bars_ = mark == Mark::kDoubledBlockOpen;
            in_calls = true;
            enter(ParserState::kCalls);
            break;
        case Mark::kFenceOpen: enter(ParserState::kJson); break;
        case Mark::kJsonOpen:
            enter(ParserState::kJson);
            for (const char byte : text) feed(byte, false);
            break;
        case Mark::kFenceClose: enter(ParserState::kAfterJson); break;
        case Mark::kCallOpen: enter(ParserState::kCallName); break;
        case Mark::kBlockClose: enter(ParserState::kDone); break;
        case Mark::kQuote:
            state == ParserState::kCallName ? begin_call() : begin_parameter();
            break;
        case Mark::kParameterOpen: enter(ParserState::kParameterName); break;
        case Mark::kCallClose: close_call(text); break;
        case Mark::kStringKind:
            emit_arguments(arguments_.begin_string());
            enter(ParserState::kStringValue);
            break;
        case Mark::kJsonKind: enter(ParserState::kJsonValue); break;
        case Mark::kValueClose: end_value(); break;
    }
}

void ServingParser::State::begin_call() {
    arguments_ = ArgumentsWriter();
    wrapper_ = ArgumentsWrapper();
    message.tool_calls.push_back({.name = std::exchange(held_, {})});
    emit_event(ParserEvent::Kind::kCallBegin, message.tool_calls.back().name);
    enter(ParserState::kParameters);
}

void ServingParser::State::begin_parameter() {
    const std::string name = std::exchange(held_, {});
    wrapper_.give_up();  // it is not alone
    if (arguments_.is_empty() && options.is_wrapper &&
        options.is_wrapper(message.tool_calls.back().name, name))
        wrapper_.open();
    emit_arguments(arguments_.begin_parameter(name));
    is_malformed |= arguments_.is_repeating();
    enter(ParserState::kParameterKind);
}

void ServingParser::State::end_value() {
    if (state == ParserState::kStringValue) {
        emit_arguments(arguments_.end_string());
    } else {
        const std::string value = std::exchange(held_, {});
        const std::string_view json = trimmed(value);
        const bool is_json = is_json_value(json);
        if (!is_json) ++repaired_values;
        if (wrapper_.is_open()) wrapper_.add_text(decoded_once(json));
        emit_arguments(arguments_.value(is_json ? std::string(json) : json_quoted(json)));
    }
    enter(ParserState::kParameters);
}

// tag: the beginning of whatever closing tag ended the call. It may be that of the block.
void ServingParser::State::close_call(const std::string& tag) {
    std::optional<std::string> inside = wrapper_.close();
    unwrapped_calls += inside ? 1 : 0;
    emit_arguments(inside ? std::move(*inside) : arguments_.end_call());
    ParsedCall& call = message.tool_calls.back();
    if (arguments_.has_repeated()) call.arguments = arguments_.without_repetitions(call.arguments);
    call.complete = true;
    emit_event(ParserEvent::Kind::kCallEnd, "");
    enter(ParserState::kCalls);
    for (const char byte : tag) feed(byte, true);
}

// text is certain to be what the state's text is.
void ServingParser::State::emit(std::string_view text) {
    if (text.empty()) return;
    switch (state) {
        case ParserState::kReasoning:
            message.reasoning += text;
            emit_event(ParserEvent::Kind::kReasoning, std::string(text));
            break;
        case ParserState::kAnswer:
        case ParserState::kJson:
            message.content += text;
            emit_event(ParserEvent::Kind::kContent, std::string(text));
            break;
        case ParserState::kBeforeJson:
        case ParserState::kAfterJson: {
            const std::string blanks = blanked(text);
            message.content += blanks;
            emit_event(ParserEvent::Kind::kContent, blanks);
            break;
        }
        case ParserState::kCallName:
        case ParserState::kParameterName:
        case ParserState::kJsonValue: held_ += text; break;
        case ParserState::kStringValue:
            wrapper_.add_text(text);
            emit_arguments(arguments_.string_piece(text));
            break;
        case ParserState::kCalls:
        case ParserState::kParameters:
        case ParserState::kParameterKind:
        case ParserState::kDone: break;
    }
}

void ServingParser::State::emit_arguments(std::string piece) {
    piece = wrapper_.pass(std::move(piece));
    if (piece.empty()) return;
    message.tool_calls.back().arguments += piece;
    emit_event(ParserEvent::Kind::kCallArguments, std::move(piece));
}

// Pieces of one kind are joined within a push.
void ServingParser::State::emit_event(ParserEvent::Kind kind, std::string text) {
    const bool is_text =
        kind != ParserEvent::Kind::kCallBegin && kind != ParserEvent::Kind::kCallEnd;
    if (is_text && events->size() > first_event && events->back().kind == kind) {
        events->back().text += text;
        return;
    }
    const size_t call_idx = message.tool_calls.empty() ? 0 : message.tool_calls.size() - 1;
    events->push_back({kind, call_idx, std::move(text)});
}

ServingParser::ServingParser(ServingParserOptions options)
    : state_(std::make_unique<State>(std::move(options))) {}
ServingParser::~ServingParser() = default;
ServingParser::ServingParser(ServingParser&&) noexcept = default;

void ServingParser::push(std::string_view bytes, std::vector<ParserEvent>& events, Origin origin) {
    state_->events = &events;
    state_->first_event = events.size();
    state_->push(bytes, state_->options.control_markers_only && origin == Origin::kControl);
    state_->events = nullptr;
}

void ServingParser::finish(std::vector<ParserEvent>& events) {
    state_->events = &events;
    state_->first_event = events.size();
    state_->finish();
    state_->events = nullptr;
}

bool ServingParser::stopped() const {
    return state_->stopped;
}

const std::string& ServingParser::stop_sequence() const {
    return state_->stop_sequence;
}
bool ServingParser::in_reasoning() const {
    return state_->state == ParserState::kReasoning;
}
bool ServingParser::in_calls() const {
    return state_->in_calls;
}
bool ServingParser::is_malformed() const {
    return state_->is_malformed;
}
const ParsedMessage& ServingParser::message() const {
    return state_->message;
}
size_t ServingParser::repaired_values() const {
    return state_->repaired_values;
}
size_t ServingParser::unwrapped_calls() const {
    return state_->unwrapped_calls;
}

}  // namespace baleen
