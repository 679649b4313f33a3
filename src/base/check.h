// CHECK and DCHECK: our own mistakes abort, with the expression and the values printed.
// The world's mistakes (files, bytes, requests) never reach a CHECK: they are a Result (result.h).
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace baleen {

[[noreturn]] inline void check_failed(const char* file, int line, const char* expression,
                                      const std::string& values) {
    std::fprintf(stderr, "%s:%d: CHECK failed: %s %s\n", file, line, expression, values.c_str());
    std::abort();
}

}  // namespace baleen

#define CHECK(condition)                                                \
    do {                                                                \
        if (!(condition)) [[unlikely]]                                  \
            ::baleen::check_failed(__FILE__, __LINE__, #condition, ""); \
    } while (0)

#define BALEEN_CHECK_OP(a, op, b)                                                \
    do {                                                                         \
        const auto& check_a = (a);                                               \
        const auto& check_b = (b);                                               \
        if (!(check_a op check_b)) [[unlikely]]                                  \
            ::baleen::check_failed(__FILE__, __LINE__, #a " " #op " " #b,        \
                                   fmt::format("({} vs {})", check_a, check_b)); \
    } while (0)

#define CHECK_EQ(a, b) BALEEN_CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) BALEEN_CHECK_OP(a, !=, b)
#define CHECK_LT(a, b) BALEEN_CHECK_OP(a, <, b)
#define CHECK_LE(a, b) BALEEN_CHECK_OP(a, <=, b)
#define CHECK_GT(a, b) BALEEN_CHECK_OP(a, >, b)
#define CHECK_GE(a, b) BALEEN_CHECK_OP(a, >=, b)

#ifdef NDEBUG
#define DCHECK(condition) \
    do {                  \
    } while (0)
#else
#define DCHECK(condition) CHECK(condition)
#endif
