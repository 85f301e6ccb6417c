/* Twenty-four hours of twenty machines in as many homes, with direct paths: routers reboot, addresses change,
 * the hub restarts, lids are closed and opened, people move. Whoever is awake talks to all others that are,
 * soon after each of it, and nothing grows. Every eighth hour all of them are up for a while. */
#include "sim/scenario.h"

#include "base/log.h"

#define NODES     20
#define GROWTH    (4 * 1024 * 1024) /* sessions, with the contexts of their ciphers, come and go by as much from hour to hour */
#define SOON      (5 * SEC) /* after what happened is over */
#define LOOK      (200 * MSEC)
#define AWAKE     3         /* at ordinary hours */
#define NOTICE    (5 * SEC) /* a machine that woke needs so long to know */
#define BOX_KINDS 5

static const struct nat_config boxes[BOX_KINDS] = {
    {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_KEEP},
    {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS, .ports = NAT_PORT_RANDOM},
    {.mapping = NAT_ENDPOINT, .filtering = NAT_ENDPOINT, .ports = NAT_PORT_SEQUENTIAL},
    {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_RANDOM, .lifetime = 45 * SEC},
    {.mapping = NAT_ADDRESS_PORT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_RANDOM},
};

static struct node_host *all[NODES];
static struct site *homes[NODES];
static struct {
    unsigned reboots, renumbered, hub_restarts, lids, moves, restarts;
} happened;
static usec_t slowest;
static const char *slowest_after = "";

static uint32_t chance(uint32_t n)
{
    return (uint32_t)rng_below(&world->sim.rng, n);
}

static void twenty_homes(void)
{
    world->direct = world->reordering_allowed = true;
    for (unsigned i = 0; i < NODES; i++) {
        char name[16];
        snprintf(name, sizeof name, "home%u", i);
        homes[i] = site_home(world->net, NULL, name, &boxes[i % BOX_KINDS]);
        homes[i]->up.config.delay = homes[i]->down.config.delay = (2 + i) * MSEC;
        snprintf(name, sizeof name, "node%u", i);
        all[i] = i == 0 ? founder_at(homes[i], name) : machine_at(homes[i], name, NULL);
    }
    create(all[0], "lan");
    everybody_joins(all[0]);
}

static size_t direct_paths(void)
{
    size_t n = 0;
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned k = 0; k < NODES; k++)
            n += i != k &&
                 (path_of(all[i], all[k])->kind == PATH_UDP || path_of(all[i], all[k])->kind == PATH_LAN);
    return n;
}

static bool awake_see_each_other(void)
{
    bool every = true;
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned k = 0; k < NODES; k++)
            if (i != k && all[i]->node && all[k]->node && !all[i]->asleep && !all[k]->asleep)
                every &= sees(all[i], all[k]);
    return every;
}

/* Everybody who is awake hears all the others that are within this time. Looked at now and then: each look is
 * a ping of every pair. */
static void all_talk_within(usec_t t, const char *after)
{
    usec_t since = world->sim.now;
    while (!awake_see_each_other()) {
        if (world->sim.now >= since + t)
            world_fail(__FILE__, __LINE__, "not all hear each other %.1f s after %s",
                       (double)(world->sim.now - since) / SEC, after);
        RUN(LOOK);
    }
    usec_t took = world->sim.now - since;
    if (took > slowest) {
        slowest = took;
        slowest_after = after;
    }
}

static void lid(unsigned i, bool open)
{
    if (open == !all[i]->asleep)
        return;
    if (open)
        node_host_wake(all[i]);
    else
        node_host_sleep(all[i]);
    happened.lids++;
}

/* So many are awake: the first ones of this order. */
static void wake_some(unsigned from, unsigned count)
{
    for (unsigned i = 0; i < NODES; i++)
        lid((from + i) % NODES, i < count);
    all_talk_within(NOTICE + SOON, "lids were opened");
}

static unsigned somebody_awake(void)
{
    unsigned i = chance(NODES);
    while (all[i]->asleep)
        i = (i + 1) % NODES;
    return i;
}

static void something_happens(unsigned what)
{
    unsigned i = somebody_awake();
    switch (what) {
    case 0:
        site_reboot(all[i]->host->site, false);
        happened.reboots++;
        all_talk_within(SOON, "a router's reboot");
        break;
    case 1:
        site_reboot(all[i]->host->site, true);
        happened.renumbered++;
        all_talk_within(SOON, "a new address");
        break;
    case 2:
        node_host_move(all[i], homes[chance(NODES)], true);
        happened.moves++;
        all_talk_within(SOON, "a move");
        break;
    case 3:
        node_host_kill(all[i]);
        RUN(30 * SEC);
        node_host_start(all[i]);
        happened.restarts++;
        all_talk_within(SOON, "a restart");
        break;
    default:
        hub_host_kill(world->hub);
        RUN(1 * SEC);
        hub_host_start(world->hub);
        happened.hub_restarts++;
        all_talk_within(SOON, "the hub's restart");
    }
}

SCENARIO(a_day_of_twenty_homes)
{
    size_t floor_of[3] = {0}; /* the least at the end of an hour, of each eight hours */
    twenty_homes();
    all_talk_within(30 * SEC, "the beginning");
    RUN(10 * SEC);
    fprintf(stderr, "# %zu of %d directions are direct\n", direct_paths(), NODES * (NODES - 1));
    for (unsigned hour = 0; hour < 24; hour++) {
        usec_t until = world->sim.now + 1 * HOUR;
        if (hour % 8 == 7) {
            wake_some(0, NODES);
            RUN(20 * SEC);
        }
        wake_some(hour * 3, AWAKE);
        for (unsigned i = 0; i < 3; i++) {
            RUN(30 * SEC + chance(600) * SEC);
            something_happens((hour + i) % 5);
            talk(all[somebody_awake()], all[somebody_awake()], 50 * MSEC, 300);
            RUN(10 * SEC);
            hush();
        }
        if (world->sim.now < until)
            RUN(until - world->sim.now);
        all_talk_within(SOON, "an hour");
        size_t *low = &floor_of[hour / 8], heap = sim_heap_bytes();
        *low = *low == 0 || heap < *low ? heap : *low;
    }
    fprintf(stderr,
            "# %u reboots, %u new addresses, %u lids, %u moves, %u restarts, %u of the hub; all talked again "
            "%.1f s after %s at the latest; least heap %zu, %zu, %zu KiB in eight hours each\n",
            happened.reboots, happened.renumbered, happened.lids, happened.moves, happened.restarts,
            happened.hub_restarts, (double)slowest / SEC, slowest_after, floor_of[0] / 1024,
            floor_of[1] / 1024, floor_of[2] / 1024);
    EXPECT(floor_of[2] < floor_of[0] + GROWTH);
    for (unsigned i = 0; i < NODES; i++)
        EXPECT(all[i]->logs[LOG_ERROR] == 0);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(a_day_of_twenty_homes),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
