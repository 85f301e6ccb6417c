/* From the relay to a direct path and back, a thousand times, under full traffic: the change itself loses
 * nothing, doubles nothing and disturbs the order no more than the paths' different delays do. Whatever
 * single packet of the change is lost, doubled or late: it takes place, and still nothing is lost. */
#include "test/scenario/homes.h"

#include "wire/stun.h"

#define RTT       (20 * MSEC)
#define PACE      (1 * MSEC)
#define SIZE      400
#define DATAGRAM  (14 + 20 + 8 + SIZE + DATA_OVERHEAD) /* with a frame of test traffic */
#define SLOW      (250 * MSEC)                         /* each way: then the relay is better */
#define FORGOTTEN (35 * SEC)                           /* a way that is dead so long is opened anew */

enum mischief { NONE, LOST, DOUBLED, LATE, MISCHIEFS };

static struct wires w;
static struct {
    bool begun;            /* a check was seen: the change is under way */
    unsigned seen, target; /* packets of the change since then */
    enum mischief what;
    usec_t resume_at, payload_at[2];
} change;
static struct figures resumed, decided;
static uint64_t migrations;

static bool watch_packet(struct wires *at, struct node_host *from, struct packet *p)
{
    bool payload = p->n == DATAGRAM;
    usec_t now = world->sim.now, *first = &change.payload_at[from == at->bob];
    if (!change.begun && stun_is(bytes_of(p->data, p->n)))
        change.begun = true;
    if (!change.begun)
        return true;
    if (p->data[0] == WIRE_RESUME && change.resume_at == 0)
        change.resume_at = now;
    if (payload && *first == 0)
        *first = now;
    if (payload || ++change.seen != change.target)
        return true;
    p->twice = change.what == DOUBLED;
    if (change.what == LATE)
        p->held += 60 * MSEC;
    return change.what != LOST;
}

static void both_talk(usec_t every)
{
    talk(w.ann, w.bob, every, SIZE);
    talk(w.bob, w.ann, every, SIZE);
}

struct tally {
    int64_t lost;
    uint64_t reordered, moves;
};

static struct tally tally(void)
{
    return (struct tally){
        .lost = frames_lost(w.ann, w.bob) + frames_lost(w.bob, w.ann),
        .reordered = heard(w.ann, w.bob)->reordered + heard(w.bob, w.ann)->reordered,
        .moves = world->moves,
    };
}

/* Quiet; both are on a relay and know no direct way. */
static void apart(void)
{
    hush();
    w.each = NULL;
    cut(&w, true);
    RUN(FORGOTTEN);
    EXPECT(relayed(&w));
}

/* The next try finds a way, under traffic. */
static void relay_to_direct(enum mischief what, unsigned target)
{
    memset(&change, 0, sizeof change);
    change.what = what;
    change.target = target;
    w.each = watch_packet;
    cut(&w, false);
    WITHIN(80 * SEC, change.begun);
    both_talk(PACE);
    WITHIN(5 * SEC, direct(&w));
    RUN(100 * MSEC);
    for (int i = 0; i < 2; i++) {
        usec_t up = (i ? path_of(w.bob, w.ann) : path_of(w.ann, w.bob))->up_at;
        EXPECT(change.payload_at[i] >= up);
        figure(&decided, change.payload_at[i] - up);
        if (what == NONE)
            figure(&resumed, change.payload_at[i] - change.resume_at);
    }
    w.each = NULL;
}

/* The direct path becomes slower than the relay. */
static void direct_to_relay(void)
{
    hush();
    both_talk(20 * MSEC);
    w.slow = SLOW;
    RUN(3 * SEC);
    hush();
    both_talk(PACE);
    WITHIN(10 * SEC, relayed(&w));
    RUN(100 * MSEC);
}

static void settle(void)
{
    hush();
    RUN(SLOW + 200 * MSEC);
    w.slow = 0;
}

static void homes(usec_t rtt)
{
    two_homes(&w, &port_restricted, &port_restricted, rtt);
    WITHIN(10 * SEC, direct(&w));
    RUN(1 * SEC);
}

/* Each of these is four migrations: of two ends, there and back. */
static void there_and_back(enum mischief what, unsigned target)
{
    apart();
    struct tally before = tally();
    relay_to_direct(what, target);
    hush();
    RUN(200 * MSEC);
    struct tally between = tally();
    if (between.lost != before.lost)
        fprintf(stderr, "# %d at %u: %lld lost\n", what, target, (long long)(between.lost - before.lost));
    EXPECT(between.lost == before.lost);
    /* The relay is 4 ms slower, and 5 more where it is the WebSocket; each of two ends may change twice. */
    EXPECT(between.reordered - before.reordered <= 2 * 2 * 10);
    direct_to_relay();
    settle();
    struct tally after = tally();
    EXPECT(after.lost == between.lost);
    EXPECT(after.reordered - between.reordered <= 2 * (SLOW + RTT) / PACE);
    EXPECT(after.moves - before.moves >= 4);
    migrations += after.moves - before.moves;
}

#define INDICES 80 /* from the first check on; what comes later has nothing to do with the change */

SCENARIO(with_any_packet_lost)
{
    homes(RTT);
    for (unsigned k = 1; k <= INDICES; k++)
        there_and_back(LOST, k);
}

SCENARIO(with_any_packet_doubled)
{
    homes(RTT);
    for (unsigned k = 1; k <= INDICES; k++)
        there_and_back(DOUBLED, k);
}

SCENARIO(with_any_packet_late)
{
    homes(RTT);
    for (unsigned k = 1; k <= INDICES; k++)
        there_and_back(LATE, k);
}

SCENARIO(undisturbed)
{
    homes(RTT);
    for (unsigned k = 1; k <= 20; k++) {
        there_and_back(NONE, 0);
        EXPECT(change.seen >= 20 && change.seen <= INDICES);
    }
    figures_say(&resumed, "first message of RESUME until payload on the new path, 20 ms RTT, each end");
    figures_say(&decided, "path proven until payload on it");
    EXPECT(figures_at(&resumed, 99) < 50 * MSEC + RTT);
    EXPECT(figures_at(&decided, 99) < 50 * MSEC);
    fprintf(stderr, "# %llu migrations under traffic, no frame lost\n", (unsigned long long)migrations);
    EXPECT(migrations >= 1000);
}

/* ---- Links that lose, double and shuffle: every frame that is missing was lost by a link. */

static int64_t dropped; /* datagrams with test traffic, directly or for the UDP relay */

static void count_lost(void *arg, const struct packet *p, enum net_drop why)
{
    dropped += p->proto == NAT_UDP && (p->n == DATAGRAM || p->n == DATAGRAM + 12);
}

static void bad_weather(double loss, double shuffle)
{
    homes(RTT);
    struct site *const sites[] = {w.home_a, w.home_b};
    for (size_t i = 0; i < 4; i++) {
        struct link_config *c = i % 2 ? &sites[i / 2]->up.config : &sites[i / 2]->down.config;
        c->loss = loss;
        c->duplicate = c->reorder = shuffle;
        c->reorder_by = 7 * MSEC;
    }
    world->net->lost = count_lost;
    for (int i = 0; i < 12; i++) {
        hush();
        cut(&w, true);
        RUN(FORGOTTEN);
        dropped = 0;
        struct tally before = tally();
        memset(&change, 0, sizeof change);
        w.each = watch_packet;
        cut(&w, false);
        both_talk(5 * PACE);
        WITHIN(100 * SEC, direct(&w));
        hush();
        both_talk(PACE);
        RUN(1 * SEC);
        direct_to_relay();
        settle();
        RUN(3 * SEC); /* streams send again what links lose */
        struct tally after = tally();
        if (after.lost - before.lost > dropped)
            fprintf(stderr, "# %lld lost, %lld by links\n", (long long)(after.lost - before.lost),
                    (long long)dropped);
        EXPECT(after.lost - before.lost <= dropped);
    }
}

SCENARIO(some_loss)
{
    bad_weather(0.01, 0.02);
}
SCENARIO(much_loss)
{
    bad_weather(0.05, 0.1);
}

/* ---- Between the relays. */

static bool on(enum path_kind k)
{
    return path_of(w.ann, w.bob)->kind == k && path_of(w.bob, w.ann)->kind == k;
}

SCENARIO(between_the_relays)
{
    homes(RTT);
    cut(&w, true);
    WITHIN(10 * SEC, on(PATH_UDP_RELAY));
    RUN(1 * SEC);
    for (int i = 0; i < 10; i++) {
        struct tally before = tally();
        both_talk(10 * PACE);
        w.slow_hub_udp = SLOW;
        RUN(2500 * MSEC);
        hush();
        both_talk(PACE);
        WITHIN(10 * SEC, on(PATH_WS_RELAY));
        RUN(100 * MSEC);
        hush();
        RUN(SLOW + 200 * MSEC);
        w.slow_hub_udp = 0;
        both_talk(5 * PACE);
        WITHIN(100 * SEC, on(PATH_UDP_RELAY));
        RUN(100 * MSEC);
        hush();
        RUN(200 * MSEC);
        EXPECT(tally().lost == before.lost);
    }
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(with_any_packet_lost),
        STORY(with_any_packet_doubled),
        STORY(with_any_packet_late),
        STORY(undisturbed),
        STORY(some_loss),
        STORY(much_loss),
        STORY(between_the_relays),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
