/* Sessions with members: made, resumed, made anew; the link to the hub; strangers' handshakes; ping. */
#include "node/engine_harness.h"

static uint64_t handshakes(const struct lab *l, int hosts)
{
    uint64_t sum = 0;
    for (int i = 0; i < hosts; i++)
        sum += l->hosts[i].n ? counted(l, i, COUNT_HANDSHAKES_BEGUN) : 0;
    return sum;
}

static void both_ways(struct lab *l, int a, int b, uint8_t fill)
{
    send_frame(l, a, b, 0, fill, 100);
    send_frame(l, b, a, 0, fill, 100);
    lab_run(l, 100 * MSEC);
    assert_int_equal(frames_of(&l->hosts[a], fill), 1);
    assert_int_equal(frames_of(&l->hosts[b], fill), 1);
}

static void test_every_pair_once(void **state)
{
    struct lab *l = lab_new(41);
    lab_party(l, 5);
    assert_int_equal(handshakes(l, 5), 10);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(l->hosts[i].n->peer_count, 4);
        assert_int_equal(counted(l, i, COUNT_SESSIONS_UP), 4);
        assert_int_equal(l->hosts[i].n->begun, 0);
        assert_int_equal(l->hosts[i].n->half_open, 0);
    }
    lab_free(l);
}

/* The hub restarts: keys live, paths are opened anew by RESUME, nobody shakes hands. */
static void test_hub_restart_resumes(void **state)
{
    struct lab *l = lab_new(42);
    lab_party(l, 3);
    uint64_t before = handshakes(l, 3);
    for (int round = 0; round < 3; round++) {
        lab_hub_stop(l, 0);
        lab_run(l, 20 * SEC);
        assert_true(peer_is(l, 0, "ben", "offline"));
        lab_hub_start(l, 0);
        lab_run(l, 40 * SEC);
        for (int i = 0; i < 3; i++)
            assert_int_equal(counted(l, i, COUNT_RESUMES_FAILED), 0);
        both_ways(l, 0, 1, (uint8_t)(0x30 + round));
        both_ways(l, 1, 2, (uint8_t)(0x40 + round));
        assert_true(peer_is(l, 2, "anna", "connected"));
    }
    assert_int_equal(handshakes(l, 3), before);
    assert_true(counted(l, 0, COUNT_RESUMES_PROVEN) + counted(l, 1, COUNT_RESUMES_PROVEN) > 0);
    lab_free(l);
}

static void test_one_reconnects(void **state)
{
    struct lab *l = lab_new(43);
    lab_party(l, 2);
    host_disconnect(l, 1, "address changed");
    lab_run(l, 100 * MSEC);
    assert_true(peer_is(l, 0, "ben", "offline"));
    lab_run(l, 3 * SEC);
    both_ways(l, 0, 1, 0x51);
    assert_int_equal(handshakes(l, 2), 1);
    lab_free(l);
}

/* After a long absence of the hub a node waits up to half a minute between tries; a change of the network below ends that wait. */
static void test_network_change_ends_the_wait(void **state)
{
    struct lab *l = lab_new(45);
    lab_party(l, 2);
    lab_hub_stop(l, 0);
    lab_run(l, 120 * SEC);
    lab_hub_start(l, 0);
    lab_run(l, 100 * MSEC);
    assert_int_not_equal(l->hosts[1].n->link.state, LINK_READY);
    node_network_changed(l->hosts[1].n, l->now);
    lab_run(l, 200 * MSEC);
    assert_int_equal(l->hosts[1].n->link.state, LINK_READY);
    lab_free(l);
}

static void test_peer_restarts(void **state)
{
    for (int who = 0; who < 2; who++) { /* once the one with the smaller id, once the other */
        struct lab *l = lab_new(44);
        lab_party(l, 2);
        both_ways(l, 0, 1, 0x60);
        host_kill(l, who);
        lab_run(l, 2 * SEC);
        host_up(l, who, 0);
        lab_run(l, 3 * SEC);
        both_ways(l, 0, 1, 0x61);
        assert_int_equal(counted(l, who, COUNT_SESSIONS_UP), 1);
        assert_int_equal(counted(l, !who, COUNT_SESSIONS_UP), 2);
        lab_run(l, OLD_SESSION_LIFE + SEC);
        assert_int_equal(map_count(l->hosts[!who].n->by_index), 1);
        lab_free(l);
    }
}

/* The peer is back before the hub noticed that it was gone. */
static void test_peer_restarts_behind_the_hubs_back(void **state)
{
    struct lab *l = lab_new(45);
    lab_party(l, 2);
    struct host *h = &l->hosts[1];
    host_in_clear(h);
    h->conn = 0; /* the hub still believes in the old connection */
    node_free(h->n);
    h->n = NULL;
    memset(h->devices, 0, sizeof h->devices);
    host_up(l, 1, 0);
    lab_run(l, 5 * SEC);
    both_ways(l, 0, 1, 0x71);
    lab_free(l);
}

static void test_polite_stop(void **state)
{
    struct lab *l = lab_new(46);
    lab_party(l, 2);
    node_stop(l->hosts[1].n, l->now);
    lab_run(l, 50 * MSEC);
    assert_true(peer_is(l, 0, "ben", "offline"));
    assert_int_equal(counted(l, 0, COUNT_SESSIONS_DOWN), 1);
    assert_int_equal(l->hosts[1].closed, 1);
    lab_free(l);
}

static bool drop_handshakes(struct lab *l, int host, struct buf *m, bool binary)
{
    struct rd r = rd_of(buf_bytes(m));
    struct relay_frame f;
    while (binary && relay_frame_read(&f, &r) == 1) {
        if (wire_type_of(f.payload) == WIRE_HANDSHAKE) {
            l->counted++;
            return false;
        }
    }
    return true;
}

static void test_handshakes_that_are_not_answered(void **state)
{
    struct lab *l = lab_new(47);
    l->tamper = drop_handshakes;
    lab_party(l, 2);
    lab_run(l, 10 * MINUTE);
    assert_true(peer_is(l, 0, "ben", "connecting"));
    /* Retried with back-off for as long as the hub shows the peer, and bounded. */
    assert_in_range(handshakes(l, 2), 8, 30);
    assert_in_range(l->counted, 20, 300);
    l->tamper = NULL;
    lab_run(l, 3 * MINUTE);
    assert_true(peer_is(l, 0, "ben", "connected"));
    lab_free(l);
}

static void test_handshakes_in_flight_are_bounded(void **state)
{
    struct lab *l = lab_new(48);
    lab_party(l, 6);
    host_kill(l, 5);
    l->limits.handshakes = 2;
    l->tamper = drop_handshakes;
    host_up(l, 5, 0);
    for (int i = 0; i < 200; i++) {
        lab_run(l, 50 * MSEC);
        assert_true(l->hosts[5].n->begun <= 2);
    }
    assert_int_equal(l->hosts[5].n->begun, 2);
    l->tamper = NULL;
    lab_run(l, 2 * MINUTE);
    for (int i = 0; i < 5; i++)
        assert_true(peer_is(l, 5, l->hosts[i].name, "connected"));
    lab_free(l);
}

/* Both begin in the same instant. */
static void test_glare(void **state)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct lab *l = lab_new(62 + seed);
        l->limits.eager_peers = 1;
        l->delay = (5 + 40 * seed) * MSEC;
        lab_party(l, 2);
        send_frame(l, 0, 1, 0, 0x91, 100);
        if (seed % 2)
            lab_run(l, 3 * MSEC);
        send_frame(l, 1, 0, 0, 0x92, 100);
        lab_run(l, 3 * SEC);
        assert_int_equal(handshakes(l, 2), 2);
        assert_int_equal(frames_of(&l->hosts[1], 0x91), 1);
        assert_int_equal(frames_of(&l->hosts[0], 0x92), 1);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(counted(l, i, COUNT_SESSIONS_UP), 1);
            assert_int_equal(l->hosts[i].n->begun + l->hosts[i].n->half_open, 0);
            assert_int_equal(map_count(l->hosts[i].n->by_index), 1);
        }
        lab_free(l);
    }
}

/* HELLOs as somebody on the hub would send them. */
static void send_hello(struct lab *l, int to, struct session *s, uint32_t relay)
{
    struct session_out out;
    uint8_t message[RELAY_PAYLOAD_MAX];
    assert_int_equal(session_start(s, l->now), 0);
    assert_true(session_output(s, l->now, &out));
    struct relay_frame f = {.kind = RELAY_CONTROL, .peer = relay, .payload = bytes_of(out.p, out.n)};
    struct wr w = wr_of(message, sizeof message);
    relay_frame_write(&w, &f);
    node_hub_binary(l->hosts[to].n, message, w.n, l->now);
}

static struct session *stranger(struct lab *l, struct sign_key *key, const uint8_t self[32], int to)
{
    struct session_config c = {
        .key = key, .index = 7, .ciphers = 3, .rng = l->rng, .limits = &l->session_limits};
    memcpy(c.self, self, 32);
    memcpy(c.peer, node_id(l->hosts[to].n), 32);
    c.peer_public = sign_key_public(l->hosts[to].n->key);
    return session_new(&c);
}

static void test_hellos_of_strangers(void **state)
{
    struct lab *l = lab_new(49);
    struct sign_seed seed;
    uint8_t id[NODE_ID_LEN];
    lab_party(l, 2);
    struct node *anna = l->hosts[0].n;
    sign_seed_new(&seed, &l->rng);
    struct sign_key *key = sign_key_new(&seed);
    node_id_of(id, sign_key_public(key));
    struct session *s = stranger(l, key, id, 0);
    send_hello(l, 0, s, 99);
    assert_int_equal(counted(l, 0, COUNT_HELLO_UNKNOWN), 1);
    session_free(s);
    /* With a member's id, but not its key. */
    s = stranger(l, key, node_id(l->hosts[1].n), 0);
    send_hello(l, 0, s, 99);
    assert_int_equal(counted(l, 0, COUNT_HELLO_REFUSED), 1);
    assert_int_equal(anna->half_open, 0);
    assert_true(peer_is(l, 0, "ben", "connected"));
    session_free(s);
    /* Addressed to somebody else. */
    s = stranger(l, l->hosts[1].n->key, node_id(l->hosts[1].n), 1);
    send_hello(l, 0, s, 99);
    assert_int_equal(counted(l, 0, COUNT_HELLO_UNKNOWN), 2);
    session_free(s);
    /* So many that judging them all would be work. */
    for (int i = 0; i < 200; i++) {
        s = stranger(l, key, id, 0);
        send_hello(l, 0, s, 99);
        session_free(s);
    }
    assert_true(counted(l, 0, COUNT_HELLO_RATE) >= 100);
    assert_int_equal(anna->half_open, 0);
    both_ways(l, 0, 1, 0x77);
    sign_key_free(key);
    lab_free(l);
}

/* A member's own old HELLOs, replayed by the hub: they cost one half-open session a peer and end nothing. */
static void test_replayed_hellos(void **state)
{
    struct lab *l = lab_new(50);
    lab_party(l, 2);
    uint32_t relay = peer_by_id(l->hosts[0].n, node_id(l->hosts[1].n))->relay;
    for (int i = 0; i < 20; i++) {
        struct session *s = stranger(l, l->hosts[1].n->key, node_id(l->hosts[1].n), 0);
        send_hello(l, 0, s, relay);
        session_free(s);
        assert_int_equal(l->hosts[0].n->half_open, 1);
    }
    both_ways(l, 0, 1, 0x78);
    lab_run(l, 60 * SEC);
    assert_int_equal(l->hosts[0].n->half_open, 0);
    assert_int_equal(map_count(l->hosts[0].n->by_index), 1);
    both_ways(l, 0, 1, 0x79);
    lab_free(l);
}

static void test_half_open_is_bounded(void **state)
{
    struct lab *l = lab_new(51);
    l->limits.half_open = 2;
    lab_party(l, 5);
    l->tamper_up = NULL;
    for (int i = 1; i < 5; i++) {
        struct session *s = stranger(l, l->hosts[i].n->key, node_id(l->hosts[i].n), 0);
        send_hello(l, 0, s, peer_by_id(l->hosts[0].n, node_id(l->hosts[i].n))->relay);
        session_free(s);
        assert_true(l->hosts[0].n->half_open <= 2);
    }
    assert_int_equal(counted(l, 0, COUNT_HELLO_FULL), 2);
    lab_free(l);
}

static void test_rubbish_from_the_hub(void **state)
{
    struct lab *l = lab_new(52);
    lab_party(l, 2);
    struct node *n = l->hosts[0].n;
    uint8_t bytes[512];
    for (int i = 0; i < 2000; i++) {
        rng_fill(&l->rng, bytes, sizeof bytes);
        size_t len = rng_below(&l->rng, sizeof bytes);
        if (i % 2 && len > RELAY_HEADER_LEN)
            relay_header_write(bytes, (uint8_t)(1 + i % 4), i % 4 == 2 ? 0 : rng_u32(&l->rng),
                               len - RELAY_HEADER_LEN);
        if (i % 4 == 1 && len > RELAY_HEADER_LEN)
            bytes[RELAY_HEADER_LEN] = (uint8_t)(4 + i % 3);
        node_hub_binary(n, bytes, len, l->now);
        node_hub_text(n, bytes_of(bytes, len), l->now);
    }
    assert_true(counted(l, 0, COUNT_HUB_BAD_BINARY) > 100);
    assert_int_equal(counted(l, 0, COUNT_HUB_BAD_TEXT), 2000);
    assert_true(counted(l, 0, COUNT_UNKNOWN_INDEX) + counted(l, 0, COUNT_BAD_DATAGRAM) > 100);
    both_ways(l, 0, 1, 0x7a);
    lab_free(l);
}

static void test_relay_notices(void **state)
{
    struct lab *l = lab_new(53);
    uint8_t message[32];
    lab_party(l, 2);
    struct wr w = wr_of(message, sizeof message);
    uint8_t dropped[4] = {0, 0, 0, 9};
    relay_frame_write(&w, &(struct relay_frame){.kind = RELAY_DROPPED, .payload = bytes_of(dropped, 4)});
    uint32_t relay = peer_by_id(l->hosts[0].n, node_id(l->hosts[1].n))->relay;
    relay_frame_write(&w, &(struct relay_frame){.kind = RELAY_GONE, .peer = relay});
    node_hub_binary(l->hosts[0].n, message, w.n, l->now);
    assert_int_equal(counted(l, 0, COUNT_RELAY_DROPPED), 9);
    assert_true(peer_is(l, 0, "ben", "offline"));
    lab_free(l);
}

static void test_silent_hub_is_given_up(void **state)
{
    struct lab *l = lab_new(54);
    lab_party(l, 1);
    hub_free(l->hub[0]); /* no close, no reset: a cable is cut */
    l->hub[0] = NULL;
    l->hosts[0].conn = 0;
    lab_run(l, 30 * SEC);
    assert_true(link_ready(l->hosts[0].n));
    lab_run(l, (l->limits.hub_silent_s + 5) * SEC);
    assert_false(link_ready(l->hosts[0].n));
    unsigned before = l->hosts[0].connects;
    /* Never gives up, and never more often than the back-off says. */
    lab_run(l, 20 * MINUTE);
    assert_in_range(l->hosts[0].connects - before, 20 * 60 / 40, 20 * 60 / 20);
    lab_hub_start(l, 0);
    lab_run(l, MINUTE);
    assert_true(link_ready(l->hosts[0].n));
    lab_free(l);
}

static void test_backoff_doubles(void **state)
{
    struct lab *l = lab_new(55);
    l->hosts[0].cut = true;
    host_up(l, 0, 0);
    static const unsigned base[] = {1, 2, 4, 8, 16, 30, 30, 30};
    lab_settle(l);
    for (size_t i = 0; i < sizeof base / sizeof *base; i++) {
        unsigned before = l->hosts[0].connects;
        usec_t from = l->now, until = l->now + 60 * SEC;
        while (l->hosts[0].connects == before && l->now < until)
            lab_step(l, until);
        assert_in_range(l->now - from, base[i] * SEC * 3 / 4, base[i] * SEC * 5 / 4 + 10 * MSEC);
    }
    lab_free(l);
}

static void test_hub_rtt_and_netcheck(void **state)
{
    struct lab *l = lab_new(56);
    l->delay = 20 * MSEC;
    lab_party(l, 1);
    json_t *nc = ask_ok(l, 0, "{\"cmd\":\"netcheck\"}");
    json_t *hub = json_object_get(nc, "hub");
    assert_true(json_is_true(json_object_get(hub, "reachable")));
    assert_true(json_number_value(json_object_get(hub, "rtt_ms")) == 20.0);
    assert_string_equal(field(hub, "seen"), "192.0.0.1:1000");
    assert_true(json_is_null(json_object_get(nc, "mapping")));
    assert_true(json_is_null(json_object_get(json_object_get(nc, "udp"), "ipv4")));
    assert_non_null(strstr(field(nc, "summary"), "20.0 ms"));
    lab_hub_stop(l, 0);
    nc = ask_ok(l, 0, "{\"cmd\":\"netcheck\"}");
    assert_true(json_is_false(json_object_get(json_object_get(nc, "hub"), "reachable")));
    assert_non_null(strstr(field(nc, "summary"), "cannot be reached"));
    host_up(l, 1, -1);
    assert_non_null(strstr(field(ask_ok(l, 1, "{\"cmd\":\"netcheck\"}"), "summary"), "No hub is known"));
    lab_free(l);
}

static void test_ping(void **state)
{
    struct lab *l = lab_new(57);
    l->delay = 10 * MSEC;
    lab_party(l, 2);
    json_t *end = ask_ok(l, 0, "{\"cmd\":\"ping\",\"peer\":\"ben\",\"count\":3,\"interval_ms\":100}");
    assert_int_equal(json_integer_value(json_object_get(end, "sent")), 3);
    assert_int_equal(json_integer_value(json_object_get(end, "received")), 3);
    assert_true(json_number_value(json_object_get(end, "rtt_avg_ms")) == 20.0);
    assert_int_equal(json_array_size(l->hosts[0].replies), 4);
    for (size_t i = 0; i < 3; i++) {
        json_t *p = json_object_get(json_array_get(l->hosts[0].replies, i), "progress");
        assert_int_equal(json_integer_value(json_object_get(p, "seq")), i + 1);
        assert_true(json_number_value(json_object_get(p, "rtt_ms")) == 20.0);
        assert_string_equal(field(p, "path"), "ws-relay");
        assert_string_equal(field(p, "endpoint"), "hub0.example:443");
    }
    /* It stops answering. */
    struct node *ben = l->hosts[1].n;
    l->hosts[1].n = NULL;
    end = ask_ok(l, 0, "{\"cmd\":\"ping\",\"peer\":\"ben\",\"count\":2,\"interval_ms\":100}");
    assert_int_equal(json_integer_value(json_object_get(end, "received")), 0);
    json_t *p = json_object_get(json_array_get(l->hosts[0].replies, 0), "progress");
    assert_true(json_is_true(json_object_get(p, "timeout")));
    l->hosts[1].n = ben;
    host_kill(l, 1);
    ask_fails(l, 0, "peer_offline", "{\"cmd\":\"ping\",\"peer\":\"ben\"}");
    lab_hub_stop(l, 0);
    ask_fails(l, 0, "hub_unreachable", "{\"cmd\":\"ping\",\"peer\":\"ben\"}");
    lab_free(l);
}

static void test_ping_for_ever_ends_with_the_asker(void **state)
{
    struct lab *l = lab_new(58);
    lab_party(l, 2);
    node_request(l->hosts[0].n, 900,
                 bytes_of_str("{\"cmd\":\"ping\",\"peer\":\"ben\",\"count\":0,\"interval_ms\":50}"), l->now);
    lab_run(l, 2 * MINUTE); /* longer than commands may wait */
    assert_int_equal(l->hosts[0].n->request_count, 1);
    assert_true(l->hosts[0].n->requests[0]->ping->received > 2000);
    node_request_gone(l->hosts[0].n, 900);
    assert_int_equal(l->hosts[0].n->request_count, 0);
    lab_free(l);
}

/* A peer that hangs is seen by the probes, and back when it answers again. */
static void test_degraded_and_back(void **state)
{
    struct lab *l = lab_new(59);
    lab_party(l, 2);
    struct node *ben = l->hosts[1].n;
    struct lab_device d = l->hosts[1].devices[0];
    l->hosts[1].n = NULL;
    for (int i = 0; i < 30; i++) {
        uint8_t room[DATA_HEADROOM + 2048 + DATA_TAILROOM];
        size_t n = frame_make(room + DATA_HEADROOM, &l->hosts[0].devices[0].config, &d.config, 1, 100);
        node_device_frame(l->hosts[0].n, l->hosts[0].devices[0].party_ref, room + DATA_HEADROOM, n, l->now);
        lab_run(l, 100 * MSEC);
    }
    json_t *p = status_peer(l, 0, "ben");
    assert_string_not_equal(field(p, "state"), "connected");
    assert_int_equal(counted(l, 0, COUNT_PATHS_DEAD), 1);
    l->hosts[1].n = ben;
    lab_run(l, 2 * MINUTE);
    assert_true(peer_is(l, 0, "ben", "connected"));
    both_ways(l, 0, 1, 0x7c);
    lab_free(l);
}

/* A day with traffic now and then: rekeys happen and nothing piles up. */
static void test_a_long_time(void **state)
{
    struct lab *l = lab_new(60);
    lab_party(l, 3);
    for (int i = 0; i < 48; i++) {
        lab_run(l, 5 * MINUTE);
        l->hosts[0].frame_count = l->hosts[1].frame_count = 0;
        both_ways(l, 0, 1, 0x7d);
    }
    assert_true(counted(l, 0, COUNT_REKEYS) > 10);
    assert_int_equal(handshakes(l, 3), 3);
    assert_int_equal(map_count(l->hosts[0].n->by_index), 2);
    assert_int_equal(l->hosts[0].n->alert_count, 0);
    lab_free(l);
}

static void test_two_daemons_with_one_key(void **state)
{
    struct lab *l = lab_new(61);
    lab_party(l, 1);
    l->hosts[1].seed = l->hosts[0].seed;
    host_up(l, 1, 0);
    lab_run(l, 10 * SEC);
    json_t *hub = json_object_get(ask_ok(l, 0, "{\"cmd\":\"status\"}"), "hub");
    assert_true(json_is_false(json_object_get(hub, "connected")));
    assert_non_null(strstr(field(hub, "error"), "must not share a state"));
    assert_true(l->hosts[0].connects <= 2);
    lab_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_once),
        cmocka_unit_test(test_hub_restart_resumes),
        cmocka_unit_test(test_one_reconnects),
        cmocka_unit_test(test_network_change_ends_the_wait),
        cmocka_unit_test(test_peer_restarts),
        cmocka_unit_test(test_peer_restarts_behind_the_hubs_back),
        cmocka_unit_test(test_polite_stop),
        cmocka_unit_test(test_handshakes_that_are_not_answered),
        cmocka_unit_test(test_handshakes_in_flight_are_bounded),
        cmocka_unit_test(test_glare),
        cmocka_unit_test(test_hellos_of_strangers),
        cmocka_unit_test(test_replayed_hellos),
        cmocka_unit_test(test_half_open_is_bounded),
        cmocka_unit_test(test_rubbish_from_the_hub),
        cmocka_unit_test(test_relay_notices),
        cmocka_unit_test(test_silent_hub_is_given_up),
        cmocka_unit_test(test_backoff_doubles),
        cmocka_unit_test(test_hub_rtt_and_netcheck),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_ping_for_ever_ends_with_the_asker),
        cmocka_unit_test(test_degraded_and_back),
        cmocka_unit_test(test_a_long_time),
        cmocka_unit_test(test_two_daemons_with_one_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
