// Pax extended headers: "LENGTH KEY=VALUE\n" records that overrule fields of the next header. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sandbox/image/entry.h"

namespace baleen::sandbox::image {

struct PaxTime {
    int64_t seconds = 0;
    uint32_t nanoseconds = 0;
    bool operator==(const PaxTime&) const = default;
};

struct PaxValues {
    std::optional<std::string> path;
    std::optional<std::string> link_path;
    std::optional<uint64_t> size;
    std::optional<uint32_t> uid;
    std::optional<uint32_t> gid;
    std::optional<PaxTime> mtime;
    std::vector<Xattr> xattrs;        // those that a layer keeps
    uint64_t num_dropped_xattrs = 0;  // the others
};

// Reads all records into values, over what is there. kUnsupported for sparse files.
Result<void> parse_pax(std::string_view records, PaxValues& values);

// One record, its length in front.
std::string pax_record(std::string_view key, std::string_view value);

// "-1.5": seconds since 1970 with up to nine digits of fraction.
Result<PaxTime> parse_pax_time(std::string_view text);
std::string pax_time_text(const PaxTime& time);

}  // namespace baleen::sandbox::image
