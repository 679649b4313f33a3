// Tar reader and writer. tests/e2e/test_sandbox_images.py has archives of GNU tar and of Python.
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <random>

#include "sandbox/image/decompress.h"
#include "sandbox/image/layer_fixture.h"
#include "sandbox/image/tar_format.h"
#include "sandbox/image/tar_reader.h"
#include "sandbox/image/tar_writer.h"

namespace baleen::sandbox::image {
namespace {

// Fields of a header as text, so that tests can write what no writer of ours would.
struct RawHeader {
    std::string name = "f";
    std::string mode = "0000644";
    std::string uid = "0000000";
    std::string size = "00000000000";
    std::string mtime = "00000000000";
    char type = '0';
    std::string link = "";
    std::string magic = std::string(tar::kUstarMagic);
    std::string prefix = "";
    std::string major = "";
};

std::string raw_header(const RawHeader& fields) {
    std::string block(tar::kBlockBytes, '\0');
    const auto put = [&](tar::Field field, const std::string& text) {
        block.replace(field.offset, std::min(field.bytes, text.size()),
                      text.substr(0, field.bytes));
    };
    put(tar::kName, fields.name);
    put(tar::kMode, fields.mode);
    put(tar::kUid, fields.uid);
    put(tar::kGid, "0000000");
    put(tar::kSize, fields.size);
    put(tar::kMtime, fields.mtime);
    put(tar::kChecksum, "        ");
    block[tar::kType.offset] = fields.type;
    put(tar::kLinkName, fields.link);
    put(tar::kMagic, fields.magic);
    put(tar::kDeviceMajor, fields.major);
    put(tar::kPrefix, fields.prefix);
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    put(tar::kChecksum, fmt::format("{:06o}", sum) + '\0');
    return block;
}

std::string padded(std::string content) {
    content.resize((content.size() + 511) / 512 * 512);
    return content;
}

const std::string kEnd(1024, '\0');

std::string pax_header(const std::string& records, char type = 'x') {
    return raw_header({.size = fmt::format("{:011o}", records.size()), .type = type}) +
           padded(records);
}

Result<std::vector<FoundFile>> read_all(
    std::string_view archive, TarReader::EndMarker end = TarReader::EndMarker::kRequired) {
    MemorySource source(bytes_of(archive));
    TarReader reader(source, end);
    std::vector<FoundFile> files;
    while (const std::optional<Entry> entry = TRY(reader.next())) {
        files.push_back({*entry, ""});
        uint8_t buffer[1000];
        while (const size_t n = TRY(reader.read(buffer)))
            files.back().content.append(buffer, buffer + n);
    }
    return files;
}

FoundFile only_entry(std::string_view archive) {
    const auto files = read_all(archive);
    EXPECT_TRUE(files) << (files ? "" : files.error().message);
    if (!files || files->size() != 1) return {};
    return files->front();
}

std::string error_of(std::string_view archive) {
    const auto files = read_all(archive);
    EXPECT_FALSE(files);
    return files ? "" : files.error().message;
}

std::string written(const std::vector<TestFile>& files) {
    MemorySink sink;
    TarWriter writer(sink);
    for (const TestFile& file : files) {
        Entry entry = file.entry;
        if (entry.kind == EntryKind::kSocket) continue;
        if (entry.kind == EntryKind::kRegular) entry.size = file.content.size();
        EXPECT_TRUE(writer.add(entry));
        EXPECT_TRUE(writer.append(bytes_of(file.content)));
    }
    EXPECT_TRUE(writer.finish());
    return {sink.bytes.begin(), sink.bytes.end()};
}

TEST(Tar, ReaderGivesBackWhatTheWriterTook) {
    auto files = sample_entries();
    std::erase_if(files, [](const TestFile& f) { return f.entry.kind == EntryKind::kSocket; });
    files.push_back(
        {{.path = "sl", .kind = EntryKind::kSymlink, .target = std::string(300, 's')}, ""});
    files.push_back({{.path = std::string(250, 'n') + "/" + std::string(250, 'm')}, "deep"});
    const auto found = read_all(written(files)).value();
    ASSERT_EQ(found.size(), files.size());
    for (size_t i = 0; i < files.size(); ++i) {
        EXPECT_EQ(found[i].entry.path, files[i].entry.path);
        EXPECT_EQ(found[i].entry.kind, files[i].entry.kind);
        EXPECT_EQ(found[i].entry.target, files[i].entry.target);
        EXPECT_EQ(found[i].entry.device_minor, files[i].entry.device_minor);
        EXPECT_TRUE(found[i].content == files[i].content);
        if (files[i].entry.kind != EntryKind::kHardLink) {
            EXPECT_EQ(found[i].entry.attributes, files[i].entry.attributes) << found[i].entry.path;
        }
    }
}

TEST(Tar, UstarPrefixAndGnuMagic) {
    EXPECT_EQ(only_entry(raw_header({.name = "b", .prefix = "a"}) + kEnd).entry.path, "a/b");
    // GNU's header has times where ustar has the prefix.
    EXPECT_EQ(only_entry(raw_header({.name = "b", .magic = "ustar  ", .prefix = "1234"}) + kEnd)
                  .entry.path,
              "b");
    EXPECT_EQ(only_entry(raw_header({.name = "old", .magic = ""}) + kEnd).entry.path, "old");
    const std::string full(100, 'n');  // a name that fills its field has no zero byte
    EXPECT_EQ(only_entry(raw_header({.name = full}) + kEnd).entry.path, full);
}

TEST(Tar, GnuLongNames) {
    const std::string name(300, 'x');
    const std::string archive = raw_header({.size = "00000000300", .type = 'K'}) +
                                padded("target" + std::string(186, '\0')) +
                                raw_header({.size = "00000000455", .type = 'L'}) +
                                padded(name.substr(0, 255) + "/" + name.substr(0, 40)) +
                                raw_header({.type = '2', .link = "short"}) + kEnd;
    const Entry entry = only_entry(archive).entry;
    EXPECT_EQ(entry.target, "target");
    EXPECT_EQ(entry.path.size(), 255U + 1 + 40);
}

TEST(Tar, PaxValuesOverruleTheHeader) {
    const std::string records = pax_record("path", "long/path") + pax_record("uid", "4000000000") +
                                pax_record("mtime", "-1.25") + pax_record("size", "3") +
                                pax_record("comment", "=\n=") +
                                pax_record("SCHILY.xattr.user.k", std::string("a\0\n=b", 5)) +
                                pax_record("LIBARCHIVE.xattr.user.%20l", "aGVsbG8") +
                                pax_record("SCHILY.xattr.security.selinux", "dropped") +
                                pax_record("SCHILY.xattr.trusted.overlay.redirect", "/etc");
    const FoundFile file = only_entry(pax_header(records) + raw_header({}) + padded("abc") + kEnd);
    EXPECT_EQ(file.entry.path, "long/path");
    EXPECT_EQ(file.content, "abc");
    EXPECT_EQ(file.entry.attributes.uid, 4'000'000'000U);
    EXPECT_EQ(file.entry.attributes.mtime_s, -2);
    EXPECT_EQ(file.entry.attributes.mtime_ns, 750'000'000U);
    EXPECT_EQ(file.entry.attributes.xattrs,
              (std::vector<Xattr>{{"user. l", "hello"}, {"user.k", std::string("a\0\n=b", 5)}}));
    // They speak of one entry only; global ones of all that follow.
    const auto files = read_all(pax_header(pax_record("uid", "5")) + raw_header({.name = "a"}) +
                                pax_header(pax_record("gid", "6"), 'g') +
                                raw_header({.name = "b"}) + raw_header({.name = "c"}) + kEnd)
                           .value();
    ASSERT_EQ(files.size(), 3U);
    EXPECT_EQ(files[0].entry.attributes.uid, 5U);
    EXPECT_EQ(files[1].entry.attributes.uid, 0U);
    EXPECT_EQ(files[2].entry.attributes.gid, 6U);
}

TEST(Tar, PaxRecordCountsItsOwnLength) {
    for (size_t bytes = 0; bytes < 1100; ++bytes) {
        const std::string record = pax_record("k", std::string(bytes, 'v'));
        EXPECT_EQ(std::stoul(record), record.size());
    }
    for (const PaxTime time :
         {PaxTime{0, 0}, PaxTime{5, 1}, PaxTime{-1, 1}, PaxTime{-2, 500'000'000}, PaxTime{-7, 0},
          PaxTime{INT64_MIN, 0}, PaxTime{INT64_MAX, 9}})
        EXPECT_EQ(parse_pax_time(pax_time_text(time)).value(), time) << pax_time_text(time);
}

TEST(Tar, BadPaxHeaders) {
    for (const std::string& records :
         {std::string("8 path=x\n"), std::string("11 path=xxx"), std::string("x"),
          std::string("99999999999999999999 a=b\n"), std::string("5 a=b\n"), std::string("0 a=b\n"),
          std::string("6 abc\n"), std::string("5 =b\n"), pax_record("uid", "-1"),
          pax_record("uid", "4294967295"), pax_record("size", "18446744073709551615"),
          pax_record("size", "9223372036854775807"), pax_record("mtime", "1e9"),
          pax_record("mtime", "--1"), pax_record("mtime", "9223372036854775808"),
          pax_record("LIBARCHIVE.xattr.user.a", "*"), pax_record("path", std::string("a\0b", 3)),
          pax_record(std::string("SCHILY.xattr.user.\0b", 20), "")})
        EXPECT_NE(error_of(pax_header(records) + raw_header({}) + kEnd), "") << records;
    EXPECT_NE(error_of(pax_header(pax_record("GNU.sparse.major", "1")) + raw_header({}) + kEnd)
                  .find("sparse"),
              std::string::npos);
}

TEST(Tar, NumbersOctalAndBase256) {
    const auto size_of = [](const std::string& field, const std::string& content) {
        return only_entry(raw_header({.size = field}) + padded(content) + kEnd).content.size();
    };
    EXPECT_EQ(size_of("00000000003 ", "abc"), 3U);
    EXPECT_EQ(size_of("          3 ", "abc"), 3U);
    EXPECT_EQ(size_of("3", "abc"), 3U);
    EXPECT_EQ(size_of(std::string("\x80\0\0\0\0\0\0\0\0\0\0\3", 12), "abc"), 3U);
    const auto mtime_of = [](const std::string& field) {
        return only_entry(raw_header({.mtime = field}) + kEnd).entry.attributes.mtime_s;
    };
    EXPECT_EQ(mtime_of(std::string(12, '\xff')), -1);
    EXPECT_EQ(mtime_of(std::string("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12)), INT64_MAX);
    EXPECT_EQ(mtime_of("77777777777"), 077777777777);
    for (const std::string& bad :
         {std::string("00000000008"), std::string("-0000000001"), std::string("0x000000001"),
          std::string("1 1"), std::string(12, '\xff'),
          std::string("\x80\0\0\0\x80\0\0\0\0\0\0\0", 12),
          std::string("\x80\1\0\0\0\0\0\0\0\0\0\0", 12),
          std::string("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12)})
        EXPECT_NE(error_of(raw_header({.size = bad}) + kEnd), "");
    EXPECT_NE(error_of(raw_header({.uid = std::string("\x80\0\0\0\xff\xff\xff\xff", 8)}) + kEnd),
              "");
    EXPECT_NE(error_of(raw_header({.type = '3', .major = "0010000"}) + kEnd), "");
}

TEST(Tar, HostilePathsAreNormalOrRefused) {
    const auto path_of = [](const std::string& name) {
        return only_entry(raw_header({.name = name}) + kEnd).entry.path;
    };
    EXPECT_EQ(path_of("/etc/shadow"), "etc/shadow");
    EXPECT_EQ(path_of("./x"), "x");
    EXPECT_NE(error_of(raw_header({.name = "../x"}) + kEnd).find("entry '../x'"),
              std::string::npos);
    EXPECT_NE(error_of(raw_header({.name = "a/../../x"}) + kEnd), "");
    EXPECT_NE(error_of(raw_header({.name = "h", .type = '1', .link = "../x"}) + kEnd), "");
    EXPECT_NE(error_of(raw_header({.name = "."}) + kEnd), "") << "the root as a file";
    EXPECT_NE(error_of(raw_header({.name = ""}) + kEnd), "");
    EXPECT_NE(error_of(raw_header({.type = '2', .link = ""}) + kEnd), "");
    // A symlink may point anywhere: it is only text, followed inside the sandbox.
    EXPECT_EQ(only_entry(raw_header({.type = '2', .link = "/../../etc"}) + kEnd).entry.target,
              "/../../etc");
    EXPECT_EQ(only_entry(raw_header({.type = '1', .link = "/a//b"}) + kEnd).entry.target, "a/b");
}

TEST(Tar, TypesOfEntries) {
    const auto kind_of = [](char type, const std::string& name = "f") {
        return only_entry(raw_header({.name = name, .type = type, .link = "t"}) + kEnd).entry.kind;
    };
    EXPECT_EQ(kind_of('\0'), EntryKind::kRegular);
    EXPECT_EQ(kind_of('7'), EntryKind::kRegular);
    EXPECT_EQ(kind_of('0', "d/"), EntryKind::kDirectory);
    EXPECT_EQ(kind_of('5'), EntryKind::kDirectory);
    EXPECT_EQ(kind_of('6'), EntryKind::kFifo);
    // A directory's size is a hint, no bytes follow.
    EXPECT_EQ(only_entry(raw_header({.size = "00000001000", .type = '5'}) + kEnd).entry.size, 0U);
    EXPECT_NE(error_of(raw_header({.type = 'S'}) + kEnd).find("--sparse"), std::string::npos);
    for (const char type : {'M', 'D', 'N', '8', '\xff'})
        EXPECT_NE(error_of(raw_header({.type = type}) + kEnd).find("not supported"),
                  std::string::npos);
    EXPECT_EQ(read_all(raw_header({.type = 'V'}) + kEnd).value().size(), 0U);
}

TEST(Tar, EveryTruncationIsAnError) {
    const std::string archive =
        written({{{.path = "a"}, "some content"},
                 {{.path = std::string(150, 'l')}, random_text(1500, 1)},
                 {{.path = "s", .kind = EntryKind::kSymlink, .target = "a"}, ""}});
    for (size_t size = 0; size + 1024 < archive.size(); ++size)
        ASSERT_FALSE(read_all(archive.substr(0, size))) << size;
    EXPECT_TRUE(read_all(archive));
    // Without the end marker: refused, unless something else proves that the archive is whole.
    const std::string unmarked = archive.substr(0, archive.size() - 1024);
    EXPECT_FALSE(read_all(unmarked));
    EXPECT_EQ(read_all(unmarked, TarReader::EndMarker::kOptional).value().size(), 3U);
    EXPECT_FALSE(read_all(unmarked + "x", TarReader::EndMarker::kOptional));
}

TEST(Tar, JoinedArchivesAreRefused) {
    const std::string archive = written({{{.path = "a"}, "x"}});
    EXPECT_NE(error_of(archive + archive).find("behind the end marker"), std::string::npos);
    EXPECT_TRUE(read_all(archive + std::string(20 * 512, '\0')));
}

TEST(Tar, EachFlippedHeaderByteIsFound) {
    const std::string archive = written({{{.path = "a", .attributes = {.uid = 9}}, "content"}});
    for (size_t at = 0; at < tar::kBlockBytes; ++at)
        for (const char flip : {'\x01', '\x80'}) {
            std::string damaged = archive;
            damaged[at] = static_cast<char>(damaged[at] ^ flip);
            ASSERT_FALSE(read_all(damaged)) << at;
        }
}

TEST(Tar, HugeSizesAreRefusedWithoutReadingOrAllocating) {
    EXPECT_NE(error_of(raw_header({.size = "77777777777"}) + kEnd), "");
    EXPECT_NE(error_of(raw_header({.size = "77777777777", .type = 'L'}) + kEnd).find("at most"),
              std::string::npos);
    EXPECT_NE(error_of(raw_header({.size = "77777777777", .type = 'x'}) + kEnd).find("at most"),
              std::string::npos);
}

std::string gzipped(std::string_view text) {
    z_stream stream{};
    EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    std::string out(compressBound(text.size()) + 64, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

std::string zstd_packed(std::string_view text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    out.resize(ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
    ZSTD_freeCCtx(context);
    return out;
}

Result<std::string> unpacked(std::string_view packed, size_t step = 70'000) {
    MemorySource source(bytes_of(packed));
    const auto stream = TRY(decompressed_by_magic(source));
    std::vector<uint8_t> buffer(step);
    std::string text;
    while (const size_t n = TRY(stream->read(buffer)))
        text.append(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
    return text;
}

class Decompress : public testing::TestWithParam<std::string (*)(std::string_view)> {};

TEST_P(Decompress, GivesTheBytesBack) {
    const auto pack = GetParam();
    for (const std::string& text :
         {std::string(), std::string("x"), random_text(400'000, 5), std::string(3'000'000, 'a')}) {
        EXPECT_TRUE(unpacked(pack(text)).value() == text);
        EXPECT_TRUE(unpacked(pack(text) + pack("more")).value() == text + "more");
    }
    const std::string text = random_text(3000, 6);
    EXPECT_TRUE(unpacked(pack(text), 1).value() == text);
}

TEST_P(Decompress, TruncatedDamagedAndTrailingBytesAreErrors) {
    const std::string whole = random_text(500, 8) + std::string(5000, 'b');
    const std::string packed = GetParam()(whole);
    size_t num_found = 0;
    for (size_t size = 4; size < packed.size(); ++size)
        ASSERT_FALSE(unpacked(packed.substr(0, size))) << size;
    EXPECT_FALSE(unpacked(packed + "trailing"));
    for (size_t at = 12; at < packed.size(); ++at) {
        std::string damaged = packed;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
        const auto text = unpacked(damaged);
        // A changed bit may mean nothing: padding, or a distance inside a run of equal bytes.
        if (text) {
            ASSERT_TRUE(*text == whole) << at;
        }
        num_found += text ? 0 : 1;
    }
    EXPECT_GT(num_found, packed.size() * 9 / 10);
}

INSTANTIATE_TEST_SUITE_P(Each, Decompress, testing::Values(&gzipped, &zstd_packed));

TEST(DecompressByMagic, PlainBytesPassThrough) {
    for (const char* text : {"", "a", "ab", "abc", "abcdefgh"})
        EXPECT_EQ(unpacked(text).value(), text);
}

}  // namespace
}  // namespace baleen::sandbox::image
