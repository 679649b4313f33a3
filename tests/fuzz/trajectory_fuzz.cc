// Any bytes as what a trajectory log is read from. The first byte says as what:
//   0  a segment file                      2  payloads in a chain that holds: a byte for the type,
//   1  a manifest of a tree                   two for the length, the bytes; and again
//   3  an output to normalise; the first byte says by which normalisers
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "sandbox/log/call_index.h"
#include "sandbox/log/normalise.h"
#include "sandbox/log/segment_reader.h"
#include "sandbox/log/tree_manifest.h"

namespace {

using namespace baleen;
using namespace baleen::sandbox;

using Bytes = std::span<const uint8_t>;

// Every record that is read says itself again; what is read in front of a torn tail is whole.
void read_segment(Bytes file) {
    if (!decode_segment_header(file)) return;
    SegmentReader reader(file, {});
    size_t last_offset = 0;
    for (int faults = 0;; ++faults) {
        while (const auto record = reader.next()) {
            std::vector<uint8_t> again;
            encode_record(record->head, record->payload, again);
            CHECK(std::ranges::equal(again, record->stored));
            if (const auto payload = decode_payload(record->head.type, record->payload))
                CHECK(encode_payload(*payload).value() == record->payload);
        }
        if (!reader.fault()) break;
        CHECK(!reader.fault()->what.empty());
        CHECK(faults == 0 || reader.fault()->offset >= last_offset);
        last_offset = reader.fault()->offset;
        if (reader.fault()->is_torn_tail) {
            CHECK_EQ(last_offset, reader.offset());
            reader.skip_fault();
            CHECK(!reader.next());
            break;
        }
        reader.skip_fault();
        CHECK_GE(reader.offset(), last_offset);
    }
    CHECK_LE(reader.offset(), file.size());
}

void apply_payloads(Bytes input) {
    const auto header = encode_segment_header(
        {.trajectory = TrajectoryId::of_name("t"), .created_ns = 0, .first_seq = 1});
    std::vector<uint8_t> file(header.begin(), header.end());
    ChainPoint chain;
    while (input.size() >= 3) {
        const auto type = record_type(static_cast<uint8_t>(input[0] % 12));
        const size_t length = input[1] | input[2] << 8;
        const Bytes payload = input.subspan(3, std::min(length, input.size() - 3));
        input = input.subspan(3 + payload.size());
        RecordHead head = {.seq = chain.next_seq,
                           .type = type.value_or(RecordType::kEvent),
                           .previous = chain.previous};
        if (head.type == RecordType::kResult)
            head.intent_distance = 1 + static_cast<uint32_t>(length % 4);
        const size_t begin = file.size();
        encode_record(head, {reinterpret_cast<const char*>(payload.data()), payload.size()}, file);
        chain = {chain.next_seq + 1, sha256(Bytes(file).subspan(begin))};
    }
    SegmentReader reader(file, {});
    CallIndex calls;
    uint64_t records = 0;
    while (const auto record = reader.next()) {
        ++records;
        const auto payload = decode_payload(record->head.type, record->payload);
        if (!payload) continue;
        CHECK(type_of(*payload) == record->head.type);
        CHECK(encode_payload(*payload).value() == record->payload);
        const size_t ops = calls.num_ops();
        const bool applied = calls.apply(record->head, *payload).has_value();
        const auto* intent = std::get_if<Intent>(&*payload);
        CHECK(calls.num_ops() == ops + (applied && intent != nullptr ? 1 : 0));
        if (!applied || intent == nullptr) continue;
        const Decision decision = calls.decide({.stream = intent->stream,
                                                .index = intent->index,
                                                .epoch = intent->epoch,
                                                .digest = request_digest(intent->request).value()});
        CHECK(decision.verdict == Verdict::kPending);
        CHECK_EQ(decision.op, record->head.seq);
    }
    CHECK(!reader.fault());
    CHECK_EQ(records + 1, chain.next_seq);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    const Bytes input(data + 1, size - 1);
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 4) {
        case 0: read_segment(input); break;
        case 1:
            if (const auto tree = read_manifest(text)) CHECK(write_manifest(*tree).value() == text);
            break;
        case 2: apply_payloads(input); break;
        default: {
            const Normalisers normalisers = {.times = (input[0] & 1) != 0,
                                             .pids = (input[0] & 2) != 0,
                                             .temporary_names = (input[0] & 4) != 0,
                                             .addresses = (input[0] & 8) != 0};
            const std::string out = normalise(text.substr(1), normalisers);
            CHECK(normalisers.any() || out == text.substr(1));
            CHECK_LE(out.size(), 5 * text.size());
        }
    }
    return 0;
}
