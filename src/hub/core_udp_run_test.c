/* Runs of datagrams through the UDP relay, and the shares of a hub that is too busy for all. */
#include "hub/udp_kit_int.h"
#include "wire/stun.h"

#define OUTS    80
#define RUN_MAX 20000

/* What the hub sent on of one run. */
struct outs {
    size_t count;
    struct {
        struct net_addr to;
        uint32_t socket;
        size_t n, segment;
        bool in_place;
        uint8_t bytes[RUN_MAX];
    } at[OUTS];
};

static struct outs outs;
static uint8_t run[RUN_MAX];

/* Gives the hub a run in memory of just its size. */
static void say_run(struct udp_kit *u, struct net_addr from, size_t n, size_t segment)
{
    struct hub_udp_in in = {.from = from, .p = malloc(n), .n = n, .segment = segment};
    struct hub_udp_out out;
    assert_non_null(in.p);
    memcpy(in.p, run, n);
    outs.count = 0;
    hub_udp_input(u->k.hub, &in, u->k.now);
    while (hub_udp_next(u->k.hub, &out)) {
        assert_true(outs.count < OUTS && out.n > 0 && out.n <= RUN_MAX);
        assert_true(out.segment == 0 || out.segment == segment);
        assert_true(out.segment == 0 || out.n > out.segment);
        outs.at[outs.count].to = out.to;
        outs.at[outs.count].socket = out.socket;
        outs.at[outs.count].n = out.n;
        outs.at[outs.count].segment = out.segment;
        outs.at[outs.count].in_place = out.p >= in.p && out.p < in.p + n;
        memcpy(outs.at[outs.count++].bytes, out.p, out.n);
    }
    assert_false(hub_udp_next(u->k.hub, &out));
    free(in.p);
    kit_pump(&u->k);
}

/* Datagram number i of the run: DATA to node `to` with this token, the rest full of i. */
static void put(size_t i, size_t segment, size_t n, uint32_t peer, uint32_t token)
{
    uint8_t *p = run + i * segment;
    memset(p, (int)i, n);
    udp_relay_header(p, peer, token);
}

/* Output i: the datagrams first .. first + count - 1 of the run, to node `to` from node `from`. */
static void assert_out(const struct udp_kit *u, size_t i, int from, int to, size_t first, size_t count)
{
    struct net_addr at = udp_addr(to);
    assert_true(i < outs.count);
    assert_true(net_addr_equal(&outs.at[i].to, &at));
    assert_true(outs.at[i].in_place);
    size_t step = outs.at[i].segment ? outs.at[i].segment : outs.at[i].n;
    assert_int_equal((outs.at[i].n + step - 1) / step, count);
    for (size_t k = 0; k < count; k++) {
        struct udp_relay m;
        size_t left = outs.at[i].n - k * step, n = left < step ? left : step;
        assert_int_equal(udp_relay_read(&m, bytes_of(outs.at[i].bytes + k * step, n)), 0);
        assert_int_equal(m.kind, UDP_RELAY_DATA);
        assert_int_equal(m.index, u->k.nodes[from].relay);
        assert_int_equal(m.token, 0);
        for (size_t b = 0; b < m.datagram.n; b++)
            assert_int_equal(m.datagram.p[b], (uint8_t)(first + k));
    }
}

static void begin(struct udp_kit *u, uint64_t seed, int nodes, uint32_t quota)
{
    udp_begin(u, seed);
    u->k.limits.relay_bytes_per_s = quota;
    udp_start(u, nodes);
    for (int i = 0; i < nodes; i++)
        udp_bind(u, i, udp_addr(i));
}

static uint32_t peer(const struct udp_kit *u, int i)
{
    return u->k.nodes[i].relay;
}

static void a_run_goes_on_as_one(void **state)
{
    struct udp_kit u;
    struct hub_stats st;
    begin(&u, 1, 2, 0);
    for (size_t i = 0; i < 11; i++)
        put(i, 100, i < 10 ? 100 : 37, peer(&u, 1), u.tokens[0]);
    say_run(&u, udp_addr(0), 1037, 100);
    assert_int_equal(outs.count, 1);
    assert_int_equal(outs.at[0].n, 1037);
    assert_int_equal(outs.at[0].segment, 100);
    assert_out(&u, 0, 0, 1, 0, 11);
    hub_stats(u.k.hub, &st);
    assert_int_equal(st.udp_frames, 11);
    assert_int_equal(st.udp_bytes, 1037);
    /* One datagram, with or without a segment; and empty ones. */
    static const size_t segments[] = {0, 100, 101, 65535};
    for (size_t i = 0; i < 4; i++) {
        put(0, 100, 100, peer(&u, 1), u.tokens[0]);
        say_run(&u, udp_addr(0), 100, segments[i]);
        assert_int_equal(outs.count, 1);
        assert_int_equal(outs.at[0].segment, 0);
        assert_out(&u, 0, 0, 1, 0, 1);
    }
    for (size_t i = 0; i < 5; i++)
        put(i, 12, 12, peer(&u, 1), u.tokens[0]);
    say_run(&u, udp_addr(0), 60, 12);
    assert_int_equal(outs.count, 1);
    assert_out(&u, 0, 0, 1, 0, 5);
    udp_done(&u);
}

static void mixed_peers_split_a_run(void **state)
{
    static const int to[] = {1, 1, 2, 2, 2, 1, 3, 3};
    struct udp_kit u;
    begin(&u, 2, 4, 0);
    for (size_t i = 0; i < 8; i++)
        put(i, 60, 60, peer(&u, to[i]), u.tokens[0]);
    say_run(&u, udp_addr(0), 8 * 60, 60);
    assert_int_equal(outs.count, 4);
    assert_out(&u, 0, 0, 1, 0, 2);
    assert_out(&u, 1, 0, 2, 2, 3);
    assert_out(&u, 2, 0, 1, 5, 1);
    assert_out(&u, 3, 0, 3, 6, 2);
    udp_done(&u);
}

static void bad_datagrams_inside_a_run(void **state)
{
    struct udp_kit u;
    begin(&u, 3, 3, 0);
    for (size_t i = 0; i < 12; i++)
        put(i, 60, 60, peer(&u, 1), u.tokens[0]);
    put(2, 60, 60, peer(&u, 1), u.tokens[0] ^ 1); /* guessed */
    put(3, 60, 60, peer(&u, 1), u.tokens[0] ^ 1);
    put(5, 60, 60, 0x7fffffff, u.tokens[0]);    /* nobody */
    run[7 * 60] = 9;                            /* no message at all */
    run[8 * 60 + 2] = 1;                        /* a reserved bit */
    run[9 * 60 + 1] = UDP_RELAY_BOUND;          /* what only a hub says */
    say_run(&u, udp_addr(0), 12 * 60 - 49, 60); /* the last: 11 bytes, too short */
    assert_int_equal(REFUSED(&u, "token"), 2);
    assert_int_equal(REFUSED(&u, "peer_gone"), 1);
    assert_int_equal(REFUSED(&u, "unreadable"), 3);
    assert_int_equal(outs.count, 6);
    assert_out(&u, 0, 0, 1, 0, 2);
    assert_int_equal(outs.at[1].bytes[1], UDP_RELAY_UNBOUND);
    assert_out(&u, 2, 0, 1, 4, 1);
    assert_int_equal(outs.at[3].bytes[1], UDP_RELAY_UNBOUND);
    assert_out(&u, 4, 0, 1, 6, 1);
    assert_out(&u, 5, 0, 1, 10, 1);
    udp_done(&u);
}

static void other_messages_inside_a_run(void **state)
{
    struct udp_kit u;
    struct stun_writer w;
    begin(&u, 4, 2, 0);
    for (size_t i = 0; i < 4; i++)
        put(i, 12, 12, peer(&u, 1), u.tokens[0]);
    udp_relay_header(run + 24, peer(&u, 0), u.tokens[0]);
    run[25] = UDP_RELAY_KEEP;
    say_run(&u, udp_addr(0), 48, 12);
    assert_int_equal(outs.count, 3);
    assert_out(&u, 0, 0, 1, 0, 2);
    assert_int_equal(outs.at[1].bytes[1], UDP_RELAY_KEPT);
    assert_false(outs.at[1].in_place);
    assert_out(&u, 2, 0, 1, 3, 1);
    /* STUN between: answered, and for itself alone. */
    for (size_t i = 0; i < 3; i++)
        put(i, 80, 80, peer(&u, 1), u.tokens[0]);
    stun_begin(&w, run + 80, 80, STUN_REQUEST, STUN_BINDING, (uint8_t[STUN_TXID_LEN]){1});
    stun_put(&w, STUN_ATTR_SOFTWARE, bytes_of((uint8_t[56]){0}, 56));
    assert_int_equal(stun_end(&w).n, 80);
    say_run(&u, udp_addr(0), 240, 80);
    assert_int_equal(outs.count, 3);
    assert_out(&u, 0, 0, 1, 0, 1);
    assert_false(outs.at[1].in_place);
    assert_true(outs.at[1].n <= 80 && outs.at[1].bytes[0] == 1);
    assert_out(&u, 2, 0, 1, 2, 1);
    udp_done(&u);
}

static void the_quota_ends_in_the_middle_of_a_run(void **state)
{
    struct udp_kit u;
    begin(&u, 5, 2, 1000);
    size_t burst = 2 * 1000 + RELAY_MESSAGE_MAX, left = burst;
    while (left > 1000) { /* down to room for three, and for a short one */
        size_t n = left - (3 * 112 + 20) < 1500 ? left - (3 * 112 + 20) : 1000;
        put(0, n, n, peer(&u, 1), u.tokens[0]);
        say_run(&u, udp_addr(0), n, 0);
        assert_int_equal(outs.count, 1);
        left -= n;
    }
    for (size_t i = 0; i < 6; i++)
        put(i, 112, i < 5 ? 112 : 20, peer(&u, 1), u.tokens[0]);
    say_run(&u, udp_addr(0), 5 * 112 + 20, 112);
    assert_int_equal(outs.count, 2);
    assert_out(&u, 0, 0, 1, 0, 3);
    assert_out(&u, 1, 0, 1, 5, 1);
    assert_int_equal(REFUSED(&u, "sender_quota"), 2);
    say_run(&u, udp_addr(0), 5 * 112 + 20, 112);
    assert_int_equal(outs.count, 0);
    assert_int_equal(REFUSED(&u, "sender_quota"), 8);
    /* Where the first ones are too much, what can go still goes. */
    u.k.now += 50 * MSEC; /* 50 bytes */
    say_run(&u, udp_addr(0), 5 * 112 + 20, 112);
    assert_int_equal(outs.count, 1);
    assert_out(&u, 0, 0, 1, 5, 1);
    udp_done(&u);
}

static void a_strangers_run_is_answered_once(void **state)
{
    struct udp_kit u;
    begin(&u, 6, 2, 0);
    for (size_t i = 0; i < 64; i++)
        put(i, 100, 100, peer(&u, 1), u.tokens[0]);
    say_run(&u, udp_addr(9), 6400, 100);
    assert_int_equal(outs.count, 1);
    assert_int_equal(outs.at[0].n, UDP_RELAY_SMALL_LEN);
    assert_int_equal(REFUSED(&u, "no_binding"), 64);
    /* From where nobody can be: nothing. */
    say_run(&u, net_addr4(0xffffffff, 9), 6400, 100);
    assert_int_equal(outs.count, 0);
    assert_int_equal(REFUSED(&u, "unreadable"), 64);
    udp_done(&u);
}

static void what_was_not_asked_for_is_dropped(void **state)
{
    struct udp_kit u;
    struct hub_udp_out out;
    begin(&u, 7, 3, 0);
    put(0, 60, 60, peer(&u, 1), u.tokens[0]);
    put(1, 60, 60, peer(&u, 2), u.tokens[0]);
    struct hub_udp_in in = {.from = udp_addr(0), .p = run, .n = 120, .segment = 60};
    hub_udp_input(u.k.hub, &in, u.k.now);
    hub_udp(u.k.hub, 0, &in.from, run, 0, u.k.now);
    assert_false(hub_udp_next(u.k.hub, &out));
    hub_udp_input(u.k.hub, &in, u.k.now);
    assert_int_equal(REFUSED(&u, "token"), 1); /* it was rewritten */
    udp_done(&u);
}

/* Whatever stands in a run: what comes out is what comes of its datagrams one by one. */
static void runs_and_datagrams_come_to_the_same(void **state)
{
    struct udp_kit a, b;
    begin(&a, 8, 4, 100000);
    begin(&b, 8, 4, 100000);
    assert_int_equal(a.tokens[0], b.tokens[0]);
    for (int round = 0; round < 400; round++) {
        size_t segment = 12 + rng_u32(&a.k.rng) % 200, count = 1 + rng_u32(&a.k.rng) % 30, out = 0, at = 0;
        size_t n = segment * (count - 1) + 1 + rng_u32(&a.k.rng) % segment;
        for (size_t i = 0; i < count; i++) {
            uint32_t dice = rng_u32(&a.k.rng) % 16;
            put(i, segment, segment, peer(&a, 1 + (int)(dice == 1) + 2 * (int)(dice == 2)),
                a.tokens[0] ^ (dice == 3));
            if (dice == 4)
                run[i * segment + 1] = (uint8_t)(rng_u32(&a.k.rng) % 10);
        }
        a.k.now += 3 * MSEC;
        b.k.now = a.k.now;
        static uint8_t whole[RUN_MAX];
        memcpy(whole, run, n);
        say_run(&a, udp_addr(0), n, segment);
        for (size_t i = 0; i < n; i += segment) {
            struct net_addr from = udp_addr(0);
            size_t len = n - i < segment ? n - i : segment;
            say(&b, 0, &from, whole + i, len);
            if (b.r.n == 0 || b.r.m.kind != UDP_RELAY_DATA)
                continue;
            while (out < outs.count && !outs.at[out].in_place)
                out++;
            assert_true(out < outs.count);
            assert_true(net_addr_equal(&outs.at[out].to, &b.r.to));
            assert_memory_equal(outs.at[out].bytes + at, b.r.bytes, b.r.n);
            at += b.r.n;
            if (at == outs.at[out].n) {
                at = 0;
                out++;
            }
        }
        while (out < outs.count && !outs.at[out].in_place)
            out++;
        assert_int_equal(out, outs.count);
        assert_int_equal(at, 0);
    }
    static const char *const same[] = {"warren_hub_udp_frames_total", "warren_hub_udp_bytes_total",
                                       "warren_hub_udp_refused_total{reason=\"token\"}",
                                       "warren_hub_udp_refused_total{reason=\"unreadable\"}",
                                       "warren_hub_udp_refused_total{reason=\"sender_quota\"}"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(metric(&a, same[i]), metric(&b, same[i]));
        assert_true(metric(&a, same[i]) > 0);
    }
    udp_done(&a);
    udp_done(&b);
}

/* ---- shares ---- */

/* A hub that passes `room` bytes a turn of 10 ms; the rest the kernel drops, and says so. Node 0 offers
 * `flood` bytes a turn, node 2 `little`, both to node 1. How much of each the hub gave to the kernel in the
 * last turn. */
struct offered {
    size_t flood, little, room;
};

static size_t offer(struct udp_kit *u, int from, size_t bytes)
{
    size_t went = 0;
    for (size_t at = 0; at < bytes; at += 10000) {
        for (size_t i = 0; i < 10; i++)
            put(i, 1000, 1000, peer(u, 1), u->tokens[from]);
        say_run(u, udp_addr(from), 10000, 1000);
        for (size_t i = 0; i < outs.count; i++)
            went += outs.at[i].n;
    }
    return went;
}

static void turn(struct udp_kit *u, const struct offered *o, size_t went[2])
{
    went[0] = offer(u, 0, o->flood);
    went[1] = offer(u, 2, o->little);
    if (went[0] + went[1] > o->room)
        hub_udp_pressed(u->k.hub, u->k.now);
    u->k.now += 10 * MSEC;
}

static void a_flood_does_not_starve_others(void **state)
{
    struct udp_kit u;
    size_t went[2], pressed = 0;
    const struct offered o = {.flood = 2000000, .little = 100000, .room = 500000};
    begin(&u, 9, 3, 0);
    turn(&u, &o, went);
    assert_int_equal(went[0], o.flood); /* nothing is known yet */
    assert_int_equal(went[1], o.little);
    for (int i = 0; i < 10; i++)
        turn(&u, &o, went);
    for (int i = 0; i < 300; i++) {
        turn(&u, &o, went);
        assert_int_equal(went[1], o.little); /* never pressed */
        assert_true(went[0] >= 200000);      /* nor is the flood cut off */
        pressed += went[0] + went[1] > o.room;
    }
    assert_in_range(pressed, 5, 40); /* now and then it is tried whether more would go */
    assert_true(REFUSED(&u, "share") > 0);
    /* The flood ends: what is left is nobody's loss, and soon there is no limit. */
    const struct offered calm = {.flood = 400000, .little = 100000, .room = 500000};
    for (int i = 0; i < 100; i++)
        turn(&u, &calm, went);
    uint64_t refused = REFUSED(&u, "share");
    for (int i = 0; i < 100; i++)
        turn(&u, &calm, went);
    assert_int_equal(REFUSED(&u, "share"), refused);
    udp_done(&u);
}

static void equals_are_pressed_alike(void **state)
{
    struct udp_kit u;
    size_t went[2], sum[2] = {0};
    const struct offered o = {.flood = 1000000, .little = 1000000, .room = 500000};
    begin(&u, 10, 3, 0);
    for (int i = 0; i < 200; i++) {
        turn(&u, &o, went);
        sum[0] += i < 20 ? 0 : went[0];
        sum[1] += i < 20 ? 0 : went[1];
    }
    assert_int_equal(sum[0], sum[1]);
    assert_true(sum[0] > 180 * 150000u && sum[0] < 180 * 300000u);
    udp_done(&u);
}

/* Alone, the kernel's own drops do. */
static void who_is_alone_has_all(void **state)
{
    struct udp_kit u;
    size_t went[2];
    const struct offered o = {.flood = 2000000, .little = 0, .room = 500000};
    begin(&u, 11, 3, 0);
    for (int i = 0; i < 50; i++) {
        turn(&u, &o, went);
        assert_int_equal(went[0], o.flood);
    }
    assert_int_equal(REFUSED(&u, "share"), 0);
    /* And again, a second after the other's last word. */
    const struct offered both = {.flood = 2000000, .little = 10000, .room = 500000};
    for (int i = 0; i < 20; i++)
        turn(&u, &both, went);
    assert_true(went[0] < o.flood);
    for (int i = 0; i < 120; i++)
        turn(&u, &o, went);
    assert_int_equal(went[0], o.flood);
    udp_done(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_goes_on_as_one),
        cmocka_unit_test(mixed_peers_split_a_run),
        cmocka_unit_test(bad_datagrams_inside_a_run),
        cmocka_unit_test(other_messages_inside_a_run),
        cmocka_unit_test(the_quota_ends_in_the_middle_of_a_run),
        cmocka_unit_test(a_strangers_run_is_answered_once),
        cmocka_unit_test(what_was_not_asked_for_is_dropped),
        cmocka_unit_test(runs_and_datagrams_come_to_the_same),
        cmocka_unit_test(a_flood_does_not_starve_others),
        cmocka_unit_test(equals_are_pressed_alike),
        cmocka_unit_test(who_is_alone_has_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
