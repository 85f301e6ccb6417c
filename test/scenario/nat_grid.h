/* The kinds of place that the NAT grid is made of, and how a pair fares: shared by its table
 * (nat_grid_test.c) and its times (nat_times_test.c). */
#ifndef WARREN_SCENARIO_NAT_GRID_H
#define WARREN_SCENARIO_NAT_GRID_H

#include "sim/box_portmap.h"
#include "sim/scenario.h"

#define ONE_WAY (25 * MSEC / 2) /* from a node to the middle of the Internet: 50 ms round trip for a pair */
#define UPLINK  (2 * MSEC)      /* of it, on each site's line */

enum shape { OPEN, HOME, BEHIND_HOME, BEHIND_CARRIER, V6, V6_NAT64 };
struct kind {
    const char *name;
    enum shape shape;
    struct nat_config box; /* the innermost */
    bool portmap;          /* it answers PCP and NAT-PMP */
};

#define EIM(filter)                                                                                          \
    {                                                                                                        \
        .mapping = NAT_ENDPOINT, .filtering = filter, .ports = NAT_PORT_KEEP                                 \
    }
#define SYMMETRIC(choice, by)                                                                                \
    {                                                                                                        \
        .mapping = NAT_ADDRESS_PORT, .stream_mapping = NAT_ADDRESS_PORT, .filtering = NAT_ADDRESS_PORT,      \
        .ports = choice, .step = by                                                                          \
    }

enum kind_name {
    K_OPEN,
    K_FULL,
    K_ADDRESS,
    K_PORT,
    K_SEQ1,
    K_SEQ2,
    K_KEEP,
    K_RANDOM,
    K_DOUBLE,
    K_CARRIER,
    K_MAPPED,
    K_RANDOM_MAPPED,
    K_NO_UDP,
    K_ONLY_443,
    K_V6,
    K_NAT64,
    KINDS
};
static const struct kind kinds[KINDS] = {
    [K_OPEN] = {"open", OPEN, {0}, false},
    [K_FULL] = {"full cone", HOME, EIM(NAT_ENDPOINT), false},
    [K_ADDRESS] = {"address-restricted", HOME, EIM(NAT_ADDRESS), false},
    [K_PORT] = {"port-restricted", HOME, EIM(NAT_ADDRESS_PORT), false},
    [K_SEQ1] = {"symmetric, +1", HOME, SYMMETRIC(NAT_PORT_SEQUENTIAL, 1), false},
    [K_SEQ2] = {"symmetric, +2", HOME, SYMMETRIC(NAT_PORT_SEQUENTIAL, 2), false},
    [K_KEEP] = {"symmetric, keeps ports", HOME, SYMMETRIC(NAT_PORT_KEEP, 1), false},
    [K_RANDOM] = {"symmetric, random", HOME, SYMMETRIC(NAT_PORT_RANDOM, 1), false},
    [K_DOUBLE] = {"double NAT", BEHIND_HOME, EIM(NAT_ADDRESS_PORT), false},
    [K_CARRIER] = {"carrier's NAT", BEHIND_CARRIER, EIM(NAT_ADDRESS_PORT), false},
    [K_MAPPED] = {"port-restricted, mapped", HOME, EIM(NAT_ADDRESS_PORT), true},
    [K_RANDOM_MAPPED] = {"random, mapped", HOME, SYMMETRIC(NAT_PORT_RANDOM, 1), true},
    [K_NO_UDP] = {"UDP blocked",
                  HOME,
                  {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .udp_blocked = true},
                  false},
    [K_ONLY_443] = {"only TCP 443",
                    HOME,
                    {.mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .only_443 = true},
                    false},
    [K_V6] = {"IPv6 only", V6, {.firewall = true, .filtering = NAT_ADDRESS_PORT}, false},
    [K_NAT64] = {"IPv6 and NAT64", V6_NAT64, EIM(NAT_ADDRESS_PORT), false},
};

/* A site of this kind below `parent` (NULL: the Internet); NULL for an open one. */
static inline struct site *grid_site(const struct kind *k, struct site *parent, const char *name)
{
    static uint64_t next_net6 = 0x20010db800010000;
    static const struct nat_config firewall = {.firewall = true, .filtering = NAT_ADDRESS_PORT};
    struct site_config c = {.net4 = 0xc0a80100,
                            .box4 = k->box,
                            .box6 = {.passes_all = true},
                            .up.delay = UPLINK,
                            .down.delay = UPLINK};
    struct site_config around = {.net4 = 0x0a000000,
                                 .box4 = EIM(NAT_ADDRESS_PORT),
                                 .box6 = {.passes_all = true},
                                 .up.delay = UPLINK,
                                 .down.delay = UPLINK};
    switch (k->shape) {
    case OPEN:
        return NULL;
    case HOME:
        break;
    case BEHIND_CARRIER:
        around.net4 = 0x64400000;
        around.box4.hairpin = true;
        __attribute__((fallthrough));
    case BEHIND_HOME:
        parent = site_new(world->net, parent, "outer", &around);
        break;
    case V6:
    case V6_NAT64:
        c.net4 = 0;
        c.net6 = next_net6++;
        c.v6_only = true;
        c.nat64 = k->shape == V6_NAT64;
        c.box6 = firewall;
        break;
    }
    struct site *s = site_new(world->net, parent, name, &c);
    if (k->portmap)
        box_portmap(s);
    return s;
}

/* Its line, so that the middle of the Internet is ONE_WAY from it. */
static inline void grid_line(struct node_host *n)
{
    usec_t sites = 0;
    for (struct site *s = n->host->site; s->parent; s = s->parent)
        sites += UPLINK;
    line(n, (struct link_config){.delay = ONE_WAY - sites});
}

static struct node_host *ann, *bob;

static inline bool grid_direct(const struct world_path *p)
{
    return p->kind == PATH_LAN || p->kind == PATH_UDP || p->kind == PATH_TLS;
}

static inline bool both_direct(void)
{
    return grid_direct(path_of(ann, bob)) && grid_direct(path_of(bob, ann));
}

/* Both talk a little, all the while: without traffic nobody searches. */
static inline void grid_talk(void)
{
    talk(ann, bob, 200 * MSEC, 100);
    talk(bob, ann, 200 * MSEC, 100);
}

/* Ann and Bob in one party; she has been at home for a while when he joins: what her NAT does is known, her
 * port is mapped. Each pair has a world of its own, and chance of its own. */
static inline void grid_pair(struct site *a, struct site *b)
{
    world->searches_at_will = world->direct = world->reordering_allowed = true;
    ann = founder_at(a, "ann");
    bob = machine_at(b, "bob", NULL);
    grid_line(ann);
    grid_line(bob);
    create(ann, "lan");
    RUN(5 * SEC);
    everybody_joins(ann);
    grid_talk();
}

static inline void grid_begin(uint64_t number)
{
    world_begin();
    world->sim.seed += number << 32;
    world->sim.rng = rng_seeded(&world->sim.chance, world->sim.seed);
}

/* Bob's node was off for a while and is started anew, and Ann's still knows its keys. From his login at the
 * hub. */
static inline void grid_restart(usec_t off)
{
    hush();
    node_host_kill(bob);
    RUN(off + rng_below(&world->sim.rng, 3 * SEC));
    *path_of(ann, bob) = *path_of(bob, ann) = (struct world_path){0};
    node_host_start(bob);
    grid_talk();
    while (!at_hub(bob))
        RUN(1 * MSEC);
}

/* Until both directions are direct; USEC_NEVER: not within `most`. */
static inline usec_t grid_until_direct(usec_t most)
{
    usec_t from = world->sim.now;
    while (!both_direct() && world->sim.now - from < most)
        RUN(1 * MSEC);
    return both_direct() ? world->sim.now - from : USEC_NEVER;
}

#endif
