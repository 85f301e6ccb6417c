#include "netdev/privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

/* A list of what is forbidden, not of what is allowed: libuv, libwebsockets and OpenSSL use what the kernel
 * of the day offers. */
static const char *const forbidden[] = {
    /* programs */
    "execve",
    "execveat",
    "uselib",
    /* other processes */
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    /* file systems */
    "mount",
    "umount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "swapon",
    "swapoff",
    "quotactl",
    "quotactl_fd",
    "open_by_handle_at",
    "mknod",
    "mknodat",
    /* namespaces */
    "unshare",
    "setns",
    /* the kernel and the machine */
    "init_module",
    "finit_module",
    "delete_module",
    "create_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "iopl",
    "ioperm",
    "syslog",
    "acct",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "stime",
    "clock_settime",
    "clock_settime64",
    "clock_adjtime",
    "clock_adjtime64",
    "adjtimex",
    "lookup_dcookie",
    "nfsservctl",
    "vhangup",
    "modify_ldt",
    "personality",
    "_sysctl",
    /* keys */
    "keyctl",
    "add_key",
    "request_key",
    /* identities */
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "setuid32",
    "setgid32",
    "setreuid32",
    "setregid32",
    "setresuid32",
    "setresgid32",
    "setfsuid32",
    "setfsgid32",
    "setgroups32",
    "capset",
};

/* io_uring does the work of forbidden calls where a filter does not see it. */
static const char *const io_uring[] = {"io_uring_setup", "io_uring_enter", "io_uring_register"};

static const uint64_t forbidden_clone[] = {CLONE_NEWNS,  CLONE_NEWUTS, CLONE_NEWIPC,   CLONE_NEWUSER,
                                           CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWCGROUP};

#define COUNT(a) (sizeof(a) / sizeof *(a))

bool privilege_can_make_devices(void)
{
    return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN);
}

static int capabilities_drop(bool keep_net_admin)
{
    if (capng_get_caps_process() != 0)
        return -EPERM;
    bool keep = keep_net_admin && capng_have_capability(CAPNG_PERMITTED, CAP_NET_ADMIN);
    /* Only who has CAP_SETPCAP may shrink the bounding set; no_new_privs makes what stays there useless. */
    bool bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
    capng_clear(CAPNG_SELECT_ALL);
    if (keep &&
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, CAP_NET_ADMIN) != 0)
        return -EPERM;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
        return -errno;
    return capng_apply(bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) == 0 ? 0 : -EPERM;
}

static int forbid(scmp_filter_ctx f, const char *name, int error)
{
    int number = seccomp_syscall_resolve_name(name);
    /* Below zero: this machine has no such call, or libseccomp does not know it (names of the newest
     * kernels). */
    return number < 0 ? 0 : seccomp_rule_add(f, SCMP_ACT_ERRNO(error), number, 0);
}

static int forbid_io_uring(scmp_filter_ctx f)
{
    int e = 0;
    for (size_t i = 0; i < COUNT(io_uring) && e == 0; i++)
        e = forbid(f, io_uring[i], ENOSYS);
    return e;
}

static int filter_fill(scmp_filter_ctx f)
{
    int e = 0;
    for (size_t i = 0; i < COUNT(forbidden) && e == 0; i++)
        e = forbid(f, forbidden[i], EPERM);
    if (e == 0)
        e = forbid_io_uring(f);
    for (size_t i = 0; i < COUNT(forbidden_clone) && e == 0; i++)
        e = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, forbidden_clone[i], forbidden_clone[i]));
    if (e == 0)
        e = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    /* Typing into the terminal of whoever started us. */
    if (e == 0)
        e = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCSTI));
    return e;
}

static int filter_install(int (*fill)(scmp_filter_ctx f))
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    if (!f)
        return -ENOMEM;
    int e = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    if (e == 0)
        e = fill(f);
    if (e == 0)
        e = seccomp_load(f);
    seccomp_release(f);
    return e;
}

int privilege_without_io_uring(void)
{
    return filter_install(forbid_io_uring);
}

int privilege_drop(bool keep_net_admin, const char **what)
{
    *what = "capabilities";
    int e = capabilities_drop(keep_net_admin);
    if (e != 0)
        return e;
    *what = "no_new_privs";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    *what = "system call filter";
    e = filter_install(filter_fill);
    if (e == 0)
        *what = "";
    return e;
}
