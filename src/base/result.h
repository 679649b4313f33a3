// Result<T>: a value or an Error, for everything that the outside world can get wrong.
// Member names follow std::expected. TRY(expr) yields the value or returns the error to the caller.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace baleen {

enum class ErrorCode {
    kInvalidArgument,  // the caller's value is outside the allowed range
    kNotFound,         // a file, tensor or id does not exist
    kCorrupt,          // bytes do not have the form they must have
    kUnsupported,      // well-formed, but not something this program handles
    kExhausted,        // a stated limit (memory, queue, context) is reached
    kIo,               // the operating system refused
    kCancelled,        // asked to stop
};

struct Error {
    ErrorCode code = ErrorCode::kInvalidArgument;
    std::string message;  // the thing, its value, the allowed range; no trailing newline

    // The same error with "context: " put before its message.
    Error in(const std::string& context) && { return {code, context + ": " + message}; }
};

template <typename... Args>
Error make_error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
    return {code, fmt::format(format, std::forward<Args>(args)...)};
}

template <typename T>
class [[nodiscard]] Result {
  public:
    using value_type = T;

    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    bool has_value() const { return state_.index() == 0; }
    explicit operator bool() const { return has_value(); }

    T& value() & {
        require_value();
        return std::get<0>(state_);
    }
    const T& value() const& {
        require_value();
        return std::get<0>(state_);
    }
    // By value: a reference into a temporary Result would dangle.
    T value() && {
        require_value();
        return std::get<0>(std::move(state_));
    }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    const Error& error() const& {
        CHECK(!has_value());
        return std::get<1>(state_);
    }
    Error&& error() && {
        CHECK(!has_value());
        return std::get<1>(std::move(state_));
    }

  private:
    void require_value() const {
        if (!has_value())
            check_failed(__FILE__, __LINE__, "Result holds a value", std::get<1>(state_).message);
    }
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
  public:
    using value_type = void;

    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    bool has_value() const { return !error_.has_value(); }
    explicit operator bool() const { return has_value(); }
    void value() const {
        if (error_) check_failed(__FILE__, __LINE__, "Result holds a value", error_->message);
    }
    const Error& error() const& {
        CHECK(error_.has_value());
        return *error_;
    }
    Error&& error() && {
        CHECK(error_.has_value());
        return std::move(*error_);
    }

  private:
    std::optional<Error> error_;
};

}  // namespace baleen

// Our one clever macro: a statement expression (accepted by g++ and clang with __extension__). Its
// value is the Result's, or nothing for Result<void>.
#define TRY(expression) BALEEN_TRY_AS(BALEEN_TRY_NAME(__COUNTER__), expression)
#define BALEEN_TRY_NAME(n) BALEEN_TRY_JOIN(try_result_, n)
#define BALEEN_TRY_JOIN(a, b) a##b
#define BALEEN_TRY_AS(result, expression)                          \
    __extension__({                                                \
        auto result = (expression);                                \
        if (!result.has_value()) return std::move(result).error(); \
        std::move(result).value();                                 \
    })
