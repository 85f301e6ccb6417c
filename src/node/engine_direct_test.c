/* What members, the hub and strangers may make of the ways to a peer: unauthenticated and copied bytes move
 * nothing, and nobody makes us do much by saying little. */
#include "node/engine_harness.h"

#include "nat/hard.h"
#include "node/underlay_int.h"
#include "wire/relay.h"
#include "wire/resume.h"

#define OTHER_INDEX 99 /* a relay index of somebody else at the same hub */

static struct node_peer *peer_of(struct lab *l, int i, int k)
{
    return peer_by_id(l->hosts[i].n, node_id(l->hosts[k].n));
}

static void both_ways(struct lab *l, uint8_t fill)
{
    size_t before = frames_of(&l->hosts[1], fill), after = frames_of(&l->hosts[0], fill);
    send_frame(l, 0, 1, 0, fill, 100);
    send_frame(l, 1, 0, 0, fill, 100);
    lab_run(l, 1 * SEC);
    assert_int_equal(frames_of(&l->hosts[1], fill), before + 1);
    assert_int_equal(frames_of(&l->hosts[0], fill), after + 1);
}

static void from_hub(struct lab *l, int to, enum relay_kind kind, uint32_t relay, struct bytes payload)
{
    uint8_t message[RELAY_PAYLOAD_MAX + 64];
    struct relay_frame f = {.kind = kind, .peer = relay, .payload = payload};
    struct wr w = wr_of(message, sizeof message);
    relay_frame_write(&w, &f);
    assert_true(wr_ok(&w));
    node_hub_binary(l->hosts[to].n, message, w.n, l->now);
    lab_settle(l);
}

/* A HELLO of host `who` to host 0, signed with its own key, as it would be recorded. */
static struct session *hello_of(struct lab *l, int who, struct session_out *out)
{
    struct host *h = &l->hosts[who];
    struct session_config c = {.key = h->n->key,
                               .index = 7,
                               .ciphers = 3,
                               .rng = l->rng,
                               .limits = &l->session_limits,
                               .peer_public = sign_key_public(l->hosts[0].n->key)};
    memcpy(c.self, node_id(h->n), NODE_ID_LEN);
    memcpy(c.peer, node_id(l->hosts[0].n), NODE_ID_LEN);
    struct session *s = session_new(&c);
    assert_non_null(s);
    assert_int_equal(session_start(s, l->now), 0);
    assert_true(session_output(s, l->now, out));
    return s;
}

/* ---- Where a peer is at the hub. */

/* Whoever copied a HELLO sends it from its own place at the hub: it is answered there, and nothing else. */
static void test_hello_from_another_index(void **state)
{
    struct lab *l = lab_new(1);
    struct session_out out;
    lab_party(l, 2);
    struct node_peer *ben = peer_of(l, 0, 1);
    uint32_t relay = ben->relay;
    struct session *s = hello_of(l, 1, &out);
    from_hub(l, 0, RELAY_CONTROL, OTHER_INDEX, bytes_of(out.p, out.n));
    session_free(s);
    assert_int_equal(l->hosts[0].n->half_open, 1);
    assert_int_equal(ben->relay, relay);
    assert_non_null(way_by_id(ben, WAY_WS_RELAY));
    both_ways(l, 0x71);
    lab_run(l, 60 * SEC);
    both_ways(l, 0x72);
    assert_int_equal(l->hosts[0].n->half_open, 0);
    lab_free(l);
}

/* The hub has not shown the peer yet, or its notice is late: the handshake itself goes on. */
static void test_hello_of_one_who_is_not_shown(void **state)
{
    struct lab *l = lab_new(2);
    struct session_out out;
    lab_party(l, 2);
    struct node_peer *ben = peer_of(l, 0, 1);
    uint32_t relay = ben->relay;
    from_hub(l, 0, RELAY_GONE, relay, bytes_of(NULL, 0));
    assert_int_equal(ben->relay, 0);
    struct session *s = hello_of(l, 1, &out);
    from_hub(l, 0, RELAY_CONTROL, relay, bytes_of(out.p, out.n));
    session_free(s);
    assert_int_equal(l->hosts[0].n->half_open, 1);
    lab_run(l, 60 * SEC);
    assert_int_equal(l->hosts[0].n->half_open, 0);
    lab_free(l);
}

/* A RESUME that nobody sealed, but for a session that exists. */
static void test_forged_resume(void **state)
{
    struct lab *l = lab_new(3);
    lab_party(l, 2);
    struct node_peer *ben = peer_of(l, 0, 1);
    uint32_t relay = ben->relay, id = way_by_id(ben, WAY_WS_RELAY)->at.number;
    struct resume_request m = {.receiver = ben->cur->index, .path = 1, .number = 1000};
    uint8_t text[RESUME_MESSAGE_MAX] = {0}, copy[RESUME_MESSAGE_MAX];
    struct wr w = wr_of(text, sizeof text);
    resume_request_write(&w, &m);
    assert_non_null(wr_take(&w, RESUME_MAC_LEN));
    memcpy(copy, text, sizeof copy);
    from_hub(l, 0, RELAY_DATA, OTHER_INDEX, bytes_of(text, w.n));
    assert_int_equal(ben->relay, relay);
    assert_non_null(way_by_id(ben, WAY_WS_RELAY));
    assert_true(way_by_id(ben, WAY_WS_RELAY)->proven);
    assert_int_equal(way_by_id(ben, WAY_WS_RELAY)->at.number, id);
    /* From an address: nothing stays of it. */
    struct net_addr from = net_addr4(0xc0000207, 700);
    const struct origin o = {.via = PATH_UDP, .number = NODE_SOCKET_MAIN4, .addr = from};
    node_udp(l->hosts[0].n, NODE_SOCKET_MAIN4, &from, copy, w.n, l->now);
    assert_null(way_by_origin(ben, &o));
    both_ways(l, 0x73);
    lab_free(l);
}

static struct {
    uint8_t p[RELAY_PAYLOAD_MAX];
    size_t n;
    uint32_t real;
} stolen;

/* Whoever carries a RESUME gives it to the receiver from its own place, before the true one. */
static bool steal_resume(struct lab *l, int host, struct buf *m, bool binary)
{
    struct relay_frame f;
    struct rd r = rd_of(buf_bytes(m));
    if (host != 0 || !binary)
        return true;
    while (relay_frame_read(&f, &r) == 1) {
        if (f.kind != RELAY_DATA || wire_type_of(f.payload) != WIRE_RESUME || stolen.n != 0)
            continue;
        memcpy(stolen.p, f.payload.p, f.payload.n);
        stolen.n = f.payload.n;
        stolen.real = f.peer;
        return false; /* held back */
    }
    return true;
}

static void test_stolen_resume(void **state)
{
    struct lab *l = lab_new(4);
    lab_party(l, 2);
    struct node_peer *ben = peer_of(l, 0, 1), *anna = peer_of(l, 1, 0);
    stolen.n = 0;
    l->tamper = steal_resume;
    way_prove(l->hosts[1].n, anna, way_by_id(anna, WAY_WS_RELAY), l->now);
    for (int i = 0; i < 100 && stolen.n == 0; i++)
        lab_run(l, 1 * MSEC);
    assert_int_not_equal(stolen.n, 0);
    assert_int_equal(stolen.real, ben->relay);
    from_hub(l, 0, RELAY_DATA, OTHER_INDEX, bytes_of(stolen.p, stolen.n));
    assert_int_equal(ben->relay, stolen.real);
    assert_int_equal(way_by_id(ben, WAY_WS_RELAY)->at.number, stolen.real);
    lab_run(l, 5 * SEC);
    assert_int_equal(ben->relay, stolen.real);
    both_ways(l, 0x74);
    lab_free(l);
}

/* ---- A network below, as the edge would tell of it. */

static void network(struct lab *l, int i)
{
    struct node *n = l->hosts[i].n;
    struct node_network net = {.count = 1};
    net.addrs[0].addr = net_addr4(0xc0000200u + 10 + (uint32_t)i, 0);
    net.addrs[0].prefix = 24;
    node_udp_opened(n, NODE_SOCKET_MAIN4, 7000, NULL, l->now);
    node_stream_listening(n, 7000, NULL, l->now);
    node_network(n, &net, l->now);
    lab_settle(l);
}

static void say(struct lab *l, struct node_peer *p, uint32_t generation)
{
    uint8_t text[DIRECT_MESSAGE_MAX];
    struct direct_message m = {.generation = generation, .revision = 1, .tcp_port = 7000};
    for (uint32_t i = 0; i < DIRECT_CANDIDATES_MAX; i++)
        m.candidates[m.count++] =
            (struct direct_candidate){.priority = i, .addr = net_addr4(0xc6336400u + i, 53)};
    struct wr w = wr_of(text, sizeof text);
    direct_write(&w, &m);
    assert_true(wr_ok(&w));
    assert_true(direct_candidates(l->hosts[0].n, p, wr_done(&w), l->now));
    lab_settle(l);
}

/* A member that begins round after round, each with addresses of a third party. */
static void test_rounds_without_end(void **state)
{
    struct lab *l = lab_new(5);
    lab_party(l, 2);
    network(l, 0);
    struct node_peer *ben = peer_of(l, 0, 1);
    lab_run(l, 5 * SEC);
    uint64_t before = counted(l, 0, COUNT_DIRECT_TRIES);
    uint32_t generation = ben->direct ? ben->direct->generation : 0;
    for (uint32_t i = 1; i <= 200; i++) {
        say(l, ben, generation + i);
        lab_run(l, 10 * MSEC);
    }
    uint64_t rounds = counted(l, 0, COUNT_DIRECT_TRIES) - before;
    assert_in_range(rounds, 1, 8);
    /* An honest one is heard again. */
    lab_run(l, 10 * SEC);
    say(l, ben, generation + 201);
    assert_int_equal(ben->direct->generation, generation + 201);
    lab_free(l);
}

/* One member's dials leave room for the others'. */
static void test_dials_of_one_peer(void **state)
{
    struct lab *l = lab_new(6);
    lab_party(l, 3);
    network(l, 0);
    struct node *anna = l->hosts[0].n;
    struct node_peer *ben = peer_of(l, 0, 1), *cleo = peer_of(l, 0, 2);
    size_t taken = 0;
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        struct net_addr to = net_addr4(0xc6336400u + i, 443);
        taken += streams_dial(anna, ben, &to, true, l->now);
        lab_settle(l);
    }
    assert_int_equal(taken, STREAM_DIALS_MAX);
    struct net_addr to = net_addr4(0xc6336500u, 443);
    assert_true(streams_dial(anna, cleo, &to, true, l->now));
    lab_run(l, STREAM_OPEN + SEC);
    assert_true(streams_dial(anna, ben, &to, true, l->now));
    lab_free(l);
}

/* A stranger who opens a stream and fills it with HELLOs leaves members' own alone. */
static void test_hellos_on_a_strangers_stream(void **state)
{
    struct lab *l = lab_new(7);
    struct session_out out;
    uint8_t message[RELAY_PAYLOAD_MAX], one[RELAY_PAYLOAD_MAX];
    lab_party(l, 2);
    network(l, 0);
    struct node *anna = l->hosts[0].n;
    const struct net_addr remote = net_addr4(0xc6336401u, 999);
    struct session *s = hello_of(l, 1, &out);
    size_t len = out.n;
    memcpy(one, out.p, len);
    session_free(s);
    memset(one + 12, 0x5a, NODE_ID_LEN); /* of nobody */
    for (uint32_t k = 0; k < 40; k++) {
        node_stream_up(anna, NODE_STREAM_ACCEPTED + k, &remote, l->now);
        for (int i = 0; i < 20; i++) {
            struct wr w = wr_of(message, sizeof message);
            wr_u16(&w, (uint16_t)len);
            wr_copy(&w, one, len);
            node_stream_message(anna, NODE_STREAM_ACCEPTED + k, message, w.n, l->now);
        }
        lab_settle(l);
    }
    assert_true(counted(l, 0, COUNT_HELLO_RATE) > 500);
    s = hello_of(l, 1, &out);
    from_hub(l, 0, RELAY_CONTROL, peer_of(l, 0, 1)->relay, bytes_of(out.p, out.n));
    session_free(s);
    assert_int_equal(anna->half_open, 1);
    lab_free(l);
}

/* ---- The hub's UDP relay: what carries no mac is a hint. */

static uint64_t sent_to_hub;
static bool count_up(struct lab *l, int host, struct buf *m, bool binary)
{
    struct relay_frame f;
    struct rd r = rd_of(buf_bytes(m));
    while (host == 0 && binary && relay_frame_read(&f, &r) == 1)
        sent_to_hub++;
    return true;
}

static void test_unbound_is_a_hint(void **state)
{
    struct lab *l = lab_new(8);
    lab_party(l, 2);
    network(l, 0);
    struct node *anna = l->hosts[0].n;
    struct node_peer *ben = peer_of(l, 0, 1);
    struct udp_bind *b = &anna->underlay->bind;
    const struct origin o = {.via = PATH_UDP_RELAY, .number = ben->relay};
    b->to = net_addr4(0xcb007101u, 3478);
    b->state = BIND_BOUND;
    b->token = 5;
    struct way *w = way_open(anna, ben, &o, l->now);
    assert_non_null(w);
    way_proven(anna, ben, w, l->now);
    lab_run(l, 2 * SEC);
    l->tamper_up = count_up;
    sent_to_hub = 0;
    for (int i = 0; i < 1000; i++) {
        uint8_t text[UDP_RELAY_BIND_LEN];
        struct udp_relay m = {.kind = UDP_RELAY_UNBOUND, .index = ben->relay, .code = UDP_RELAY_PEER_GONE};
        size_t len = udp_relay_write(text, sizeof text, &m, NULL);
        assert_true(len > 0);
        node_udp(anna, NODE_SOCKET_MAIN4, &b->to, text, len, l->now);
        lab_settle(l);
        lab_run(l, 1 * MSEC);
    }
    assert_in_range(sent_to_hub, 1, 60);
    assert_int_equal(way_by_id(ben, WAY_WS_RELAY)->at.number, ben->relay);
    lab_free(l);
}

/* ---- A TURN server is asked when nothing else led there, not before. */

static void test_turn_waits(void **state)
{
    struct lab *l = lab_new(9);
    lab_party(l, 2);
    struct node *anna = l->hosts[0].n;
    struct signal s = {.type = SIGNAL_WELCOME};
    s.u.welcome.has_turn = true;
    snprintf(s.u.welcome.turn_url, sizeof s.u.welcome.turn_url, "turn:192.0.2.1:3478");
    snprintf(s.u.welcome.turn_user, sizeof s.u.welcome.turn_user, "u");
    snprintf(s.u.welcome.turn_password, sizeof s.u.welcome.turn_password, "p");
    turning_welcome(anna, &s, l->now);
    network(l, 0);
    assert_non_null(peer_of(l, 0, 1)->direct);
    assert_string_equal(turning_words(anna), "not needed so far");
    lab_run(l, 3 * SEC);
    assert_string_equal(turning_words(anna), "not needed so far");
    lab_run(l, 6 * SEC);
    assert_string_equal(turning_words(anna), "being asked");
    lab_free(l);
}

/* What comes out of our own tunnel would be carried by itself. */
static void test_nothing_out_of_the_tunnel(void **state)
{
    struct lab *l = lab_new(10);
    lab_party(l, 2);
    network(l, 0);
    struct node *anna = l->hosts[0].n;
    uint32_t ip4 = device_at(&l->hosts[1], 0)->config.ip4;
    const struct net_addr inside = net_addr4(ip4, 7000), outside = net_addr4(0xc0000207, 7000);
    uint8_t text[40] = {WIRE_DATA};
    uint64_t before = counted(l, 0, COUNT_BAD_DATAGRAM), unknown = counted(l, 0, COUNT_UNKNOWN_INDEX);
    node_udp(anna, NODE_SOCKET_MAIN4, &inside, text, sizeof text, l->now);
    assert_int_equal(counted(l, 0, COUNT_BAD_DATAGRAM), before + 1);
    assert_int_equal(counted(l, 0, COUNT_UNKNOWN_INDEX), unknown);
    node_udp(anna, NODE_SOCKET_MAIN4, &outside, text, sizeof text, l->now);
    assert_int_equal(counted(l, 0, COUNT_UNKNOWN_INDEX), unknown + 1);
    size_t streams = streams_count(anna);
    node_stream_up(anna, NODE_STREAM_ACCEPTED + 1, &inside, l->now);
    assert_int_equal(streams_count(anna), streams);
    node_stream_up(anna, NODE_STREAM_ACCEPTED + 2, &outside, l->now);
    assert_int_equal(streams_count(anna), streams + 1);
    lab_free(l);
}

static void offer_search(struct lab *l, struct node_peer *p, uint32_t id)
{
    uint8_t text[HARD_MESSAGE_MAX];
    struct search_message m = {.kind = SEARCH_OFFER, .id = id};
    m.nat = (struct hard_nat){.mapping = HARD_RANDOM, .mapped = net_addr4(0xc6336401u, 2000)};
    size_t len = search_write(text, sizeof text, &m);
    assert_true(len > 0);
    assert_true(search_message(l->hosts[0].n, p, bytes_of(text, len), l->now));
    lab_settle(l);
}

/* A member that offers searches, with another one's address for its own: each may cost thousands of probes.
 */
static void test_searches_without_end(void **state)
{
    struct lab *l = lab_new(11);
    lab_party(l, 2);
    network(l, 0);
    struct node_peer *ben = peer_of(l, 0, 1);
    say(l, ben, ben->direct->generation);
    lab_run(l, 1 * SEC);
    for (uint32_t i = 1; i <= 100; i++) {
        offer_search(l, ben, i);
        lab_run(l, 10 * MSEC);
    }
    assert_int_equal(counted(l, 0, COUNT_SEARCHES_BEGUN), 1);
    for (uint32_t i = 101; i <= 400; i++) {
        offer_search(l, ben, i);
        lab_run(l, 1 * SEC);
    }
    assert_in_range(counted(l, 0, COUNT_SEARCHES_BEGUN), 3, 7);
    lab_free(l);
}

/* A message is judged where it lies; frames that come out of circuits meanwhile go behind it. */
static void test_message_stays_where_it_is(void **state)
{
    struct lab *l = lab_new(12);
    uint8_t frame[1400];
    struct node_out out;
    size_t frames = 0;
    lab_party(l, 1);
    struct node *anna = l->hosts[0].n;
    uint8_t *own = out_arena(anna, 3000);
    assert_non_null(own);
    memset(own, 0x5a, 3000);
    memset(frame, 0x33, sizeof frame);
    anna->out.held = true;
    for (int i = 0; i < 500; i++)
        out_frame_copy(anna, 1, bytes_of(frame, sizeof frame));
    anna->out.held = false;
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(own[i], 0x5a);
    while (node_output(anna, l->now, &out)) {
        if (out.kind != NODE_DEVICE_FRAME)
            continue;
        frames++;
        assert_int_equal(out.data.n, sizeof frame);
        assert_memory_equal(out.data.p, frame, sizeof frame);
    }
    assert_int_equal(frames, 500);
    lab_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_from_another_index),
        cmocka_unit_test(test_hello_of_one_who_is_not_shown),
        cmocka_unit_test(test_forged_resume),
        cmocka_unit_test(test_stolen_resume),
        cmocka_unit_test(test_rounds_without_end),
        cmocka_unit_test(test_dials_of_one_peer),
        cmocka_unit_test(test_hellos_on_a_strangers_stream),
        cmocka_unit_test(test_unbound_is_a_hint),
        cmocka_unit_test(test_turn_waits),
        cmocka_unit_test(test_nothing_out_of_the_tunnel),
        cmocka_unit_test(test_searches_without_end),
        cmocka_unit_test(test_message_stays_where_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
