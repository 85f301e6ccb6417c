/* NAT traversal when memory fails. Its cores allocate when they are made and hardly ever again: one that was
 * made lives its life whatever fails, and what fails leaves it as it was. */
#include "torture.h"

#include "nat/discover.h"
#include "nat/hard.h"
#include "nat/mdns.h"
#include "nat/portmap.h"
#include "nat/stun_server.h"
#include "wire/portmap.h"

static struct rng chance(struct rng_seeded *state)
{
    return rng_seeded(state, 7);
}

/* What could not be made can be made when there is memory again. */
#define MADE(p, make)                                                                                        \
    do {                                                                                                     \
        (p) = (make);                                                                                        \
        if (!(p)) {                                                                                          \
            assert_true(torture_hit());                                                                      \
            torture_heal();                                                                                  \
            (p) = (make);                                                                                    \
        }                                                                                                    \
        assert_non_null(p);                                                                                  \
    } while (0)

/* ---- a machine without a NAT asks a STUN server what there is ---- */

#define SERVER_IP 0xcb007101u
#define CLIENT    net_addr4(0xc6336401, 40000)

static struct stun_server *server;
static struct discover *client;

static void serve(const struct discover_out *o, usec_t now)
{
    static uint8_t out[STUN_SERVER_OUT_MAX];
    struct stun_asked q = {.from = CLIENT};
    struct stun_answer a;
    struct net_addr from;
    q.endpoint = o->to.port == 3479 ? STUN_ENDPOINT_PORT2 : 0;
    if (stun_server_answer(server, &q, o->data, out, &a, now) != STUN_SERVED)
        return;
    from = net_addr4(SERVER_IP, a.endpoint & STUN_ENDPOINT_PORT2 ? 3479 : 3478);
    if (net_addr_equal(&a.to, &q.from))
        assert_true(discover_input(client, 1, &from, a.data, now));
}

static void discovers(void)
{
    struct rng_seeded state;
    struct stun_server_config sc = {.software = "torture", .seed = 3};
    struct discover_config dc = {.rng = chance(&state),
                                 .txid_prefix = 9,
                                 .has4 = true,
                                 .main4 = {1, 40000},
                                 .server_count = 1,
                                 .local_count = 1,
                                 .no_lifetime = true};
    struct discover_out o;
    struct discover_event e;
    struct nat_behaviour b;
    usec_t now = 1000 * SEC;
    bool complete = false;
    sc.endpoints[0] = net_addr4(SERVER_IP, 3478);
    sc.endpoints[STUN_ENDPOINT_PORT2] = net_addr4(SERVER_IP, 3479);
    dc.servers[0] = sc.endpoints[0];
    dc.locals[0] = net_addr4(0xc6336401, 0);
    torture_on();
    MADE(server, stun_server_new(&sc, now));
    MADE(client, discover_new(&dc, now));
    for (int i = 0; i < 600 && !complete; i++, now += 50 * MSEC) {
        discover_tick(client, now);
        while (discover_output(client, &o, now))
            serve(&o, now);
        while (discover_event(client, &e))
            complete |= e.kind == DISCOVER_COMPLETE;
    }
    discover_summary(client, 4, &b);
    torture_off();
    assert_true(complete);
    assert_int_equal(b.udp, NAT_ANSWER_YES);
    assert_int_equal(b.translated, NAT_ANSWER_NO);
    assert_true(stun_server_count(server, STUN_SERVED) > 2);
    discover_free(client);
    stun_server_free(server);
}

static void test_discovery(void **state)
{
    torture("a STUN server and its client", TORTURE_MEMORY, 1, discovers);
}

/* ---- a port of the router, by PCP ---- */

static void maps(void)
{
    struct rng_seeded state;
    struct portmap_config c = {
        .gateway = net_addr4(0xc0a80101, 0), .local = net_addr4(0xc0a8010a, 0), .rng = chance(&state)};
    struct net_addr router = net_addr4(0xc0a80101, PORTMAP_SERVER_PORT);
    struct portmap *m;
    struct portmap_out o;
    struct portmap_event ev;
    struct portmap_status st;
    struct pcp_message p;
    uint8_t answer[PCP_MESSAGE_MAX];
    usec_t now = 1000 * SEC;
    unsigned mapped = 0;
    torture_on();
    MADE(m, portmap_new(&c));
    portmap_want(m, PORTMAP_FOR_UDP, 40000, 0, now);
    for (int i = 0; i < 100 && mapped == 0; i++, now += 100 * MSEC) {
        portmap_tick(m, now);
        while (portmap_output(m, now, &o)) {
            if (pcp_read(&p, o.data) < 0)
                continue;
            p.response = true;
            p.epoch = 5;
            p.external = net_addr4(0xcb007105, 40000);
            size_t n = pcp_write(answer, sizeof answer, &p);
            assert_int_equal(portmap_input(m, &router, bytes_of(answer, n), now), 0);
        }
        while (portmap_event(m, &ev))
            mapped += ev.what == PORTMAP_EVENT_MAPPED;
    }
    portmap_status(m, PORTMAP_FOR_UDP, now, &st);
    torture_off();
    assert_int_equal(mapped, 1);
    assert_int_equal(st.state, PORTMAP_MAPPED);
    portmap_free(m);
}

static void test_portmap(void **state)
{
    torture("a port mapping", TORTURE_MEMORY, 1, maps);
}

/* ---- two searches agree on a plan and end ---- */

static struct hard *search_new(struct rng_seeded *state, bool initiator, enum hard_mapping mapping,
                               usec_t now)
{
    struct hard_config c = {.rng = chance(state), .initiator = initiator};
    c.ours = (struct hard_nat){mapping, mapping == HARD_SEQUENTIAL ? 1 : 0,
                               net_addr4(0xcb007101 + initiator, 4000)};
    return hard_new(&c, now);
}

/* What one end wants done; messages reach the other. */
static void search_pull(struct hard *h, struct hard *other, usec_t now)
{
    struct hard_out o;
    struct net_addr seen = net_addr4(0xcb007102, 30000);
    while (hard_output(h, now, &o)) {
        if (o.action == HARD_OBSERVE)
            hard_observed(h, o.socket, &seen, now);
        if (o.action == HARD_TELL_PEER)
            hard_message(other, o.data, now);
        for (uint32_t i = 0; o.action == HARD_OPEN_SOCKETS && i < o.count; i++)
            hard_socket_opened(h, o.socket + i, (uint16_t)(20000 + i), now);
    }
}

static void searches(void)
{
    struct rng_seeded states[2];
    struct hard *ends[2];
    struct hard_status st[2];
    struct hard_event ev;
    struct net_addr found = net_addr4(0xcb007101, 4000);
    usec_t now = 1000 * SEC;
    torture_on();
    MADE(ends[0], search_new(&states[0], false, HARD_EASY, now));
    MADE(ends[1], search_new(&states[1], true, HARD_SEQUENTIAL, now));
    for (int i = 0; i < 40; i++, now += 50 * MSEC) {
        for (int k = 0; k < 2; k++) {
            hard_tick(ends[k], now);
            search_pull(ends[k], ends[!k], now);
            hard_status(ends[k], &st[k]);
        }
    }
    hard_found(ends[1], 1, &found, now);
    assert_true(hard_event(ends[1], &ev));
    torture_off();
    assert_int_equal(ev.kind, HARD_DONE);
    for (int k = 0; k < 2; k++)
        assert_int_equal(st[k].plan.kind, HARD_PREDICT);
    assert_true(st[0].probes > 0);
    hard_free(ends[0]);
    hard_free(ends[1]);
}

static void test_search(void **state)
{
    torture("a search", TORTURE_MEMORY, 1, searches);
}

/* ---- two members on a LAN ---- */

static struct mdns *lan[2];
static unsigned found[2];

static void lan_run(usec_t *now, usec_t time)
{
    struct mdns_out o;
    struct mdns_event ev;
    for (usec_t end = *now + time; *now < end; *now += 50 * MSEC) {
        for (int k = 0; k < 2; k++) {
            struct net_addr from = net_addr4(0x0a000001u + (uint32_t)k, MDNS_PORT);
            mdns_tick(lan[k], *now);
            while (mdns_output(lan[k], *now, &o))
                mdns_input(lan[!k], o.family, &from, o.data, *now);
            while (mdns_event(lan[k], &ev))
                found[k] += ev.kind == MDNS_FOUND;
        }
    }
}

static void lan_members(int self, struct mdns_member all[2])
{
    memset(all, 0, 2 * sizeof *all);
    for (int i = 0; i < 2; i++) {
        memset(all[i].party, 0x77, MDNS_ID_LEN);
        memset(all[i].node, 1 + i, MDNS_ID_LEN);
        all[i].self = i == self;
    }
}

static void meets(void)
{
    struct rng_seeded states[2];
    struct mdns_member all[2];
    struct mdns_counts before, after;
    usec_t now = 1000 * SEC;
    found[0] = found[1] = 0;
    torture_on();
    for (int k = 0; k < 2; k++) {
        struct rng rng = chance(&states[k]);
        MADE(lan[k], mdns_new(&rng, now));
        mdns_clock(lan[k], now, 20000ull * 86400);
        mdns_ports(lan[k], 40000, 50000, now);
        lan_members(k, all);
        mdns_counts(lan[k], &before);
        int rc = mdns_set_members(lan[k], all, 2, now);
        if (rc < 0) {
            assert_int_equal(rc, -ENOMEM);
            assert_true(torture_hit());
            mdns_counts(lan[k], &after);
            assert_memory_equal(&before, &after, sizeof before);
            torture_heal();
            assert_int_equal(mdns_set_members(lan[k], all, 2, now), 0);
        }
        mdns_start(lan[k], now);
    }
    lan_run(&now, 10 * SEC);
    /* A change that fails leaves those who were found. */
    mdns_counts(lan[0], &before);
    int rc = mdns_set_members(lan[0], all, 0, now);
    mdns_counts(lan[0], &after);
    assert_int_equal(after.found, rc == 0 ? 0 : before.found);
    torture_off();
    for (int k = 0; k < 2; k++) {
        assert_true(found[k] > 0);
        mdns_free(lan[k]);
    }
}

static void test_mdns(void **state)
{
    torture("mDNS", TORTURE_MEMORY, 1, meets);
}

/* ---- a stream to a TURN server, whose bytes are kept until they are a message ---- */

#include "nat/turn.h"

static struct turn *sick_turn_new(const struct turn_config *c)
{
    struct turn *t;
    torture_on();
    MADE(t, turn_new(c));
    torture_off();
    return t;
}

static int sick_turn_input(struct turn *t, struct bytes in, usec_t now)
{
    torture_on();
    int rc = turn_input(t, in, now);
    torture_off();
    return rc;
}
#define turn_new   sick_turn_new
#define turn_input sick_turn_input
#include "nat/turn_kit_int.h"

static void relays(void)
{
    struct world w;
    init(&w, true);
    make(&w, "secret");
    for (int i = 0; i < 40 && w.seen[TURN_EVENT_FAILED] == 0 && turn_state(w.t) != TURN_READY; i++)
        run(&w, SEC);
    if (turn_state(w.t) != TURN_READY) {
        /* The owner gives the stream up and makes another one. */
        assert_true(torture_hit());
        assert_int_equal(w.seen[TURN_EVENT_FAILED], 1);
        torture_heal();
        turn_disconnected(w.t, w.now);
        w.s.allocated = false;
        assert_int_equal(turn_start(w.t, w.now), 0);
        pump(&w);
    }
    assert_int_equal(turn_state(w.t), TURN_READY);
    assert_int_equal(send_text(&w, PEER, "still there"), 0);
    assert_int_equal(w.s.data_len, 11);
    turn_free(w.t);
}

static void test_turn(void **state)
{
    torture("TURN on a stream", TORTURE_MEMORY, 1, relays);
}

/* ---- two agents ---- */

#include "nat/ice.h"

static struct ice *sick_ice_new(const struct ice_config *c, usec_t now)
{
    struct ice *a;
    torture_on();
    MADE(a, ice_new(c, now));
    torture_off();
    return a;
}

static bool sick_ice_input(struct ice *a, uint32_t base, const struct net_addr *from, struct bytes in,
                           usec_t now)
{
    torture_on();
    bool taken = ice_input(a, base, from, in, now);
    torture_off();
    return taken;
}

static void sick_ice_tick(struct ice *a, usec_t now)
{
    torture_on();
    ice_tick(a, now);
    torture_off();
}
#define ice_new   sick_ice_new
#define ice_input sick_ice_input
#define ice_tick  sick_ice_tick
#include "nat/ice_harness.h"

static void connects(void)
{
    struct kit *k = kit_new(3);
    kit_simple(k, 0, MAP_EI, FILTER_APD, true);
    kit_simple(k, 1, MAP_EI, FILTER_APD, false);
    kit_tell_all(k, 20 * MSEC);
    kit_run(k, k->now + 20 * SEC, kit_both_selected);
    assert_true(kit_both_selected(k));
    ice_free(k->peers[0].a);
    ice_free(k->peers[1].a);
    free(k);
}

static void test_ice(void **state)
{
    torture("two ICE agents", TORTURE_MEMORY, 1, connects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_discovery, torture_report),
        cmocka_unit_test_teardown(test_portmap, torture_report),
        cmocka_unit_test_teardown(test_search, torture_report),
        cmocka_unit_test_teardown(test_mdns, torture_report),
        cmocka_unit_test_teardown(test_turn, torture_report),
        cmocka_unit_test_teardown(test_ice, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
