/* Every sentence about a pair, from a table of facts; and the facts themselves, from nodes that are in such a
 * state. */
#include "node/engine_harness.h"
#include "node/underlay_int.h"
#include "node/whys_int.h"

static void test_time(void **state)
{
    static const struct {
        uint64_t at;
        const char *text;
    } rows[] = {
        {0, "1970-01-01 00:00:00 UTC"},          {86399, "1970-01-01 23:59:59 UTC"},
        {951782400, "2000-02-29 00:00:00 UTC"},  {951868800, "2000-03-01 00:00:00 UTC"},
        {1800000000, "2027-01-15 08:00:00 UTC"}, {4107542399, "2100-02-28 23:59:59 UTC"},
        {4107542400, "2100-03-01 00:00:00 UTC"}, {1735689599, "2024-12-31 23:59:59 UTC"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[WHY_TIME_CAP];
        time_text(out, rows[i].at);
        assert_string_equal(out, rows[i].text);
    }
}

/* What the rows have in common. */
enum base {
    BARE,    /* nothing */
    RELAYED, /* on the hub's relay, where no other kind is named; nothing was tried */
    TRIED    /* a round began, 12 s ago where nothing else is said, and the peer told its addresses */
};

static const struct {
    enum base base;
    struct pair_facts f;
    const char *why;
} sentences[] = {
    /* Without a path. */
    {BARE, {.state = PEER_OFFLINE, .hub = true}, "bob is not at the hub"},
    {BARE, {.state = PEER_OFFLINE}, "the hub is not connected, and no other path leads to bob"},
    {BARE, {.state = PEER_CONNECTING, .shaking = true}, "the handshake is under way"},
    {BARE, {.state = PEER_CONNECTING, .resuming = true}, "the keys of the session are being proved anew"},
    {BARE,
     {.state = PEER_CONNECTING, .tries = 2, .again = 3500 * MSEC},
     "the handshake was not answered; tried again in 4 s"},
    {BARE, {.state = PEER_CONNECTING, .tries = 2}, "the handshake was not answered"},
    {BARE,
     {.state = PEER_CONNECTING, .tries = 2, .shaking = true},
     "the handshake was not answered; it is being tried again"},
    {BARE, {.state = PEER_CONNECTING}, "a handshake begins when there is traffic, or when bob begins it"},
    {BARE, {.state = PEER_DEGRADED}, "no path answers; all are being tried"},
    {BARE,
     {.state = PEER_DEGRADED, .kind = PATH_UDP_RELAY, .loss = 0.25},
     "25% of the probes over udp-relay are lost, and no better path is known"},
    /* Direct. */
    {RELAYED,
     {.kind = PATH_LAN, .since = 1800000000},
     "direct in the same network since 2027-01-15 08:00:00 UTC"},
    {RELAYED,
     {.kind = PATH_UDP, .family = 4, .since = 1800000000},
     "direct over UDP (IPv4) since 2027-01-15 08:00:00 UTC"},
    {RELAYED,
     {.kind = PATH_UDP, .family = 6, .since = 1800000061},
     "direct over UDP (IPv6) since 2027-01-15 08:01:01 UTC"},
    {RELAYED,
     {.kind = PATH_TLS, .since = 1800000000, .udp_here = WHY_UDP_BLOCKED},
     "direct over TLS since 2027-01-15 08:00:00 UTC: UDP is blocked at this end"},
    {RELAYED,
     {.kind = PATH_TLS, .since = 1800000000, .udp_there = WHY_UDP_BLOCKED},
     "direct over TLS since 2027-01-15 08:00:00 UTC: UDP is blocked at bob's end"},
    {RELAYED,
     {.kind = PATH_TLS, .since = 1800000000, .checking = true},
     "direct over TLS since 2027-01-15 08:00:00 UTC: UDP is still being tried"},
    {RELAYED,
     {.kind = PATH_TLS, .since = 1800000000},
     "direct over TLS since 2027-01-15 08:00:00 UTC: UDP did not get through"},
    {TRIED,
     {.kind = PATH_MULTI_HOP, .pinned = true},
     "over another member: somebody chose this way (warren route)"},
    /* Nothing is looked for. */
    {RELAYED, {.off_here = true}, "on the relay: direct paths are switched off here (--no-direct)"},
    {TRIED, {.off_there = true}, "on the relay: the other end wants no direct paths"},
    {BARE,
     {.state = PEER_CONNECTED, .kind = PATH_WS_RELAY},
     "on the relay: the networks of this machine are not known yet"},
    {BARE,
     {.state = PEER_CONNECTED, .kind = PATH_WS_RELAY, .known = true},
     "on the relay: no UDP socket could be opened here"},
    /* Found, but not in use. */
    {TRIED,
     {.answers = true},
     "on the relay: a direct path answers and is taken as soon as it has proved better"},
    {TRIED,
     {.proving = true},
     "on the relay: a direct path was found, and the keys are being proved over it"},
    /* UDP is blocked. */
    {TRIED,
     {.udp_here = WHY_UDP_BLOCKED, .tls_under_way = true},
     "on the relay: UDP is blocked at this end; TLS is being tried"},
    {TRIED,
     {.udp_there = WHY_UDP_BLOCKED, .tls_under_way = true, .tls_tried = true},
     "on the relay: UDP is blocked at bob's end; TLS is being tried"},
    {TRIED,
     {.udp_here = WHY_UDP_BLOCKED, .udp_there = WHY_UDP_BLOCKED, .tls_tried = true},
     "on the relay: UDP is blocked at both ends; TLS did not get through either"},
    {TRIED,
     {.udp_there = WHY_UDP_BLOCKED, .tls_could = true},
     "on the relay: UDP is blocked at bob's end; TLS is tried next"},
    {TRIED,
     {.udp_here = WHY_UDP_BLOCKED, .kind = PATH_MULTI_HOP},
     "over another member: UDP is blocked at this end; TLS needs a port at one of the ends, and neither has "
     "one"},
    /* Under way. */
    {RELAYED, {0}, "on the relay: still looking: nothing was sent yet"},
    {TRIED,
     {.checking = true, .told = 300 * MSEC},
     "on the relay: still looking: candidates were sent 0.3 s ago"},
    {TRIED, {.checking = true}, "on the relay: still looking: candidates were sent 12.0 s ago"},
    /* Reasons are given when the first seconds brought nothing. */
    {TRIED,
     {.checking = true, .told = 2900 * MSEC, .nat_here = HARD_RANDOM, .nat_there = HARD_RANDOM},
     "on the relay: still looking: candidates were sent 2.9 s ago"},
    {TRIED,
     {.checking = true, .nat_here = HARD_RANDOM, .nat_there = HARD_RANDOM},
     "on the relay: both ends' NATs give every destination another port (random): only a port mapping or "
     "IPv6 would help"},
    /* NATs. */
    {TRIED,
     {.nat_here = HARD_RANDOM, .nat_there = HARD_RANDOM, .six = true},
     "on the relay: both ends' NATs give every destination another port (random): only a port mapping would "
     "help"},
    {TRIED,
     {.nat_here = HARD_RANDOM, .nat_there = HARD_SEQUENTIAL},
     "on the relay: both ends' NATs give every destination another port (one of them by chance): only a port "
     "mapping or IPv6 would help"},
    {TRIED,
     {.nat_here = HARD_SEQUENTIAL, .nat_there = HARD_SEQUENTIAL, .searching = true},
     "on the relay: both ends' NATs give every destination another port (one after the other); a search for "
     "the right one is under way"},
    {TRIED,
     {.nat_here = HARD_SEQUENTIAL, .nat_there = HARD_PRESERVING},
     "on the relay: both ends' NATs give every destination another port; a search for the right one begins "
     "when there is traffic"},
    {TRIED,
     {.nat_here = HARD_RANDOM, .nat_there = HARD_EASY, .search_off = true},
     "on the relay: this end's NAT gives every destination another port (random); searches are switched off "
     "here (search=0)"},
    {TRIED,
     {.nat_there = HARD_PRESERVING, .search_failed = true, .search = "no probe met a predicted port"},
     "on the relay: bob's NAT gives every destination another port (the same where it is free); the last "
     "search failed: no probe met a predicted port"},
    {TRIED,
     {.nat_here = HARD_RANDOM, .search = "asking the peer; not searched without traffic"},
     "on the relay: this end's NAT gives every destination another port (random); asking the peer; not "
     "searched without traffic"},
    {TRIED,
     {.nat_here = HARD_RANDOM, .search_refused = true},
     "on the relay: this end's NAT gives every destination another port (random); bob allows no searches"},
    /* Nothing explains it. */
    {TRIED,
     {.died = 2 * SEC, .checking = true, .told = 1},
     "on the relay: the direct path died 2 s ago; it is being looked for again"},
    {TRIED,
     {.died = 12 * SEC, .retry = 800 * MSEC},
     "on the relay: the direct path died 12 s ago; looked for again in 1 s"},
    {TRIED,
     {.died = 31 * SEC, .retry = 42500 * MSEC, .kind = PATH_UDP_RELAY},
     "on the relay: no direct path answered, so a firewall must lie between; tried again in 43 s"},
    {TRIED,
     {.nat_here = HARD_EASY, .nat_there = HARD_EASY, .kind = PATH_TURN},
     "on a TURN server: no direct path answered, so a firewall must lie between"},
    {RELAYED, {.begun = true}, "on the relay: bob does not say where it may be reached"},
};

/* Times that a row does not name are "never". */
static struct pair_facts filled(enum base base, struct pair_facts f)
{
    strcpy(f.name, "bob");
    f.again = f.again ? f.again : USEC_NEVER;
    f.retry = f.retry ? f.retry : USEC_NEVER;
    f.died = f.died ? f.died : USEC_NEVER;
    if (base != BARE) {
        f.state = PEER_CONNECTED;
        f.kind = f.kind ? f.kind : PATH_WS_RELAY;
        f.hub = f.known = f.socket = true;
    }
    if (base == TRIED) {
        f.begun = f.heard = true;
        f.told = f.told ? f.told : 12 * SEC;
    }
    return f;
}

static void test_sentences(void **state)
{
    char out[WHY_CAP];
    for (size_t i = 0; i < sizeof sentences / sizeof *sentences; i++) {
        struct pair_facts f = filled(sentences[i].base, sentences[i].f);
        pair_why(out, &f);
        assert_string_equal(out, sentences[i].why);
    }
}

/* The longest name and the longest words fit, or are cut. */
static void test_long_sentences(void **state)
{
    char out[WHY_CAP + 1];
    struct pair_facts f = filled(TRIED, (struct pair_facts){.nat_there = HARD_RANDOM, .search_failed = true});
    memset(f.name, '%', sizeof f.name - 1);
    memset(f.search, 's', sizeof f.search - 1);
    out[WHY_CAP] = 'x';
    pair_why(out, &f);
    assert_true(strlen(out) < WHY_CAP);
    assert_int_equal(out[WHY_CAP], 'x');
    assert_non_null(strstr(out, "%%%%'s NAT gives"));
}

/* ---- Facts of nodes. */

static const char *why(struct lab *l, int i, const char *name)
{
    return field(status_peer(l, i, name), "why");
}

/* As if node_network had been called and the socket were open; nobody answers there. */
static void open_socket(struct node *n)
{
    n->underlay->known = true;
    n->underlay->main4.port = 41641;
}

static struct direct *tried(struct lab *l, struct node_peer *p, unsigned flags)
{
    struct direct *d = calloc(1, sizeof *d);
    assert_non_null(d);
    d->tell_at = d->retry_at = d->free_at = d->dial.at = USEC_NEVER;
    d->attempts = 1;
    d->began_at = l->now - 20 * SEC;
    d->heard = d->failed = true;
    d->theirs.flags = (uint8_t)flags;
    p->direct = d;
    return d;
}

static void test_of_nodes(void **state)
{
    struct lab *l = lab_new(201);
    lab_party(l, 2);
    struct node *n = l->hosts[0].n;
    struct node_peer *p = peer_by_id(n, node_id(l->hosts[1].n));
    assert_string_equal(why(l, 0, "ben"), "on the relay: the networks of this machine are not known yet");
    n->underlay->known = true;
    assert_string_equal(why(l, 0, "ben"), "on the relay: no UDP socket could be opened here");
    open_socket(n);
    assert_string_equal(why(l, 0, "ben"), "on the relay: still looking: nothing was sent yet");
    struct direct *d = tried(l, p, DIRECT_OFF);
    assert_string_equal(why(l, 0, "ben"), "on the relay: the other end wants no direct paths");
    d->theirs.flags = DIRECT_UDP_BLOCKED;
    assert_string_equal(why(l, 0, "ben"),
                        "on the relay: UDP is blocked at ben's end; TLS needs a port at one of the ends, and "
                        "neither has one");
    d->theirs.tcp_port = 443;
    d->dial.at = l->now + SEC;
    assert_string_equal(why(l, 0, "ben"), "on the relay: UDP is blocked at ben's end; TLS is being tried");
    d->dial.at = USEC_NEVER;
    d->dial.count = 1;
    assert_string_equal(why(l, 0, "ben"),
                        "on the relay: UDP is blocked at ben's end; TLS did not get through either");
    d->theirs.flags = 0;
    d->theirs.mapping = DIRECT_MAPPING_ADDRESS_PORT;
    d->theirs.ports = DIRECT_PORTS_RANDOM;
    n->limits.search = 0;
    assert_string_equal(why(l, 0, "ben"),
                        "on the relay: ben's NAT gives every destination another port (random); searches are "
                        "switched off here (search=0)");
    d->theirs.mapping = DIRECT_MAPPING_ENDPOINT;
    d->retry_at = l->now + 30 * SEC;
    assert_string_equal(why(l, 0, "ben"),
                        "on the relay: no direct path answered, so a firewall must lie between; tried again "
                        "in 30 s");
    d->heard = false;
    assert_string_equal(why(l, 0, "ben"),
                        "on the relay: ben does not say where it may be reached; tried again in 30 s");
    n->limits.direct = 0;
    assert_string_equal(why(l, 0, "ben"), "on the relay: direct paths are switched off here (--no-direct)");
    lab_free(l);
}

static void test_of_ways(void **state)
{
    struct lab *l = lab_new(202);
    lab_party(l, 2);
    struct node *n = l->hosts[0].n;
    struct node_peer *p = peer_by_id(n, node_id(l->hosts[1].n));
    struct origin o = {.via = PATH_UDP, .number = 1, .addr = net_addr4(0xC0000207, 41641)};
    open_socket(n);
    struct direct *d = tried(l, p, 0);
    struct way *w = way_open(n, p, &o, l->now);
    w->asking = true;
    assert_string_equal(why(l, 0, "ben"),
                        "on the relay: a direct path was found, and the keys are being proved over it");
    w->asked_at = l->now - 4 * MSEC;
    way_proven(n, p, w, l->now);
    lab_run(l, 1 * MSEC);
    json_t *peer = status_peer(l, 0, "ben");
    assert_string_equal(field(peer, "path"), "udp");
    assert_string_equal(field(peer, "endpoint"), "192.0.2.7:41641");
    assert_true(json_is_null(json_object_get(peer, "relay")));
    assert_int_equal(strncmp(field(peer, "why"), "direct over UDP (IPv4) since 2027-01-", 37), 0);
    assert_int_equal(json_integer_value(json_object_get(peer, "since")), node_unix(n, l->now));
    assert_int_equal(n->moves.took[0], 1); /* within 10 ms */
    assert_int_equal(n->moves.fallbacks, 0);
    json_t *paths = json_object_get(peer, "paths"), *path;
    size_t i, found = 0;
    json_array_foreach(paths, i, path)
    {
        assert_true(json_is_true(json_object_get(path, "alive")));
        assert_true(json_is_integer(json_object_get(path, "mtu")));
        if (strcmp(field(path, "path"), "udp") == 0 &&
            strcmp(field(path, "endpoint"), "192.0.2.7:41641") == 0)
            found++;
        if (strcmp(field(path, "path"), "ws-relay") == 0)
            found += strcmp(field(path, "endpoint"), "hub0.example:443") == 0;
    }
    assert_int_equal(json_array_size(paths), 2);
    assert_int_equal(found, 2);
    json_t *list = json_object_get(peer, "tried");
    assert_int_equal(
        strncmp(json_string_value(json_array_get(list, 0)), "UDP, round 1: 0 addresses here", 30), 0);
    /* Nothing ever comes back over it. */
    for (int k = 0; k < 40; k++) {
        send_frame(l, 0, 1, 0, 7, 100);
        lab_run(l, 100 * MSEC);
    }
    /* Ben has no socket, and said so when he was told of the next round. */
    assert_string_equal(why(l, 0, "ben"), "on the relay: the other end wants no direct paths");
    d->theirs.flags = 0;
    peer = status_peer(l, 0, "ben");
    assert_string_equal(field(peer, "path"), "ws-relay");
    assert_int_equal(strncmp(field(peer, "why"), "on the relay: the direct path died ", 35), 0);
    assert_int_equal(n->moves.fallbacks, 1);
    assert_ptr_equal(p->direct, d);
    lab_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time),           cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_long_sentences), cmocka_unit_test(test_of_nodes),
        cmocka_unit_test(test_of_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
