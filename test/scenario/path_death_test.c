/* A path falls silent, and nobody is told: another one carries within a second. */
#include "test/scenario/homes.h"

#define CUTS 42 /* in each story */
#define PACE (10 * MSEC)

static struct wires w;

struct outage {
    usec_t since;
    uint64_t by_ann, by_bob; /* frames sent before it */
    usec_t ann_heard, bob_heard;
};

static usec_t later(usec_t a, usec_t b)
{
    return a > b ? a : b;
}

static void both_talk(void)
{
    talk(w.ann, w.bob, PACE, 400);
    talk(w.bob, w.ann, PACE, 400);
}

static void begin(struct outage *o)
{
    *o = (struct outage){
        .since = world->sim.now, .by_ann = frames_sent(w.ann, w.bob), .by_bob = frames_sent(w.bob, w.ann)};
}

/* Whether a frame that was sent since then arrived, in both directions. */
static bool over(struct outage *o)
{
    if (o->ann_heard == 0 && heard(w.bob, w.ann)->last_seq > o->by_ann)
        o->ann_heard = world->sim.now - o->since;
    if (o->bob_heard == 0 && heard(w.ann, w.bob)->last_seq > o->by_bob)
        o->bob_heard = world->sim.now - o->since;
    return o->ann_heard != 0 && o->bob_heard != 0;
}

static usec_t lasted(const struct outage *o)
{
    return later(o->ann_heard, o->bob_heard);
}

/* Both talk, and at some moment the wires are cut. */
static void talk_and_cut(struct outage *o, bool anns, bool bobs)
{
    both_talk();
    RUN(3 * SEC + rng_below(&world->sim.rng, 1 * SEC));
    EXPECT(direct(&w));
    begin(o);
    w.cut_a = anns;
    w.cut_b = bobs;
}

static void mend(void)
{
    hush();
    cut(&w, false);
    RUN(1 * SEC); /* within the dead time an end may still leave, for the silence that was */
    WITHIN(60 * SEC, direct(&w));
    RUN(rng_below(&world->sim.rng, 5 * SEC));
}

static void homes_apart(usec_t rtt)
{
    two_homes(&w, &port_restricted, &port_restricted, rtt);
    WITHIN(10 * SEC, direct(&w));
}

/* ---- Both directions. */

static struct figures carried, noticed;

static void silence(usec_t rtt)
{
    struct outage o;
    homes_apart(rtt);
    for (int i = 0; i < CUTS; i++) {
        talk_and_cut(&o, true, true);
        WITHIN(3 * SEC, over(&o) && relayed(&w));
        figure(&carried, lasted(&o));
        /* The clock runs from what was sent after the last that came, and that was on its way at the cut. */
        usec_t a = path_of(w.ann, w.bob)->since - o.since, b = path_of(w.bob, w.ann)->since - o.since;
        usec_t most = later(600 * MSEC, 3 * (rtt + rtt / 20)) + rtt / 2 + 2 * PACE;
        figure(&noticed, later(a, b));
        EXPECT(a <= most && b <= most);
        mend();
    }
}

SCENARIO(silence_at_10_ms)
{
    silence(10 * MSEC);
}
SCENARIO(silence_at_40_ms)
{
    silence(40 * MSEC);
}
SCENARIO(silence_at_80_ms)
{
    silence(80 * MSEC);
}
SCENARIO(silence_at_130_ms)
{
    silence(130 * MSEC);
}
SCENARIO(silence_at_200_ms)
{
    silence(200 * MSEC);
    figures_say(&carried, "cut until frames sent afterwards arrive, both ways, 10 to 200 ms");
    figures_say(&noticed, "cut until both ends left the path");
    EXPECT(carried.n >= 200);
    EXPECT(figures_at(&carried, 99) < 1 * SEC);
}

/* ---- One direction: who still hears must learn it from the other. */

static void one_way(usec_t rtt, bool anns)
{
    static struct figures f;
    struct outage o;
    f.n = 0;
    homes_apart(rtt);
    for (int i = 0; i < CUTS / 2; i++) {
        talk_and_cut(&o, anns, !anns);
        WITHIN(8 * SEC, over(&o) && relayed(&w));
        figure(&f, lasted(&o));
        mend();
    }
    figures_say(&f, "one direction cut until frames arrive, both ways");
    EXPECT(figures_at(&f, 99) < 1 * SEC);
}

SCENARIO(one_way_at_20_ms)
{
    one_way(20 * MSEC, true);
}
SCENARIO(one_way_at_100_ms)
{
    one_way(100 * MSEC, false);
}

/* Who only listens does not ask: the sender finds out. */
SCENARIO(one_way_and_one_talks)
{
    struct outage o;
    homes_apart(50 * MSEC);
    for (int i = 0; i < CUTS / 4; i++) {
        talk(w.ann, w.bob, PACE, 400);
        RUN(3 * SEC + rng_below(&world->sim.rng, 1 * SEC));
        begin(&o);
        w.cut_a = true;
        WITHIN(1 * SEC, (over(&o), o.ann_heard != 0));
        mend();
        RUN(1 * SEC);
        int64_t lost = frames_lost(w.ann, w.bob);
        talk(w.ann, w.bob, PACE, 400);
        RUN(3 * SEC + rng_below(&world->sim.rng, 1 * SEC));
        w.cut_b = true; /* her frames arrive, his answers do not: then the relay carries them */
        WITHIN(2 * SEC, path_of(w.ann, w.bob)->kind != PATH_UDP);
        RUN(1 * SEC);
        hush();
        RUN(1 * SEC);
        EXPECT(frames_lost(w.ann, w.bob) == lost);
        mend();
    }
}

/* ---- A bulk stream one way: who receives it sends so little that he would find out late. */

/* From the first frame that comes round by the relay until an answer to it is there. */
static void bulk(usec_t rtt)
{
    static struct figures f;
    struct outage o;
    f.n = 0;
    homes_apart(rtt);
    for (int i = 0; i < CUTS / 2; i++) {
        talk(w.ann, w.bob, 2 * MSEC, 1000);
        talk(w.bob, w.ann, 300 * MSEC, 60);
        RUN(3 * SEC + rng_below(&world->sim.rng, 1 * SEC));
        EXPECT(direct(&w));
        begin(&o);
        cut(&w, true);
        WITHIN(1 * SEC, (over(&o), o.ann_heard != 0));
        hush();
        usec_t since = world->sim.now;
        o.by_bob = frames_sent(w.bob, w.ann);
        o.bob_heard = 0;
        talk(w.ann, w.bob, 1 * SEC, 1000); /* her window is full: she waits for the answer */
        talk(w.bob, w.ann, PACE, 60);
        WITHIN(2 * SEC, over(&o));
        figure(&f, world->sim.now - since);
        mend();
    }
    figures_say(&f, "the first frame by the relay until an answer is there");
    /* He doubts within a round trip and 50 ms, and what he sends next is there half a round trip later. */
    EXPECT(figures_at(&f, 100) <= rtt + 50 * MSEC + PACE + rtt / 2);
}

SCENARIO(bulk_at_4_ms)
{
    bulk(4 * MSEC);
}
SCENARIO(bulk_at_40_ms)
{
    bulk(40 * MSEC);
}
SCENARIO(bulk_at_200_ms)
{
    bulk(200 * MSEC);
}

/* ---- Both relays. */

static bool on(enum path_kind k)
{
    return path_of(w.ann, w.bob)->kind == k && path_of(w.bob, w.ann)->kind == k;
}

static void homes_without_direct(void)
{
    two_homes(&w, &port_restricted, &port_restricted, 40 * MSEC);
    cut(&w, true);
    WITHIN(10 * SEC, on(PATH_UDP_RELAY));
}

SCENARIO(the_udp_relay_dies)
{
    static struct figures f;
    struct outage o;
    f.n = 0;
    homes_without_direct();
    for (int i = 0; i < CUTS / 2; i++) {
        both_talk();
        RUN(3 * SEC + rng_below(&world->sim.rng, 1 * SEC));
        EXPECT(on(PATH_UDP_RELAY));
        begin(&o);
        w.cut_hub_udp = true;
        WITHIN(3 * SEC, over(&o) && on(PATH_WS_RELAY));
        figure(&f, lasted(&o));
        hush();
        RUN(rng_below(&world->sim.rng, 40 * SEC));
        w.cut_hub_udp = false;
        WITHIN(100 * SEC, on(PATH_UDP_RELAY));
    }
    figures_say(&f, "the UDP relay cut until the WebSocket carries");
    EXPECT(figures_at(&f, 99) < 1 * SEC);
}

/* The WebSocket is the one that nobody uses then. */
SCENARIO(the_websocket_stalls)
{
    homes_without_direct();
    both_talk();
    RUN(2 * SEC);
    uint64_t lost = (uint64_t)(frames_lost(w.ann, w.bob) + frames_lost(w.bob, w.ann));
    w.cut_streams = true;
    RUN(20 * SEC);
    EXPECT(on(PATH_UDP_RELAY));
    w.cut_streams = false;
    RUN(20 * SEC);
    EXPECT(on(PATH_UDP_RELAY));
    hush();
    RUN(2 * SEC);
    EXPECT((uint64_t)(frames_lost(w.ann, w.bob) + frames_lost(w.bob, w.ann)) <= lost);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(silence_at_10_ms),     STORY(silence_at_40_ms),      STORY(silence_at_80_ms),
        STORY(silence_at_130_ms),    STORY(silence_at_200_ms),     STORY(one_way_at_20_ms),
        STORY(one_way_at_100_ms),    STORY(one_way_and_one_talks), STORY(the_udp_relay_dies),
        STORY(bulk_at_4_ms),         STORY(bulk_at_40_ms),         STORY(bulk_at_200_ms),
        STORY(the_websocket_stalls),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
