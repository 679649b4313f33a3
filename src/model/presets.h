// The configurations of the two published models, embedded: `baleen cost` needs no checkpoint.
// Equal to their config.json (spec 1.1); a test compares every field. Pure, any thread.
#pragma once

#include "model/config.h"

namespace baleen {

Config flash_config();  // V4-Flash, 284B parameters, 13B active
Config pro_config();    // V4-Pro, 1.6T parameters, 49B active

}  // namespace baleen
