// The chat page that GET / answers with: one HTML document, embedded in the program when it is
// built (page.html with page.css, page.js and page_text.js; cmake/embed_page.cmake joins them).
#pragma once

#include <string_view>

namespace baleen::serve {

std::string_view chat_page();

}  // namespace baleen::serve
