# cmake -DINPUT=page.html -DOUTPUT=page.cc -P embed_page.cmake
# Writes the chat page as C++: every `@include FILE@` of INPUT is replaced by that file, which stands
# beside it, and the bytes become an array.
get_filename_component(folder ${INPUT} DIRECTORY)
file(READ ${INPUT} page)
string(REGEX MATCHALL "@include [a-z_.]+@" marks "${page}")
foreach(mark IN LISTS marks)
    string(REGEX REPLACE "@include (.*)@" "\\1" name ${mark})
    file(READ ${folder}/${name} part)
    string(REPLACE ${mark} "${part}" page "${page}")
endforeach()
string(HEX "${page}" bytes)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUTPUT} "// Generated from ${INPUT}.
#include \"serve/page.h\"

namespace baleen::serve {
namespace {

constexpr unsigned char kPage[] = {
${bytes}
};

}  // namespace

std::string_view chat_page() {
    return {reinterpret_cast<const char*>(kPage), sizeof kPage};
}

}  // namespace baleen::serve
")
