// baleen sandbox: sandboxes and what they left behind.
#include <fmt/format.h>

#include <cstdint>

#include "cli/sandbox_commands.h"
#include "cli/sandbox_images.h"

namespace baleen::cli {

std::string printable(std::string_view line) {
    std::string out;
    for (size_t i = 0; i < line.size(); ++i) {
        auto byte = static_cast<uint8_t>(line[i]);
        // U+0080 to U+009F are 0xC2 and the byte of that value.
        const bool is_pair = byte == 0xC2 && i + 1 < line.size();
        const auto next = is_pair ? static_cast<uint8_t>(line[i + 1]) : uint8_t{0};
        const bool is_c1 = next >= 0x80 && next <= 0x9F;
        if (is_c1) byte = static_cast<uint8_t>(line[++i]);
        if (byte < 0x20 || byte == 0x7F || is_c1)
            out += fmt::format("\\u{:04x}", byte);
        else
            out += line[i];
    }
    return out;
}

void add_sandbox(CLI::App& app, Chosen& chosen) {
    CLI::App* command =
        app.add_subcommand("sandbox", "Sandboxes: their images, trajectory logs and checks");
    command->require_subcommand(1);
    add_sandbox_images(*command, chosen);
    add_sandbox_log(*command, chosen);
    add_sandbox_verify(*command, chosen);
    command->footer(
        "`baleen sandbox COMMAND --help` shows the options of one.\n\n"
        "Examples:\n"
        "  baleen sandbox images list\n"
        "  baleen sandbox log /var/lib/baleen\n"
        "  baleen sandbox verify /var/lib/baleen");
}

}  // namespace baleen::cli
