/* Machines change their address: by moving, and because a router forgot or got another one. Traffic goes on
 * within a second over the relay, directly within three, and the session is the same all the while. */
#include "test/scenario/homes.h"

#define PACE   (10 * MSEC)
#define ROUNDS 12

static const struct nat_config cone = {
    .mapping = NAT_ENDPOINT, .filtering = NAT_ENDPOINT, .ports = NAT_PORT_RANDOM};
static const struct nat_config moody = {
    .mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_RANDOM};
static const struct nat_config symmetric = {
    .mapping = NAT_ADDRESS_PORT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_RANDOM};

static struct wires w;
static struct figures again, direct_again;

struct outage {
    usec_t since;
    uint64_t by_ann, by_bob; /* frames sent before it */
    usec_t over, direct;     /* how long until frames came again, both ways; until both ends were direct */
};

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

static bool over(struct outage *o)
{
    if (o->over == 0 && heard(w.bob, w.ann)->last_seq > o->by_ann &&
        heard(w.ann, w.bob)->last_seq > o->by_bob)
        o->over = world->sim.now - o->since;
    return o->over != 0;
}

/* Both send directly from now on, as far as one can tell after a while. Who stayed where it was sends to
 * another address then. */
#define STEADY (700 * MSEC)
static bool direct_since(struct outage *o, struct node_host *stays, struct node_host *changes)
{
    bool now = direct(&w) && path_of(stays, changes)->since > o->since;
    if (!now)
        o->direct = 0;
    else if (o->direct == 0)
        o->direct = world->sim.now - o->since;
    return now && world->sim.now >= o->since + o->direct + STEADY;
}

static int64_t sessions(void)
{
    return metric(w.ann, "warren_node_sessions_up_total") + metric(w.bob, "warren_node_sessions_up_total");
}

static void rest(void)
{
    hush();
    RUN(70 * SEC + rng_below(&world->sim.rng, 5 * SEC));
}

/* ---- Moving. */

static void moves(const struct nat_config *anns, const struct nat_config *mobile, bool can_be_direct)
{
    struct outage o;
    struct site *there;
    again.n = direct_again.n = 0;
    two_homes(&w, anns, &port_restricted, 50 * MSEC);
    there = site_home(world->net, NULL, "mobile", mobile);
    there->up.config.delay = there->down.config.delay = w.home_b->up.config.delay;
    WITHIN(5 * SEC, direct(&w));
    int64_t before = sessions();
    for (int i = 0; i < ROUNDS; i++) {
        struct site *from = w.bob->host->site;
        both_talk();
        RUN(2 * SEC + rng_below(&world->sim.rng, 1 * SEC));
        begin(&o);
        node_host_move(w.bob, from == there ? w.home_b : there, true);
        /* The daemon lets changes of the network rest for 0.3 s before it acts on them. */
        WITHIN(2 * SEC, over(&o));
        figure(&again, o.over);
        if (can_be_direct || from == there) {
            WITHIN(10 * SEC, direct_since(&o, w.ann, w.bob));
            figure(&direct_again, o.direct);
        }
        rest();
    }
    EXPECT(sessions() == before);
    figures_say(&again, "a move until frames come again");
    figures_say(&direct_again, "a move until both are direct");
    EXPECT(figures_at(&again, 100) <= 1 * SEC);
    EXPECT(figures_at(&direct_again, 100) <= 3 * SEC);
}

SCENARIO(to_another_home_and_back)
{
    moves(&port_restricted, &port_restricted, true);
}

SCENARIO(to_a_symmetric_box_and_back)
{
    moves(&cone, &symmetric, true);
}

/* There he is behind what only a search would get through, or nothing. */
SCENARIO(to_where_no_path_is_direct)
{
    moves(&port_restricted, &symmetric, false);
}

/* ---- The router forgets. */

static void reboots(const struct nat_config *a, const struct nat_config *b, bool new_address, bool same)
{
    struct outage o;
    struct node_host *stays;
    again.n = direct_again.n = 0;
    two_homes(&w, a, b, 50 * MSEC);
    WITHIN(5 * SEC, direct(&w));
    int64_t before = sessions();
    for (int i = 0; i < ROUNDS; i++) {
        both_talk();
        RUN(2 * SEC + rng_below(&world->sim.rng, 1 * SEC));
        begin(&o);
        site_reboot(i % 2 ? w.home_a : w.home_b, new_address);
        stays = i % 2 ? w.bob : w.ann;
        WITHIN(3 * SEC, over(&o));
        figure(&again, o.over);
        WITHIN(10 * SEC, same ? direct(&w) : direct_since(&o, stays, stays == w.ann ? w.bob : w.ann));
        figure(&direct_again, o.direct);
        rest();
    }
    EXPECT(sessions() == before);
    figures_say(&again, "a router's reboot until frames come again");
    figures_say(&direct_again, "a router's reboot until both are direct");
    EXPECT(figures_at(&again, 100) <= 1 * SEC);
    EXPECT(figures_at(&direct_again, 100) <= 3 * SEC);
}

SCENARIO(reboot_same_address_same_ports)
{
    reboots(&port_restricted, &port_restricted, false, true);
}
SCENARIO(reboot_same_address_other_ports)
{
    reboots(&moody, &moody, false, false);
}
SCENARIO(reboot_other_address)
{
    reboots(&port_restricted, &port_restricted, true, false);
}
SCENARIO(reboot_other_address_other_ports)
{
    reboots(&moody, &moody, true, false);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(to_another_home_and_back),         STORY(to_a_symmetric_box_and_back),
        STORY(to_where_no_path_is_direct),       STORY(reboot_same_address_same_ports),
        STORY(reboot_same_address_other_ports),  STORY(reboot_other_address),
        STORY(reboot_other_address_other_ports),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
