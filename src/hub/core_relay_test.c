#include "hub/hub_kit_int.h"

/* Sends one frame from node a to relay index `peer` with a payload of n bytes that begins with a number. */
static void send_frame(struct kit *k, int a, enum relay_kind kind, uint32_t peer, uint32_t number, size_t n)
{
    static uint8_t raw[RELAY_HEADER_LEN + RELAY_PAYLOAD_MAX];
    struct wr w = wr_of(raw, sizeof raw);
    memset(raw, 0x55, sizeof raw);
    relay_header_write(wr_take(&w, RELAY_HEADER_LEN), kind, peer, n);
    wr_u32(&w, number);
    wr_take(&w, n - 4);
    assert_true(wr_ok(&w));
    hub_binary(k->hub, k->nodes[a].conn, wr_done(&w), k->now);
    kit_pump(k);
}

/* Reads frames out of node i's inbox, one a call. */
struct frames {
    struct buf message;
    struct rd r;
    bool have;
};

static bool next_frame(struct kit *k, int i, struct frames *fs, struct relay_frame *f)
{
    bool binary;
    while (true) {
        if (fs->have && relay_frame_read(f, &fs->r) == 1)
            return true;
        if (fs->have)
            buf_done(&fs->message);
        fs->have = kit_next(k, i, &fs->message, &binary);
        if (!fs->have)
            return false;
        assert_true(binary);
        assert_true(fs->message.n <= RELAY_MESSAGE_MAX);
        fs->r = rd_of(buf_bytes(&fs->message));
    }
}

static uint32_t number_of(const struct relay_frame *f)
{
    struct rd r = rd_of(f->payload);
    return rd_u32(&r);
}

static void frames_reach_members_with_the_senders_index(void **state)
{
    struct kit k;
    struct relay_frame f;
    struct frames fs = {.have = false};
    kit_init(&k, 1);
    kit_start(&k);
    struct party *p = kit_world(&k, 3);
    send_frame(&k, 0, RELAY_DATA, k.nodes[1].relay, 7, 100);
    send_frame(&k, 2, RELAY_CONTROL, k.nodes[1].relay, 8, RELAY_PAYLOAD_MAX);
    assert_true(next_frame(&k, 1, &fs, &f));
    assert_int_equal(f.kind, RELAY_DATA);
    assert_int_equal(f.peer, k.nodes[0].relay);
    assert_int_equal(f.payload.n, 100);
    assert_int_equal(number_of(&f), 7);
    assert_true(next_frame(&k, 1, &fs, &f));
    assert_int_equal(f.kind, RELAY_CONTROL);
    assert_int_equal(f.peer, k.nodes[2].relay);
    assert_int_equal(f.payload.n, RELAY_PAYLOAD_MAX);
    assert_false(next_frame(&k, 1, &fs, &f));
    kit_expect_nothing(&k, 0);
    struct hub_stats st;
    hub_stats(k.hub, &st);
    assert_int_equal(st.relay_frames, 2);
    assert_int_equal(st.relay_bytes, 100 + RELAY_PAYLOAD_MAX + 2 * RELAY_HEADER_LEN);
    party_free(p);
    kit_done(&k);
}

static void strangers_share_no_relay(void **state)
{
    struct kit k;
    struct relay_frame f;
    struct frames fs = {.have = false};
    kit_init(&k, 2);
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    kit_login(&k, 4);
    kit_login(&k, 5);
    struct party *q = kit_party(&k, 4);
    kit_join(&k, 4, q);
    uint32_t targets[] = {k.nodes[4].relay, k.nodes[5].relay, 0, 12345, k.nodes[0].relay};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        send_frame(&k, 0, RELAY_DATA, targets[i], 1, 10);
        assert_true(next_frame(&k, 0, &fs, &f));
        assert_int_equal(f.kind, RELAY_GONE);
        assert_int_equal(f.peer, targets[i]);
        assert_int_equal(f.payload.n, 0);
        assert_false(next_frame(&k, 0, &fs, &f));
    }
    kit_expect_nothing(&k, 4);
    kit_expect_nothing(&k, 5);
    /* What was refused is allowed as soon as both are in one party, and the other way round. */
    send_frame(&k, 1, RELAY_DATA, k.nodes[0].relay, 3, 10);
    assert_true(next_frame(&k, 0, &fs, &f));
    assert_int_equal(f.kind, RELAY_DATA);
    assert_false(next_frame(&k, 0, &fs, &f));
    struct signal leave = {.type = SIGNAL_LEAVE};
    memcpy(leave.u.leave.party, party_id(p), PARTY_ID_LEN);
    kit_say(&k, 0, &leave);
    kit_forget_all(&k);
    send_frame(&k, 1, RELAY_DATA, k.nodes[0].relay, 4, 10);
    kit_expect_nothing(&k, 0);
    assert_true(next_frame(&k, 1, &fs, &f));
    assert_int_equal(f.kind, RELAY_GONE);
    assert_false(next_frame(&k, 1, &fs, &f));
    kit_join(&k, 0, p);
    kit_forget_all(&k);
    send_frame(&k, 1, RELAY_DATA, k.nodes[0].relay, 5, 10);
    assert_true(next_frame(&k, 0, &fs, &f));
    assert_int_equal(number_of(&f), 5);
    assert_false(next_frame(&k, 0, &fs, &f));
    party_free(p);
    party_free(q);
    kit_done(&k);
}

static void a_burst_to_nobody_is_answered_once(void **state)
{
    struct kit k;
    struct relay_frame f;
    struct frames fs = {.have = false};
    uint8_t raw[4096];
    kit_init(&k, 3);
    kit_start(&k);
    struct party *p = kit_world(&k, 1);
    struct wr w = wr_of(raw, sizeof raw);
    struct relay_frame out = {.kind = RELAY_DATA, .payload = bytes_of_str("abc")};
    for (int i = 0; i < 100; i++) {
        out.peer = i % 2 ? 77 : 88;
        relay_frame_write(&w, &out);
    }
    hub_binary(k.hub, k.nodes[0].conn, wr_done(&w), k.now);
    kit_pump(&k);
    assert_true(next_frame(&k, 0, &fs, &f));
    assert_int_equal(f.peer, 88);
    assert_true(next_frame(&k, 0, &fs, &f));
    assert_int_equal(f.peer, 77);
    assert_false(next_frame(&k, 0, &fs, &f));
    party_free(p);
    kit_done(&k);
}

static void a_slow_receiver_loses_its_oldest_data(void **state)
{
    enum { SENT = 40, SIZE = 4096 };
    struct kit k;
    struct relay_frame f;
    struct frames fs = {.have = false};
    kit_init(&k, 4);
    k.limits.relay_queue_bytes = 65536;
    kit_start(&k);
    struct party *p = kit_world(&k, 3);
    k.nodes[1].stuck = true;
    send_frame(&k, 2, RELAY_CONTROL, k.nodes[1].relay, 1000, 64);
    for (uint32_t i = 0; i < SENT; i++)
        send_frame(&k, 0, RELAY_DATA, k.nodes[1].relay, i, SIZE);
    send_frame(&k, 2, RELAY_CONTROL, k.nodes[1].relay, 1001, 64);
    kit_unstick(&k, 1);
    uint32_t fit = (65536 - 2 * (64 + RELAY_HEADER_LEN)) / (SIZE + RELAY_HEADER_LEN);
    assert_true(next_frame(&k, 1, &fs, &f));
    assert_int_equal(f.kind, RELAY_DROPPED);
    assert_int_equal(number_of(&f), SENT - fit);
    /* Control frames first, and none of them was dropped. */
    for (uint32_t i = 1000; i < 1002; i++) {
        assert_true(next_frame(&k, 1, &fs, &f));
        assert_int_equal(f.kind, RELAY_CONTROL);
        assert_int_equal(number_of(&f), i);
    }
    for (uint32_t i = SENT - fit; i < SENT; i++) {
        assert_true(next_frame(&k, 1, &fs, &f));
        assert_int_equal(f.kind, RELAY_DATA);
        assert_int_equal(number_of(&f), i);
    }
    assert_false(next_frame(&k, 1, &fs, &f));
    struct hub_stats st;
    hub_stats(k.hub, &st);
    assert_int_equal(st.relay_dropped, SENT - fit);
    /* The notice counts from the last one. */
    send_frame(&k, 0, RELAY_DATA, k.nodes[1].relay, 99, 8);
    assert_true(next_frame(&k, 1, &fs, &f));
    assert_int_equal(f.kind, RELAY_DATA);
    assert_false(next_frame(&k, 1, &fs, &f));
    party_free(p);
    kit_done(&k);
}

static void a_queue_of_control_frames_takes_no_data(void **state)
{
    struct kit k;
    struct relay_frame f;
    struct frames fs = {.have = false};
    kit_init(&k, 5);
    k.limits.relay_queue_bytes = 16384;
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    k.nodes[1].stuck = true;
    for (uint32_t i = 0; i < 20; i++)
        send_frame(&k, 0, RELAY_CONTROL, k.nodes[1].relay, i, 1016);
    send_frame(&k, 0, RELAY_DATA, k.nodes[1].relay, 500, 1016);
    kit_unstick(&k, 1);
    assert_true(next_frame(&k, 1, &fs, &f));
    assert_int_equal(f.kind, RELAY_DROPPED);
    assert_int_equal(number_of(&f), 5);
    for (uint32_t i = 4; i < 20; i++) {
        assert_true(next_frame(&k, 1, &fs, &f));
        assert_int_equal(f.kind, RELAY_CONTROL);
        assert_int_equal(number_of(&f), i);
    }
    assert_false(next_frame(&k, 1, &fs, &f));
    party_free(p);
    kit_done(&k);
}

/* Text goes first but starves nothing; control frames go before data but starve none. */
static void everybody_gets_a_turn(void **state)
{
    struct kit k;
    kit_init(&k, 6);
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    k.nodes[1].stuck = true;
    struct signal s = {.type = SIGNAL_SIGNAL, .has_to = true};
    memcpy(s.u.forward.party, party_id(p), PARTY_ID_LEN);
    memcpy(s.to, k.nodes[1].id, NODE_ID_LEN);
    s.u.forward.data = bytes_of_str("t");
    for (int i = 0; i < 20; i++)
        kit_say(&k, 0, &s);
    for (uint32_t i = 0; i < 20; i++)
        send_frame(&k, 0, RELAY_CONTROL, k.nodes[1].relay, i, 10000);
    send_frame(&k, 0, RELAY_DATA, k.nodes[1].relay, 777, RELAY_PAYLOAD_MAX);
    k.nodes[1].stuck = false;
    for (int texts = 0; kit_read_one(&k, &k.nodes[1]);) {
        struct buf b;
        bool binary = false;
        assert_true(kit_next(&k, 1, &b, &binary));
        texts += !binary;
        if (binary) {
            assert_int_equal(texts, 8); /* the first turn of the frames */
            struct rd r = rd_of(buf_bytes(&b));
            struct relay_frame f;
            int control = 0, data = 0;
            while (relay_frame_read(&f, &r) == 1)
                *(f.kind == RELAY_DATA ? &data : &control) += 1;
            assert_int_equal(control, 1); /* as many as fit into a TLS record */
            assert_int_equal(data, 1);
            buf_done(&b);
            break;
        }
        buf_done(&b);
    }
    kit_unstick(&k, 1);
    party_free(p);
    kit_done(&k);
}

/* A member that floods a slow one fills its queue with its own frames only: what others send in the meantime
 * arrives, and early. */
static void a_flood_displaces_nobody_else(void **state)
{
    enum { ROUNDS = 200, SIZE = 1400, LIGHT = 10 };
    struct kit k;
    struct relay_frame f;
    struct frames fs = {.have = false};
    uint32_t heavy = 0, light = 0, before_last_light = 0, told = 0;
    kit_init(&k, 10);
    kit_start(&k);
    struct party *p = kit_world(&k, 3);
    assert_int_not_equal(k.nodes[0].relay % 8, k.nodes[2].relay % 8); /* their lines; by the seed */
    k.nodes[1].stuck = true;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        for (uint32_t n = 0; n < 10; n++)
            send_frame(&k, 0, RELAY_DATA, k.nodes[1].relay, i * 10 + n, SIZE);
        if (i < LIGHT)
            send_frame(&k, 2, RELAY_DATA, k.nodes[1].relay, i, SIZE);
    }
    kit_unstick(&k, 1);
    while (next_frame(&k, 1, &fs, &f)) {
        if (f.kind == RELAY_DROPPED) {
            told += number_of(&f);
        } else if (f.peer == k.nodes[2].relay) {
            assert_int_equal(number_of(&f), light++);
            before_last_light = heavy;
        } else {
            assert_int_equal(f.peer, k.nodes[0].relay);
            heavy++;
        }
    }
    assert_int_equal(light, LIGHT);
    assert_int_equal(heavy + told, ROUNDS * 10);
    assert_true(told > ROUNDS * 10 / 2);
    assert_in_range(before_last_light, 1, 2 * LIGHT);
    party_free(p);
    kit_done(&k);
}

/* Rows of frames to several peers, kinds mixed, in one message: each arrives once, in order, and alone. */
static void a_message_for_many_is_taken_apart(void **state)
{
    static uint8_t raw[RELAY_MESSAGE_MAX];
    struct kit k;
    struct frames fs = {.have = false};
    struct relay_frame f;
    uint32_t sent[3][2] = {{0}}, got[3][2] = {{0}};
    kit_init(&k, 11);
    kit_start(&k);
    struct party *p = kit_world(&k, 3);
    struct wr w = wr_of(raw, sizeof raw);
    for (uint32_t i = 0; i < 300; i++) {
        int to = i / 7 % 3 == 1 ? 1 : 2;
        bool control = i % 50 < 10;
        size_t n = 4 + i * 13 % 200;
        relay_header_write(wr_take(&w, RELAY_HEADER_LEN), control ? RELAY_CONTROL : RELAY_DATA,
                           k.nodes[to].relay, n);
        wr_u32(&w, sent[to][control]++);
        memset(wr_take(&w, n - 4), (int)n, n - 4);
    }
    assert_true(wr_ok(&w));
    hub_binary(k.hub, k.nodes[0].conn, wr_done(&w), k.now);
    kit_pump(&k);
    for (int to = 1; to < 3; to++) {
        while (next_frame(&k, to, &fs, &f)) {
            bool control = f.kind == RELAY_CONTROL;
            assert_int_equal(f.peer, k.nodes[0].relay);
            assert_int_equal(number_of(&f), got[to][control]++);
            for (size_t i = 4; i < f.payload.n; i++)
                assert_int_equal(f.payload.p[i], f.payload.n & 0xff);
        }
        assert_memory_equal(got[to], sent[to], sizeof got[to]);
        assert_true(got[to][0] > 20 && got[to][1] > 10);
    }
    struct hub_stats st;
    hub_stats(k.hub, &st);
    assert_int_equal(st.relay_frames, 300);
    assert_int_equal(st.relay_bytes, w.n);
    party_free(p);
    kit_done(&k);
}

static void unreadable_frames_are_refused(void **state)
{
    static const uint8_t bad[][12] = {
        {0, 0, 0, 0, 0, 0, 0, 1},             /* kind 0 */
        {5, 0, 0, 0, 0, 0, 0, 1},             /* kind 5 */
        {1, 1, 0, 0, 0, 0, 0, 1},             /* not zero */
        {1, 0, 0, 9, 0, 0, 0, 1},             /* longer than the message */
        {RELAY_GONE, 0, 0, 0, 0, 0, 0, 1},    /* only hubs say this */
        {RELAY_DROPPED, 0, 0, 0, 0, 0, 0, 1}, /* and this */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kit k;
        kit_init(&k, 7);
        kit_start(&k);
        kit_login(&k, 0);
        for (int n = 0; n < 8; n++) {
            assert_int_equal(k.nodes[0].closed, 0);
            hub_binary(k.hub, k.nodes[0].conn, bytes_of(bad[i], 8), k.now);
            kit_pump(&k);
            kit_expect_error(&k, 0, "bad_message");
        }
        assert_int_equal(k.nodes[0].closed, 1008);
        kit_done(&k);
    }
}

static void a_quota_stops_the_sender(void **state)
{
    struct kit k;
    struct relay_frame f;
    struct frames fs = {.have = false};
    kit_init(&k, 8);
    k.limits.relay_bytes_per_s = 10000;
    kit_start(&k);
    struct party *p = kit_world(&k, 2);
    for (uint32_t i = 0; i < 20; i++)
        send_frame(&k, 0, RELAY_DATA, k.nodes[1].relay, i, 10000 - RELAY_HEADER_LEN);
    uint32_t n = 0;
    while (next_frame(&k, 1, &fs, &f))
        assert_int_equal(number_of(&f), n++);
    assert_int_equal(n, (2 * 10000 + RELAY_MESSAGE_MAX) / 10000);
    kit_expect_error(&k, 0, "rate_limited");
    kit_expect_nothing(&k, 0); /* said once */
    kit_pass(&k, 1 * SEC);
    send_frame(&k, 0, RELAY_DATA, k.nodes[1].relay, 50, 5000);
    assert_true(next_frame(&k, 1, &fs, &f));
    assert_int_equal(number_of(&f), 50);
    assert_false(next_frame(&k, 1, &fs, &f));
    party_free(p);
    kit_done(&k);
}

static void all_queues_together_are_bounded(void **state)
{
    struct kit k;
    struct relay_frame f;
    struct frames fs = {.have = false};
    uint64_t came = 0, told = 0;
    kit_init(&k, 9);
    k.limits.queue_memory_mib = 1;
    k.limits.relay_queue_bytes = 600000;
    kit_start(&k);
    struct party *p = kit_world(&k, 5);
    for (int i = 1; i < 5; i++)
        k.nodes[i].stuck = true;
    for (uint32_t n = 0; n < 60; n++) {
        for (int i = 1; i < 5; i++)
            send_frame(&k, 0, RELAY_DATA, k.nodes[i].relay, n, 10000);
    }
    struct hub_stats st;
    hub_stats(k.hub, &st);
    for (int i = 1; i < 5; i++) {
        kit_unstick(&k, i);
        while (next_frame(&k, i, &fs, &f)) {
            struct rd r = rd_of(f.payload);
            came += f.kind == RELAY_DATA;
            told += f.kind == RELAY_DROPPED ? rd_u32(&r) : 0;
        }
    }
    /* Each of them was carried or counted, and a mebibyte is what waited at most. */
    assert_int_equal(came + told, 240);
    assert_int_equal(told, st.relay_dropped);
    assert_in_range(came, 40, (1 << 20) / 10000);
    for (uint32_t n = 0; n < 50; n++)
        send_frame(&k, 0, RELAY_DATA, k.nodes[1].relay, n, 10000);
    struct hub_stats after;
    hub_stats(k.hub, &after);
    assert_int_equal(after.relay_frames, st.relay_frames + 50);
    kit_forget_all(&k);
    party_free(p);
    kit_done(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_reach_members_with_the_senders_index),
        cmocka_unit_test(strangers_share_no_relay),
        cmocka_unit_test(a_burst_to_nobody_is_answered_once),
        cmocka_unit_test(a_slow_receiver_loses_its_oldest_data),
        cmocka_unit_test(a_queue_of_control_frames_takes_no_data),
        cmocka_unit_test(everybody_gets_a_turn),
        cmocka_unit_test(a_flood_displaces_nobody_else),
        cmocka_unit_test(a_message_for_many_is_taken_apart),
        cmocka_unit_test(unreadable_frames_are_refused),
        cmocka_unit_test(a_quota_stops_the_sender),
        cmocka_unit_test(all_queues_together_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
