/* Where UDP is blocked the two ends meet in a TLS stream, dialled by whichever end can, or by both. */
#include "sim/scenario.h"

#define TLS_PORT 7777

static const struct nat_config usual = {.mapping = NAT_ENDPOINT,
                                        .filtering = NAT_ADDRESS_PORT,
                                        .ports = NAT_PORT_KEEP},
                               no_udp = {.mapping = NAT_ENDPOINT,
                                         .filtering = NAT_ADDRESS_PORT,
                                         .ports = NAT_PORT_KEEP,
                                         .udp_blocked = true},
                               no_udp_random = {.mapping = NAT_ADDRESS_PORT,
                                                .filtering = NAT_ADDRESS_PORT,
                                                .ports = NAT_PORT_RANDOM,
                                                .udp_blocked = true};
static struct site *home_a, *home_b;
static struct node_host *ann, *bob;
static bool cut; /* streams that are not the hub's vanish */
static bool udp_too;

static bool wires(void *arg, struct host *h, struct packet *p)
{
    bool hub = net_ip_equal(&p->to, &world->hub->host->ip4) || h == world->hub->host;
    if (p->proto == NAT_UDP)
        return !udp_too;
    return hub || !cut;
}

/* Ann behind this box; Bob behind that one, or (NULL) on the open Internet. */
static void meet(const struct nat_config *a, const struct nat_config *b)
{
    cut = udp_too = false;
    world->direct = world->reordering_allowed = true;
    world->net->tap = wires;
    home_a = site_home(world->net, NULL, "home-a", a);
    home_b = b ? site_home(world->net, NULL, "home-b", b) : NULL;
    ann = founder_at(home_a, "ann");
    bob = machine_at(home_b, "bob", NULL);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(5 * SEC, sees(ann, bob) && sees(bob, ann));
}

static bool both_see(void)
{
    bool a = sees(ann, bob), b = sees(bob, ann);
    return a && b;
}

static bool on(enum path_kind kind)
{
    return path_of(ann, bob)->kind == kind && path_of(bob, ann)->kind == kind;
}

SCENARIO(udp_is_blocked_here_and_the_other_end_is_open)
{
    meet(&no_udp, NULL);
    WITHIN(8 * SEC, on(PATH_TLS));
    WITHIN(300 * MSEC, both_see());
    STAYS(150 * SEC, on(PATH_TLS) && both_see());
    EXPECT(metric(ann, "warren_node_streams_up_total") + metric(bob, "warren_node_streams_up_total") <= 6);
}

SCENARIO(udp_is_blocked_and_both_are_behind_nat_that_keeps_ports)
{
    meet(&no_udp, &usual);
    WITHIN(12 * SEC, on(PATH_TLS));
    WITHIN(300 * MSEC, both_see());
    STAYS(150 * SEC, on(PATH_TLS) && both_see());
}

SCENARIO(nothing_passes_and_the_relay_says_why)
{
    meet(&no_udp_random, &no_udp_random);
    WITHIN(300 * MSEC, both_see());
    STAYS(90 * SEC, on(PATH_WS_RELAY) && both_see());
    EXPECT(strlen(peer_text(ann, bob, "why")) > 20);
    EXPECT(metric(ann, "warren_node_streams_dialled_total") >= 2);
    EXPECT(metric(ann, "warren_node_streams_up_total") == 0);
}

SCENARIO(where_udp_works_nobody_dials)
{
    meet(&usual, &usual);
    WITHIN(2 * SEC, on(PATH_UDP));
    STAYS(130 * SEC, on(PATH_UDP));
    EXPECT(metric(ann, "warren_node_streams_dialled_total") == 0 &&
           metric(bob, "warren_node_streams_dialled_total") == 0);
}

SCENARIO(the_stream_stalls_and_the_relay_takes_over_within_a_second)
{
    meet(&no_udp, NULL);
    WITHIN(8 * SEC, on(PATH_TLS));
    RUN(10 * SEC);
    for (int i = 0; i < 3; i++) {
        talk(ann, bob, 20 * MSEC, 200);
        talk(bob, ann, 20 * MSEC, 200);
        cut = true;
        WITHIN(1 * SEC, on(PATH_WS_RELAY));
        WITHIN(300 * MSEC, both_see());
        STAYS(20 * SEC, both_see());
        cut = false;
        WITHIN(80 * SEC, on(PATH_TLS));
        WITHIN(300 * MSEC, both_see());
        STAYS(5 * SEC, both_see());
        hush();
        RUN(1 * SEC);
    }
}

SCENARIO(udp_that_works_again_takes_the_traffic_and_the_stream_goes)
{
    meet(&usual, NULL);
    udp_too = true; /* both are cut off from all UDP after they met */
    WITHIN(10 * SEC, on(PATH_TLS));
    udp_too = false;
    WITHIN(140 * SEC, on(PATH_UDP));
    WITHIN(300 * MSEC, both_see());
    STAYS(20 * SEC, on(PATH_UDP) && both_see());
    RUN(60 * SEC);
    EXPECT(node_host_logged(ann, "stream-closed") || node_host_logged(bob, "stream-closed"));
    EXPECT(on(PATH_UDP));
}

/* On one link nothing needs to be punched, so each end's dial makes a stream of its own. */
SCENARIO(of_two_streams_one_stays)
{
    cut = false;
    world->direct = world->reordering_allowed = true;
    world->net->tap = wires;
    udp_too = true;
    home_a = site_home(world->net, NULL, "home-a", &no_udp);
    ann = founder_at(home_a, "ann");
    bob = machine_at(home_a, "bob", NULL);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(10 * SEC, on(PATH_TLS));
    WITHIN(300 * MSEC, both_see());
    STAYS(6 * SEC, on(PATH_TLS) && both_see());
    EXPECT(metric(ann, "warren_node_streams_up_total") == 2 &&
           metric(bob, "warren_node_streams_up_total") == 2);
    EXPECT(node_host_logged(ann, "stream-closed") != node_host_logged(bob, "stream-closed"));
    STAYS(60 * SEC, on(PATH_TLS) && both_see());
}

/* Bob's private address is somebody else's in Ann's home. */
SCENARIO(another_key_at_the_address_is_refused)
{
    struct node_host_config c;
    node_host_config_default(&c);
    c.limits.port = TLS_PORT;
    cut = udp_too = false;
    world->direct = world->reordering_allowed = true;
    home_a = site_home(world->net, NULL, "home-a", &no_udp);
    home_b = site_home(world->net, NULL, "home-b", &no_udp_random);
    ann = founder_at(home_a, "ann");
    create(ann, "lan");
    host_new(home_b, "printer");
    bob = machine_at(home_b, "bob", &c);
    everybody_joins(ann);
    struct node_host *eve = machine_at(home_a, "eve", &c);
    EXPECT(net_ip_equal(&eve->host->ip4, &bob->host->ip4));
    WITHIN(70 * SEC, node_host_logged(ann, "the certificate holds another key"));
    EXPECT(path_kind(ann, bob) == PATH_WS_RELAY);
    WITHIN(300 * MSEC, both_see());
    STAYS(5 * SEC, both_see());
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(udp_is_blocked_here_and_the_other_end_is_open),
        STORY(udp_is_blocked_and_both_are_behind_nat_that_keeps_ports),
        STORY(nothing_passes_and_the_relay_says_why),
        STORY(where_udp_works_nobody_dials),
        STORY(the_stream_stalls_and_the_relay_takes_over_within_a_second),
        STORY(udp_that_works_again_takes_the_traffic_and_the_stream_goes),
        STORY(of_two_streams_one_stays),
        STORY(another_key_at_the_address_is_refused),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
