/* Each case in a child of its own, as nothing of this can be taken back. Needs no root, but shows less
 * without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "netdev/netdev.h"
#include "netdev/privilege.h"

/* A line of /proc/thread-self/status as a number, base 16; UINT64_MAX where it is missing. */
static uint64_t status_of(const char *field)
{
    char line[256];
    uint64_t v = UINT64_MAX;
    size_t n = strlen(field);
    FILE *f = fopen("/proc/thread-self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, n) == 0 && line[n] == ':')
            v = strtoull(line + n + 1, NULL, 16);
    if (f)
        fclose(f);
    return v;
}

#define CAP(n)        (UINT64_C(1) << (n))
#define CAP_NET_ADMIN 12
#define CAP_SETPCAP   8

/* In a child: reports the line that failed by its exit status and leaves without the checks at exit, which
 * need ptrace. */
#define need(ok)                                                                                             \
    do {                                                                                                     \
        if (!(ok)) {                                                                                         \
            fprintf(stderr, "# line %d: %s\n", __LINE__, #ok);                                               \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static void in_child(void (*body)(bool), bool arg)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        body(arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void drop(bool keep)
{
    const char *what = NULL;
    int e = privilege_drop(keep, &what);
    if (e != 0)
        fprintf(stderr, "# %s: %s\n", what, strerror(-e));
    need(e == 0);
    need(strcmp(what, "") == 0);
}

static void capabilities_body(bool keep)
{
    uint64_t had = status_of("CapPrm"), left = keep ? had & CAP(CAP_NET_ADMIN) : 0;
    bool could_bound = status_of("CapEff") & CAP(CAP_SETPCAP);
    need(privilege_can_make_devices() == !!(status_of("CapEff") & CAP(CAP_NET_ADMIN)));
    drop(keep);
    need(status_of("CapPrm") == left);
    need(status_of("CapEff") == left);
    need(status_of("CapInh") == 0);
    need(status_of("CapAmb") == 0);
    need(!could_bound || status_of("CapBnd") == left);
    need(status_of("NoNewPrivs") == 1);
    need(status_of("Seccomp") == 2);
    need(privilege_can_make_devices() == !!left);
}

static void capabilities(void **state)
{
    in_child(capabilities_body, false);
    in_child(capabilities_body, true);
}

static bool denied(long result)
{
    return result < 0 && errno == EPERM;
}

/* As on a kernel that never had it: the event loop then does without a ring from the start. */
static void no_io_uring_body(bool keep)
{
    (void)keep;
    need(privilege_without_io_uring() == 0);
    need(syscall(SYS_io_uring_setup, 1, NULL) < 0 && errno == ENOSYS);
    need(syscall(SYS_io_uring_enter, 0, 0, 0, 0, NULL, 0) < 0 && errno == ENOSYS);
    need(getpid() > 0 && access("/", F_OK) == 0);
    drop(false);
}

static void no_io_uring(void **state)
{
    in_child(no_io_uring_body, false);
}

static void calls_body(bool keep)
{
    char *const argv[] = {(char *)"/bin/true", NULL};
    char buf[8];
    struct {
        void *base;
        size_t n;
    } v = {buf, sizeof buf};
    drop(keep);
    need(denied(execv("/bin/true", argv)));
    need(denied(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, argv, 0)));
    need(denied(ptrace(PTRACE_TRACEME, 0, NULL, NULL)));
    need(denied(syscall(SYS_process_vm_readv, getpid(), &v, 1, &v, 1, 0)));
    need(denied(mount("none", "/tmp", "tmpfs", 0, NULL)));
    need(denied(umount2("/tmp", 0)));
    need(denied(chroot("/")));
    need(denied(unshare(CLONE_NEWUSER)));
    need(denied(setns(0, 0)));
    need(denied(setuid(getuid())));
    need(denied(setresgid(getgid(), getgid(), getgid())));
    need(denied(reboot(RB_DISABLE_CAD)));
    need(denied(syscall(SYS_bpf, 0, NULL, 0)));
    need(denied(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)));
    need(denied(syscall(SYS_keyctl, 0, 0, 0, 0, 0)));
    need(denied(syscall(SYS_init_module, NULL, 0, "")));
    need(syscall(SYS_io_uring_setup, 1, NULL) < 0 && errno == ENOSYS);
    need(denied(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0)));
    need(denied(ioctl(0, TIOCSTI, "x")));
    need(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
}

static void calls(void **state)
{
    in_child(calls_body, false);
    in_child(calls_body, true);
}

static void *thread_body(void *arg)
{
    *(int *)arg = 42;
    return NULL;
}

/* What a daemon goes on doing: threads, files, sockets, children of its own program. */
static void works_on_body(bool keep)
{
    pthread_t t;
    int answer = 0, fds[2], status;
    char name[] = "/tmp/warren-privilege-XXXXXX";
    drop(keep);
    need(pthread_create(&t, NULL, thread_body, &answer) == 0);
    need(pthread_join(t, NULL) == 0);
    need(answer == 42);
    int fd = mkstemp(name);
    need(fd >= 0 && write(fd, "x", 1) == 1 && fsync(fd) == 0);
    need(unlink(name) == 0);
    need(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(7);
    need(pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7);
}

static void works_on(void **state)
{
    in_child(works_on_body, false);
    in_child(works_on_body, true);
}

/* ---- What threads that move packets in batches go on doing. */

static void many_at_once(void)
{
    char a[4] = "abc", b[4] = "def", in[2][4] = {{0}};
    struct iovec out[2] = {{a, 4}, {b, 4}}, back[2] = {{in[0], 4}, {in[1], 4}};
    struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = &out[0], .msg_iovlen = 1}},
                           {.msg_hdr = {.msg_iov = &out[1], .msg_iovlen = 1}}};
    int s[2], p[2];
    need(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s) == 0);
    need(sendmmsg(s[0], m, 2, 0) == 2);
    m[0].msg_hdr.msg_iov = &back[0];
    m[1].msg_hdr.msg_iov = &back[1];
    need(recvmmsg(s[1], m, 2, MSG_DONTWAIT, NULL) == 2);
    need(strcmp(in[0], "abc") == 0 && strcmp(in[1], "def") == 0);
    m[0].msg_hdr.msg_iov = out;
    m[0].msg_hdr.msg_iovlen = 2;
    need(sendmsg(s[1], &m[0].msg_hdr, 0) == 8);
    m[0].msg_hdr.msg_iov = back;
    need(recvmsg(s[0], &m[0].msg_hdr, 0) == 8);
    need(pipe2(p, O_NONBLOCK | O_CLOEXEC) == 0);
    need(writev(p[1], out, 2) == 8 && readv(p[0], back, 2) == 8);
    need(write(p[1], a, 4) == 4 && read(p[0], b, 4) == 4);
    for (int i = 0; i < 2; i++)
        need(close(s[i]) == 0 && close(p[i]) == 0);
}

static void waiting(void)
{
    struct epoll_event e = {.events = EPOLLIN}, got;
    struct timespec instant = {.tv_nsec = 1};
    int ep = epoll_create1(EPOLL_CLOEXEC), ev = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), word = 0;
    need(ep >= 0 && ev >= 0);
    need(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e) == 0);
    need(epoll_wait(ep, &got, 1, 0) == 0);
    need(eventfd_write(ev, 1) == 0);
    need(epoll_pwait(ep, &got, 1, 1000, NULL) == 1);
    need(clock_nanosleep(CLOCK_MONOTONIC, 0, &instant, NULL) == 0);
    need(syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 1, NULL, NULL, 0) < 0 && errno == EAGAIN);
    need(syscall(SYS_futex, &word, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0) == 0);
#ifdef SYS_epoll_pwait2
    need(syscall(SYS_epoll_pwait2, ep, &got, 1, &instant, NULL, 0) == 1 || errno == ENOSYS);
#endif
    need(close(ep) == 0 && close(ev) == 0);
}

/* Old kernels have no such options; no kernel says EPERM. */
static void offload_options(void)
{
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1, size = 1200, large = 1 << 20;
    need(s >= 0);
    need(setsockopt(s, SOL_UDP, UDP_GRO, &on, sizeof on) == 0 || errno == ENOPROTOOPT);
    need(setsockopt(s, SOL_UDP, UDP_SEGMENT, &size, sizeof size) == 0 || errno == ENOPROTOOPT);
    need(setsockopt(s, SOL_SOCKET, SO_RCVBUF, &large, sizeof large) == 0);
    need(setsockopt(s, SOL_SOCKET, SO_SNDBUF, &large, sizeof large) == 0);
    need(close(s) == 0);
}

static void memory(void)
{
    size_t n = 1 << 16;
    void *p = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(p != MAP_FAILED);
    need(mprotect(p, n, PROT_READ | PROT_WRITE) == 0);
    memset(p, 1, n);
    need(madvise(p, n, MADV_DONTNEED) == 0);
    need(*(char *)p == 0);
    need(munmap(p, n) == 0);
}

static void *worker(void *arg)
{
    cpu_set_t cpus;
    unsigned cpu = 0;
    need(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    need(sched_setaffinity(0, sizeof cpus, &cpus) == 0);
    need(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0);
    need(CPU_ISSET(cpu, &cpus));
    need(sched_yield() == 0);
    /* What libc does for each thread; with a length that is none, so that it changes nothing. */
    need(syscall(SYS_set_robust_list, NULL, 0) < 0 && errno == EINVAL);
#ifdef SYS_rseq
    need(syscall(SYS_rseq, NULL, 0, 0, 0) < 0 && (errno == EINVAL || errno == ENOSYS));
#endif
    many_at_once();
    waiting();
    offload_options();
    memory();
    *(int *)arg = 1;
    return NULL;
}

#define WORKERS 3

static void workers_body(bool keep)
{
    pthread_t t[WORKERS];
    int done[WORKERS] = {0};
    drop(keep);
    for (int i = 0; i < WORKERS; i++)
        need(pthread_create(&t[i], NULL, worker, &done[i]) == 0);
    for (int i = 0; i < WORKERS; i++)
        need(pthread_join(t[i], NULL) == 0 && done[i] == 1);
}

static void workers(void **state)
{
    in_child(workers_body, false);
    in_child(workers_body, true);
}

static void devices_body(bool keep)
{
    struct netdev_config c = {.tap = true,
                              .name = "wpriv%d",
                              .mac = {2, 1, 1, 1, 1, 1},
                              .ip4 = 0x0a070102,
                              .prefix4 = 16,
                              .ip6 = {0xfd, 7, [15] = 9},
                              .prefix6 = 64,
                              .mtu = 1390,
                              .offload = true,
                              .queues = 2};
    struct netdev d;
    int os;
    need(unshare(CLONE_NEWNET) == 0);
    drop(keep);
    enum netdev_error e = netdev_open(&d, &c, &os);
    need(e == (keep ? NETDEV_OK : NETDEV_NO_PRIVILEGE));
    if (e != NETDEV_OK)
        return;
    need(d.vnet_hdr && d.queue_count == 2);
    need(netdev_queue_enable(&d, 1, false) == 0 && netdev_queue_enable(&d, 1, true) == 0);
    netdev_close(&d);
}

static void devices(void **state)
{
    if (!privilege_can_make_devices() || geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
        fprintf(stderr, "# skipped: no permission to make network devices, or no /dev/net/tun\n");
        skip();
    }
    in_child(devices_body, true);
    in_child(devices_body, false);
}

static volatile int stage;

static void *waiting_thread(void *arg)
{
    while (__atomic_load_n(&stage, __ATOMIC_ACQUIRE) == 0)
        sched_yield();
    need(status_of("Seccomp") == 2);
    need(status_of("NoNewPrivs") == 1);
    return NULL;
}

/* The filter reaches threads that are there already. */
static void threads_body(bool keep)
{
    pthread_t t;
    need(pthread_create(&t, NULL, waiting_thread, NULL) == 0);
    drop(keep);
    __atomic_store_n(&stage, 1, __ATOMIC_RELEASE);
    need(pthread_join(t, NULL) == 0);
}

static void threads(void **state)
{
    in_child(threads_body, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_io_uring), cmocka_unit_test(capabilities), cmocka_unit_test(calls),
        cmocka_unit_test(works_on),    cmocka_unit_test(workers),      cmocka_unit_test(devices),
        cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
