/* Members of a party on one LAN find each other and talk while no hub is in sight; others there get nothing.
 */
#include "sim/scenario.h"

#define TLS_PORT 7777

static const struct nat_config port_restricted = {
    .mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_KEEP};
static struct site *home;
static struct node_host *ann, *bob;

static struct node_host *here(const char *name, bool discovery)
{
    struct node_host_config c;
    node_host_config_default(&c);
    c.limits.lan_discovery = discovery;
    c.limits.port = TLS_PORT;
    return machine_at(home, name, &c);
}

/* Ann and Bob in one home, in one party. */
static void one_home(bool discovery)
{
    world->direct = world->reordering_allowed = true;
    home = site_home(world->net, NULL, "home", &port_restricted);
    ann = founder_at(home, "ann");
    bob = here("bob", discovery);
    create(ann, "lan");
    everybody_joins(ann);
    WITHIN(5 * SEC, sees(ann, bob) && sees(bob, ann));
}

static bool both_see(void)
{
    bool a = sees(ann, bob), b = sees(bob, ann);
    return a && b;
}

static bool on_the_lan(void)
{
    return path_kind(ann, bob) == PATH_LAN && path_kind(bob, ann) == PATH_LAN;
}

/* Everything is switched off, and the hub does not come back. */
static void night(void)
{
    node_host_kill(ann);
    node_host_kill(bob);
    hub_host_kill(world->hub);
    RUN(5 * SEC);
}

SCENARIO(neighbours_find_each_other_without_a_hub)
{
    one_home(true);
    night();
    node_host_start(ann);
    node_host_start(bob);
    WITHIN(3 * SEC, both_see());
    WITHIN(5 * SEC, on_the_lan());
    WITHIN(300 * MSEC, both_see());
    STAYS(90 * SEC, both_see());
    EXPECT(metric(ann, "warren_node_streams_dialled_total") +
               metric(bob, "warren_node_streams_dialled_total") <=
           2);
}

SCENARIO(also_those_who_have_nothing_to_say)
{
    one_home(true);
    night();
    node_host_start(ann);
    node_host_start(bob);
    WITHIN(3 * SEC, connected(ann, bob) && connected(bob, ann));
}

SCENARIO(who_comes_later_is_found)
{
    one_home(true);
    night();
    node_host_start(bob);
    RUN(40 * SEC);
    node_host_start(ann);
    WITHIN(3 * SEC, both_see());
}

SCENARIO(the_neighbours_talk_on_when_the_hub_is_gone)
{
    one_home(true);
    WITHIN(5 * SEC, on_the_lan());
    WITHIN(300 * MSEC, both_see());
    hub_host_kill(world->hub);
    STAYS(60 * SEC, both_see());
    EXPECT(on_the_lan());
}

SCENARIO(a_restarted_neighbour_is_found_again_without_a_hub)
{
    one_home(true);
    WITHIN(5 * SEC, on_the_lan());
    hub_host_kill(world->hub);
    RUN(5 * SEC);
    for (int i = 0; i < 3; i++) {
        node_host_kill(i % 2 ? ann : bob);
        RUN(2 * SEC);
        node_host_start(i % 2 ? ann : bob);
        WITHIN(4 * SEC, both_see());
        STAYS(5 * SEC, both_see());
    }
}

SCENARIO(the_hub_comes_back_and_takes_its_place)
{
    one_home(true);
    night();
    node_host_start(ann);
    node_host_start(bob);
    WITHIN(3 * SEC, both_see());
    hub_host_start(world->hub);
    WITHIN(40 * SEC, at_hub(ann) && at_hub(bob));
    WITHIN(300 * MSEC, both_see());
    STAYS(100 * SEC, both_see());
    EXPECT(on_the_lan());
}

SCENARIO(with_discovery_switched_off_nobody_is_found)
{
    one_home(false);
    night();
    node_host_start(ann);
    node_host_start(bob);
    STAYS(20 * SEC, !sees(ann, bob) && !sees(bob, ann));
    EXPECT(metric(ann, "warren_node_lan_found_total") == 0 &&
           metric(bob, "warren_node_lan_found_total") == 0);
    EXPECT(metric(bob, "warren_node_streams_up_total") == 0);
}

/* ---- Others on the LAN. */

static unsigned ups, words, downs;

static void raw_up(void *arg, struct stream *s, const uint8_t binding[32], const uint8_t fingerprint[32])
{
    ups++;
    stream_send(s, true, bytes_of("\0\x04hail", 6));
}

static void raw_message(void *arg, struct stream *s, bool binary, uint8_t *p, size_t n)
{
    words++;
}

static void raw_writable(void *arg, struct stream *s)
{
}

static void raw_down(void *arg, struct stream *s, const char *why)
{
    downs++;
    stream_close(s);
}

static const struct stream_ops raw = {raw_up, raw_message, raw_writable, raw_down};

SCENARIO(strangers_get_nothing)
{
    one_home(true);
    struct node_host *eve = here("eve", true); /* a node, but in no party with them */
    struct host *mallory = host_new(home, "mallory");
    ups = words = downs = 0;
    struct net_addr to = bob->host->ip4;
    to.port = TLS_PORT;
    stream_connect(mallory, &to, &raw, NULL);
    WITHIN(2 * SEC, ups == 1);
    WITHIN(11 * SEC, downs == 1);
    EXPECT(words == 0);
    EXPECT(metric(eve, "warren_node_lan_found_total") == 0);
    EXPECT(metric(ann, "warren_node_lan_found_total") > 0);
    EXPECT(metric(eve, "warren_node_streams_dialled_total") == 0);
    WITHIN(300 * MSEC, both_see());
    STAYS(2 * SEC, both_see());
}

/* What Bob said to all, to be said again by somebody else. */
static uint8_t said[1500];
static size_t said_n;

static bool listen_to_bob(void *arg, struct host *h, struct packet *p)
{
    if (bob && h == bob->host && p->proto == NAT_UDP && p->to.port == 5353 && p->n <= sizeof said &&
        p->n > said_n) {
        memcpy(said, p->data, p->n);
        said_n = p->n;
    }
    return true;
}

SCENARIO(another_key_at_the_address_is_refused)
{
    said_n = 0;
    bob = NULL;
    world->net->tap = listen_to_bob;
    one_home(true);
    EXPECT(said_n > 0);
    struct node_host *eve = here("eve", true); /* listens at the port that Bob announced */
    RUN(1 * SEC);
    night();
    node_host_start(ann);
    RUN(1 * SEC);
    struct net_addr group = net_addr4(0xe00000fb, 5353);
    struct packet *p = packet_new(NAT_UDP, &group, bytes_of(said, said_n));
    p->from.port = 5353;
    host_send(eve->host, p);
    WITHIN(3 * SEC, node_host_logged(ann, "the certificate holds another key"));
    STAYS(5 * SEC, !sees(ann, bob));
    EXPECT(metric(ann, "warren_node_sessions_up_total") == 0);
    EXPECT(metric(ann, "warren_node_handshakes_begun_total") == 0);
}

/* The party's own network carries multicast as well: what comes through it is no address to build on. */
SCENARIO(what_comes_through_the_party_itself_is_not_believed)
{
    said_n = 0;
    bob = NULL;
    world->net->tap = listen_to_bob;
    one_home(true);
    WITHIN(2 * SEC, metric(ann, "warren_node_lan_found_total") == 1);
    struct net_addr a = net_addr4(world->party->ip4[bob->number], 5353);
    uint8_t copy[sizeof said];
    memcpy(copy, said, said_n);
    node_udp(ann->node, NODE_SOCKET_MDNS4, &a, copy, said_n, world->sim.now);
    node_host_pump(ann);
    EXPECT(metric(ann, "warren_node_lan_found_total") == 1);
    a = net_addr4(0xc0a80163, 5353);
    node_udp(ann->node, NODE_SOCKET_MDNS4, &a, copy, said_n, world->sim.now);
    node_host_pump(ann);
    EXPECT(metric(ann, "warren_node_lan_found_total") == 2);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(neighbours_find_each_other_without_a_hub),
        STORY(also_those_who_have_nothing_to_say),
        STORY(who_comes_later_is_found),
        STORY(the_neighbours_talk_on_when_the_hub_is_gone),
        STORY(a_restarted_neighbour_is_found_again_without_a_hub),
        STORY(the_hub_comes_back_and_takes_its_place),
        STORY(with_discovery_switched_off_nobody_is_found),
        STORY(strangers_get_nothing),
        STORY(another_key_at_the_address_is_refused),
        STORY(what_comes_through_the_party_itself_is_not_believed),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
