/* For the tests of the pump: two of them between socket pairs that stand for devices (a frame a read, as a
 * device does it) and real UDP sockets of the loopback interface. The test's own thread is the engine, and
 * the hosts behind the devices. It waits for what must come, never for the clock; how much is under way is
 * bounded, so that nothing has a reason to be lost. */
#ifndef WARREN_PUMP_PUMP_HARNESS_H
#define WARREN_PUMP_PUMP_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "crypto/init.h"
#include "pump/core_kit_int.h"
#include "pump/pump.h"
#include "pump/runs.h"
#include "pump/socket_harness.h"

#define PARTIES 3

/* ---- The two ends. */

struct tally {
    size_t frames, datagrams, opened, sealed, too_big, broken, gso_off, active;
    uint32_t last_a, last_b;
    struct net_addr last_addr;
    void (*frame)(void *arg, uint8_t *p, size_t n); /* what a test does with a slow frame */
    void *arg;
};

struct side {
    struct kit kit; /* what its frames are like */
    uint32_t id;
    bool vnet_hdr;
    struct plane *plane;
    struct pump *pump;
    struct lane *lane;
    struct plane_route route;
    int host[PARTIES + 1], dev[PARTIES + 1], udp;
    struct net_addr addr;
    struct tally tally;
};

static inline void device_new(int *host, int *dev)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    *host = pair[0];
    *dev = pair[1];
}

static inline void device_give(struct side *s, uint32_t party)
{
    struct pump_device d = {.party_ref = party,
                            .fds = {s->dev[party]},
                            .count = 1,
                            .tap = s->kit.tap,
                            .vnet_hdr = s->vnet_hdr,
                            .tso = s->vnet_hdr,
                            .uso = s->vnet_hdr};
    assert_int_equal(pump_device_add(s->pump, &d), 0);
}

struct bench {
    struct side side[3]; /* 1 and 2 */
};

/* Anything that differs from the rule is in *want. */
static inline void bench_open(struct bench *b, const struct kit *rule, bool vnet_hdr, unsigned threads)
{
    *b = (struct bench){0};
    for (uint32_t i = 1; i <= 2; i++) {
        struct side *s = &b->side[i];
        s->id = i;
        s->kit = *rule;
        s->kit.ends = 2;
        s->kit.net_mtu = rule->net_mtu ? rule->net_mtu : 1420;
        s->kit.way_mtu = rule->way_mtu ? rule->way_mtu : 1480;
        s->vnet_hdr = vnet_hdr;
        s->udp = udp_new(rule->family ? rule->family : 4, &s->addr);
        s->plane = plane_new(i);
        assert_non_null(s->plane);
        s->pump = pump_new(s->plane, threads);
        assert_non_null(s->pump);
    }
    for (uint32_t i = 1; i <= 2; i++) {
        struct side *s = &b->side[i];
        struct kit_end e = {.kit = &s->kit, .id = i, .plane = s->plane};
        for (uint32_t party = 1; party <= PARTIES; party++) {
            device_new(&s->host[party], &s->dev[party]);
            kit_net(&e, party);
        }
        s->lane = kit_lane(i, 3 - i, 0);
        s->route = (struct plane_route){.most = KIT_MOST, .tx = s->lane, .rx = {s->lane}, .way_count = 1};
        s->route.ways[0] = (struct plane_way){
            .id = 5, .socket = KIT_SOCKET, .addr = b->side[3 - i].addr, .mtu = s->kit.way_mtu};
        assert_int_equal(plane_route_set(s->plane, 3 - i, &s->route), 0);
        assert_int_equal(plane_publish(s->plane), 0);
        device_give(s, 1);
        assert_int_equal(pump_socket_add(s->pump, KIT_SOCKET, rule->family ? rule->family : 4, s->udp), 0);
    }
}

static inline void bench_start(struct bench *b)
{
    for (int i = 1; i <= 2; i++)
        assert_int_equal(pump_start(b->side[i].pump), 0);
}

static inline void bench_close(struct bench *b)
{
    for (int i = 1; i <= 2; i++) {
        struct side *s = &b->side[i];
        pump_free(s->pump);
        plane_free(s->plane);
        lane_drop(s->lane);
        close(s->udp);
        for (int party = 1; party <= PARTIES; party++) {
            close(s->host[party]);
            close(s->dev[party]);
        }
    }
}

/* ---- The engine. */

static inline void on_frame(void *arg, uint32_t party, uint8_t *p, size_t n)
{
    struct tally *t = arg;
    t->frames++;
    t->last_a = party;
    /* The room that is promised. */
    memset(p - DATA_HEADROOM, 0xee, DATA_HEADROOM);
    memset(p + n, 0xee, DATA_TAILROOM);
    if (t->frame)
        t->frame(t->arg, p, n);
}

static inline void on_datagram(void *arg, uint32_t socket, const struct net_addr *from, uint8_t *p, size_t n)
{
    struct tally *t = arg;
    t->datagrams++;
    t->last_a = socket;
    t->last_addr = *from;
    memset(p, 0xee, n);
}

static inline void on_opened(void *arg, uint32_t peer, uint32_t tag, uint8_t kind, uint8_t *p, size_t n)
{
    struct tally *t = arg;
    t->opened++;
    t->last_a = peer;
    t->last_b = tag;
    if (t->frame)
        t->frame(t->arg, p, n);
}

static inline void on_sealed(void *arg, uint32_t peer, uint32_t way, const uint8_t *p, size_t n)
{
    struct tally *t = arg;
    t->sealed++;
    t->last_a = peer;
    t->last_b = way;
}

static inline void on_too_big(void *arg, uint32_t socket, const struct net_addr *to, size_t size)
{
    struct tally *t = arg;
    t->too_big++;
    t->last_a = socket;
    t->last_b = (uint32_t)size;
    t->last_addr = *to;
}

static inline void on_broken(void *arg, uint32_t party, int error)
{
    struct tally *t = arg;
    t->broken++;
    t->last_a = party;
    t->last_b = (uint32_t)error;
}

static inline void on_gso_off(void *arg, uint32_t socket)
{
    struct tally *t = arg;
    t->gso_off++;
    t->last_a = socket;
}

static inline void on_active(void *arg)
{
    struct tally *t = arg;
    t->active++;
}

static const struct pump_ops ops = {.frame = on_frame,
                                    .datagram = on_datagram,
                                    .opened = on_opened,
                                    .sealed = on_sealed,
                                    .too_big = on_too_big,
                                    .broken = on_broken,
                                    .gso_off = on_gso_off,
                                    .active = on_active};

static inline void drain(struct side *s)
{
    while (pump_drain(s->pump, &ops, &s->tally, 64))
        continue;
}

/* ---- The hosts. */

static inline bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) > 0;
}

/* False: the device's queue is full. */
static inline bool host_put(struct side *s, uint32_t party, const struct vnet_hdr *h, const uint8_t *p,
                            size_t n)
{
    uint8_t head[VNET_HDR_LEN];
    struct iovec parts[2] = {{head, sizeof head}, {(void *)(uintptr_t)p, n}};
    vnet_hdr_write(h, head);
    ssize_t sent = writev(s->host[party], s->vnet_hdr ? parts : parts + 1, s->vnet_hdr ? 2 : 1);
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS))
        return false;
    assert_int_equal(sent, n + (s->vnet_hdr ? VNET_HDR_LEN : 0));
    return true;
}

static inline bool host_frame(struct side *s, uint32_t party, const struct recipe *r, uint16_t size)
{
    size_t n;
    uint8_t *p = kit_frame(r, s->id, 3 - s->id, &n);
    struct vnet_hdr h = size ? recipe_hdr(r, size) : kit_plain_hdr(r);
    bool put = host_put(s, party, &h, p, n);
    free(p);
    return put;
}

/* What the pump wrote to the device; false: nothing is there. */
static inline bool host_get(struct side *s, uint32_t party, struct kit_item *w)
{
    static uint8_t bytes[VNET_HDR_LEN + OFFLOAD_FRAME_MAX + 1];
    ssize_t n = read(s->host[party], bytes, sizeof bytes);
    if (n < 0)
        return false;
    size_t head = s->vnet_hdr ? VNET_HDR_LEN : 0;
    assert_true(n > (ssize_t)head && n < (ssize_t)sizeof bytes);
    *w = (struct kit_item){.kind = KIT_WRITE, .n = (size_t)n - head, .p = bytes + head};
    if (s->vnet_hdr)
        assert_int_equal(vnet_hdr_read(&w->h, bytes_of(bytes, VNET_HDR_LEN), w->n), 0);
    return true;
}

/* A TCP stream: what comes is what was sent, in order, whatever became of the packets' borders. */
struct stream {
    struct recipe r;
    uint32_t sent, came;
};

static inline struct stream stream_of(const struct side *s, uint8_t version, uint16_t port)
{
    struct stream t = {.r = recipe_of(version, IP_TCP, s->kit.tap)};
    t.r.sport = port;
    t.r.seq = 0;
    t.r.partial = s->vnet_hdr;
    return t;
}

static uint8_t packet[70000];

static inline void stream_came(struct stream *t, const uint8_t *p, size_t n, bool tap)
{
    struct naive_frame f = naive_find(p, n, tap);
    const uint8_t *u = p + f.upper;
    uint32_t seq = (uint32_t)u[4] << 24 | (uint32_t)u[5] << 16 | (uint32_t)u[6] << 8 | u[7];
    assert_int_equal(u[0] << 8 | u[1], t->r.sport);
    assert_int_equal(seq, t->came);
    for (size_t i = f.headers; i < n; i++)
        if (p[i] != kit_payload((uint32_t)(seq + i - f.headers)))
            fail_msg("a byte at %zu differs", i);
    t->came += (uint32_t)(n - f.headers);
}

/* Everything that has come for this stream. */
static inline void stream_take(struct stream *t, struct side *to, uint32_t party)
{
    struct kit_item w;
    size_t n;
    while (host_get(to, party, &w)) {
        if (!to->vnet_hdr) /* a device without offloads gets packets that fit it */
            assert_true(w.n <= to->kit.net_mtu + 18u);
        for (size_t k = 0; (n = kit_packet(&w, to->kit.tap, k, packet)) > 0; k++)
            stream_came(t, packet, n, to->kit.tap);
    }
}

/* Puts what fits into the window. */
static inline void stream_put(struct stream *t, struct side *from, uint32_t party, size_t payload,
                              uint16_t size, uint32_t total)
{
    while (t->sent < total && t->sent - t->came < 60000) {
        t->r.payload = payload;
        t->r.seq = t->sent;
        if (!host_frame(from, party, &t->r, payload > size ? size : 0))
            return;
        t->sent += (uint32_t)payload;
        t->r.id = (uint16_t)(t->r.id + (payload + size - 1) / size);
    }
}

/* Streams both ways at once until all has come. */
static inline void both_ways(struct bench *b, size_t payload, uint32_t total)
{
    struct side *one = &b->side[1], *two = &b->side[2];
    struct stream there = stream_of(one, 4, 3001), back = stream_of(two, 6, 3002);
    while (there.came < total || back.came < total || there.came < there.sent || back.came < back.sent) {
        stream_put(&there, one, 1, payload, 1200, total);
        stream_put(&back, two, 1, payload, 1200, total);
        wait_for((int[]){one->host[1], two->host[1], pump_wake_fd(one->pump), pump_wake_fd(two->pump)}, 4);
        stream_take(&there, two, 1);
        stream_take(&back, one, 1);
        drain(one);
        drain(two);
    }
    assert_int_equal(there.came, there.sent);
    assert_int_equal(back.came, back.sent);
}

static inline void nothing_lost(const struct side *s)
{
    static const enum plane_count bad[] = {PLANE_SLOW_FRAMES,  PLANE_SLOW_DATAGRAMS, PLANE_SLOW_OPENED,
                                           PLANE_BAD_TAG,      PLANE_REPLAYED,       PLANE_TOO_OLD,
                                           PLANE_BAD_INNER,    PLANE_UNKNOWN_PARTY,  PLANE_SEAL_FAILED,
                                           PLANE_SEND_REFUSED, PLANE_DEVICE_REFUSED, PLANE_SLOW_FULL,
                                           PLANE_BAD_FRAME};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (plane_counted(s->plane, bad[i]))
            fail_msg("%s: %llu", plane_count_name(bad[i]),
                     (unsigned long long)plane_counted(s->plane, bad[i]));
}

/* Echo to nobody whom the plane knows: the engine's. */
static inline bool ordered_put(struct side *s, size_t i, size_t payload)
{
    struct recipe r = recipe_of(4, IP_ICMP, false);
    size_t n;
    r.payload = payload;
    uint8_t *p = kit_frame(&r, s->id, 77, &n);
    p[20] = 8;
    naive_put16(p + 24, i & 0xffff);
    bool put = host_put(s, 1, &(struct vnet_hdr){0}, p, n);
    free(p);
    return put;
}

#endif
