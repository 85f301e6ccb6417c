/* Frames between devices: to one, to all, to the wrong one; queues that are full; addresses and policies that
 * change. */
#include "node/engine_harness.h"

static void test_frames_both_ways(void **state)
{
    struct lab *l = lab_new(21);
    lab_party(l, 2);
    for (int i = 0; i < 50; i++) {
        send_frame(l, 0, 1, 0, 0xaa, (size_t)i * 25);
        send_frame(l, 1, 0, 0, 0xbb, (size_t)i * 25);
    }
    lab_run(l, 100 * MSEC);
    assert_int_equal(l->hosts[0].frame_count, 50);
    assert_int_equal(l->hosts[1].frame_count, 50);
    for (size_t i = 0; i < 50; i++) { /* whole and in order */
        assert_int_equal(l->hosts[1].frames[i].n, 42 + i * 25);
        for (size_t k = 42; k < l->hosts[1].frames[i].n; k++)
            assert_int_equal(l->hosts[1].frames[i].p[k], 0xaa);
        assert_memory_equal(l->hosts[1].frames[i].p, l->hosts[1].devices[0].config.mac, 6);
        assert_memory_equal(l->hosts[1].frames[i].p + 6, l->hosts[0].devices[0].config.mac, 6);
    }
    json_t *p = status_peer(l, 0, "ben");
    assert_true(json_integer_value(json_object_get(p, "tx_bytes")) > 50 * 42);
    assert_true(json_integer_value(json_object_get(p, "rx_bytes")) > 50 * 42);
    lab_free(l);
}

static void test_broadcast(void **state)
{
    struct lab *l = lab_new(22);
    lab_party(l, 4);
    send_frame(l, 2, -1, 0, 0xcc, 300);
    lab_run(l, 100 * MSEC);
    for (int i = 0; i < 4; i++)
        assert_int_equal(frames_of(&l->hosts[i], 0xcc), i != 2);
    lab_free(l);
}

static void test_parties_do_not_mix(void **state)
{
    struct lab *l = lab_new(23);
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    lab_party(l, 3);
    ask_ok(l, 0, "{\"cmd\":\"party-create\",\"name\":\"two\"}");
    lab_invite(l, 0, ",\"party\":\"two\"", invite);
    ask_ok(l, 1, join_request(rq, invite));
    lab_run(l, SEC);
    send_frame(l, 0, -1, 1, 0xd2, 100);
    send_frame(l, 0, 1, 0, 0xd1, 100);
    lab_run(l, 100 * MSEC);
    assert_int_equal(frames_of(&l->hosts[1], 0xd2), 1);
    assert_int_equal(frames_of(&l->hosts[2], 0xd2), 0);
    for (size_t i = 0; i < l->hosts[1].frame_count; i++) {
        bool two = l->hosts[1].frames[i].p[l->hosts[1].frames[i].n - 1] == 0xd2;
        assert_int_equal(l->hosts[1].frames[i].party_ref, device_at(&l->hosts[1], two)->party_ref);
    }
    lab_free(l);
}

/* A party above the size where all connect at once: the first frames wait for the handshake that they cause.
 */
static void test_first_frames_wait(void **state)
{
    struct lab *l = lab_new(24);
    l->limits.eager_peers = 1;
    lab_party(l, 2);
    lab_run(l, 20 * SEC);
    assert_true(peer_is(l, 0, "ben", "connecting"));
    assert_int_equal(counted(l, 0, COUNT_HANDSHAKES_BEGUN) + counted(l, 1, COUNT_HANDSHAKES_BEGUN), 0);
    for (uint8_t i = 0; i < WAIT_FRAMES + 4; i++)
        send_frame(l, 0, 1, 0, (uint8_t)(0x10 + i), 100);
    lab_run(l, 200 * MSEC);
    assert_int_equal(counted(l, 0, COUNT_HANDSHAKES_BEGUN), 1);
    assert_int_equal(l->hosts[1].frame_count, WAIT_FRAMES); /* the oldest made room */
    assert_int_equal(frames_of(&l->hosts[1], 0x13), 0);
    assert_int_equal(frames_of(&l->hosts[1], 0x14), 1);
    assert_int_equal(l->hosts[0].n->wait_bytes, 0);
    /* They are not kept for ever where nobody answers. */
    host_kill(l, 1);
    lab_run(l, 100 * MSEC);
    assert_true(peer_is(l, 0, "ben", "offline"));
    send_frame(l, 0, -1, 0, 0x55, 100);
    lab_free(l);
}

static void test_waiting_frames_expire(void **state)
{
    struct lab *l = lab_new(25);
    l->limits.eager_peers = 1;
    lab_party(l, 2);
    /* Its daemon hangs: the hub still shows it. */
    struct node *ben = l->hosts[1].n;
    const struct node_device dst = l->hosts[1].devices[0].config;
    l->hosts[1].n = NULL;
    uint8_t room[DATA_HEADROOM + 2048 + DATA_TAILROOM];
    for (int i = 0; i < 40; i++) {
        size_t n = frame_make(room + DATA_HEADROOM, &l->hosts[0].devices[0].config, &dst, 1, 1300);
        node_device_frame(l->hosts[0].n, l->hosts[0].devices[0].party_ref, room + DATA_HEADROOM, n, l->now);
        assert_true(l->hosts[0].n->wait_bytes <= WAIT_BYTES);
    }
    assert_int_equal(l->hosts[0].n->wait_bytes, 8 * (1300 + 42));
    lab_run(l, WAIT_LIFE + SEC);
    assert_int_equal(l->hosts[0].n->wait_bytes, 0);
    assert_int_equal(counted(l, 0, COUNT_WAIT_EXPIRED), 40);
    l->hosts[1].n = ben;
    lab_free(l);
}

/* The hub does not read: data goes, the oldest first; text and handshakes stay. */
static void test_queue_overflow(void **state)
{
    struct lab *l = lab_new(26);
    l->limits.relay_queue_bytes = 32768;
    lab_party(l, 2);
    hub_conn c = l->hosts[0].conn;
    l->hosts[0].conn = 0;
    for (int i = 0; i < 100; i++)
        send_frame(l, 0, 1, 0, (uint8_t)i, 1000);
    const size_t each = RELAY_HEADER_LEN + 1000 + 42 + DATA_OVERHEAD, kept = 32768 / each;
    assert_int_equal(counted(l, 0, COUNT_TX_DATA_DROPPED), 100 - kept);
    assert_true(node_hub_waiting(l->hosts[0].n));
    l->hosts[0].conn = c;
    lab_run(l, 100 * MSEC);
    assert_int_equal(l->hosts[1].frame_count, kept);
    assert_int_equal(frames_of(&l->hosts[1], 99), 1);
    assert_int_equal(frames_of(&l->hosts[1], (uint8_t)(100 - kept)), 1);
    assert_int_equal(frames_of(&l->hosts[1], (uint8_t)(99 - kept)), 0);
    lab_free(l);
}

static void test_devices_that_do_not_keep_up(void **state)
{
    struct lab *l = lab_new(27);
    uint8_t message[RELAY_MESSAGE_MAX];
    lab_party(l, 2);
    /* The edge feeds without taking: memory stays bounded. */
    memset(message, 0, sizeof message);
    for (int i = 0; i < 100; i++)
        node_hub_binary(l->hosts[1].n, message, sizeof message, l->now);
    assert_true(l->hosts[1].n->out.arena.n <= ARENA_MAX + RELAY_MESSAGE_MAX);
    for (int i = 0; i < FRAMES_OUT_MAX + 10; i++)
        out_frame_copy(l->hosts[1].n, 1, bytes_of(message, 60));
    assert_int_equal(l->hosts[1].n->out.frame_count, FRAMES_OUT_MAX);
    struct node_out out;
    size_t frames = 0;
    while (node_output(l->hosts[1].n, l->now, &out))
        frames += out.kind == NODE_DEVICE_FRAME;
    assert_int_equal(frames, FRAMES_OUT_MAX);
    lab_free(l);
}

static void test_spoofing_stops_at_the_receiver(void **state)
{
    struct lab *l = lab_new(28);
    lab_party(l, 3);
    /* Ben's machine is taken over: it seals frames in Cleo's name, past its own switch. */
    uint8_t room[DATA_HEADROOM + 2048 + DATA_TAILROOM];
    struct node *ben = l->hosts[1].n;
    struct node_peer *anna = peer_by_id(ben, node_id(l->hosts[0].n));
    size_t n = frame_make(room + DATA_HEADROOM, &l->hosts[2].devices[0].config,
                          &l->hosts[0].devices[0].config, 0xee, 100);
    peer_send(ben, anna, ben->parties[0], room, n, l->now);
    n = frame_make(room + DATA_HEADROOM, &l->hosts[1].devices[0].config, &l->hosts[0].devices[0].config, 0xef,
                   100);
    peer_send(ben, anna, ben->parties[0], room, n, l->now);
    lab_run(l, 100 * MSEC);
    assert_int_equal(frames_of(&l->hosts[0], 0xee), 0);
    assert_int_equal(frames_of(&l->hosts[0], 0xef), 1);
    /* And in a party where it is no member, and with the wrong kind. */
    struct node_party other = *ben->parties[0];
    other.tag ^= 1;
    n = frame_make(room + DATA_HEADROOM, &l->hosts[1].devices[0].config, &l->hosts[0].devices[0].config, 0xef,
                   100);
    peer_send(ben, anna, &other, room, n, l->now);
    lab_run(l, 100 * MSEC);
    assert_int_equal(frames_of(&l->hosts[0], 0xef), 1);
    assert_int_equal(counted(l, 0, COUNT_UNKNOWN_PARTY), 1);
    assert_int_equal(session_seal(anna->cur->s, INNER_PACKET, ben->parties[0]->tag, room, 100, l->now), 0);
    link_relay(ben, anna->relay, false, room, 100 + DATA_OVERHEAD);
    lab_run(l, 100 * MSEC);
    assert_int_equal(counted(l, 0, COUNT_WRONG_KIND), 1);
    lab_free(l);
}

/* A removed machine that keeps its keys and goes on sending. */
static void test_removed_member_is_not_heard(void **state)
{
    struct lab *l = lab_new(29);
    uint8_t room[DATA_HEADROOM + 2048 + DATA_TAILROOM];
    lab_party(l, 2);
    struct node *ben = l->hosts[1].n;
    struct node_peer *anna = peer_by_id(ben, node_id(l->hosts[0].n));
    size_t n = frame_make(room + DATA_HEADROOM, &l->hosts[1].devices[0].config,
                          &l->hosts[0].devices[0].config, 0xef, 100);
    assert_int_equal(session_seal(anna->cur->s, INNER_FRAME, ben->parties[0]->tag, room, n, l->now), 0);
    uint8_t message[2200];
    struct relay_frame f = {.kind = RELAY_DATA, .payload = bytes_of(room, n + DATA_OVERHEAD)};
    f.peer = peer_by_id(l->hosts[0].n, node_id(ben))->relay;
    struct wr w = wr_of(message, sizeof message);
    relay_frame_write(&w, &f);
    /* The removal and the frame come in the same breath. */
    ask_ok(l, 0, "{\"cmd\":\"kick\",\"peer\":\"ben\"}");
    node_hub_binary(l->hosts[0].n, message, w.n, l->now);
    lab_run(l, 10 * MSEC);
    assert_int_equal(l->hosts[0].frame_count, 0);
    assert_int_equal(counted(l, 0, COUNT_UNKNOWN_INDEX), 1);
    lab_free(l);
}

static void test_lease_moves_the_device(void **state)
{
    struct lab *l = lab_new(30);
    lab_party(l, 2);
    uint32_t before = l->hosts[1].devices[0].config.ip4;
    ask_ok(l, 0, "{\"cmd\":\"lease\",\"peer\":\"ben\",\"host\":257}");
    lab_run(l, 100 * MSEC);
    struct node_device *d = &device_at(&l->hosts[1], 0)->config;
    assert_int_equal(l->hosts[1].opened, 2);
    assert_int_equal(l->hosts[1].closed, 1);
    assert_int_equal(d->ip4, (before & 0xffff0000) | 257);
    assert_int_equal(l->hosts[0].opened, 1);
    send_frame(l, 0, 1, 0, 0x21, 50);
    send_frame(l, 1, 0, 0, 0x22, 50);
    lab_run(l, 100 * MSEC);
    assert_int_equal(frames_of(&l->hosts[1], 0x21), 1);
    assert_int_equal(frames_of(&l->hosts[0], 0x22), 1);
    lab_free(l);
}

static void test_policy_reaches_everybody(void **state)
{
    struct lab *l = lab_new(31);
    lab_party(l, 2);
    ask_fails(l, 1, "not_allowed", "{\"cmd\":\"policy\",\"broadcast_pps\":5}");
    ask_ok(l, 0, "{\"cmd\":\"policy\",\"broadcast_pps\":5}");
    lab_run(l, 2 * SEC);
    for (int i = 0; i < 100; i++)
        send_frame(l, 1, -1, 0, 0x66, 20);
    lab_run(l, 100 * MSEC);
    assert_in_range(frames_of(&l->hosts[0], 0x66), 1, 10); /* burst of twice the rate */
    lab_free(l);
}

static void test_device_is_tried_again(void **state)
{
    struct lab *l = lab_new(32);
    lab_party(l, 1);
    host_kill(l, 0);
    l->hosts[0].device_error = "10.77.0.0/16 overlaps a route of this machine";
    host_up(l, 0, 0);
    lab_run(l, SEC);
    json_t *party = json_array_get(json_object_get(ask_ok(l, 0, "{\"cmd\":\"status\"}"), "parties"), 0);
    assert_non_null(strstr(field(party, "device_error"), "overlaps"));
    l->hosts[0].device_error = NULL;
    lab_run(l, DEVICE_RETRY + SEC);
    party = json_array_get(json_object_get(ask_ok(l, 0, "{\"cmd\":\"status\"}"), "parties"), 0);
    assert_string_equal(field(party, "device"), "warren0");
    lab_free(l);
}

static void test_arp_stays_here(void **state)
{
    struct lab *l = lab_new(33);
    uint8_t room[DATA_HEADROOM + 60 + DATA_TAILROOM] = {0}, *p = room + DATA_HEADROOM;
    lab_party(l, 2);
    const struct node_device *a = &l->hosts[0].devices[0].config, *b = &l->hosts[1].devices[0].config;
    struct wr w = wr_of(p, 60);
    memset(wr_take(&w, 6), 0xff, 6);
    wr_copy(&w, a->mac, 6);
    wr_u16(&w, ETH_TYPE_ARP);
    struct arp q = {.op = ARP_REQUEST, .sender_ip = a->ip4, .target_ip = b->ip4};
    memcpy(q.sender_mac, a->mac, 6);
    arp_write(&w, &q);
    uint64_t sent = l->hosts[0].n->link.data.used;
    node_device_frame(l->hosts[0].n, l->hosts[0].devices[0].party_ref, p, w.n, l->now);
    assert_int_equal(l->hosts[0].n->link.data.used, sent);
    lab_run(l, MSEC);
    assert_int_equal(l->hosts[0].frame_count, 1);
    struct eth_frame f;
    assert_int_equal(eth_read(&f, bytes_of(l->hosts[0].frames[0].p, l->hosts[0].frames[0].n)), 0);
    assert_int_equal(arp_read(&q, f.payload), 0);
    assert_int_equal(q.op, ARP_REPLY);
    assert_memory_equal(q.sender_mac, b->mac, 6);
    lab_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_both_ways),
        cmocka_unit_test(test_broadcast),
        cmocka_unit_test(test_parties_do_not_mix),
        cmocka_unit_test(test_first_frames_wait),
        cmocka_unit_test(test_waiting_frames_expire),
        cmocka_unit_test(test_queue_overflow),
        cmocka_unit_test(test_devices_that_do_not_keep_up),
        cmocka_unit_test(test_spoofing_stops_at_the_receiver),
        cmocka_unit_test(test_removed_member_is_not_heard),
        cmocka_unit_test(test_lease_moves_the_device),
        cmocka_unit_test(test_policy_reaches_everybody),
        cmocka_unit_test(test_device_is_tried_again),
        cmocka_unit_test(test_arp_stays_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
