/* What people are told: why a pair is where it is, what the network allows, and the figures. */
#include "test/scenario/homes.h"

static struct wires w;
static const struct nat_config open_home = {
    .mapping = NAT_ENDPOINT, .filtering = NAT_ENDPOINT, .ports = NAT_PORT_KEEP};
static const struct nat_config random_ports = {
    .mapping = NAT_ADDRESS_PORT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_RANDOM};
static const struct nat_config no_udp = {
    .mapping = NAT_ENDPOINT, .filtering = NAT_ADDRESS_PORT, .ports = NAT_PORT_KEEP, .udp_blocked = true};

static bool says(struct node_host *a, struct node_host *b, const char *words)
{
    return strstr(peer_text(a, b, "why"), words) != NULL;
}

static json_t *netcheck(struct node_host *n)
{
    json_t *r = NULL;
    EXPECT(ask(n, json_pack("{s:s}", "cmd", "netcheck"), &r) == NULL);
    return r;
}

static const char *text_in(json_t *r, const char *object, const char *field)
{
    const char *text = json_string_value(json_object_get(object ? json_object_get(r, object) : r, field));
    return text ? text : "";
}

SCENARIO(two_homes_say_that_they_are_direct)
{
    two_homes(&w, &port_restricted, &port_restricted, 40 * MSEC);
    w.streams = true;
    WITHIN(10 * SEC, direct(&w));
    EXPECT(says(w.ann, w.bob, "direct over UDP (IPv4) since "));
    EXPECT(strcmp(peer_text(w.ann, w.bob, "relay"), "") == 0);
    EXPECT(strcmp(peer_text(w.ann, w.bob, "endpoint"), "") != 0);
    EXPECT(peer_number(w.ann, w.bob, "since") > 0);
    EXPECT(metric(w.ann, "warren_p2p_migrations_total") >= 1);
    EXPECT(metric(w.ann, "warren_p2p_migrations_total{outcome=\"direct\"}") == 1);
    EXPECT(metric(w.ann, "warren_p2p_connections{path=\"udp\"}") == 1);
    EXPECT(metric(w.ann, "warren_p2p_connections{path=\"ws-relay\"}") == 0);
    EXPECT(metric(w.ann, "warren_p2p_fallbacks_total") == 0);
    /* One end asked, or both did. */
    EXPECT(metric(w.ann, "warren_p2p_migration_seconds_count") +
               metric(w.bob, "warren_p2p_migration_seconds_count") >=
           1);
    EXPECT(metric(w.ann, "warren_p2p_migration_seconds_bucket{le=\"+Inf\"}") ==
           metric(w.ann, "warren_p2p_migration_seconds_count"));
    /* The path dies, and another round finds it when it has been forgotten. */
    talk(w.ann, w.bob, 20 * MSEC, 100);
    cut(&w, true);
    WITHIN(3 * SEC, relayed(&w));
    EXPECT(metric(w.ann, "warren_p2p_fallbacks_total") == 1);
    EXPECT(metric(w.ann, "warren_p2p_migrations_total{outcome=\"relay\"}") == 1);
    EXPECT(says(w.ann, w.bob, "on the relay: the direct path died "));
    RUN(40 * SEC);
    EXPECT(says(w.ann, w.bob, "direct over TLS since ") && says(w.ann, w.bob, "UDP did not get through"));
    EXPECT(metric(w.ann, "warren_p2p_connections{path=\"tls\"}") == 1);
    cut(&w, false);
    WITHIN(90 * SEC, direct(&w));
    EXPECT(metric(w.ann, "warren_p2p_retries_total{outcome=\"proven\"}") +
               metric(w.bob, "warren_p2p_retries_total{outcome=\"proven\"}") >=
           1);
}

SCENARIO(netcheck_knows_the_nat)
{
    two_homes(&w, &port_restricted, &random_ports, 40 * MSEC);
    RUN(15 * SEC);
    json_t *r = netcheck(w.ann);
    EXPECT(json_is_true(json_object_get(json_object_get(r, "udp"), "ipv4")));
    EXPECT(strcmp(text_in(r, NULL, "mapping"), "not port-dependent") == 0);
    EXPECT(strcmp(text_in(r, "ipv4", "filtering"), "address and port-dependent") == 0);
    EXPECT(strcmp(text_in(r, "ipv4", "ports"), "kept") == 0);
    EXPECT(json_is_true(json_object_get(json_object_get(r, "ipv4"), "translated")));
    EXPECT(strncmp(text_in(r, "hub", "udp_relay"), "bound at ", 9) == 0);
    EXPECT(strstr(text_in(r, NULL, "text"), "the NAT here is an easy one: direct paths to most peers.") !=
           NULL);
    EXPECT(json_array_size(json_object_get(r, "relays")) == 2);
    EXPECT(json_array_size(json_object_get(r, "addresses")) >= 2);
    EXPECT(json_is_string(json_object_get(json_object_get(r, "port_mapping"), "udp")));
    json_decref(r);
    r = netcheck(w.bob);
    EXPECT(strcmp(text_in(r, NULL, "mapping"), "address and port-dependent") == 0);
    EXPECT(strcmp(text_in(r, "ipv4", "ports"), "random") == 0);
    EXPECT(strstr(text_in(r, NULL, "text"), "the NAT here gives every peer another port (random)") != NULL);
    json_decref(r);
}

/* Asked right after the start it waits until it knows something. */
SCENARIO(netcheck_waits_for_discovery)
{
    world->direct = true;
    struct node_host *ann = founder_at(site_home(world->net, NULL, "home", &open_home), "ann");
    json_t *r = netcheck(ann);
    EXPECT(json_is_true(json_object_get(json_object_get(r, "udp"), "ipv4")));
    EXPECT(strcmp(text_in(r, NULL, "mapping"), "not port-dependent") == 0);
    json_decref(r);
}

SCENARIO(two_random_nats_say_what_would_help)
{
    two_homes(&w, &random_ports, &random_ports, 40 * MSEC);
    WITHIN(30 * SEC,
           says(w.ann, w.bob,
                "on the relay: both ends' NATs give every destination another port (random): only a "
                "port mapping or IPv6"));
    WITHIN(5 * SEC,
           says(w.bob, w.ann, "on the relay: both ends' NATs give every destination another port (random)"));
    WITHIN(1 * SEC, sees(w.ann, w.bob));
}

SCENARIO(blocked_udp_is_named_at_both_ends)
{
    two_homes(&w, &port_restricted, &no_udp, 40 * MSEC);
    WITHIN(15 * SEC, says(w.bob, w.ann, "UDP is blocked at this end"));
    WITHIN(15 * SEC, says(w.ann, w.bob, "UDP is blocked at bob's end"));
    RUN(10 * SEC);
    json_t *r = netcheck(w.bob);
    EXPECT(json_is_false(json_object_get(json_object_get(r, "udp"), "ipv4")));
    EXPECT(strstr(text_in(r, NULL, "text"), "UDP is blocked here") != NULL);
    EXPECT(strcmp(text_in(r, "hub", "udp_relay"), "not reachable") == 0);
    json_decref(r);
}

SCENARIO(who_wants_no_direct_paths_says_so)
{
    two_homes(&w, &port_restricted, &port_restricted, 40 * MSEC);
    world->direct = false;
    struct node_host *eve = machine_at(w.home_b, "eve", NULL);
    everybody_joins(w.ann);
    WITHIN(5 * SEC, sees(w.ann, eve) && sees(eve, w.ann));
    EXPECT(says(eve, w.ann, "on the relay: direct paths are switched off here (--no-direct)"));
    WITHIN(5 * SEC, says(w.ann, eve, "on the relay: the other end wants no direct paths"));
    json_t *r = netcheck(eve);
    EXPECT(strstr(text_in(r, NULL, "text"), "direct paths are switched off here (--no-direct)") != NULL);
    json_decref(r);
}

int main(void)
{
    const struct CMUnitTest stories[] = {
        STORY(two_homes_say_that_they_are_direct), STORY(netcheck_knows_the_nat),
        STORY(netcheck_waits_for_discovery),       STORY(two_random_nats_say_what_would_help),
        STORY(blocked_udp_is_named_at_both_ends),  STORY(who_wants_no_direct_paths_says_so),
    };
    return cmocka_run_group_tests(stories, NULL, NULL);
}
