// What a confined child process may do, prepared before the fork and put on after it: Landlock for
// files, seccomp for the rest. It holds back mistakes; it is no wall against a hostile program.
//
//   files    reads and writes in one folder; reads and runs programs of /usr, /bin, /lib, /lib64;
//            /dev/null, /dev/zero, /dev/urandom; nothing else can be opened
//   calls    refused with EPERM: sockets, signals to others, leaving the process group, changing
//            owners and modes, tracing, namespaces and mounts, and what only root does
//   rights   no_new_privs: set-user-id programs give nothing
#pragma once

#include <linux/filter.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace baleen::agent {

// Whether the kernel has what this needs.
bool can_confine_files();
bool can_filter_calls();

// Move-only; owns a descriptor.
class Confinement {
  public:
    // kUnsupported where the kernel lacks Landlock; kIo.
    static Result<Confinement> prepare(const std::string& folder);
    // The call filter alone.
    static Confinement without_files();
    Confinement(Confinement&& other) noexcept;
    Confinement& operator=(Confinement&&) = delete;
    ~Confinement();

    // In the child, between fork and exec: makes system calls only. False: errno says why.
    bool put_on() const;

  private:
    Confinement();
    std::vector<sock_filter> filter_;  // empty: the kernel has no filters for this processor
    int ruleset_ = -1;                 // -1: files are not confined
};

}  // namespace baleen::agent
