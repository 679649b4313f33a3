// Branching: a new trajectory whose beginning is another one's (spec 5.5).
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "sandbox/log/payload.h"

namespace baleen::sandbox {

// Makes a log in `folder` with copies of the records 1 to at of the log in parent_folder, as
// stored, so that the chain goes on, and the record that opens the branch. Records are copied
// rather than shared: the new log is whole by itself, may be moved, and does not keep the old one
// from being removed; blobs are shared anyway. The folder appears whole or not at all. Operations
// that had no result at `at` count as never run in the branch. opening.parent is filled in. The
// parent may be open for writing, as long as `at` has been acknowledged. kInvalidArgument: no such
// seq, or the folder exists.
Result<void> branch_log(const std::string& parent_folder, uint64_t at, OpenPayload opening,
                        const std::string& folder);

}  // namespace baleen::sandbox
