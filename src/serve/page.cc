#include "serve/page.h"
namespace baleen::serve { std::string_view chat_page() { return "<html></html>"; } }
