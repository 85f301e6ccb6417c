/* From the relay to a direct path and back, between two homes. */
#include "sim/scenario.h"

static struct node_host *ann, *bob;
static const struct nat_config port_restricted = {
    .mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_KEEP, .hairpin = false};

/* Ann and Bob, each behind a home router, 25 ms from the middle of the Internet each way. */
static void two_homes(const struct nat_config *a, const struct nat_config *b)
{
    world->direct = world->reordering_allowed = true;
    struct site *home_a = site_home(world->net, NULL, "home-a", a),
                *home_b = site_home(world->net, NULL, "home-b", b);
    ann = founder_at(home_a, "ann");
    bob = machine_at(home_b, "bob", NULL);
    create(ann, "lan");
    everybody_joins(ann);
}

static bool direct(void)
{
    return path_kind(ann, bob) == PATH_UDP && path_kind(bob, ann) == PATH_UDP;
}

SCENARIO(two_homes_find_each_other)
{
    two_homes(&port_restricted, &port_restricted);
    WITHIN(1 * SEC, sees(ann, bob) && sees(bob, ann));
    WITHIN(1 * SEC, direct());
    STAYS(30 * SEC, direct() && sees(ann, bob) && sees(bob, ann));
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(two_homes_find_each_other),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
