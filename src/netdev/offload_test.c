/* Devices with a vnet header, offloads and queues. Two network namespaces, "near" and "far", hold one device
 * each, and the test carries the frames between them, as the program does between two machines. Needs root
 * and /dev/net/tun, else it is skipped and says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netdev/netdev_int.h"
#include "netdev/netlink_int.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* Linux 6.2 */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#define FRAME_MAX     (NETDEV_VNET_HEADER + NETDEV_FRAME_MAX)
#define MTU           1400
#define BULK          (4u << 20)
#define QUIET_SECONDS 5 /* nothing moves for so long: failed */
#define PORT          7000
#define NEAR4         0x0a070102u /* 10.7.1.2 */
#define FAR4          0x0a070103u

static const char *no_devices; /* why, or NULL */
static int spaces[2];          /* near, far */

/* What a host says to itself goes there. */
static void loopback_up(void)
{
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(s >= 0);
    assert_int_equal(ioctl(s, SIOCSIFFLAGS, &r), 0);
    close(s);
}

/* New ones for each test, so that what a failed one leaves is in nobody's way. */
static int enter_namespaces(void **state)
{
    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        no_devices = "no /dev/net/tun";
    for (int i = 0; i < 2 && !no_devices; i++) {
        if (spaces[i] > 0)
            close(spaces[i]);
        if (unshare(CLONE_NEWNET) < 0) {
            no_devices = "no permission to make a network namespace";
            break;
        }
        spaces[i] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        loopback_up();
    }
    return 0;
}

static void need_devices(void)
{
    if (!no_devices)
        return;
    fprintf(stderr, "# skipped: %s\n", no_devices);
    skip();
}

static void stand_in(int side)
{
    assert_int_equal(setns(spaces[side], CLONE_NEWNET), 0);
}

static struct netdev_config config(bool tap, int side)
{
    return (struct netdev_config){.tap = tap,
                                  .name = "woff%d",
                                  .mac = {2, 0x77, 1, 2, 3, (uint8_t)(4 + side)},
                                  .ip4 = side ? FAR4 : NEAR4,
                                  .prefix4 = 16,
                                  .ip6 = {0xfd, 7, 7, 7, [15] = (uint8_t)(9 + side)},
                                  .prefix6 = 64,
                                  .mtu = MTU,
                                  .offload = true};
}

static struct netdev open_one(const struct netdev_config *c)
{
    struct netdev d;
    int e = -1;
    assert_string_equal(netdev_error_text(netdev_open(&d, c, &e)), netdev_error_text(NETDEV_OK));
    assert_int_equal(e, 0);
    assert_int_equal(d.fd, d.queues[0]);
    return d;
}

static short flags_of(const struct netdev *d)
{
    struct ifreq r = {0};
    assert_int_equal(ioctl(d->fd, TUNGETIFF, &r), 0);
    return r.ifr_flags;
}

/* ---- What there is after opening. */

static void plain_unless_asked(void **state)
{
    need_devices();
    for (int tap = 0; tap < 2; tap++) {
        struct netdev_config c = config(tap, 0);
        c.offload = false;
        c.queues = 1;
        struct netdev d = open_one(&c);
        assert_false(d.vnet_hdr || d.tso || d.uso);
        assert_int_equal(d.queue_count, 1);
        for (int i = 1; i < NETDEV_QUEUES_MAX; i++)
            assert_int_equal(d.queues[i], -1);
        assert_int_equal(flags_of(&d) & (IFF_VNET_HDR | IFF_MULTI_QUEUE), 0);
        netdev_close(&d);
    }
}

static void offloads_as_asked(void **state)
{
    need_devices();
    for (int tap = 0; tap < 2; tap++) {
        struct netdev_config c = config(tap, 0);
        struct netdev d = open_one(&c);
        int header = 0, little = -1;
        assert_true(d.vnet_hdr && d.tso);
        if (!d.uso)
            fprintf(stderr, "# this kernel has no UDP segmentation for devices: its half is not tested\n");
        assert_int_equal(flags_of(&d) & (IFF_VNET_HDR | IFF_MULTI_QUEUE), IFF_VNET_HDR);
        assert_int_equal(ioctl(d.fd, TUNGETVNETHDRSZ, &header), 0);
        assert_int_equal(header, NETDEV_VNET_HEADER);
        assert_int_equal(ioctl(d.fd, TUNGETVNETLE, &little), 0);
        assert_int_equal(little, 0);
        assert_true(fcntl(d.fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(d.fd, F_GETFD) & FD_CLOEXEC);
        netdev_close(&d);
    }
}

/* The numbers of one device, as rtnetlink tells them. */
struct link {
    int index;
    uint32_t gso_max_size, gso_ipv4_max_size, gso_max_segs, queue_length;
};

static void link_read(void *ctx, const struct nl_message *m)
{
    enum { GSO_IPV4_MAX_SIZE = 63 };
    struct link *l = ctx;
    struct ifinfomsg h;
    struct bytes in = m->body;
    struct nl_attr a;
    if (m->type != RTM_NEWLINK || !nl_fixed(&in, &h, sizeof h) || h.ifi_index != l->index)
        return;
    while (nl_attr_next(&in, &a)) {
        if (a.type == IFLA_GSO_MAX_SIZE)
            nl_u32(a.value, &l->gso_max_size);
        else if (a.type == GSO_IPV4_MAX_SIZE)
            nl_u32(a.value, &l->gso_ipv4_max_size);
        else if (a.type == IFLA_GSO_MAX_SEGS)
            nl_u32(a.value, &l->gso_max_segs);
        else if (a.type == IFLA_TXQLEN)
            nl_u32(a.value, &l->queue_length);
    }
}

static struct link link_of(const struct netdev *d)
{
    struct link l = {.index = d->ifindex};
    struct ifinfomsg h = {.ifi_family = AF_UNSPEC};
    struct nl_request q;
    int nl = nl_open(0, false);
    assert_true(nl >= 0);
    nl_request_begin(&q, RTM_GETLINK, NLM_F_DUMP, &h, sizeof h);
    assert_int_equal(nl_dump(nl, &q, link_read, &l), 0);
    close(nl);
    return l;
}

static void limits_of_the_link(void **state)
{
    static const struct {
        uint32_t ask, length;
        bool taken;
    } table[] = {{0, 0, true}, {32768, 700, true}, {4096, 3, true}, {65536, 9000, true}, {600000, 0, false}};
    need_devices();
    for (size_t i = 0; i < 2 * sizeof table / sizeof *table; i++) {
        struct netdev_config c = config(i % 2, 0);
        c.gso_max_size = table[i / 2].ask;
        c.queue_length = table[i / 2].length;
        struct netdev d = open_one(&c);
        struct link l = link_of(&d);
        uint32_t want = table[i / 2].taken && table[i / 2].ask ? table[i / 2].ask : 65536;
        assert_int_equal(l.gso_max_size, want);
        if (l.gso_ipv4_max_size) /* Linux 6.3; before, gso_max_size is for both */
            assert_int_equal(l.gso_ipv4_max_size, want);
        if (table[i / 2].length)
            assert_int_equal(l.queue_length, table[i / 2].length);
        netdev_close(&d);
    }
}

/* ---- Frames. */

/* What came out of a device. */
struct tally {
    size_t frames, super, longest, longest_super, partial;
    unsigned gso_min, gso_max;
    uint8_t gso_type; /* of the last one that was super */
};

static void tally_add(struct tally *t, const uint8_t *frame, size_t n)
{
    struct virtio_net_hdr h;
    assert_true(n > sizeof h);
    memcpy(&h, frame, sizeof h);
    n -= sizeof h;
    t->frames++;
    t->longest = n > t->longest ? n : t->longest;
    t->partial += !!(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
    if (h.gso_type == VIRTIO_NET_HDR_GSO_NONE)
        return;
    assert_true(h.gso_size > 0);
    assert_true(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
    assert_true(h.csum_start + h.csum_offset + 2u <= n);
    t->gso_type = h.gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
    t->longest_super = n > t->longest_super ? n : t->longest_super;
    t->gso_max = h.gso_size > t->gso_max ? h.gso_size : t->gso_max;
    t->gso_min = !t->super || h.gso_size < t->gso_min ? h.gso_size : t->gso_min;
    t->super++;
}

/* Everything that waits in one device goes into the other; whether there was any. */
static bool carry(int from, int to, struct tally *t)
{
    static uint8_t frame[FRAME_MAX];
    bool any = false;
    for (;;) {
        ssize_t n = read(from, frame, sizeof frame);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            return any;
        }
        any = true;
        tally_add(t, frame, (size_t)n);
        assert_int_equal(write(to, frame, (size_t)n), n);
    }
}

struct address {
    struct sockaddr_storage a;
    socklen_t n;
};

static struct address address_of(bool ip6, int side)
{
    struct address r = {0};
    struct netdev_config c = config(false, side);
    if (ip6) {
        struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
        memcpy(&a.sin6_addr, c.ip6, 16);
        memcpy(&r.a, &a, r.n = sizeof a);
    } else {
        struct sockaddr_in a = {
            .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(c.ip4)};
        memcpy(&r.a, &a, r.n = sizeof a);
    }
    return r;
}

static int socket_at(bool ip6, int type, int side)
{
    struct address a = address_of(ip6, side);
    struct linger reset = {.l_onoff = 1}; /* on close, so that no connection is in the next one's way */
    int on = 1;
    stand_in(side);
    int s = socket(ip6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(s >= 0);
    assert_int_equal(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(setsockopt(s, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    if (bind(s, (struct sockaddr *)&a.a, a.n) == 0)
        return s;
    assert_int_equal(errno, EADDRNOTAVAIL); /* IPv6, not yet */
    close(s);
    return -1;
}

/* The kernel puts an IPv6 address to use a moment after it has acknowledged it: waits until this side hears
 * itself. */
static void ip6_ready(const struct netdev *d, int side)
{
    uint8_t frame[2048];
    char text[8];
    struct address self = address_of(true, side);
    struct pollfd p = {.events = POLLIN};
    int tries = 1000;
    do
        p.fd = socket_at(true, SOCK_DGRAM, side);
    while (p.fd < 0 && --tries > 0 && poll(NULL, 0, 5) == 0);
    do {
        assert_true(--tries > 0);
        assert_int_equal(sendto(p.fd, "self", 4, 0, (struct sockaddr *)&self.a, self.n), 4);
    } while (poll(&p, 1, 5) == 0);
    assert_int_equal(recv(p.fd, text, sizeof text, 0), 4);
    close(p.fd);
    while (read(d->fd, frame, sizeof frame) > 0) { /* what went astray before */
    }
}

/* Two devices, and what passed from near to far and back. */
struct pair {
    struct netdev d[2];
    struct tally there, back;
};

static void pair_close(struct pair *p)
{
    for (int i = 0; i < 2; i++)
        netdev_close(&p->d[i]);
}

/* false: there is no IPv6 here, and ip6 is to be tested */
static bool pair_open(struct pair *p, bool tap, bool ip6, uint32_t gso_max_size)
{
    *p = (struct pair){0};
    for (int i = 0; i < 2; i++) {
        struct netdev_config c = config(tap, i);
        c.gso_max_size = gso_max_size;
        stand_in(i);
        p->d[i] = open_one(&c);
        if (p->d[i].has_ip6)
            ip6_ready(&p->d[i], i);
    }
    if (!ip6 || p->d[0].has_ip6)
        return true;
    pair_close(p);
    return false;
}

/* Waits until a device or one of the sockets has something to do; carries frames. */
static void pair_turn(struct pair *p, int s, short events, int t)
{
    struct pollfd f[4] = {{.fd = p->d[0].fd, .events = POLLIN},
                          {.fd = p->d[1].fd, .events = POLLIN},
                          {.fd = s, .events = events},
                          {.fd = t, .events = POLLIN}};
    assert_true(poll(f, 4, QUIET_SECONDS * 1000) > 0);
    bool any = true;
    while (any) {
        any = carry(p->d[0].fd, p->d[1].fd, &p->there);
        any |= carry(p->d[1].fd, p->d[0].fd, &p->back);
    }
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + (i >> 8) + (i >> 16));
}

static int tcp_connected(struct pair *p, bool ip6, int *server)
{
    struct address to = address_of(ip6, 1);
    int client = socket_at(ip6, SOCK_STREAM, 0), listener = socket_at(ip6, SOCK_STREAM, 1);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&to.a, to.n), -1);
    assert_int_equal(errno, EINPROGRESS);
    while ((*server = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0)
        pair_turn(p, -1, 0, listener);
    close(listener);
    return client;
}

/* BULK bytes from near to far, each checked. */
static void tcp_bulk(struct pair *p, bool ip6)
{
    static uint8_t out[BULK], in[1 << 18];
    size_t sent = 0, got = 0;
    int server, client = tcp_connected(p, ip6, &server);
    for (size_t i = 0; i < BULK; i++)
        out[i] = pattern(i);
    while (got < BULK) {
        ssize_t n = sent < BULK ? write(client, out + sent, BULK - sent) : 0;
        sent += n > 0 ? (size_t)n : 0;
        pair_turn(p, sent < BULK ? client : -1, POLLOUT, server);
        while ((n = read(server, in, sizeof in)) > 0) {
            assert_memory_equal(in, out + got, (size_t)n);
            got += (size_t)n;
        }
        assert_true(n < 0 && errno == EAGAIN);
    }
    close(client);
    close(server);
}

static void tcp_super_frames(void **state)
{
    static const uint32_t limits[] = {0, 32768, 9000};
    need_devices();
    for (int i = 0; i < 12; i++) {
        bool tap = i & 1, ip6 = i & 2;
        uint32_t limit = limits[i / 4];
        struct pair p;
        if (!pair_open(&p, tap, ip6, limit))
            continue;
        tcp_bulk(&p, ip6);
        print_message("# %s TCP%d limit %u: %zu frames, %zu super, longest %zu, gso_size %u-%u, back %zu\n",
                      tap ? "tap" : "tun", ip6 ? 6 : 4, limit, p.there.frames, p.there.super, p.there.longest,
                      p.there.gso_min, p.there.gso_max, p.back.frames);
        assert_true(p.there.super > 0);
        assert_int_equal(p.there.gso_type, ip6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4);
        assert_true(p.there.longest_super > MTU + 14);
        assert_true(p.there.longest < (limit ? limit : 65536));
        assert_true(p.there.longest > (limit ? limit : 65536) / 2);
        assert_true(p.there.gso_max <= MTU - (ip6 ? 60 : 40));
        assert_true(p.there.gso_min >= MTU - (ip6 ? 60 : 40) - 40);
        assert_true(p.there.partial >= p.there.super);
        /* It was one frame for many packets, all the way. */
        assert_true(p.there.frames < BULK / MTU / 2);
        pair_close(&p);
    }
}

/* ---- UDP. */

#define SEGMENT  1200
#define SEGMENTS 40

static void udp_burst(struct pair *p, bool ip6)
{
    static uint8_t out[SEGMENT * SEGMENTS], in[SEGMENT * SEGMENTS];
    struct address to = address_of(ip6, 1);
    int near = socket_at(ip6, SOCK_DGRAM, 0), far = socket_at(ip6, SOCK_DGRAM, 1), size = SEGMENT;
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = pattern(i);
    assert_int_equal(setsockopt(near, SOL_UDP, UDP_SEGMENT, &size, sizeof size), 0);
    assert_int_equal(sendto(near, out, sizeof out, 0, (struct sockaddr *)&to.a, to.n), sizeof out);
    for (size_t got = 0; got < sizeof out; got += SEGMENT) {
        ssize_t n;
        while ((n = recv(far, in, sizeof in, 0)) < 0)
            pair_turn(p, -1, 0, far);
        assert_int_equal(n, SEGMENT);
        assert_memory_equal(in, out + got, SEGMENT);
    }
    close(near);
    close(far);
}

static void udp_super_frames(void **state)
{
    need_devices();
    for (int i = 0; i < 8; i++) {
        bool tap = i & 1, ip6 = i & 2;
        struct pair p;
        if (!pair_open(&p, tap, ip6, i & 4 ? 16384 : 0))
            continue;
        udp_burst(&p, ip6);
        print_message("# %s UDP%d limit %u: %zu frames, %zu super, longest %zu, gso_size %u\n",
                      tap ? "tap" : "tun", ip6 ? 6 : 4, i & 4 ? 16384 : 0, p.there.frames, p.there.super,
                      p.there.longest, p.there.gso_max);
        if (p.d[0].uso && !(i & 4)) {
            assert_int_equal(p.there.super, 1);
            assert_int_equal(p.there.gso_type, VIRTIO_NET_HDR_GSO_UDP_L4);
            assert_int_equal(p.there.gso_max, SEGMENT);
            assert_int_equal(p.there.longest, SEGMENT * SEGMENTS + (tap ? 14 : 0) + (ip6 ? 48 : 28));
        } else { /* longer than the limit: the kernel cuts it before we see it */
            assert_int_equal(p.there.super, 0);
            assert_true(p.there.frames >= SEGMENTS);
            assert_true(p.there.longest <= MTU + 14);
        }
        pair_close(&p);
    }
}

static int no_offloads(void *ctx, int fd, unsigned long request, uintptr_t arg)
{
    errno = EINVAL;
    return request == TUNSETOFFLOAD ? -1 : ioctl(fd, request, arg);
}

/* Without offloads the kernel itself cuts and sums, though there is a header. */
static void no_super_frames_without_offloads(void **state)
{
    need_devices();
    static const struct netdev_driver driver = {.control = no_offloads};
    struct pair p = {0};
    for (int i = 0; i < 2; i++) {
        struct netdev_config c = config(true, i);
        int os;
        stand_in(i);
        assert_int_equal(netdev_open_by(&driver, &p.d[i], &c, &os), NETDEV_OK);
    }
    tcp_bulk(&p, false);
    assert_int_equal(p.there.super, 0);
    assert_int_equal(p.there.partial, 0);
    assert_true(p.there.frames >= BULK / MTU);
    assert_int_equal(p.there.longest, MTU + 14);
    pair_close(&p);
}

/* ---- Queues. */

#define QUEUES 4
#define FLOWS  32

struct frame {
    uint8_t b[2048];
    size_t n;
};

/* Sends `n` datagrams from the socket out of the device; each[i] says how many of them came out of queue i.
 * last receives the frame that came last, and its length. */
static void spread(const struct netdev *d, int s, unsigned n, unsigned each[QUEUES], struct frame *last)
{
    struct address to = address_of(false, 1);
    memset(each, 0, QUEUES * sizeof *each);
    for (unsigned k = 0; k < n; k++)
        assert_int_equal(sendto(s, "flow", 4, 0, (struct sockaddr *)&to.a, to.n), 4);
    for (unsigned i = 0; i < d->queue_count; i++) {
        uint8_t frame[2048];
        ssize_t got;
        while ((got = read(d->queues[i], frame, sizeof frame)) > 0) {
            if (got != NETDEV_VNET_HEADER + 28 + 4 || memcmp(frame + got - 4, "flow", 4) != 0)
                continue;
            each[i]++;
            memcpy(last->b, frame, last->n = (size_t)got);
        }
    }
}

/* The only queue that anything came out of, and all of it. */
static unsigned only(const unsigned each[QUEUES], unsigned n)
{
    unsigned q = 0;
    while (q < QUEUES && each[q] == 0)
        q++;
    assert_true(q < QUEUES);
    assert_int_equal(each[q], n);
    return q;
}

static int flow_socket(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(NEAR4)};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(s >= 0);
    assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof a), 0);
    return s;
}

static struct netdev queues_open(unsigned n)
{
    struct netdev_config c = config(false, 0);
    c.queues = n;
    stand_in(0);
    struct netdev d = open_one(&c);
    for (unsigned i = 0; i < d.queue_count; i++) {
        assert_true(fcntl(d.queues[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(d.queues[i], F_GETFD) & FD_CLOEXEC);
    }
    return d;
}

static void a_flow_keeps_its_queue(void **state)
{
    need_devices();
    struct netdev d = queues_open(QUEUES);
    assert_int_equal(d.queue_count, QUEUES);
    assert_true(flags_of(&d) & IFF_MULTI_QUEUE);
    unsigned each[QUEUES], used = 0;
    struct frame f;
    for (uint16_t i = 0; i < FLOWS; i++) {
        int s = flow_socket((uint16_t)(5000 + i));
        spread(&d, s, 20, each, &f);
        used |= 1u << only(each, 20);
        close(s);
    }
    assert_true(used & (used - 1)); /* more than one of them */
    netdev_close(&d);
    for (int i = 0; i < NETDEV_QUEUES_MAX; i++)
        assert_int_equal(d.queues[i], -1);
    assert_int_equal(d.queue_count, 0);
    assert_int_equal(if_nametoindex("woff0"), 0);
}

/* The same frame with source and destination exchanged: the sums stay right. */
static void turn_round(struct frame *f)
{
    uint8_t *ip = f->b + NETDEV_VNET_HEADER, t[4];
    memcpy(t, ip + 12, 4), memcpy(ip + 12, ip + 16, 4), memcpy(ip + 16, t, 4);
    memcpy(t, ip + 20, 2), memcpy(ip + 20, ip + 22, 2), memcpy(ip + 22, t, 2);
}

static void a_flow_follows_what_is_written(void **state)
{
    need_devices();
    struct netdev d = queues_open(QUEUES);
    int s = flow_socket(5000);
    unsigned each[QUEUES];
    struct frame f;
    spread(&d, s, 1, each, &f);
    turn_round(&f);
    for (unsigned q = 0; q < QUEUES; q++) {
        char text[8];
        struct pollfd p = {.fd = s, .events = POLLIN};
        assert_int_equal(write(d.queues[q], f.b, f.n), f.n);
        assert_int_equal(poll(&p, 1, QUIET_SECONDS * 1000), 1);
        assert_int_equal(recv(s, text, sizeof text, 0), 4);
        struct frame ignored;
        spread(&d, s, 5, each, &ignored);
        assert_int_equal(only(each, 5), q);
    }
    close(s);
    netdev_close(&d);
}

static void queues_on_and_off(void **state)
{
    need_devices();
    struct netdev d = queues_open(QUEUES);
    unsigned each[QUEUES], used = 0;
    struct frame f;
    for (unsigned q = 1; q < QUEUES; q++)
        assert_int_equal(netdev_queue_enable(&d, q, false), 0);
    assert_int_equal(netdev_queue_enable(&d, 1, false), 0); /* as it is */
    for (uint16_t i = 0; i < FLOWS; i++) {
        int s = flow_socket((uint16_t)(5000 + i));
        spread(&d, s, 3, each, &f);
        assert_int_equal(only(each, 3), 0);
        close(s);
    }
    assert_int_equal(write(d.queues[1], f.b, f.n), f.n); /* writing is another matter */
    for (unsigned q = 1; q < QUEUES; q++)
        assert_int_equal(netdev_queue_enable(&d, q, true), 0);
    assert_int_equal(netdev_queue_enable(&d, 0, true), 0);
    for (uint16_t i = 0; i < FLOWS; i++) {
        int s = flow_socket((uint16_t)(5000 + i));
        spread(&d, s, 3, each, &f);
        used |= 1u << only(each, 3);
        close(s);
    }
    assert_true(used & (used - 1));
    assert_int_equal(netdev_queue_enable(&d, QUEUES, true), -EINVAL);
    netdev_close(&d);
    assert_int_equal(netdev_queue_enable(&d, 0, true), -EINVAL);
    d = queues_open(1);
    assert_int_equal(netdev_queue_enable(&d, 0, true), 0);
    assert_int_equal(netdev_queue_enable(&d, 0, false), -EINVAL);
    netdev_close(&d);
    d = queues_open(100);
    assert_int_equal(d.queue_count, NETDEV_QUEUES_MAX);
    netdev_close(&d);
}

#define fresh(f) cmocka_unit_test_setup(f, enter_namespaces)

int main(void)
{
    const struct CMUnitTest tests[] = {
        fresh(plain_unless_asked),     fresh(offloads_as_asked),
        fresh(limits_of_the_link),     fresh(tcp_super_frames),
        fresh(udp_super_frames),       fresh(no_super_frames_without_offloads),
        fresh(a_flow_keeps_its_queue), fresh(a_flow_follows_what_is_written),
        fresh(queues_on_and_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
