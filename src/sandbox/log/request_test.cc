#include "sandbox/log/request.h"

#include <gtest/gtest.h>

#include <functional>

namespace baleen::sandbox {
namespace {

OpRequest full_request() {
    OpRequest request;
    request.argv = {"pytest", "-q", "\xC3\xA9"};
    request.cwd = "/work";
    request.env = {{"B", "2"}, {"A", std::nullopt}};
    request.input = StoredBytes::in_record("abc");
    request.session = "s1";
    request.user = "agent";
    request.fields = {{"path", "a\nb"}};
    return request;
}

TEST(Request, HasOneSpelling) {
    EXPECT_EQ(*canonical_request(full_request()),
              "{\"argv\":[\"pytest\",\"-q\",\"\xC3\xA9\"],\"cwd\":\"/work\",\"env\":{\"A\":null,"
              "\"B\":\"2\"},\"kind\":\"exec\",\"path\":\"a\\nb\",\"session\":\"s1\",\"stdin\":"
              "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"user\":"
              "\"agent\"}");
    OpRequest shell;
    shell.shell = "echo hello";
    EXPECT_EQ(*canonical_request(shell), "{\"kind\":\"exec\",\"shell\":\"echo hello\"}");
    EXPECT_EQ(hex(*request_digest(shell)),
              hex(sha256("{\"kind\":\"exec\",\"shell\":\"echo hello\"}")));
}

TEST(Request, EveryMemberCounts) {
    const std::vector<std::function<void(OpRequest&)>> changes = {
        [](OpRequest& r) { r.kind = "write"; },
        [](OpRequest& r) { r.argv.emplace_back(""); },
        [](OpRequest& r) { r.argv = {"pytest -q \xC3\xA9"}; },
        [](OpRequest& r) { r.shell = ""; },
        [](OpRequest& r) { r.cwd = "/work/"; },
        [](OpRequest& r) { r.env["A"] = ""; },
        [](OpRequest& r) { r.env.erase("A"); },
        [](OpRequest& r) { r.input = StoredBytes::in_record("abd"); },
        [](OpRequest& r) { r.input.reset(); },
        [](OpRequest& r) { r.session = "s2"; },
        [](OpRequest& r) { r.user = "root"; },
        [](OpRequest& r) { r.fields["path"] = "a"; },
        [](OpRequest& r) { r.fields["mode"] = "644"; },
    };
    std::vector<Sha256Digest> digests = {*request_digest(full_request())};
    for (const auto& change : changes) {
        OpRequest changed = full_request();
        change(changed);
        for (const Sha256Digest& other : digests) EXPECT_NE(*request_digest(changed), other);
        digests.push_back(*request_digest(changed));
    }
}

TEST(Request, WhereTheInputLiesDoesNotCount) {
    const std::string large(kInlineBytesMax + 1, 'x');
    OpRequest a, b;
    a.input = StoredBytes::in_blob(sha256(large), large.size());
    b.input = StoredBytes::in_blob(sha256(large), large.size() + 1);  // its digest alone
    EXPECT_EQ(*request_digest(a), *request_digest(b));
}

TEST(Request, RefusesWhatHasNoSpelling) {
    OpRequest request;
    request.shell = "\xFF";
    EXPECT_EQ(canonical_request(request).error().message, "request: a string is not UTF-8");
    request.shell = "ok";
    for (const std::string name : {"kind", "argv", "stdin", "", "Path", "a-b"}) {
        request.fields = {{name, "x"}};
        EXPECT_FALSE(canonical_request(request)) << name;
    }
}

TEST(StreamName, IsPlainAndBounded) {
    for (const std::string_view good : {"main", "a/b:c@d._-9", "Z"})
        EXPECT_TRUE(check_stream_name(good)) << good;
    for (const std::string_view bad : {"", "a b", "a\n", "\xC3\xA9", "a\""})
        EXPECT_FALSE(check_stream_name(bad)) << bad;
    EXPECT_TRUE(check_stream_name(std::string(kStreamNameBytesMax, 'a')));
    EXPECT_FALSE(check_stream_name(std::string(kStreamNameBytesMax + 1, 'a')));
}

}  // namespace
}  // namespace baleen::sandbox
