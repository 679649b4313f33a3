// The model that commands run without --model: the pocket checkpoint that comes with the program.
#pragma once

#include <string>

#include "base/result.h"

namespace baleen::cli {

struct DefaultModel {
    std::string directory;
    std::string origin;  // why this one: "the pocket model", "BALEEN_MODEL"
};

// $BALEEN_MODEL if it is set; else the pocket model of ../share/baleen/models beside the program,
// or of the source folder that it was built in. kNotFound says where it was looked for.
Result<DefaultModel> find_default_model();

}  // namespace baleen::cli
