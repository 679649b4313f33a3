// What the tests of the chat encoding share: the shared data, and prompts from JSON in one call.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/file.h"
#include "text/chat.h"
#include "text/chat_json.h"
#include "text/json_text.h"
#include "text/tokenizer.h"

namespace baleen {

inline std::string chat_shared_path(const std::string& name) {
    const char* shared = std::getenv("BALEEN_SHARED");
    return std::string(shared != nullptr ? shared : "../shared") + "/" + name;
}

inline JsonText chat_shared_json(const std::string& name) {
    return JsonText::parse(read_file(chat_shared_path(name), size_t{64} << 20).value()).value();
}

inline const Tokenizer& chat_tokenizer() {
    static const Tokenizer tokenizer =
        Tokenizer::load(chat_shared_path("data/deepseek-v4-tokenizer.json")).value();
    return tokenizer;
}

inline JsonText parsed(std::string_view json) {
    Result<JsonText> value = JsonText::parse(json);
    if (!value) ADD_FAILURE() << value.error().message << "\n" << json;
    return value ? *value : JsonText();
}

inline Conversation conversation_of(std::string_view request) {
    Result<Conversation> conversation = conversation_from_json(parsed(request));
    if (!conversation) ADD_FAILURE() << conversation.error().message << "\n" << request;
    return conversation ? *conversation : Conversation();
}

inline Prompt prompt_of(const Conversation& conversation) {
    Result<Prompt> prompt = render(conversation);
    if (!prompt) ADD_FAILURE() << prompt.error().message;
    return prompt ? *prompt : Prompt();
}

inline std::string text_of(std::string_view request) {
    return prompt_of(conversation_of(request)).text();
}

// The message with which reading or rendering the request is refused; "" if it is not.
inline std::string error_of(std::string_view request) {
    const auto prompt = [&]() -> Result<Prompt> {
        return render(TRY(conversation_from_json(TRY(JsonText::parse(request)))));
    }();
    if (prompt) return "";
    EXPECT_EQ(prompt.error().code, ErrorCode::kInvalidArgument) << prompt.error().message;
    EXPECT_EQ(prompt.error().message.find('\n'), std::string::npos);
    return prompt.error().message;
}

}  // namespace baleen
