/* Twenty-four hours of twenty machines in as many homes, with direct paths: routers reboot, addresses change,
 * the hub restarts, lids are closed, people move. Whoever can talk to whom does, soon after each of it, and
 * nothing grows. */
#include "sim/scenario.h"

#include "base/log.h"

#define NODES     20
#define GROWTH    (1024 * 1024)
#define SOON      (5 * SEC) /* after what happened is over */
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
    unsigned reboots, renumbered, hub_restarts, sleeps, moves, restarts;
} happened;
static usec_t slowest;

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

/* From now on everybody hears everybody within this time. */
static void all_talk_within(usec_t t)
{
    usec_t since = world->sim.now;
    WITHIN(t, everybody_sees_everybody());
    usec_t took = world->sim.now - since;
    slowest = took > slowest ? took : slowest;
}

static void something_happens(unsigned what)
{
    unsigned i = chance(NODES);
    switch (what) {
    case 0:
        site_reboot(homes[i], false);
        happened.reboots++;
        all_talk_within(SOON);
        break;
    case 1:
        site_reboot(homes[i], true);
        happened.renumbered++;
        all_talk_within(SOON);
        break;
    case 2:
        node_host_sleep(all[i]);
        RUN(5 * MINUTE + chance(20) * MINUTE);
        node_host_wake(all[i]);
        happened.sleeps++;
        all_talk_within(NOTICE + SOON);
        break;
    case 3:
        node_host_move(all[i], homes[chance(NODES)], true);
        happened.moves++;
        RUN(300 * MSEC); /* it rests, before the daemon hears of it */
        all_talk_within(SOON);
        break;
    case 4:
        node_host_kill(all[i]);
        RUN(1 * MINUTE);
        node_host_start(all[i]);
        happened.restarts++;
        all_talk_within(SOON);
        break;
    default:
        hub_host_kill(world->hub);
        RUN(2 * SEC);
        hub_host_start(world->hub);
        happened.hub_restarts++;
        all_talk_within(40 * SEC); /* nodes come back to a hub that was away within their back-off */
        break;
    }
}

SCENARIO(a_day_of_twenty_homes)
{
    twenty_homes();
    all_talk_within(30 * SEC);
    RUN(30 * SEC);
    size_t direct = direct_paths(), early = 0, heap = 0;
    fprintf(stderr, "# %zu of %d directions are direct\n", direct, NODES * (NODES - 1));
    for (unsigned hour = 0; hour < 24; hour++) {
        usec_t until = world->sim.now + 1 * HOUR;
        for (unsigned i = 0; i < 6; i++) {
            something_happens((hour + i) % 6);
            talk(all[chance(NODES)], all[chance(NODES)], 50 * MSEC, 300);
            RUN(20 * SEC);
            hush();
        }
        if (world->sim.now < until)
            RUN(until - world->sim.now);
        heap = sim_heap_bytes();
        early = hour == 3 ? heap : early;
        fprintf(stderr, "# hour %u: %zu KiB, %zu direct\n", hour, heap / 1024, direct_paths());
    }
    fprintf(stderr,
            "# reboots %u, new addresses %u, sleeps %u, moves %u, restarts %u, hub restarts %u; slowest %.0f "
            "ms\n",
            happened.reboots, happened.renumbered, happened.sleeps, happened.moves, happened.restarts,
            happened.hub_restarts, (double)slowest / MSEC);
    EXPECT(heap < early + GROWTH);
    EXPECT(everybody_connected());
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
