#include "agent/calculator.h"

#include <fmt/format.h>

#include <cstdint>
#include <optional>

#include "base/result.h"

namespace baleen::agent {
namespace {

__extension__ using SignedWide = __int128;

constexpr int64_t kLimit = 1'000'000'000'000'000'000;  // 10^18: what is below fits 64 bits
constexpr size_t kDigitsMax = 18;
constexpr int kDepthMax = 64;  // nested parentheses and signs

Error bad() {
    return make_error(ErrorCode::kInvalidArgument, "error: bad expression");
}
Error too_large() {
    return make_error(ErrorCode::kExhausted, "error: number too large");
}

Result<int64_t> checked(SignedWide value) {
    if (value >= kLimit || value <= -kLimit) return too_large();
    return static_cast<int64_t>(value);
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// sum = product (("+" | "-") product)*; product = factor ("*" factor)*;
// factor = "-" factor | "(" sum ")" | digits. Errors are found from left to right.
class ExpressionParser {
  public:
    explicit ExpressionParser(std::string_view text) : text_(text) {}

    Result<int64_t> parse() {
        const int64_t value = TRY(sum(0));
        if (peek() != '\0') return bad();
        return value;
    }

  private:
    char peek() {
        while (!text_.empty() && text_[0] == ' ') text_.remove_prefix(1);
        return text_.empty() ? '\0' : text_[0];
    }
    bool take(char wanted) {
        if (peek() != wanted) return false;
        text_.remove_prefix(1);
        return true;
    }

    Result<int64_t> sum(int depth) {
        int64_t value = TRY(product(depth));
        while (true) {
            const bool plus = take('+');
            if (!plus && !take('-')) return value;
            const int64_t other = TRY(product(depth));
            value = TRY(checked(plus ? SignedWide{value} + other : SignedWide{value} - other));
        }
    }

    Result<int64_t> product(int depth) {
        int64_t value = TRY(factor(depth));
        while (take('*')) value = TRY(checked(SignedWide{value} * TRY(factor(depth))));
        return value;
    }

    Result<int64_t> factor(int depth) {
        if (depth > kDepthMax) return bad();
        if (take('-')) return -TRY(factor(depth + 1));
        if (take('(')) {
            const int64_t value = TRY(sum(depth + 1));
            if (!take(')')) return bad();
            return value;
        }
        if (!is_digit(peek())) return bad();
        while (!text_.empty() && text_[0] == '0') text_.remove_prefix(1);
        int64_t value = 0;
        for (size_t digits = 0; !text_.empty() && is_digit(text_[0]); text_.remove_prefix(1)) {
            if (++digits > kDigitsMax) return too_large();
            value = value * 10 + (text_[0] - '0');
        }
        return value;
    }

    std::string_view text_;
};

}  // namespace

std::string calculate(std::string_view expression) {
    // A character that belongs nowhere comes before any other error.
    if (expression.find_first_not_of("0123456789+-*() ") != std::string_view::npos)
        return bad().message;
    const Result<int64_t> value = ExpressionParser(expression).parse();
    return value ? fmt::format("{}", *value) : value.error().message;
}

}  // namespace baleen::agent
