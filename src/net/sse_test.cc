#include "net/sse.h"

#include <gtest/gtest.h>

namespace baleen::net {
namespace {

TEST(Sse, AnEventHasItsNameItsLinesAndAnEmptyLine) {
    EXPECT_EQ(sse_event("message_start", "{\"a\":1}"), "event: message_start\ndata: {\"a\":1}\n\n");
    EXPECT_EQ(sse_data("[DONE]"), "data: [DONE]\n\n");
    EXPECT_EQ(sse_data(""), "data: \n\n");
}

TEST(Sse, EveryLineEndInDataStartsANewDataLine) {
    EXPECT_EQ(sse_data("a\nb"), "data: a\ndata: b\n\n");
    EXPECT_EQ(sse_data("a\rb\r\nc\n\nd\n"),
              "data: a\ndata: b\ndata: c\ndata: \ndata: d\ndata: \n\n");
    EXPECT_EQ(sse_data("x\n\nevent: forged"), "data: x\ndata: \ndata: event: forged\n\n");
}

TEST(Sse, CommentsStayComments) {
    EXPECT_EQ(sse_comment("ping"), ": ping\n\n");
    EXPECT_EQ(sse_comment("a\ndata: b"), ": a\n: data: b\n\n");
}

TEST(SseDeath, ANameWithALineEndIsACallersMistake) {
    EXPECT_DEATH(sse_event("a\nb", ""), "CHECK");
}

}  // namespace
}  // namespace baleen::net
