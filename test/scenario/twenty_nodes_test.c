/* Twenty nodes, and a bad day: everything happens to them in an order that the seed decides. The model is
 * simple: who is a member, has power, and can reach the hub, talks to all others who are, can and do. */
#include "sim/scenario.h"

#define NODES  20
#define EVENTS 60

static struct node_host *nodes[NODES];
static struct site *places[3];

static void a_full_house(unsigned day)
{
    static const struct nat_config boxes[3] = {
        {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_KEEP},
        {.mapping = NAT_ADDRESS_PORT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_RANDOM},
        {.mapping = NAT_ADDRESS, .filtering = NAT_ADDRESS, .ports = NAT_PORT_SEQUENTIAL, .udp_blocked = true},
    };
    world->sim.seed = sim_seed(1) + day; /* what a failure prints makes the first day repeat it */
    world->sim.rng = rng_seeded(&world->sim.chance, world->sim.seed);
    nodes[0] = founder("n0");
    create(nodes[0], "lan");
    for (size_t i = 0; i < 3; i++)
        places[i] = site_home(world->net, NULL, "place", &boxes[i]);
    for (size_t i = 1; i < NODES; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%zu", i);
        nodes[i] = machine_at(i % 4 ? places[i % 4 - 1] : NULL, name, NULL);
    }
    everybody_joins(nodes[0]);
    WITHIN(10 * SEC, everybody_connected());
}

static void something_happens(void)
{
    const struct rng *rng = &world->sim.rng;
    struct node_host *n = nodes[1 + rng_below(rng, NODES - 1)];
    switch (rng_below(rng, 9)) {
    case 0:
    case 1:
        n->node ? node_host_kill(n) : node_host_start(n);
        break;
    case 2:
        n->asleep ? node_host_wake(n) : node_host_sleep(n);
        break;
    case 3:
        node_host_move(n, places[rng_below(rng, 3)], true);
        break;
    case 4:
        line(n, (struct link_config){.delay = rng_below(rng, 80 * MSEC),
                                     .jitter = rng_below(rng, 20 * MSEC),
                                     .loss = (double)rng_below(rng, 4) / 100});
        break;
    case 5:
        site_reboot(places[rng_below(rng, 3)], rng_below(rng, 2));
        break;
    case 6:
        if (rng_below(rng, 4) == 0)
            hub_host_restart(world->hub);
        break;
    case 7:
        if (at_hub(nodes[0]) && member_count(nodes[0]) > NODES - 3)
            try_kick(nodes[0], n->name);
        break;
    default:
        talk(nodes[rng_below(rng, NODES)], n, (1 + rng_below(rng, 20)) * 50 * MSEC,
             100 + rng_below(rng, 1000));
    }
    if (world->flow_count > 100)
        hush();
}

static void a_bad_day(unsigned day)
{
    a_full_house(day);
    for (int i = 0; i < EVENTS; i++) {
        something_happens();
        RUN(rng_below(&world->sim.rng, 4 * SEC));
    }
    hush();
    for (size_t i = 0; i < NODES; i++) {
        if (nodes[i]->asleep)
            node_host_wake(nodes[i]);
        node_host_start(nodes[i]);
        line(nodes[i], (struct link_config){.delay = 10 * MSEC});
    }
    WITHIN(150 * SEC, everybody_connected());
    WITHIN(10 * SEC, everybody_sees_everybody());
    for (size_t i = 0; i < NODES; i++)
        EXPECT(world->party->member[i] ? device_of(nodes[i]) != NULL : !device_of(nodes[i]));
}

SCENARIO(first_day)
{
    a_bad_day(0);
}

SCENARIO(second_day)
{
    a_bad_day(1);
}

SCENARIO(third_day)
{
    a_bad_day(2);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(first_day),
        STORY(second_day),
        STORY(third_day),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
