/* What one packet costs a worker (pump/core.h), out and in, with 1, 100 and 1,000 peers and with 1, 16 and 64
 * parties: lone UDP packets of 64 bytes to or from a peer that is drawn each time, so that nothing of the one
 * before helps. No device, no socket. JSON lines {"name", "value", "unit"}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "pump/core.h"

#define PACKETS 20000
#define ROUNDS  7
#define PAYLOAD 64
#define FRAME   (20 + 8 + PAYLOAD)
#define SELF    0x0a000001u
#define SLOT    (DATA_OVERHEAD + FRAME)

static uint64_t sent, written, slow;

static void on_send(void *arg, uint32_t socket, const struct net_addr *to, const uint8_t *p, size_t n,
                    size_t segment)
{
    sent += (n + segment - 1) / segment;
}

static void on_device(void *arg, uint32_t party, const struct vnet_hdr *h, const struct iovec *pieces,
                      size_t count, size_t bytes)
{
    written += count;
}

static void on_frame(void *arg, uint32_t party, const uint8_t *p, size_t n)
{
    slow++;
}

static void on_datagram(void *arg, uint32_t socket, const struct net_addr *from, const uint8_t *p, size_t n)
{
    slow++;
}

static void on_opened(void *arg, uint32_t peer, uint32_t tag, uint8_t kind, const uint8_t *p, size_t n)
{
    slow++;
}

static const struct core_io io = {on_send, on_device, on_frame, on_datagram, on_opened, NULL, NULL};

static void need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bench_pump_cost: %s\n", what);
    exit(1);
}

static uint32_t address_of(uint32_t peer)
{
    return SELF + 0x100 + peer;
}

static void put32(uint8_t *p, uint32_t v)
{
    struct wr w = wr_of(p, 4);
    wr_u32(&w, v);
}

/* IPv4 and UDP without a checksum of either: nobody here looks at them. */
static void packet(uint8_t p[FRAME], uint32_t src, uint32_t dst)
{
    memset(p, 0, FRAME);
    p[0] = 0x45;
    p[3] = FRAME;
    p[8] = 64;
    p[9] = 17;
    put32(p + 12, src);
    put32(p + 16, dst);
    p[20] = p[22] = 0x40;
    p[25] = 8 + PAYLOAD;
}

struct bench {
    struct plane *plane;
    struct core *core;
    struct lane *theirs[1000]; /* of each peer: what it seals with */
    uint32_t peers, parties;
};

static struct net_addr way_of(uint32_t peer)
{
    return net_addr4(0xc6336400u + peer, 4000);
}

static void peer_add(struct bench *b, uint32_t i)
{
    uint8_t there[AEAD_KEY_LEN] = {1, (uint8_t)i, (uint8_t)(i >> 8)},
            back[AEAD_KEY_LEN] = {2, (uint8_t)i, (uint8_t)(i >> 8)};
    struct lane *ours =
        lane_new(&(struct lane_config){AEAD_AES256GCM, there, back, 0, 0x1000 + i * 7919, 0x2000 + i});
    b->theirs[i] =
        lane_new(&(struct lane_config){AEAD_AES256GCM, back, there, 0, 0x2000 + i, 0x1000 + i * 7919});
    need(ours && b->theirs[i], "out of memory");
    struct plane_route r;
    memset(&r, 0, sizeof r);
    r.most = (uint64_t)1 << 48;
    r.tx = r.rx[0] = ours;
    r.way_count = 1;
    r.ways[0].id = 16;
    r.ways[0].socket = 1;
    r.ways[0].addr = way_of(i);
    r.ways[0].mtu = 1472;
    need(plane_route_set(b->plane, i + 1, &r) == 0, "no route");
    lane_drop(ours);
}

static void begin(struct bench *b, uint32_t peers, uint32_t parties)
{
    struct plane_member *members = calloc(peers, sizeof *members);
    *b = (struct bench){.plane = plane_new(1), .peers = peers, .parties = parties};
    need(b->plane && members, "out of memory");
    for (uint32_t i = 0; i < peers; i++) {
        peer_add(b, i);
        members[i] = (struct plane_member){.ref = i + 1, .ip4 = address_of(i)};
    }
    for (uint32_t p = 1; p <= parties; p++) {
        struct plane_net net = {
            .party_ref = p, .tag = p * 77, .mtu = 1380, .self.ip4 = SELF, .members = members, .count = peers};
        need(plane_net_set(b->plane, &net) == 0, "no net");
    }
    need(plane_publish(b->plane) == 0, "not published");
    b->core =
        core_new(&(struct core_config){.plane = b->plane, .user = 1, .tso = true, .uso = true, .io = &io});
    need(b->core != NULL, "out of memory");
    free(members);
}

static void end(struct bench *b)
{
    core_free(b->core);
    plane_free(b->plane);
    for (uint32_t i = 0; i < b->peers; i++)
        lane_drop(b->theirs[i]);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double out(struct bench *b, struct rng *rng)
{
    static uint32_t to[PACKETS];
    const struct vnet_hdr h = {0};
    uint8_t p[FRAME];
    for (size_t i = 0; i < PACKETS; i++)
        to[i] = (uint32_t)rng_below(rng, b->peers);
    packet(p, SELF, 0);
    uint64_t before = sent;
    double t = seconds();
    for (size_t i = 0; i < PACKETS; i++) {
        if (i % 64 == 0)
            core_begin(b->core, i);
        uint8_t *room = core_room(b->core);
        memcpy(room, p, FRAME);
        put32(room + 16, address_of(to[i]));
        core_frame(b->core, 1 + to[i] % b->parties, false, &h, FRAME);
        if (i % 64 == 63 || i + 1 == PACKETS)
            core_end(b->core);
    }
    t = seconds() - t;
    need(sent - before == PACKETS, "packets did not go the fast way out");
    return t / PACKETS * 1e9;
}

static double in(struct bench *b, struct rng *rng)
{
    static uint8_t datagrams[PACKETS][SLOT];
    static uint32_t from[PACKETS];
    for (size_t i = 0; i < PACKETS; i++) {
        uint64_t counter;
        from[i] = (uint32_t)rng_below(rng, b->peers);
        const struct inner_header inner = {INNER_PACKET, 0, (1 + from[i] % b->parties) * 77};
        packet(datagrams[i] + DATA_HEADROOM, address_of(from[i]), SELF);
        need(lane_take(b->theirs[from[i]], 1, UINT64_MAX, &counter) == 0 &&
                 lane_seal(b->theirs[from[i]], 0, counter, &inner, datagrams[i], FRAME) == 0,
             "cannot seal");
    }
    uint64_t before = written;
    double t = seconds();
    for (size_t i = 0; i < PACKETS; i++) {
        if (i % 64 == 0)
            core_begin(b->core, i);
        const struct net_addr a = way_of(from[i]);
        core_datagrams(b->core, 1, &a, datagrams[i], SLOT, SLOT);
        if (i % 64 == 63 || i + 1 == PACKETS)
            core_end(b->core);
    }
    t = seconds() - t;
    need(written - before == PACKETS, "packets did not go the fast way in");
    return t / PACKETS * 1e9;
}

static void measure(uint32_t peers, uint32_t parties, const char *of)
{
    struct rng rng = {0};
    struct rng_seeded seed;
    double best_out = 1e9, best_in = 1e9;
    struct bench b;
    rng = rng_seeded(&seed, 1);
    begin(&b, peers, parties);
    for (int i = 0; i < ROUNDS; i++) {
        double o = out(&b, &rng), n = in(&b, &rng);
        best_out = o < best_out ? o : best_out;
        best_in = n < best_in ? n : best_in;
    }
    printf("{\"name\": \"worker, packet out, %s\", \"value\": %.0f, \"unit\": \"ns\"}\n", of, best_out);
    printf("{\"name\": \"worker, packet in, %s\", \"value\": %.0f, \"unit\": \"ns\"}\n", of, best_in);
    end(&b);
}

int main(void)
{
    measure(1, 1, "1 peer");
    measure(100, 1, "100 peers");
    measure(1000, 1, "1000 peers");
    measure(100, 16, "100 peers in 16 parties");
    measure(100, 64, "100 peers in 64 parties");
    need(slow == 0, "something went the slow way");
    return 0;
}
