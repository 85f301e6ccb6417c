/* Bytes without sense, at the hub and at nodes: counted, refused, and nothing grows. */
#include "sim/scenario.h"

#define GROWTH (3 * 1024 * 1024)

static struct node_host *ann, *bob, *eve;

static void three_friends(void)
{
    ann = founder("ann"), bob = machine("bob"), eve = machine("eve");
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(2 * SEC, everybody_sees_everybody());
}

static struct bytes noise(uint8_t *out, size_t most)
{
    const struct rng *rng = &world->sim.rng;
    size_t n = rng_below(rng, most) + 1;
    rng_fill(rng, out, n);
    static const char *const beginnings[] = {"{\"type\":\"", "{\"type\":\"login\",\"payload\":{",
                                             "[[[[[[[[[[[[", "{\"type\":\"log\","};
    if (rng_below(rng, 2) && n > 40) {
        const char *b = beginnings[rng_below(rng, 4)];
        memcpy(out, b, strlen(b));
    }
    return bytes_of(out, n);
}

/* Somebody who found the hub's port. */
static unsigned shouted, shut_out;

static void stranger_up(void *arg, struct stream *s, const uint8_t binding[32], const uint8_t fingerprint[32])
{
    uint8_t text[2000];
    for (int i = 0; i < 50; i++)
        shouted += stream_send(s, i % 2, noise(text, sizeof text));
}

static void stranger_hears(void *arg, struct stream *s, bool binary, uint8_t *p, size_t n)
{
}

static void stranger_writes(void *arg, struct stream *s)
{
}

static void stranger_down(void *arg, struct stream *s, const char *why)
{
    shut_out++;
    stream_close(s);
}

static const struct stream_ops stranger = {stranger_up, stranger_hears, stranger_writes, stranger_down};

SCENARIO(strangers_shout_at_the_hub)
{
    three_friends();
    talk(ann, bob, 10 * MSEC, 200);
    struct host *crowd = host_new(world->net->root, "crowd");
    struct net_addr to = world->hub->host->ip4;
    to.port = HUB_PORT;
    shouted = shut_out = 0;
    RUN(20 * SEC);
    size_t before = sim_heap_bytes();
    for (int i = 0; i < 100; i++) {
        stream_connect(crowd, &to, &stranger, crowd);
        RUN(100 * MSEC);
    }
    RUN(30 * SEC);
    EXPECT(shouted > 500);
    EXPECT(shut_out == 100);
    struct hub_stats stats;
    hub_stats(world->hub->hub, &stats);
    EXPECT(stats.connections == 3);
    EXPECT(stats.refused > 0);
    EXPECT(sim_heap_bytes() < before + GROWTH);
    hush();
    RUN(1 * SEC);
    EXPECT(frames_lost(ann, bob) == 0);
}

/* A member whose software went mad: what eve says is replaced, or bits of it are turned. */
static bool eve_raves(void *arg, struct hub_host *h, const uint8_t *node, bool binary, struct buf *message)
{
    uint8_t text[3000];
    const struct rng *rng = &world->sim.rng;
    if (!node || memcmp(node, eve->id, NODE_ID_LEN) != 0)
        return true;
    if (rng_below(rng, 2)) {
        buf_clear(message);
        buf_add(message, noise(text, sizeof text));
    } else if (message->n > 0) {
        message->p[rng_below(rng, message->n)] ^= (uint8_t)(1 + rng_below(rng, 255));
    }
    return true;
}

SCENARIO(a_member_raves)
{
    three_friends();
    talk(ann, bob, 10 * MSEC, 200);
    talk(eve, bob, 10 * MSEC, 200);
    RUN(20 * SEC);
    size_t before = sim_heap_bytes();
    world->reordering_allowed = true;
    world->hub->hooks.hears = eve_raves;
    RUN(2 * MINUTE);
    world->hub->hooks.hears = NULL;
    EXPECT(sim_heap_bytes() < before + GROWTH);
    hush();
    RUN(1 * SEC);
    EXPECT(frames_lost(ann, bob) == 0);
    EXPECT(heard(bob, eve)->repeated == 0);
    WITHIN(2 * MINUTE, everybody_sees_everybody());
}

SCENARIO(the_hub_raves)
{
    three_friends();
    RUN(20 * SEC);
    size_t before = sim_heap_bytes();
    uint64_t delivered = device_of(bob)->frames_in;
    for (int i = 0; i < 3000; i++) {
        uint8_t text[3000];
        bool binary = rng_below(&world->sim.rng, 8) != 0;
        struct bytes n = noise(text, sizeof text);
        if (binary && n.n > RELAY_HEADER_LEN + DATA_OVERHEAD)
            relay_header_write(text, 1 + rng_below(&world->sim.rng, 4),
                               (uint32_t)rng_below(&world->sim.rng, 6), n.n - RELAY_HEADER_LEN);
        if (binary && n.n > RELAY_HEADER_LEN && rng_below(&world->sim.rng, 2))
            text[RELAY_HEADER_LEN] = (uint8_t)(4 + rng_below(&world->sim.rng, 3));
        hub_host_say(world->hub, bob->id, binary, n);
        RUN(10 * MSEC);
    }
    EXPECT(device_of(bob)->frames_in == delivered);
    EXPECT(sim_heap_bytes() < before + GROWTH);
    EXPECT(metric(bob, "warren_node_hub_bad_binaries_total") +
               metric(bob, "warren_node_rx_bad_datagram_total") >
           100);
    WITHIN(2 * MINUTE, everybody_sees_everybody());
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(strangers_shout_at_the_hub),
        STORY(a_member_raves),
        STORY(the_hub_raves),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
