/* Links in the middle of the Internet that carry less than the usual 1500 bytes and say nothing about it. The
 * path's size is found out, those inside who ask are told, and what does not fit goes over the relay. */
#include "test/scenario/homes.h"

#define RTT     (40 * MSEC)
#define PACE    (4 * MSEC)
#define BIG     1500                 /* cut to what the device, or the path for those who ask, carries */
#define AROUND  (14 + DATA_OVERHEAD) /* a packet inside, on its way outside */
#define HEADERS 48                   /* of IPv6 and UDP: 1280 leaves 1232 */

static struct wires w;
static size_t room; /* bytes of UDP payload that the middle of the Internet carries */
static uint64_t vanished, passed;
static size_t largest;

static bool narrow(struct wires *at, struct node_host *from, struct packet *p)
{
    if (p->n > room) {
        vanished++;
        return false;
    }
    passed++;
    largest = p->n > largest ? p->n : largest;
    return true;
}

static bool one_knows(struct node_host *a, struct node_host *b)
{
    const struct world_path *path = path_of(a, b);
    return path->kind == PATH_UDP && path->mtu_of == PATH_UDP && path->mtu <= room && path->mtu + 8 > room;
}

static bool both_know(void)
{
    return one_knows(w.ann, w.bob) && one_knows(w.bob, w.ann);
}

static int64_t lost(void)
{
    return frames_lost(w.ann, w.bob) + frames_lost(w.bob, w.ann);
}

static void talk_big(void)
{
    talk(w.ann, w.bob, PACE, BIG);
    talk(w.bob, w.ann, PACE, BIG);
}

static void hush_and_settle(void)
{
    hush();
    RUN(1 * SEC);
}

/* The homes; the first direct path goes through the narrow place. */
static void narrow_homes(size_t outer, bool everything)
{
    room = outer - HEADERS;
    vanished = passed = largest = 0;
    two_homes(&w, &port_restricted, &port_restricted, RTT);
    if (everything) /* the hub's datagrams as well; the segments of streams pass */
        w.home_a->up.config.mtu = w.home_a->down.config.mtu = (uint16_t)outer;
    cut(&w, true);
    RUN(40 * SEC); /* what was found before is forgotten */
    EXPECT(relayed(&w));
    w.each = narrow;
    cut(&w, false);
    WITHIN(90 * SEC, direct(&w));
    usec_t since = world->sim.now;
    WITHIN(2 * SEC, both_know());
    fprintf(stderr, "# outer %zu: known %.0f ms after the path\n", outer,
            (double)(world->sim.now - since) / MSEC);
}

/* Full frames of somebody who lets them be fragmented, so is not told: the relay carries them. */
static void does_not_ask(size_t outer, bool everything)
{
    narrow_homes(outer, everything);
    int64_t before = lost();
    uint64_t hole = vanished, direct_before = passed;
    talk_big();
    RUN(20 * SEC);
    hush_and_settle();
    EXPECT(lost() == before);
    EXPECT(vanished == hole);
    EXPECT(passed - direct_before < 1000); /* of 10,000 frames: probes */
    EXPECT(direct(&w));
    talk(w.ann, w.bob, PACE, 400); /* what fits goes directly all the while */
    direct_before = passed;
    RUN(4 * SEC);
    hush_and_settle();
    EXPECT(lost() == before && passed - direct_before >= 1000);
}

/* Who asks (as TCP does) is told by ICMP, sends what fits, and all of it goes directly. */
static void asks(size_t outer, bool everything)
{
    narrow_homes(outer, everything);
    struct device *a = device_of(w.ann), *b = device_of(w.bob);
    a->dont_fragment = b->dont_fragment = true;
    int64_t before = lost();
    uint64_t hole = vanished, direct_before = passed;
    talk_big();
    RUN(20 * SEC);
    hush_and_settle();
    EXPECT(a->too_big_in >= 1 && a->too_big_in <= 2 && b->too_big_in >= 1 && b->too_big_in <= 2);
    EXPECT(lost() - before == (int64_t)(a->too_big_in + b->too_big_in)); /* what ICMP sent back */
    EXPECT(vanished == hole);
    EXPECT(passed - direct_before >= 9900);
    EXPECT(device_pmtu(a, b->ip4) + (unsigned)AROUND <= room);
    EXPECT(device_pmtu(a, b->ip4) + (unsigned)AROUND + 8 > room);
}

SCENARIO(at_1280_frames_take_the_relay)
{
    does_not_ask(1280, true);
}
SCENARIO(at_1124_frames_take_the_relay)
{
    does_not_ask(1124, false);
}
SCENARIO(at_1280_those_who_ask_are_told)
{
    asks(1280, true);
}
SCENARIO(at_1124_those_who_ask_are_told)
{
    asks(1124, false);
}

/* IPv6 carries 1280 everywhere: nobody may be told less, and what is larger takes the relay. */
static void ip6_inside(size_t outer)
{
    narrow_homes(outer, false);
    int64_t before = lost();
    uint64_t hole = vanished;
    for (int i = 0; i < 2000; i++) {
        say6(w.ann, w.bob, i % 2 ? BIG : 1280 - 48);
        say6(w.bob, w.ann, i % 3 ? BIG : 500);
        RUN(PACE);
    }
    RUN(1 * SEC);
    EXPECT(lost() == before);
    EXPECT(vanished == hole);
    EXPECT(frames_got(w.ann, w.bob) > 1990);
}

SCENARIO(ip6_inside_at_1280)
{
    ip6_inside(1280);
}
SCENARIO(ip6_inside_at_1124)
{
    ip6_inside(1124);
}

/* The narrow place comes while full frames fly: noticed by the check of the size in use. */
SCENARIO(a_hole_opens)
{
    room = 1500;
    vanished = passed = largest = 0;
    two_homes(&w, &port_restricted, &port_restricted, RTT);
    w.each = narrow;
    WITHIN(5 * SEC, direct(&w));
    talk_big();
    RUN(10 * SEC);
    EXPECT(vanished == 0 && largest > 1400);
    room = 1280 - HEADERS;
    usec_t since = world->sim.now;
    WITHIN(40 * SEC, both_know());
    fprintf(stderr, "# a hole is noticed after %.1f s\n", (double)(world->sim.now - since) / SEC);
    RUN(1 * SEC);
    int64_t before = lost();
    uint64_t hole = vanished;
    RUN(10 * SEC);
    hush_and_settle();
    EXPECT(lost() <= before);
    EXPECT(vanished == hole);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(at_1280_frames_take_the_relay),
        STORY(at_1124_frames_take_the_relay),
        STORY(at_1280_those_who_ask_are_told),
        STORY(at_1124_those_who_ask_are_told),
        STORY(ip6_inside_at_1280),
        STORY(ip6_inside_at_1124),
        STORY(a_hole_opens),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
