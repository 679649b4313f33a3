// The tar header block: offsets and lengths of its fields (POSIX.1-1988 ustar; GNU tar has the same
// ones up to the prefix). Numbers are octal text, or base-256 where the first byte has its top bit
// set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace baleen::sandbox::image::tar {

inline constexpr size_t kBlockBytes = 512;

struct Field {
    size_t offset;
    size_t bytes;
};
inline constexpr Field kName = {0, 100};
inline constexpr Field kMode = {100, 8};
inline constexpr Field kUid = {108, 8};
inline constexpr Field kGid = {116, 8};
inline constexpr Field kSize = {124, 12};
inline constexpr Field kMtime = {136, 12};
inline constexpr Field kChecksum = {148, 8};
inline constexpr Field kType = {156, 1};
inline constexpr Field kLinkName = {157, 100};
inline constexpr Field kMagic = {257, 8};  // with the version
inline constexpr Field kDeviceMajor = {329, 8};
inline constexpr Field kDeviceMinor = {337, 8};
inline constexpr Field kPrefix = {345, 155};  // of the name, in ustar only

inline constexpr std::string_view kUstarMagic{
    "ustar\0"
    "00",
    8};

inline constexpr char kTypeRegular = '0';
inline constexpr char kTypeHardLink = '1';
inline constexpr char kTypeSymlink = '2';
inline constexpr char kTypeCharDevice = '3';
inline constexpr char kTypeBlockDevice = '4';
inline constexpr char kTypeDirectory = '5';
inline constexpr char kTypeFifo = '6';
inline constexpr char kTypeContiguous = '7';  // read as regular
inline constexpr char kTypePax = 'x';
inline constexpr char kTypePaxGlobal = 'g';
inline constexpr char kTypeGnuLongName = 'L';
inline constexpr char kTypeGnuLongLink = 'K';
inline constexpr char kTypeGnuSparse = 'S';
inline constexpr char kTypeGnuVolume = 'V';

inline constexpr std::string_view kPaxXattr = "SCHILY.xattr.";
inline constexpr std::string_view kPaxXattrBase64 = "LIBARCHIVE.xattr.";

}  // namespace baleen::sandbox::image::tar
