/* Real devices, in a network namespace of the test's own. Needs root and /dev/net/tun, else it is skipped and
 * says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netdev/netdev_int.h"

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define IP4 0x0a070102u /* 10.7.1.2 */

static const char *no_devices; /* why, or NULL */

static int enter_namespace(void **state)
{
    if (unshare(CLONE_NEWNET) < 0)
        no_devices = "no permission to make a network namespace";
    else if (access("/dev/net/tun", R_OK | W_OK) < 0)
        no_devices = "no /dev/net/tun";
    return 0;
}

static void need_devices(void)
{
    if (!no_devices)
        return;
    fprintf(stderr, "# skipped: %s\n", no_devices);
    skip();
}

static struct netdev_config config(bool tap)
{
    return (struct netdev_config){.tap = tap,
                                  .name = "wtest%d",
                                  .mac = {2, 0x77, 1, 2, 3, 4},
                                  .ip4 = IP4,
                                  .prefix4 = 16,
                                  .ip6 = {0xfd, 7, 7, 7, [15] = 9},
                                  .prefix6 = 64,
                                  .mtu = 1390};
}

static struct ifreq ask(const char *name, unsigned long what)
{
    struct ifreq r = {0};
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    assert_true(s >= 0);
    strncpy(r.ifr_name, name, IFNAMSIZ - 1);
    assert_int_equal(ioctl(s, what, &r), 0);
    close(s);
    return r;
}

/* Whether the device has exactly this address, its prefix and (IPv4) its broadcast address, as getifaddrs
 * tells it. */
static bool has_address(const char *device, const char *ip, const char *mask, const char *broadcast)
{
    struct ifaddrs *all, *i;
    bool found = false;
    assert_int_equal(getifaddrs(&all), 0);
    for (i = all; i; i = i->ifa_next) {
        char a[INET6_ADDRSTRLEN] = "", m[INET6_ADDRSTRLEN] = "", b[INET6_ADDRSTRLEN] = "";
        if (!i->ifa_addr || strcmp(i->ifa_name, device) != 0)
            continue;
        if (i->ifa_addr->sa_family == AF_INET) {
            inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, a, sizeof a);
            inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)i->ifa_netmask)->sin_addr, m, sizeof m);
            if (i->ifa_broadaddr)
                inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)i->ifa_broadaddr)->sin_addr, b, sizeof b);
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr, a, sizeof a);
            inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)i->ifa_netmask)->sin6_addr, m, sizeof m);
        }
        found |= strcmp(a, ip) == 0 && strcmp(m, mask) == 0 && (!broadcast || strcmp(b, broadcast) == 0);
    }
    freeifaddrs(all);
    return found;
}

static struct netdev open_one(const struct netdev_config *c)
{
    struct netdev d;
    int e = -1;
    assert_string_equal(netdev_error_text(netdev_open(&d, c, &e)), netdev_error_text(NETDEV_OK));
    assert_int_equal(e, 0);
    return d;
}

static void device_is_as_wanted(void **state)
{
    need_devices();
    for (int tap = 0; tap < 2; tap++) {
        struct netdev_config c = config(tap);
        struct netdev d = open_one(&c);
        assert_true(strncmp(d.name, "wtest", 5) == 0 && strchr("0123456789", d.name[5]));
        assert_int_equal(d.ifindex, if_nametoindex(d.name));
        assert_true(fcntl(d.fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(d.fd, F_GETFD) & FD_CLOEXEC);
        short flags = ask(d.name, SIOCGIFFLAGS).ifr_flags;
        assert_int_equal(flags & (IFF_UP | IFF_RUNNING), IFF_UP | IFF_RUNNING);
        assert_int_equal(!!(flags & IFF_BROADCAST), tap);
        assert_int_equal(!!(flags & IFF_POINTOPOINT), !tap);
        assert_int_equal(ask(d.name, SIOCGIFMTU).ifr_mtu, 1390);
        if (tap) {
            struct ifreq r = ask(d.name, SIOCGIFHWADDR);
            assert_int_equal(r.ifr_hwaddr.sa_family, ARPHRD_ETHER);
            assert_memory_equal(r.ifr_hwaddr.sa_data, c.mac, 6);
        }
        assert_true(has_address(d.name, "10.7.1.2", "255.255.0.0", "10.7.255.255"));
        if (!d.has_ip6)
            fprintf(stderr, "# this machine has no IPv6: its half is not tested\n");
        assert_int_equal(has_address(d.name, "fd07:707::9", "ffff:ffff:ffff:ffff::", NULL), d.has_ip6);
        assert_int_equal(netdev_set_mtu(&d, 1300), 0);
        assert_int_equal(ask(d.name, SIOCGIFMTU).ifr_mtu, 1300);
        assert_int_equal(netdev_set_mtu(&d, 20), -EINVAL);
        char name[16];
        strcpy(name, d.name);
        netdev_close(&d);
        assert_int_equal(d.fd, -1);
        assert_int_equal(if_nametoindex(name), 0);
        netdev_close(&d); /* once more does no harm */
        assert_int_equal(netdev_set_mtu(&d, 1300), -ENODEV);
    }
}

static void no_ip6_below_its_mtu(void **state)
{
    need_devices();
    struct netdev_config c = config(true);
    c.mtu = 1200;
    struct netdev d = open_one(&c);
    assert_false(d.has_ip6);
    assert_true(has_address(d.name, "10.7.1.2", "255.255.0.0", "10.7.255.255"));
    netdev_close(&d);
}

static void names(void **state)
{
    static const char *const bad[] = {"a b", "a/b", "..",  ".",        "%d%d", "a%db",
                                      "a%s", "x:1", "a\n", "\xc3\xa4", "a%n"};
    struct netdev_config c = config(true);
    struct netdev d, e;
    int os;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(c.name, 0, sizeof c.name);
        strcpy(c.name, bad[i]);
        assert_int_equal(netdev_open(&d, &c, &os), NETDEV_NAME_BAD);
        assert_int_equal(d.fd, -1);
    }
    memset(c.name, 'x', sizeof c.name); /* without its end */
    assert_int_equal(netdev_open(&d, &c, &os), NETDEV_NAME_BAD);
    need_devices();
    c.name[15] = 0;
    d = open_one(&c);
    assert_string_equal(d.name, "xxxxxxxxxxxxxxx");
    c.ip4++;
    assert_int_equal(netdev_open(&e, &c, &os), NETDEV_NAME_TAKEN);
    assert_int_equal(e.fd, -1);
    c.tap = false;
    assert_int_equal(netdev_open(&e, &c, &os), NETDEV_NAME_TAKEN);
    netdev_close(&d);
    strcpy(c.name, "lo");
    assert_int_equal(netdev_open(&e, &c, &os), NETDEV_NAME_TAKEN);
    c.name[0] = 0;
    d = open_one(&c);
    assert_string_equal(d.name, "warren0");
    c.ip4++;
    e = open_one(&c);
    assert_string_equal(e.name, "warren1");
    netdev_close(&e);
    netdev_close(&d);
}

/* What fails half-way leaves nothing behind. */
static void failure_cleans_up(void **state)
{
    need_devices();
    struct netdev_config c = config(true);
    struct netdev d;
    int os = 0;
    strcpy(c.name, "wfail");
    c.prefix4 = 33;
    assert_int_equal(netdev_open(&d, &c, &os), NETDEV_ADDRESS_FAILED);
    assert_int_equal(os, EINVAL);
    c = config(true);
    strcpy(c.name, "wfail");
    c.mtu = 1;
    assert_int_equal(netdev_open(&d, &c, &os), NETDEV_FAILED);
    assert_int_equal(os, EINVAL);
    assert_int_equal(if_nametoindex("wfail"), 0);
    c = config(true);
    strcpy(c.name, "wfail");
    c.mac[0] = 1; /* a group's address */
    assert_int_equal(netdev_open(&d, &c, &os), NETDEV_FAILED);
    assert_int_equal(if_nametoindex("wfail"), 0);
    assert_int_equal(d.fd, -1);
}

/* ---- Refusals. */

struct refusal {
    unsigned long request;
    uintptr_t offloads; /* TUNSETOFFLOAD: any of these */
    short flags;        /* TUNSETIFF: any of these */
    unsigned features;  /* TUNGETFEATURES: not these */
    unsigned after;     /* so many are let through */
    int error;
};

static int refusing_control(void *ctx, int fd, unsigned long request, uintptr_t arg)
{
    struct refusal *r = ctx;
    bool mine = request == r->request;
    if (mine && request == TUNSETOFFLOAD)
        mine = arg & r->offloads;
    if (mine && request == TUNSETIFF)
        mine = ((const struct ifreq *)arg)->ifr_flags & r->flags;
    if (mine && r->after > 0) {
        r->after--;
        mine = false;
    }
    if (mine && r->error) {
        errno = r->error;
        return -1;
    }
    int e = ioctl(fd, request, arg);
    if (mine && request == TUNGETFEATURES)
        *(unsigned *)arg &= ~r->features;
    return e;
}

static void falls_back(void **state)
{
    static const unsigned uso = TUN_F_USO4 | TUN_F_USO6, tso = TUN_F_TSO4 | TUN_F_TSO6;
    static const struct {
        const char *name;
        struct refusal r;
        bool vnet, tso, uso;
        unsigned queues;
    } table[] = {
        {"nothing", {0}, true, true, true, 3},
        {"no USO", {TUNSETOFFLOAD, .offloads = uso, .error = EINVAL}, true, true, false, 3},
        {"no TSO", {TUNSETOFFLOAD, .offloads = tso, .error = EINVAL}, true, false, false, 3},
        {"no offload", {TUNSETOFFLOAD, .offloads = ~0u, .error = EINVAL}, true, false, false, 3},
        {"no header", {TUNSETIFF, .flags = IFF_VNET_HDR, .error = EINVAL}, false, false, false, 3},
        {"no header size", {TUNSETVNETHDRSZ, .error = ENOTTY}, false, false, false, 3},
        {"unknown header", {TUNGETFEATURES, .features = IFF_VNET_HDR}, false, false, false, 3},
        {"no queues", {TUNSETIFF, .flags = IFF_MULTI_QUEUE, .error = EINVAL}, true, true, true, 1},
        {"unknown queues", {TUNGETFEATURES, .features = IFF_MULTI_QUEUE}, true, true, true, 1},
        {"neither",
         {TUNSETIFF, .flags = IFF_MULTI_QUEUE | IFF_VNET_HDR, .error = EINVAL},
         false,
         false,
         false,
         1},
        {"no features", {TUNGETFEATURES, .error = ENOTTY}, false, false, false, 1},
        {"two queues",
         {TUNSETIFF, .flags = IFF_MULTI_QUEUE, .after = 2, .error = E2BIG},
         true,
         true,
         true,
         2},
    };
    need_devices();
    struct netdev_config c = config(true);
    c.offload = true;
    struct netdev probe = open_one(&c);
    bool has_uso = probe.uso;
    netdev_close(&probe);
    for (size_t i = 0; i < 2 * sizeof table / sizeof *table; i++) {
        struct refusal r = table[i / 2].r;
        struct netdev_driver driver = {refusing_control, &r};
        struct netdev d;
        int os = -1;
        c = config(i % 2);
        c.offload = true;
        c.queues = 3;
        strcpy(c.name, i % 4 < 2 ? "wtest%d" : "wfall");
        print_message("# %s\n", table[i / 2].name);
        assert_int_equal(netdev_open_by(&driver, &d, &c, &os), NETDEV_OK);
        assert_int_equal(os, 0);
        assert_int_equal(d.vnet_hdr, table[i / 2].vnet);
        assert_int_equal(d.tso, table[i / 2].tso);
        assert_int_equal(d.uso, table[i / 2].uso && has_uso);
        assert_int_equal(d.queue_count, table[i / 2].queues);
        struct ifreq is = {0};
        assert_int_equal(ioctl(d.fd, TUNGETIFF, &is), 0);
        assert_int_equal(!!(is.ifr_flags & IFF_VNET_HDR), d.vnet_hdr);
        assert_int_equal(!!(is.ifr_flags & IFF_MULTI_QUEUE), d.queue_count > 1);
        assert_string_equal(d.name, i % 4 < 2 ? "wtest0" : "wfall"); /* failed attempts left nothing */
        netdev_close(&d);
    }
}

/* What is no matter of offloads ends the attempt, and leaves nothing. */
static void refusals_that_count(void **state)
{
    static const struct {
        int error;
        enum netdev_error want;
    } table[] = {{EPERM, NETDEV_NO_PRIVILEGE},
                 {EBUSY, NETDEV_NAME_TAKEN},
                 {EEXIST, NETDEV_NAME_TAKEN},
                 {ENOMEM, NETDEV_FAILED},
                 {EINVAL, NETDEV_FAILED}};
    need_devices();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct refusal r = {TUNSETIFF, .flags = IFF_TAP, .error = table[i].error};
        struct netdev_driver driver = {refusing_control, &r};
        struct netdev_config c = config(true);
        struct netdev d;
        int os = -1;
        c.queues = 2;
        assert_int_equal(netdev_open_by(&driver, &d, &c, &os), table[i].want);
        assert_int_equal(os, table[i].error);
        assert_int_equal(d.fd, -1);
        assert_int_equal(d.queue_count, 0);
    }
}

/* ---- Frames. */

/* The next frame from the device that begins as wanted (after `skip_bytes`); others (router solicitations
 * ...) are passed over. */
static ssize_t read_matching(int fd, uint8_t *buf, size_t cap, size_t skip_bytes, const void *want, size_t n)
{
    for (int i = 0; i < 100; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 1000) != 1)
            return -1;
        ssize_t got = read(fd, buf, cap);
        if (got >= (ssize_t)(skip_bytes + n) && memcmp(buf + skip_bytes, want, n) == 0)
            return got;
    }
    return -1;
}

static int udp_socket(uint16_t port)
{
    int s = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(IP4)};
    assert_true(s >= 0);
    assert_int_equal(setsockopt(s, SOL_SOCKET, SO_BROADCAST, &on, sizeof on), 0);
    assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof a), 0);
    return s;
}

static void send_to(int s, uint32_t ip, const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7777), .sin_addr.s_addr = htonl(ip)};
    assert_int_equal(sendto(s, text, strlen(text), 0, (struct sockaddr *)&a, sizeof a), strlen(text));
}

static void frames_of_tap(void **state)
{
    need_devices();
    struct netdev_config c = config(true);
    struct netdev d = open_one(&c);
    uint8_t buf[2048];
    int s = udp_socket(7777);
    send_to(s, 0x0a07ffff, "broadcast");
    static const uint8_t head[14] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0x77, 1, 2, 3, 4, 8, 0};
    ssize_t n = read_matching(d.fd, buf, sizeof buf, 0, head, sizeof head);
    assert_int_equal(n, 14 + 28 + 9);
    assert_memory_equal(buf + 42, "broadcast", 9);
    /* somebody asks for our MAC; the kernel answers */
    static const uint8_t request[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,  5, 8, 6,
                                        0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0,  0, 0, 5,
                                        10,   7,    0,    5,    0,    0,    0, 0, 0, 0, 10, 7, 1, 2};
    assert_int_equal(write(d.fd, request, sizeof request), sizeof request);
    static const uint8_t reply[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0x77, 1, 2, 3, 4, 10, 7, 1, 2};
    assert_int_equal(read_matching(d.fd, buf, sizeof buf, 12, reply, sizeof reply), 42);
    while (read(d.fd, buf, sizeof buf) > 0) {
    }
    assert_int_equal(errno, EAGAIN); /* it does not block */
    close(s);
    netdev_close(&d);
}

static void packets_of_tun(void **state)
{
    need_devices();
    struct netdev_config c = config(false);
    struct netdev d = open_one(&c);
    uint8_t buf[2048];
    int s = udp_socket(7777);
    send_to(s, 0x0a070909, "ping");
    static const uint8_t version = 0x45;
    ssize_t n = read_matching(d.fd, buf, sizeof buf, 0, &version, 1);
    assert_int_equal(n, 28 + 4);
    static const uint8_t dst[4] = {10, 7, 9, 9};
    assert_memory_equal(buf + 16, dst, 4);
    /* Back as it came, turned round: the sums stay right. */
    uint8_t src[4];
    memcpy(src, buf + 12, 4);
    memcpy(buf + 12, buf + 16, 4);
    memcpy(buf + 16, src, 4);
    assert_int_equal(write(d.fd, buf, (size_t)n), n);
    struct pollfd p = {.fd = s, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 1000), 1);
    char text[16];
    assert_int_equal(recv(s, text, sizeof text, 0), 4);
    assert_memory_equal(text, "ping", 4);
    close(s);
    netdev_close(&d);
}

static const struct netdev_route *find(const struct netdev_route *r, int n, uint8_t family, const char *net,
                                       uint8_t prefix)
{
    uint8_t want[16] = {0};
    assert_int_equal(inet_pton(family == 4 ? AF_INET : AF_INET6, net, want), 1);
    for (int i = 0; i < n; i++)
        if (r[i].family == family && r[i].prefix == prefix && memcmp(r[i].net, want, 16) == 0)
            return &r[i];
    return NULL;
}

static void routes_of_the_machine(void **state)
{
    need_devices();
    static struct netdev_route r[NETDEV_ROUTES_MAX];
    int n = netdev_routes(r, NETDEV_ROUTES_MAX);
    assert_true(n >= 0);
    assert_null(netdev_conflict4(r, (size_t)n, 0x0a070000, 16));
    struct netdev_config c = config(true);
    struct netdev d = open_one(&c);
    n = netdev_routes(r, NETDEV_ROUTES_MAX);
    assert_true(n > 0);
    const struct netdev_route *net = find(r, n, 4, "10.7.0.0", 16);
    assert_non_null(net);
    assert_string_equal(net->device, d.name);
    if (d.has_ip6)
        assert_non_null(find(r, n, 6, "fd07:707::", 64));
    for (int i = 0; i < n; i++) {
        assert_int_not_equal(r[i].prefix, 0);
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(&r[i], &r[k], sizeof *r);
    }
    assert_ptr_equal(netdev_conflict4(r, (size_t)n, 0x0a070000, 16), net);
    assert_ptr_equal(netdev_conflict4(r, (size_t)n, 0x0a000000, 8), net);
    assert_null(netdev_conflict4(r, (size_t)n, 0x0a080000, 16));
    assert_int_equal(netdev_routes(r, 1), 1);
    netdev_close(&d);
    n = netdev_routes(r, NETDEV_ROUTES_MAX);
    assert_null(netdev_conflict4(r, (size_t)n, 0x0a070000, 16));
}

static void watching(void **state)
{
    need_devices();
    int fd = netdev_watch_open();
    assert_true(fd >= 0);
    netdev_watch_drain(fd);
    assert_false(netdev_watch_drain(fd));
    struct netdev_config c = config(true);
    struct netdev d = open_one(&c);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 1000), 1);
    assert_true(netdev_watch_drain(fd));
    netdev_close(&d);
    assert_true(netdev_watch_drain(fd));
    close(fd);
}

static void errors_say_what_to_do(void **state)
{
    for (int i = NETDEV_OK; i <= NETDEV_FAILED; i++) {
        assert_true(strlen(netdev_error_text((enum netdev_error)i)) > 10);
        for (int k = NETDEV_OK; k < i; k++)
            assert_string_not_equal(netdev_error_text((enum netdev_error)i),
                                    netdev_error_text((enum netdev_error)k));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_is_as_wanted),
        cmocka_unit_test(no_ip6_below_its_mtu),
        cmocka_unit_test(names),
        cmocka_unit_test(failure_cleans_up),
        cmocka_unit_test(falls_back),
        cmocka_unit_test(refusals_that_count),
        cmocka_unit_test(frames_of_tap),
        cmocka_unit_test(packets_of_tun),
        cmocka_unit_test(routes_of_the_machine),
        cmocka_unit_test(watching),
        cmocka_unit_test(errors_say_what_to_do),
    };
    return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
