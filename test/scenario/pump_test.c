/* The pump's code (pump/core.h) between whole nodes: super-frames of TCP-like streams from device to device,
 * over every kind of way that it takes by itself, while keys change, links shuffle and lose, members go, and
 * strangers write. */
#include "pump/plane.h"
#include "sim/node_pump.h"
#include "test/scenario/homes.h"

#define SUPER   45000 /* bytes in one frame from the device */
#define STREAMS 4

static struct node_host *ann, *bob;
static uint32_t poured[WORLD_NODES_MAX][WORLD_NODES_MAX][STREAMS];

static uint64_t done(struct node_host *n, enum plane_count what)
{
    return plane_counted(node_pump_plane(n->pump), what);
}

static void pour(struct node_host *from, struct node_host *to, uint16_t stream, size_t n)
{
    struct device *d = device_of(from), *there = device_of(to);
    uint32_t *at = &poured[from->number][to->number][stream];
    if (d && there && device_pour(d, there->ip4, stream, *at, n))
        *at += (uint32_t)n;
    node_host_pump(from);
}

static const struct device_stream *heard_of(struct node_host *by, struct node_host *from, uint16_t stream)
{
    static const struct device_stream nothing;
    const struct device_stream *s =
        device_stream(node_host_device(by, world->party->net4), from->number, stream);
    return s ? s : &nothing;
}

/* Nothing that came is other than what was sent, and nothing came twice. */
static bool intact(struct node_host *by, struct node_host *from, uint16_t stream)
{
    const struct device_stream *s = heard_of(by, from, stream);
    const struct device *d = node_host_device(by, world->party->net4);
    return s->damaged == 0 && s->repeated == 0 && d->bad_sums_in == 0 && d->refused_in == 0;
}

static bool whole(struct node_host *by, struct node_host *from, uint16_t stream)
{
    const struct device_stream *s = heard_of(by, from, stream);
    if (intact(by, from, stream) && s->bytes == poured[from->number][by->number][stream])
        return true;
    const struct device *d = node_host_device(by, world->party->net4);
    fprintf(
        stderr,
        "# %s of %s: %llu of %u bytes in %llu segments, %llu repeated, %llu damaged; %llu wrong sums, %llu "
        "refused\n",
        by->name, from->name, (unsigned long long)s->bytes, poured[from->number][by->number][stream],
        (unsigned long long)s->segments, (unsigned long long)s->repeated, (unsigned long long)s->damaged,
        (unsigned long long)d->bad_sums_in, (unsigned long long)d->refused_in);
    return false;
}

static struct node_host *node(const char *name, bool pump, uint64_t rekey_packets)
{
    struct node_host_config c;
    node_host_config_default(&c);
    c.limits.pump = pump;
    if (rekey_packets) {
        c.session.rekey_packets = rekey_packets;
        c.session.rekey_retry = 50 * MSEC;
    }
    c.have_hub = world->node_count == 0;
    c.hub = world->hub->address;
    struct node_host *n = machine_at(NULL, name, &c);
    if (c.have_hub)
        WITHIN(5 * SEC, at_hub(n));
    return n;
}

static bool directly(struct node_host *a, struct node_host *b)
{
    return path_is_direct(path_of(a, b)->kind) && path_is_direct(path_of(b, a)->kind);
}

static void begin(const char *mode)
{
    memset(poured, 0, sizeof poured);
    EXPECT(!create_as(ann, "lan", mode));
    speak_of("lan");
    everybody_joins(ann);
    WITHIN(10 * SEC, sees(ann, bob) && sees(bob, ann));
}

/* Both on the open Internet, with a direct path that carries whole packets. */
static void two(const char *mode, bool anns, bool bobs, uint64_t rekey_packets)
{
    world->direct = true;
    ann = node("ann", anns, rekey_packets);
    bob = node("bob", bobs, rekey_packets);
    begin(mode);
    WITHIN(10 * SEC, directly(ann, bob));
    WITHIN(20 * SEC, path_of(ann, bob)->mtu >= 1400 && path_of(bob, ann)->mtu >= 1400);
}

static void both_pour(unsigned times, usec_t pace, size_t n)
{
    for (unsigned i = 0; i < times; i++) {
        pour(ann, bob, 0, n);
        pour(bob, ann, 1, n);
        RUN(pace);
    }
    RUN(1 * SEC);
}

static bool both_whole(void)
{
    return whole(bob, ann, 0) && whole(ann, bob, 1);
}

static bool both_in_order(void)
{
    return heard_of(bob, ann, 0)->reordered == 0 && heard_of(ann, bob, 1)->reordered == 0;
}

/* What one counted as sent and the other did not as received, both ways, by status and by the metrics. */
static int64_t unaccounted(void)
{
    RUN(200 * MSEC);
    int64_t there = peer_number(ann, bob, "tx_bytes") - peer_number(bob, ann, "rx_bytes");
    int64_t back = peer_number(bob, ann, "tx_bytes") - peer_number(ann, bob, "rx_bytes");
    if (there == 0 && back == 0)
        EXPECT(metric(ann, "warren_node_peer_bytes") == metric(bob, "warren_node_peer_bytes"));
    return llabs(there) + llabs(back);
}

/* ---- Plain work. */

static void bulk(const char *mode)
{
    two(mode, true, true, 0);
    int64_t before = peer_number(ann, bob, "tx_bytes");
    uint64_t frames = done(ann, PLANE_OUT_FRAMES), slow = done(ann, PLANE_SLOW_FRAMES);
    both_pour(200, 5 * MSEC, SUPER);
    EXPECT(both_whole() && both_in_order());
    EXPECT(done(ann, PLANE_OUT_FRAMES) - frames >= 200 && done(ann, PLANE_SLOW_FRAMES) == slow);
    EXPECT(done(ann, PLANE_OUT_PACKETS) > 30 * done(ann, PLANE_OUT_SENDS) / 4);
    EXPECT(device_of(bob)->supers_in >= 200);
    EXPECT(done(bob, PLANE_IN_WRITES) < done(bob, PLANE_IN_PACKETS) / 10);
    EXPECT(peer_number(ann, bob, "tx_bytes") - before > 200 * SUPER);
    EXPECT(unaccounted() == 0);
}

SCENARIO(bulk_of_frames)
{
    bulk("tap");
}
SCENARIO(bulk_of_packets)
{
    bulk("tun");
}

/* A lone packet waits for nobody. */
SCENARIO(small_beside_large)
{
    two("tap", true, true, 0);
    talk(ann, bob, 1 * MSEC, 60);
    for (int i = 0; i < 200; i++) {
        pour(ann, bob, 0, SUPER);
        pour(ann, bob, 2, 400);
        say6(ann, bob, 300);
        RUN(2 * MSEC);
    }
    hush();
    RUN(1 * SEC);
    EXPECT(whole(bob, ann, 0) && whole(bob, ann, 2) && frames_lost(ann, bob) == 0);
    EXPECT(heard_of(bob, ann, 0)->reordered == 0 && heard_of(bob, ann, 2)->reordered == 0);
    EXPECT(heard(bob, ann)->reordered == 0);
}

/* The hint that a checksum is only begun is made good where no device could take it. */
SCENARIO(with_one_who_has_no_pump)
{
    two("tap", true, false, 0);
    both_pour(100, 5 * MSEC, SUPER);
    EXPECT(both_whole() && both_in_order());
    EXPECT(done(ann, PLANE_OUT_PACKETS) > 3000 && done(ann, PLANE_IN_PACKETS) > 3000);
    EXPECT(unaccounted() == 0);
}
SCENARIO(with_one_who_has_no_pump_in_packets)
{
    two("tun", false, true, 0);
    both_pour(100, 5 * MSEC, SUPER);
    EXPECT(both_whole() && both_in_order());
    EXPECT(unaccounted() == 0);
}

/* Before it is known how large a datagram passes, large packets take the slow way, and no harm. */
SCENARIO(before_sizes_are_known)
{
    world->direct = true;
    ann = node("ann", true, 0);
    bob = node("bob", true, 0);
    begin("tap");
    both_pour(400, 5 * MSEC, SUPER / 4);
    EXPECT(both_whole());
    EXPECT(done(ann, PLANE_SLOW_FRAMES) > 0 && done(ann, PLANE_OUT_PACKETS) > 0);
    EXPECT(unaccounted() == 0);
}

/* ---- Keys. */

SCENARIO(keys_change_all_the_while)
{
    two("tap", true, true, 500);
    both_pour(1000, 2 * MSEC, SUPER);
    EXPECT(both_whole() && both_in_order());
    EXPECT(peer_number(ann, bob, "rekeys") >= 20 && peer_number(bob, ann, "rekeys") >= 20);
    fprintf(stderr, "# %lld rekeys in %u packets each way\n", (long long)peer_number(ann, bob, "rekeys"),
            1000 * SUPER / 1360);
    EXPECT(done(ann, PLANE_SEAL_FAILED) == 0);
    EXPECT(unaccounted() == 0);
}

/* ---- Ways. */

static struct wires w;

SCENARIO(over_the_udp_relay)
{
    two_homes(&w, &port_restricted, &port_restricted, 20 * MSEC);
    memset(poured, 0, sizeof poured);
    ann = w.ann, bob = w.bob;
    cut(&w, true);
    WITHIN(30 * SEC, path_of(ann, bob)->kind == PATH_UDP_RELAY && path_of(bob, ann)->kind == PATH_UDP_RELAY);
    RUN(10 * SEC);
    uint64_t packets = done(ann, PLANE_OUT_PACKETS), in = done(bob, PLANE_IN_PACKETS);
    int64_t before = unaccounted();
    both_pour(100, 20 * MSEC, SUPER / 4);
    EXPECT(both_whole() && both_in_order());
    EXPECT(done(ann, PLANE_OUT_PACKETS) - packets >= 100 * SUPER / 4 / 1400);
    EXPECT(done(bob, PLANE_IN_PACKETS) - in >= 100 * SUPER / 4 / 1400);
    EXPECT(unaccounted() == before);
}

static void pour_until(bool (*so)(const struct wires *w), usec_t pace, usec_t most)
{
    usec_t until = world->sim.now + most;
    while (world->sim.now < until && !(so && so(&w))) {
        pour(ann, bob, 0, 5000);
        pour(bob, ann, 1, 5000);
        RUN(pace);
    }
    EXPECT(!so || so(&w));
}

/* There and back, while streams run. */
SCENARIO(between_ways_under_load)
{
    for (usec_t rtt = 10 * MSEC; rtt <= 40 * MSEC; rtt += 10 * MSEC) {
        two_homes(&w, &port_restricted, &port_restricted, rtt);
        memset(poured, 0, sizeof poured);
        ann = w.ann, bob = w.bob;
        cut(&w, true);
        RUN(35 * SEC); /* a direct way that was there is forgotten */
        WITHIN(10 * SEC, relayed(&w));
        cut(&w, false);
        pour_until(direct, 20 * MSEC, 100 * SEC);
        RUN(5 * SEC);
        w.slow = 250 * MSEC; /* then the relay is better */
        pour_until(relayed, 5 * MSEC, 60 * SEC);
        RUN(2 * SEC);
        EXPECT(both_whole());
        world_end();
        world_begin();
    }
}

/* The direct way fails for moments, and there is but a stream beside it: workers seal once, the engine sends
 * the copies. What is missing is what went before the doubt. */
SCENARIO(copies_over_a_stream)
{
    two_homes(&w, &port_restricted, &port_restricted, 20 * MSEC);
    memset(poured, 0, sizeof poured);
    ann = w.ann, bob = w.bob;
    WITHIN(60 * SEC, direct(&w));
    w.cut_hub_udp = true;
    pour_until(NULL, 10 * MSEC, 5 * SEC);
    uint64_t made = done(ann, PLANE_OUT_COPIES);
    int64_t sent = metric(ann, "warren_node_tx_copies_total");
    for (int i = 0; i < 3; i++) {
        cut(&w, true);
        pour_until(NULL, 10 * MSEC, 400 * MSEC);
        cut(&w, false);
        pour_until(NULL, 10 * MSEC, 8 * SEC);
        EXPECT(direct(&w));
    }
    RUN(1 * SEC);
    EXPECT(intact(bob, ann, 0) && intact(ann, bob, 1));
    EXPECT(done(ann, PLANE_OUT_COPIES) - made > 3 * 4 * 20);
    EXPECT(metric(ann, "warren_node_tx_copies_total") - sent >=
           (int64_t)(done(ann, PLANE_OUT_COPIES) - made));
    uint64_t there = poured[ann->number][bob->number][0] - heard_of(bob, ann, 0)->bytes;
    uint64_t back = poured[bob->number][ann->number][1] - heard_of(ann, bob, 1)->bytes;
    EXPECT(there > 0 && there <= 3 * 20 * 5000 && back > 0 && back <= 3 * 20 * 5000);
}

/* ---- Links that lose, double and shuffle. */

#define SHUFFLED_MAX 20000

/* Data packets in the order in which the link delivered them first, by their counters; segments as the device
 * got them. */
static struct {
    uint64_t counter[SHUFFLED_MAX], at[SHUFFLED_MAX];
    size_t came, given;
} shuffled;

static void link_delivers(void *arg, struct node_host *h, const struct net_addr *from, struct bytes p)
{
    struct data_header d;
    if (p.n < 500 || p.p[0] != WIRE_DATA || data_header_read(&d, p) < 0 || d.own)
        return;
    for (size_t i = shuffled.came > 1000 ? shuffled.came - 1000 : 0; i < shuffled.came; i++)
        if (shuffled.counter[i] == d.counter)
            return; /* the copy that the link made */
    EXPECT(shuffled.came < SHUFFLED_MAX);
    shuffled.counter[shuffled.came++] = d.counter;
}

static void device_gets(void *arg, struct device *d, const struct device_stream *s, uint64_t at)
{
    EXPECT(shuffled.given < SHUFFLED_MAX);
    shuffled.at[shuffled.given++] = at;
}

static int number_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The k-th packet that came carried the k-th segment that was given: both lists are shuffled alike. */
static bool shuffled_alike(void)
{
    static uint64_t counters[SHUFFLED_MAX], ats[SHUFFLED_MAX];
    size_t n = shuffled.came;
    memcpy(counters, shuffled.counter, sizeof counters);
    memcpy(ats, shuffled.at, sizeof ats);
    qsort(counters, n, sizeof *counters, number_order);
    qsort(ats, n, sizeof *ats, number_order);
    for (size_t i = 0; i < n; i++) {
        const uint64_t *c = bsearch(&shuffled.counter[i], counters, n, sizeof *counters, number_order);
        const uint64_t *a = bsearch(&shuffled.at[i], ats, n, sizeof *ats, number_order);
        if (c - counters != a - ats)
            return false;
    }
    return true;
}

static void weather(double loss, double shuffle)
{
    world->reordering_allowed = true;
    two("tap", true, true, 0);
    memset(&shuffled, 0, sizeof shuffled);
    line(bob,
         (struct link_config){
             .delay = 8 * MSEC, .loss = loss, .duplicate = shuffle, .reorder = shuffle, .reorder_by = 700});
    bob->on_datagram = link_delivers;
    device_of(bob)->on_segment = device_gets;
    for (int i = 0; i < 200; i++) {
        pour(ann, bob, 0, SUPER);
        pour(bob, ann, 1, SUPER);
        RUN(300);
    }
    RUN(1 * SEC);
    EXPECT(intact(bob, ann, 0) && intact(ann, bob, 1));
    EXPECT(shuffled.came > 4000 && shuffled.came == shuffled.given && shuffled_alike());
    EXPECT(done(bob, PLANE_IN_PACKETS) > 4000);
    EXPECT((heard_of(bob, ann, 0)->reordered > 0) == (shuffle > 0));
    EXPECT((heard_of(bob, ann, 0)->bytes < poured[ann->number][bob->number][0]) == (loss > 0));
}

SCENARIO(links_that_shuffle)
{
    weather(0, 0.1);
}
SCENARIO(links_that_lose)
{
    weather(0.02, 0);
}
SCENARIO(links_that_do_everything)
{
    weather(0.05, 0.1);
}

/* ---- Members that go. */

static struct node_host *eve;

static bool keep_from_eve(void *arg, struct hub_host *h, const uint8_t *node, bool binary,
                          struct buf *message)
{
    return binary || !node || memcmp(node, eve->id, NODE_ID_LEN) != 0;
}

/* Eve is not told and goes on, with full speed and over direct paths. */
SCENARIO(who_is_removed_is_out_at_once)
{
    world->direct = true;
    ann = node("ann", true, 0);
    bob = node("bob", true, 0);
    eve = node("eve", true, 0);
    begin("tap");
    WITHIN(10 * SEC, sees(eve, ann) && sees(eve, bob) && sees(ann, eve) && sees(bob, eve));
    WITHIN(20 * SEC, directly(eve, ann) && directly(eve, bob));
    RUN(2 * SEC);
    for (int i = 0; i < 100; i++)
        pour(eve, bob, 0, SUPER), pour(eve, ann, 1, SUPER), pour(bob, eve, 2, SUPER), RUN(5 * MSEC);
    RUN(1 * SEC);
    EXPECT(whole(bob, eve, 0) && whole(ann, eve, 1));
    world->hub->hooks.says = keep_from_eve;
    uint32_t request = node_host_ask(ann, "{\"cmd\":\"kick\",\"party\":\"lan\",\"peer\":\"eve\"}");
    struct device_stream at_ann = {0}, at_bob = {0}, at_eve = {0};
    for (int i = 0; i < 400; i++) {
        pour(eve, bob, 0, SUPER), pour(eve, ann, 1, SUPER), pour(bob, eve, 2, SUPER);
        RUN(5 * MSEC);
        if (i == 200) {
            at_ann = *heard_of(ann, eve, 1);
            at_bob = *heard_of(bob, eve, 0);
            at_eve = *heard_of(eve, bob, 2);
        }
    }
    char *answer = node_host_answer(ann, request);
    EXPECT(answer && strstr(answer, "\"ok\":true"));
    free(answer);
    EXPECT(heard_of(ann, eve, 1)->segments == at_ann.segments);
    EXPECT(heard_of(bob, eve, 0)->segments == at_bob.segments);
    EXPECT(heard_of(eve, bob, 2)->segments == at_eve.segments);
    EXPECT(at_bob.bytes < poured[eve->number][bob->number][0]);
    EXPECT(intact(ann, eve, 1) && intact(bob, eve, 0));
    both_pour(50, 5 * MSEC, SUPER);
    EXPECT(both_whole());
}

static void lease(struct node_host *to, uint32_t host)
{
    struct node_host *const all[] = {ann, bob, eve};
    EXPECT(!ask(
        ann, json_pack("{s:s,s:s,s:s,s:i}", "cmd", "lease", "party", "lan", "peer", to->name, "host", host),
        NULL));
    WITHIN(5 * SEC, device_of(to) && (device_of(to)->ip4 & 0xffff) == host);
    for (size_t i = 0; i < 3; i++)
        device_forget_arp(device_of(all[i])); /* as kernels do in a while */
    RUN(1 * SEC);
    for (int i = 0; i < 20; i++) {
        for (size_t k = 0; k < 6; k++)
            pour(all[k / 2], all[(k / 2 + 1 + k % 2) % 3], 0, SUPER);
        RUN(10 * MSEC);
    }
    RUN(1 * SEC);
    for (size_t k = 0; k < 6; k++)
        EXPECT(whole(all[(k / 2 + 1 + k % 2) % 3], all[k / 2], 0));
}

/* Addresses go from one member to another; packets follow, and fast. */
SCENARIO(addresses_change_hands)
{
    world->direct = true;
    ann = node("ann", true, 0);
    bob = node("bob", true, 0);
    eve = node("eve", true, 0);
    begin("tap");
    WITHIN(20 * SEC, directly(ann, bob) && directly(eve, ann) && directly(eve, bob));
    uint32_t was = device_of(bob)->ip4 & 0xffff;
    lease(bob, 257);
    lease(eve, was);
    lease(bob, 258);
    lease(eve, 257);
    lease(ann, was);
    uint64_t fast = done(ann, PLANE_OUT_PACKETS), slow = done(ann, PLANE_SLOW_FRAMES);
    for (int i = 0; i < 20; i++)
        pour(ann, bob, 0, SUPER), pour(ann, eve, 0, SUPER);
    RUN(1 * SEC);
    EXPECT(whole(bob, ann, 0) && whole(eve, ann, 0));
    EXPECT(done(ann, PLANE_OUT_PACKETS) - fast >= 40 * 30 && done(ann, PLANE_SLOW_FRAMES) == slow);
}

/* A node that dies and comes again has new keys; nobody needs the old plane. */
SCENARIO(one_restarts_under_load)
{
    two("tap", true, true, 0);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 40; i++) {
            if (i == 20)
                node_host_kill(bob);
            pour(ann, bob, 0, SUPER);
            RUN(5 * MSEC);
        }
        node_host_start(bob);
        WITHIN(15 * SEC, sees(ann, bob) && sees(bob, ann));
        WITHIN(15 * SEC, directly(ann, bob));
    }
    EXPECT(intact(bob, ann, 0));
    RUN(5 * SEC);
    uint64_t before = heard_of(bob, ann, 0)->bytes;
    for (int i = 0; i < 40; i++)
        pour(ann, bob, 0, SUPER), RUN(5 * MSEC);
    RUN(1 * SEC);
    EXPECT(heard_of(bob, ann, 0)->bytes - before == 40 * SUPER && intact(bob, ann, 0));
}

/* When nothing moves, nobody looks: as many events as between nodes that have no pump. */
static uint64_t quiet_minute(bool pump)
{
    two("tap", pump, pump, 0);
    both_pour(20, 5 * MSEC, SUPER);
    EXPECT(both_whole());
    RUN(1 * MINUTE);
    uint64_t steps = world->sim.steps;
    RUN(1 * MINUTE);
    return world->sim.steps - steps;
}

SCENARIO(quiet_when_nothing_moves)
{
    uint64_t with = quiet_minute(true);
    world_end();
    world_begin();
    uint64_t without = quiet_minute(false);
    fprintf(stderr, "# %llu events in a quiet minute, %llu without pumps\n", (unsigned long long)with,
            (unsigned long long)without);
    EXPECT(with <= without + 20);
}

/* ---- Strangers' bytes, and members' and kernels' that lie. */

#define CAUGHT_MAX 64

static struct {
    uint8_t p[CAUGHT_MAX][1600];
    size_t n[CAUGHT_MAX], count;
    struct net_addr from, to;
    bool on;
} caught;

static bool catch (void *arg, struct host *h, struct packet *p)
{
    struct data_header d;
    if (!caught.on || h != ann->host || p->proto != NAT_UDP || caught.count == CAUGHT_MAX || p->n > 1600 ||
        p->data[0] != WIRE_DATA || data_header_read(&d, bytes_of(p->data, p->n)) < 0 || d.own)
        return true;
    memcpy(caught.p[caught.count], p->data, p->n);
    caught.n[caught.count++] = p->n;
    caught.from = p->from;
    caught.to = p->to;
    return false; /* Bob has not seen it yet */
}

/* From Ann's own address and port. */
static void inject(const uint8_t *p, size_t n)
{
    struct udp_socket *u = ann->host->sockets;
    while (u && u->port != caught.from.port)
        u = u->next;
    EXPECT(u != NULL);
    struct net_addr to = caught.to;
    udp_send(u, &to, bytes_of(p, n));
}

static void lie(const uint8_t *good, size_t n, size_t i)
{
    uint8_t bad[1600];
    memcpy(bad, good, n);
    switch (rng_below(&world->sim.rng, 5)) {
    case 0: /* cut short */
        inject(bad, n * i / 400 % n + 1);
        break;
    case 1: /* a bit flipped */
        bad[rng_below(&world->sim.rng, n)] ^= (uint8_t)(1u << rng_below(&world->sim.rng, 8));
        inject(bad, n);
        break;
    case 2: /* another counter, epoch or index */
        bad[1 + rng_below(&world->sim.rng, DATA_HEADER_LEN - 1)] ^=
            (uint8_t)(1 + rng_below(&world->sim.rng, 255));
        inject(bad, n);
        break;
    case 3: /* as if by the relay */
        memmove(bad + 12, bad, n < 1588 ? n : 1588);
        memcpy(bad, (uint8_t[]){7, 5, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, 12);
        inject(bad, n < 1460 ? n + 12 : 1400);
        break;
    default: /* noise with the right beginning */
        rng_fill(&world->sim.rng, bad + DATA_HEADER_LEN, n - DATA_HEADER_LEN);
        inject(bad, n);
        break;
    }
}

SCENARIO(strangers_write_to_a_pump)
{
    two("tap", true, true, 0);
    memset(&caught, 0, sizeof caught);
    world->net->tap = catch;
    caught.on = true;
    pour(ann, bob, 0, SUPER);
    RUN(5 * MSEC);
    caught.on = false;
    EXPECT(caught.count >= 30);
    uint64_t opened = done(bob, PLANE_IN_PACKETS), bad = done(bob, PLANE_BAD_TAG);
    for (size_t i = 0; i < 4000; i++) {
        lie(caught.p[i % caught.count], caught.n[i % caught.count], i);
        if (i % 16 == 0)
            pour(bob, ann, 1, SUPER), RUN(1 * MSEC);
    }
    RUN(100 * MSEC);
    EXPECT(done(bob, PLANE_IN_PACKETS) == opened && heard_of(bob, ann, 0)->segments == 0);
    EXPECT(done(bob, PLANE_BAD_TAG) - bad > 500);
    /* None of it has used up a counter, moved a path or cost a byte; what was kept back is good now, once. */
    for (int twice = 0; twice < 2; twice++)
        for (size_t i = 0; i < caught.count; i++)
            inject(caught.p[i], caught.n[i]);
    RUN(1 * SEC);
    EXPECT(whole(bob, ann, 0) && whole(ann, bob, 1) && heard_of(ann, bob, 1)->reordered == 0);
    EXPECT(done(bob, PLANE_REPLAYED) >= caught.count);
    EXPECT(metric(bob, "warren_node_session_drops_total") >=
           (int64_t)(done(bob, PLANE_BAD_TAG) + done(bob, PLANE_REPLAYED)));
    EXPECT(directly(ann, bob));
}

/* A frame as the kernel would give it, with anything wrong in it and in what stands before it. */
static void mangled(struct device *d, const uint8_t *good, size_t n)
{
    uint8_t bad[4000];
    size_t len = rng_below(&world->sim.rng, 4) == 0 ? rng_below(&world->sim.rng, n + 1) : n;
    struct vnet_hdr h = {
        .partial = rng_below(&world->sim.rng, 4) > 0,
        .gso = (enum offload_gso)rng_below(&world->sim.rng, 4),
        .ecn = rng_below(&world->sim.rng, 2),
        .gso_size = (uint16_t)rng_below(&world->sim.rng, 3000),
        .hdr_len = (uint16_t)rng_below(&world->sim.rng, 100),
        .csum_start = (uint16_t)(rng_below(&world->sim.rng, 3) ? 34 : rng_below(&world->sim.rng, n + 20)),
        .csum_offset = (uint16_t)(rng_below(&world->sim.rng, 3) ? 16 : rng_below(&world->sim.rng, n + 20))};
    memcpy(bad, good, n);
    for (size_t k = rng_below(&world->sim.rng, 4); k > 0 && len > 0; k--)
        bad[rng_below(&world->sim.rng, len < 60 ? len : 60)] ^=
            (uint8_t)(1 + rng_below(&world->sim.rng, 255));
    device_raw_super(d, &h, bytes_of(bad, len));
}

SCENARIO(kernels_that_lie)
{
    two("tap", true, true, 0);
    world->reordering_allowed = true;
    RUN(1 * SEC);
    struct device *d = device_of(ann);
    static uint8_t good[4000];
    pour(bob, ann, 3, 1000);
    RUN(100 * MSEC);
    /* Bob's, sent back the other way. */
    size_t n = d->last.n;
    memcpy(good, d->last.data, n);
    memcpy(good, d->last.data + 6, 6);
    memcpy(good + 6, d->last.data, 6);
    memcpy(good + 26, d->last.data + 30, 4);
    memcpy(good + 30, d->last.data + 26, 4);
    memcpy(good + 34, (uint8_t[]){0x20, 0, 0x20, 0}, 4);
    for (size_t i = n; i < sizeof good; i++)
        good[i] = (uint8_t)i;
    for (int i = 0; i < 20000; i++) {
        mangled(d, good, n + rng_below(&world->sim.rng, sizeof good - n));
        if (i % 8 == 0) {
            node_host_pump(ann);
            RUN(100);
        }
    }
    RUN(1 * SEC);
    EXPECT(device_of(bob)->refused_in == 0);
    uint64_t sums = device_of(bob)->bad_sums_in;
    both_pour(50, 5 * MSEC, SUPER);
    EXPECT(device_of(bob)->bad_sums_in == sums);
    EXPECT(heard_of(bob, ann, 0)->bytes == 50 * SUPER && heard_of(bob, ann, 0)->damaged == 0 &&
           heard_of(bob, ann, 0)->repeated == 0 && whole(ann, bob, 1));
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(bulk_of_frames),
        STORY(bulk_of_packets),
        STORY(small_beside_large),
        STORY(with_one_who_has_no_pump),
        STORY(with_one_who_has_no_pump_in_packets),
        STORY(before_sizes_are_known),
        STORY(keys_change_all_the_while),
        STORY(over_the_udp_relay),
        STORY(between_ways_under_load),
        STORY(copies_over_a_stream),
        STORY(links_that_shuffle),
        STORY(links_that_lose),
        STORY(links_that_do_everything),
        STORY(who_is_removed_is_out_at_once),
        STORY(addresses_change_hands),
        STORY(one_restarts_under_load),
        STORY(quiet_when_nothing_moves),
        STORY(strangers_write_to_a_pump),
        STORY(kernels_that_lie),
    };
    unsetenv("WARREN_SIM_PUMP"); /* it is what this is about */
    return cmocka_run_group_tests(stories, NULL, NULL);
}
