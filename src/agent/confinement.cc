#include "agent/confinement.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace baleen::agent {
namespace {

// File rights by the Landlock version that brought them; newer than the headers of Debian 12.
constexpr uint64_t kTruncate = uint64_t{1} << 14;
constexpr uint64_t kRightsOfVersion1 = (uint64_t{1} << 13) - 1;
constexpr uint64_t kReadAndRun =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kOfFiles = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                              LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate;
constexpr uint64_t kDevices =
    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SOCK;

long landlock_version() {
    return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

uint64_t rights_of(long version) {
    uint64_t rights = kRightsOfVersion1;
    if (version >= 2) rights |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3) rights |= kTruncate;
    return rights;
}

Error failed(const std::string& what) {
    return make_error(ErrorCode::kIo, "{}: {}", what, std::strerror(errno));
}

// A path that is missing is left out: not every system has /lib64.
Result<void> allow(int ruleset, const char* path, uint64_t rights) {
    const int fd = ::open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? Result<void>() : failed(path);
    const landlock_path_beneath_attr rule{.allowed_access = rights, .parent_fd = fd};
    const long result =
        ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    const int error = errno;
    ::close(fd);
    errno = error;
    return result == 0 ? Result<void>() : failed(path);
}

#ifdef __x86_64__

// NOTE: fchmod and its kin are refused although programs such as `sed -i` ask for them: Landlock
// does not know modes and owners, and the folder's are right as they are.
constexpr int kRefused[] = {
    // network
    SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
    // other processes, and the process group by which the parent ends them all
    SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
    SYS_pidfd_send_signal, SYS_setpgid, SYS_setsid, SYS_ptrace, SYS_process_vm_readv,
    SYS_process_vm_writev, SYS_setpriority, SYS_sched_setscheduler, SYS_sched_setattr,
    SYS_sched_setaffinity, SYS_sched_setparam, SYS_ioprio_set, SYS_pidfd_getfd,
    // modes, owners, attributes; truncation by path, which early Landlock does not know
    SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_chown, SYS_lchown, SYS_fchown, SYS_fchownat,
    SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
    SYS_truncate, SYS_mknod, SYS_mknodat,
    // namespaces, mounts and the machine
    SYS_unshare, SYS_setns, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_open_tree,
    SYS_move_mount, SYS_fsopen, SYS_fsmount, SYS_mount_setattr, SYS_swapon, SYS_swapoff, SYS_reboot,
    SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module,
    SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex,
    SYS_clock_adjtime, SYS_iopl, SYS_ioperm, SYS_acct, SYS_quotactl, SYS_syslog, SYS_vhangup,
    SYS_open_by_handle_at, SYS_name_to_handle_at,
    // doors around this list
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter,
    SYS_io_uring_register, SYS_keyctl, SYS_add_key, SYS_request_key};

std::vector<sock_filter> call_filter() {
    constexpr uint32_t kX32 = 0x40000000;  // the second set of numbers of 64-bit programs
    const auto statement = [](int code, uint32_t k) {
        return sock_filter{static_cast<uint16_t>(code), 0, 0, k};
    };
    const auto jump = [](int code, uint32_t k, size_t if_true, size_t if_false) {
        return sock_filter{static_cast<uint16_t>(code), static_cast<uint8_t>(if_true),
                           static_cast<uint8_t>(if_false), k};
    };
    constexpr int kLoad = BPF_LD | BPF_W | BPF_ABS, kEqual = BPF_JMP | BPF_JEQ | BPF_K,
                  kReturn = BPF_RET | BPF_K;
    constexpr size_t kCount = std::size(kRefused);
    static_assert(kCount + 1 < 256, "jumps are one byte");
    std::vector<sock_filter> filter = {
        statement(kLoad, offsetof(seccomp_data, arch)), jump(kEqual, AUDIT_ARCH_X86_64, 1, 0),
        statement(kReturn, SECCOMP_RET_KILL_PROCESS), statement(kLoad, offsetof(seccomp_data, nr)),
        jump(BPF_JMP | BPF_JGE | BPF_K, kX32, kCount + 1, 0)};
    for (size_t i = 0; i < kCount; ++i)  // to the refusal, after the permission
        filter.push_back(jump(kEqual, static_cast<uint32_t>(kRefused[i]), kCount - i, 0));
    filter.push_back(statement(kReturn, SECCOMP_RET_ALLOW));
    filter.push_back(statement(kReturn, SECCOMP_RET_ERRNO | EPERM));
    return filter;
}

#else

std::vector<sock_filter> call_filter() {
    return {};
}

#endif

}  // namespace

bool can_confine_files() {
    return landlock_version() >= 1;
}

bool can_filter_calls() {
    return !call_filter().empty() && ::prctl(PR_GET_SECCOMP) >= 0;
}

Confinement::Confinement() {
    if (can_filter_calls()) filter_ = call_filter();
}

Confinement::Confinement(Confinement&& other) noexcept
    : filter_(std::move(other.filter_)), ruleset_(std::exchange(other.ruleset_, -1)) {}

Confinement::~Confinement() {
    if (ruleset_ >= 0) ::close(ruleset_);
}

Confinement Confinement::without_files() {
    return Confinement();
}

Result<Confinement> Confinement::prepare(const std::string& folder) {
    const long version = landlock_version();
    if (version < 1)
        return make_error(ErrorCode::kUnsupported, "the kernel does not offer Landlock");
    const uint64_t rights = rights_of(version);
    const landlock_ruleset_attr attributes{.handled_access_fs = rights};
    Confinement confinement;
    confinement.ruleset_ =
        static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof(uint64_t), 0));
    if (confinement.ruleset_ < 0) return failed("Landlock ruleset");
    const int ruleset = confinement.ruleset_;
    TRY(allow(ruleset, folder.c_str(), rights & ~kDevices));
    for (const char* system : {"/usr", "/bin", "/lib", "/lib64"})
        TRY(allow(ruleset, system, kReadAndRun));
    TRY(allow(ruleset, "/etc/ld.so.cache", LANDLOCK_ACCESS_FS_READ_FILE));
    for (const char* device : {"/dev/null", "/dev/zero", "/dev/urandom"})
        TRY(allow(ruleset, device, rights & kOfFiles & ~uint64_t{LANDLOCK_ACCESS_FS_EXECUTE}));
    return confinement;
}

bool Confinement::put_on() const {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
    if (ruleset_ >= 0 && ::syscall(SYS_landlock_restrict_self, ruleset_, 0) != 0) return false;
    if (filter_.empty()) return true;
    const sock_fprog program{.len = static_cast<unsigned short>(filter_.size()),
                             .filter = const_cast<sock_filter*>(filter_.data())};
    return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace baleen::agent
