// The chat page that GET / answers with: one HTML document, embedded in the program.
#pragma once

#include <string_view>

namespace baleen::serve {

std::string_view chat_page();

}  // namespace baleen::serve
