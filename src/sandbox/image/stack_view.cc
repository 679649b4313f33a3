#include "sandbox/image/stack_view.h"

#include <algorithm>

namespace baleen::sandbox::image {
namespace {

struct Seen {
    std::optional<Attributes> directory;
    bool hides_below = false;
};

// One layer on the way down.
Result<Seen> look(const ErofsReader& reader, const std::string& path) {
    Seen seen;
    for (size_t end = 0; end <= path.size();) {
        const std::string prefix = path.substr(0, end);
        const std::optional<ErofsInode> inode = TRY(reader.find(prefix));
        if (!inode) return seen;
        if (inode->kind != EntryKind::kDirectory) return Seen{std::nullopt, true};
        seen.hides_below = seen.hides_below || is_opaque(inode->attributes);
        if (end == path.size()) {
            seen.directory = inode->attributes;
            remove_marks(*seen.directory);
            return seen;
        }
        end = std::min(path.find('/', end + 1), path.size());
    }
    return seen;
}

}  // namespace

Result<std::optional<Attributes>> StackView::directory(const std::string& path) const {
    for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
        Seen seen = TRY(look((*layer)->reader(), path));
        if (seen.directory) return std::move(seen.directory);
        if (seen.hides_below) break;
    }
    return std::optional<Attributes>();
}

}  // namespace baleen::sandbox::image
