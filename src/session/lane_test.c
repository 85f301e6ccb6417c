/* Lanes by themselves, and under two real sessions whose packets somebody else carries.
 *
 * The week: 10 Gbit/s in packets of 1400 B are 892,857 packets/s, so 5.4e11 (about 2^39) in a week, under one
 * key at most 2^32 of them or 2^36 bytes. The bytes come first, after 55 s: some 11,000 rekeys a week; by
 * packets alone it would be one each 80 minutes, 126 a week. Nobody waits a week: the counters are set to
 * just before each limit. */
#include <errno.h>
#include <pthread.h>

#include "crypto/init.h"
#include "session/pair_int.h"

#define TWO32 ((uint64_t)1 << 32)
#define TWO48 ((uint64_t)1 << 48)

/* ---- Two lanes. */

struct lanes {
    struct lane *l[2];
    uint8_t key[2][AEAD_KEY_LEN];
    enum aead_alg alg;
};

static void lanes_open(struct lanes *t, enum aead_alg alg)
{
    t->alg = alg;
    for (size_t i = 0; i < AEAD_KEY_LEN; i++) {
        t->key[0][i] = (uint8_t)(i * 7 + 1);
        t->key[1][i] = (uint8_t)(i * 5 + 3);
    }
    for (uint32_t i = 0; i < 2; i++) {
        const struct lane_config c = {.alg = alg,
                                      .tx_key = t->key[i],
                                      .rx_key = t->key[!i],
                                      .epoch = 0xa5,
                                      .index = 0x11111111u + i,
                                      .peer_index = 0x11111111u + !i};
        t->l[i] = lane_new(&c);
        assert_non_null(t->l[i]);
        assert_int_equal(lane_index(t->l[i]), 0x11111111u + i);
        assert_int_equal(lane_epoch(t->l[i]), 0xa5);
    }
}

static void lanes_close(struct lanes *t)
{
    lane_drop(t->l[0]);
    lane_drop(t->l[1]);
}

struct packet {
    size_t n;
    uint8_t p[DATA_OVERHEAD + 64];
};

static const struct inner_header inner_plain = {INNER_FRAME, INNER_PARTIAL, 0xcafe};

static void seal_at(struct lane *l, unsigned user, uint64_t counter, const char *text, struct packet *out)
{
    size_t n = strlen(text);
    assert_true(n <= 64);
    memcpy(out->p + DATA_HEADROOM, text, n);
    assert_int_equal(lane_seal(l, user, counter, &inner_plain, out->p, n), 0);
    out->n = n + DATA_OVERHEAD;
}

/* As a worker does it; marks what it opened. */
static enum lane_verdict open_with(struct lane *l, unsigned user, const struct packet *in, const char *text)
{
    struct packet copy = *in;
    struct data_header h;
    assert_int_equal(data_header_read(&h, bytes_of(copy.p, copy.n)), 0);
    lane_lock(l);
    enum lane_verdict v = lane_open(l, user, &h, copy.p, copy.n);
    if (v == LANE_OPEN)
        lane_mark(l, h.counter);
    lane_unlock(l);
    if (v != LANE_OPEN)
        return v;
    struct inner_header inner;
    size_t n = copy.n - DATA_HEADER_LEN - DATA_TAG_LEN;
    assert_int_equal(inner_header_read(&inner, bytes_of(copy.p + DATA_HEADER_LEN, n)), 0);
    assert_int_equal(inner.kind, inner_plain.kind);
    assert_int_equal(inner.flags, inner_plain.flags);
    assert_int_equal(inner.party, inner_plain.party);
    assert_int_equal(n - INNER_HEADER_LEN, strlen(text));
    assert_memory_equal(copy.p + DATA_HEADROOM, text, strlen(text));
    lane_opened(l, 1, strlen(text), true);
    return v;
}

/* The packet again by the primitives alone: header, nonce, tag. */
static void expect_bytes(const struct lanes *t, int from, uint64_t counter, const char *text,
                         const struct packet *got)
{
    struct packet want = {.n = DATA_OVERHEAD + strlen(text)};
    uint8_t nonce[AEAD_NONCE_LEN] = {0};
    const uint8_t head[8] = {4, 0xa5, 0, 0, 0x11, 0x11, 0x11, (uint8_t)(0x11 + !from)};
    memcpy(want.p, head, sizeof head);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] = want.p[8 + i] = (uint8_t)(counter >> (56 - 8 * i));
    const uint8_t inner[8] = {INNER_FRAME, INNER_PARTIAL, 0, 0, 0, 0, 0xca, 0xfe};
    memcpy(want.p + 16, inner, sizeof inner);
    memcpy(want.p + 24, text, strlen(text));
    struct aead *a = aead_new(t->alg, t->key[from]);
    assert_non_null(a);
    size_t n = 8 + strlen(text);
    assert_int_equal(aead_seal(a, nonce, bytes_of(want.p, 16), want.p + 16, n, want.p + 16 + n), 0);
    aead_free(a);
    assert_int_equal(got->n, want.n);
    assert_memory_equal(got->p, want.p, want.n);
}

/* Every user seals for every user; at each of the counters where a shorter number would wrap. */
static void test_bytes(void **state)
{
    static const uint64_t at[] = {0,         1,         255,   256,       TWO32 - 1,  TWO32,
                                  TWO32 + 1, TWO48 - 1, TWO48, TWO48 + 1, 1ull << 63, UINT64_MAX - 1};
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++) {
        struct lanes t;
        struct packet p;
        lanes_open(&t, (enum aead_alg)alg);
        for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
            for (int from = 0; from < 2; from++) {
                unsigned user = (unsigned)(i + 8 * (size_t)from) % LANE_USERS_MAX;
                seal_at(t.l[from], user, at[i], "some text", &p);
                expect_bytes(&t, from, at[i], "some text", &p);
                assert_int_not_equal(open_with(t.l[from], 1, &p, ""), LANE_OPEN); /* not back to its sender */
                assert_int_equal(open_with(t.l[!from], LANE_USERS_MAX - 1 - user, &p, "some text"),
                                 LANE_OPEN);
                assert_int_equal(open_with(t.l[!from], user, &p, ""), LANE_SEEN);
            }
        lanes_close(&t);
    }
}

static void test_flips(void **state)
{
    struct lanes t;
    struct packet p;
    lanes_open(&t, AEAD_AES256GCM);
    seal_at(t.l[0], 0, 77, "flip me", &p);
    for (size_t bit = 0; bit < p.n * 8; bit++) {
        struct packet bad = p;
        struct data_header h;
        bad.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (data_header_read(&h, bytes_of(bad.p, bad.n)) < 0)
            continue;
        assert_int_equal(open_with(t.l[1], 3, &bad, ""), LANE_BAD_TAG);
    }
    assert_int_equal(open_with(t.l[1], 3, &p, "flip me"), LANE_OPEN);
    lanes_close(&t);
}

/* The window on both sides of where counters need another bit: whatever order, once each, and nothing that is
 * older. */
static void test_window(void **state)
{
    static const uint64_t crossings[] = {TWO32, TWO48, REPLAY_WINDOW, 2 * REPLAY_WINDOW + 64};
    for (size_t c = 0; c < sizeof crossings / sizeof crossings[0]; c++) {
        struct lanes t;
        struct packet p[41], ahead;
        uint64_t first = crossings[c] - 20;
        lanes_open(&t, AEAD_AES256GCM);
        for (uint64_t i = 0; i < 41; i++)
            seal_at(t.l[0], (unsigned)(i % 5), first + i, "in the window", &p[i]);
        /* 13 is prime to 41: all of them, far from in order. */
        for (uint64_t i = 0; i < 41; i++) {
            assert_int_equal(open_with(t.l[1], (unsigned)(i % 3), &p[i * 13 % 41], "in the window"),
                             LANE_OPEN);
            assert_int_equal(open_with(t.l[1], 4, &p[i * 13 % 41], ""), LANE_SEEN);
        }
        for (uint64_t i = 0; i < 41; i++)
            assert_int_equal(open_with(t.l[1], 0, &p[i], ""), LANE_SEEN);
        seal_at(t.l[0], 0, first + REPLAY_WINDOW, "ahead", &ahead);
        assert_int_equal(open_with(t.l[1], 0, &ahead, "ahead"), LANE_OPEN);
        assert_int_equal(open_with(t.l[1], 0, &p[0], ""), LANE_OLD);
        assert_int_equal(open_with(t.l[1], 0, &p[1], ""), LANE_SEEN);
        /* One behind the crossing that was never seen is fresh where the window still covers it, old where
         * not. */
        struct packet late;
        seal_at(t.l[0], 0, crossings[c] + 30, "late", &late);
        assert_int_equal(open_with(t.l[1], 0, &late, "late"), LANE_OPEN);
        seal_at(t.l[0], 0, first - 1, "too late", &late);
        assert_int_equal(open_with(t.l[1], 0, &late, ""), LANE_OLD);
        lanes_close(&t);
    }
}

/* Whoever marks nothing may open again: marking is the judge's. */
static void test_unmarked(void **state)
{
    struct lanes t;
    struct packet p, copy;
    struct data_header h;
    lanes_open(&t, AEAD_AES256GCM);
    seal_at(t.l[0], 0, 5, "x", &p);
    for (int i = 0; i < 2; i++) {
        copy = p;
        assert_int_equal(data_header_read(&h, bytes_of(copy.p, copy.n)), 0);
        lane_lock(t.l[1]);
        assert_int_equal(lane_open(t.l[1], 1, &h, copy.p, copy.n), LANE_OPEN);
        lane_unlock(t.l[1]);
    }
    lanes_close(&t);
}

/* ---- Counters. */

static void test_take(void **state)
{
    static const struct {
        uint64_t at, n, most;
        bool good;
    } rows[] = {
        {0, 1, 1, true},
        {0, 1, 0, false},
        {0, 64, 64, true},
        {0, 64, 63, false},
        {TWO32 - 1, 1, TWO48, true},
        {TWO32 - 3, 64, TWO48, true},
        {TWO48 - 1, 1, TWO48, true},
        {TWO48, 1, TWO48, false},
        {TWO48 + 1, 1, TWO48, false},
        {TWO48 - 63, 64, TWO48, false},
        {TWO48 - 64, 64, TWO48, true},
        {TWO48, 1, TWO48 + CONTROL_RESERVE, true},
        {TWO48 + CONTROL_RESERVE - 1, 1, TWO48 + CONTROL_RESERVE, true},
        {TWO48 + CONTROL_RESERVE, 1, TWO48 + CONTROL_RESERVE, false},
        {UINT64_MAX - 10, 11, UINT64_MAX, false}, /* never around */
        {UINT64_MAX, 2, UINT64_MAX, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lanes t;
        struct lane_totals now;
        uint64_t first = 99;
        lanes_open(&t, AEAD_AES256GCM);
        lane_start_at(t.l[0], rows[i].at);
        int rc = lane_take(t.l[0], rows[i].n, rows[i].most, &first);
        lane_totals(t.l[0], &now);
        assert_int_equal(rc, rows[i].good ? 0 : -EKEYEXPIRED);
        assert_true(now.counter == rows[i].at + (rows[i].good ? rows[i].n : 0));
        assert_true(first == (rows[i].good ? rows[i].at : 99));
        lanes_close(&t);
    }
}

#define TAKERS 6
#define TAKES  20000
struct taker {
    struct lane *l;
    unsigned user;
    uint64_t first[TAKES], n[TAKES];
    size_t took, refused;
    uint64_t most;
    pthread_barrier_t *start;
};

static void *take_many(void *arg)
{
    struct taker *t = arg;
    pthread_barrier_wait(t->start);
    for (size_t i = 0; i < TAKES; i++) {
        uint64_t n = 1 + (i * 7 + t->user) % 64;
        if (lane_take(t->l, n, t->most, &t->first[t->took]) == 0)
            t->n[t->took++] = n;
        else
            t->refused++;
    }
    return NULL;
}

/* Several at once across a limit: each counter is somebody's once, none is lost, none lies behind the limit.
 */
static void take_together(uint64_t from, uint64_t most, bool refused)
{
    static struct taker takers[TAKERS]; /* large */
    pthread_t threads[TAKERS];
    pthread_barrier_t start;
    struct lanes t;
    struct lane_totals end;
    pthread_barrier_init(&start, NULL, TAKERS);
    lanes_open(&t, AEAD_AES256GCM);
    lane_start_at(t.l[0], from);
    for (unsigned i = 0; i < TAKERS; i++) {
        takers[i] = (struct taker){.l = t.l[0], .user = i + 1, .most = most, .start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &takers[i]), 0);
    }
    uint64_t total = 0;
    size_t refusals = 0;
    for (size_t i = 0; i < TAKERS; i++) {
        pthread_join(threads[i], NULL);
        refusals += takers[i].refused;
        for (size_t k = 0; k < takers[i].took; k++)
            total += takers[i].n[k];
    }
    pthread_barrier_destroy(&start);
    lane_totals(t.l[0], &end);
    assert_true(end.counter == from + total && end.counter <= most);
    assert_int_equal(refusals > 0, refused);
    uint8_t *used = calloc(1, total);
    assert_non_null(used);
    for (size_t i = 0; i < TAKERS; i++)
        for (size_t k = 0; k < takers[i].took; k++)
            for (uint64_t j = 0; j < takers[i].n[k]; j++) {
                uint64_t at = takers[i].first[k] + j - from;
                assert_true(at < total);
                assert_int_equal(used[at]++, 0);
            }
    free(used);
    lanes_close(&t);
}

static void test_take_together(void **state)
{
    take_together(TWO32 - 100000, TWO48, false);
    take_together(TWO48 - 100000, TWO48, true);
}

/* Sealing and opening by several at once: each user has contexts of its own. */
struct mate {
    struct lane *from, *to;
    unsigned user;
    size_t opened, seen;
};

static void *seal_and_open(void *arg)
{
    struct mate *m = arg;
    for (int i = 0; i < 300; i++) {
        struct packet p;
        struct data_header h;
        uint64_t counter;
        memcpy(p.p + DATA_HEADROOM, "0123456789", 10);
        if (lane_take(m->from, 1, TWO48, &counter) < 0 ||
            lane_seal(m->from, m->user, counter, &inner_plain, p.p, 10) < 0)
            break;
        lane_sealed(m->from, 1, 10, true);
        p.n = DATA_OVERHEAD + 10;
        for (int again = 0; again < 2; again++) {
            struct packet copy = p;
            if (data_header_read(&h, bytes_of(copy.p, copy.n)) < 0)
                break;
            lane_lock(m->to);
            enum lane_verdict v = lane_open(m->to, m->user, &h, copy.p, copy.n);
            if (v == LANE_OPEN)
                lane_mark(m->to, h.counter);
            lane_unlock(m->to);
            if (v == LANE_OPEN)
                lane_opened(m->to, 1, 10, true);
            m->opened += v == LANE_OPEN;
            m->seen += v == LANE_SEEN;
        }
    }
    return NULL;
}

static void test_together(void **state)
{
    struct mate mates[TAKERS];
    pthread_t threads[TAKERS];
    struct lanes t;
    struct lane_totals tx, rx;
    lanes_open(&t, AEAD_AES256GCM);
    lane_start_at(t.l[0], TWO32 - 500);
    for (unsigned i = 0; i < TAKERS; i++) {
        mates[i] = (struct mate){.from = lane_hold(t.l[0]), .to = lane_hold(t.l[1]), .user = i};
        assert_int_equal(pthread_create(&threads[i], NULL, seal_and_open, &mates[i]), 0);
    }
    for (size_t i = 0; i < TAKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(mates[i].opened, 300);
        assert_int_equal(mates[i].seen, 300);
        lane_drop(mates[i].from);
        lane_drop(mates[i].to);
    }
    lane_totals(t.l[0], &tx);
    lane_totals(t.l[1], &rx);
    assert_true(tx.counter == TWO32 - 500 + 300 * TAKERS);
    assert_int_equal(tx.tx_packets, 300 * TAKERS);
    assert_int_equal(tx.tx_bytes, 3000 * TAKERS);
    assert_int_equal(tx.sealed_bytes, 18 * 300 * TAKERS);
    assert_int_equal(rx.rx_packets, 300 * TAKERS);
    assert_int_equal(rx.rx_bytes, 3000 * TAKERS);
    assert_int_equal(rx.opened, 300 * TAKERS);
    assert_int_equal(rx.opened_bytes, 18 * 300 * TAKERS);
    lanes_close(&t);
}

/* ---- Under two sessions: somebody else, user 3, carries the payload. */

/* What was sealed, so that no key and counter come twice. */
#define SEALED_MAX 4096
struct nonces {
    size_t n;
    struct {
        int from;
        uint8_t epoch;
        uint64_t counter;
    } at[SEALED_MAX];
};

static void nonce_once(struct nonces *seen, int from, const uint8_t *p)
{
    struct data_header h;
    assert_int_equal(data_header_read(&h, bytes_of(p, DATA_OVERHEAD)), 0);
    for (size_t i = 0; i < seen->n; i++)
        assert_false(seen->at[i].from == from && seen->at[i].epoch == h.epoch &&
                     seen->at[i].counter == h.counter);
    assert_true(seen->n < SEALED_MAX);
    seen->at[seen->n].from = from;
    seen->at[seen->n].epoch = h.epoch;
    seen->at[seen->n++].counter = h.counter;
}

static struct session_lanes lanes_of(struct pair *p, int i)
{
    struct session_lanes l;
    assert_true(session_lanes(p->s[i], &l));
    return l;
}

static int worker_seal(struct pair *p, int from, struct packet *out)
{
    struct session_lanes l = lanes_of(p, from);
    uint64_t counter;
    int rc = lane_take(l.tx, 1, l.most, &counter);
    if (rc < 0)
        return rc;
    seal_at(l.tx, 3, counter, "by a worker", out);
    lane_sealed(l.tx, 1, 11, true);
    return 0;
}

static enum lane_verdict worker_open(struct pair *p, int at, const struct packet *in)
{
    struct session_lanes l = lanes_of(p, at);
    for (size_t i = 0; i < SESSION_LANES_MAX; i++)
        if (l.rx[i] && lane_epoch(l.rx[i]) == in->p[1])
            return open_with(l.rx[i], 3, in, "by a worker");
    return LANE_NO_MEMORY; /* no such epoch */
}

static uint32_t epoch_of(struct pair *p, int i)
{
    struct session_info info;
    session_info(p->s[i], &info);
    return info.epoch;
}

static void used(struct pair *p)
{
    for (int i = 0; i < 2; i++)
        session_lanes_used(p->s[i], p->now);
}

/* Both ends' payload goes by workers while what the sessions say is carried with a delay of some packets;
 * every packet arrives, no nonce comes twice. who: whose counter (or bytes) passes the limit. Returns what
 * was sealed before the new epoch came up at both. */
static size_t carry_until_rekeyed(struct pair *p, struct nonces *seen, uint32_t epoch)
{
    size_t sent = 0;
    struct packet held[2][3];
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 2; i++) {
            /* Three under way at a time: some of the old epoch come when the new one is there. */
            struct packet next;
            assert_int_equal(worker_seal(p, i, &next), 0);
            nonce_once(seen, i, next.p);
            if (round >= 3)
                assert_int_equal(worker_open(p, !i, &held[i][round % 3]), LANE_OPEN);
            held[i][round % 3] = next;
            sent++;
        }
        used(p);
        if (round % 5 == 4) {
            p->now += 25 * MSEC;
            for (int i = 0; i < 2; i++) {
                session_tick(p->s[i], p->now);
                struct tray t = {.n = 0};
                pair_collect(p, i, &t);
                for (size_t k = 0; k < t.n; k++) {
                    nonce_once(seen, i, t.letters[k].p);
                    assert_int_equal(pair_give(p, !i, &t.letters[k]), DROP_NONE);
                }
                tray_clear(&t);
            }
        }
        if (epoch_of(p, 0) == epoch && epoch_of(p, 1) == epoch && round > 30) {
            for (int i = 0; i < 2; i++)
                for (int k = 0; k < 3; k++)
                    assert_int_equal(worker_open(p, !i, &held[i][k]), LANE_OPEN);
            return sent;
        }
    }
    fail_msg("no rekey");
    return 0;
}

/* 2^32 packets, with the limits as they are shipped: whoever's counter it is, a rekey follows, and nothing is
 * lost. */
static void test_rekey_at_2_32(void **state)
{
    for (int who = 0; who < 2; who++) {
        struct pair p;
        struct nonces *seen = calloc(1, sizeof *seen);
        assert_non_null(seen);
        pair_up(&p, 300 + (uint64_t)who);
        assert_true(p.limits.rekey_packets == TWO32);
        lane_start_at(lanes_of(&p, who).tx, TWO32 - 10);
        for (int i = 0; i < 8; i++) {
            struct packet a;
            assert_int_equal(worker_seal(&p, who, &a), 0);
            nonce_once(seen, who, a.p);
            assert_int_equal(worker_open(&p, !who, &a), LANE_OPEN);
            used(&p);
            pair_wait(&p, p.now + 25 * MSEC);
            assert_int_equal(p.s[0]->rekey.state, REKEY_IDLE);
            assert_false(p.s[0]->rekey.wanted || p.s[1]->rekey.wanted);
        }
        size_t sent = carry_until_rekeyed(&p, seen, 1);
        assert_true(sent > 60);
        struct lane_totals t;
        lane_totals(p.s[who]->keys[KEYS_PREVIOUS]->lane, &t);
        assert_true(t.counter > TWO32);
        lane_totals(p.s[who]->keys[KEYS_CURRENT]->lane, &t);
        assert_true(t.counter > 0 && t.counter < 1000);
        /* The sessions themselves go on, too. */
        pair_run(&p);
        pair_talk(&p, 0, "to");
        pair_talk(&p, 1, "fro");
        pair_done(&p);
        free(seen);
    }
}

/* Limits of a handful, packets and bytes, time after time: the epoch byte wraps once. */
static void test_many_rekeys(void **state)
{
    for (int row = 0; row < 2; row++) {
        struct pair p;
        pair_init(&p, 310 + (uint64_t)row);
        if (row == 0)
            p.limits.rekey_packets = 12;
        else
            p.limits.rekey_bytes = 12 * 19;
        pair_renew(&p, 0);
        pair_renew(&p, 1);
        assert_int_equal(session_start(p.s[0], p.now), 0);
        pair_run(&p);
        for (uint32_t epoch = 1; epoch <= (row == 0 ? 260u : 20u); epoch++) {
            struct nonces *seen = calloc(1, sizeof *seen);
            assert_non_null(seen);
            p.now += SEC;
            carry_until_rekeyed(&p, seen, epoch);
            pair_drain(&p, 0);
            pair_drain(&p, 1);
            free(seen);
        }
        pair_done(&p);
    }
}

/* 2^48 packets under one key: payload is refused, a rekey is not, and a long run that is refused takes
 * nothing of what the rekey needs. */
static void test_stop_at_2_48(void **state)
{
    for (int who = 0; who < 2; who++) {
        struct pair p;
        struct packet a;
        uint8_t buf[DATA_OVERHEAD + 1] = {0};
        uint64_t first;
        pair_up(&p, 320 + (uint64_t)who);
        struct session_lanes l = lanes_of(&p, who);
        assert_true(l.most == TWO48);
        /* A run that does not fit leaves the shorter ones their counters. */
        lane_start_at(l.tx, TWO48 - 40);
        assert_int_equal(lane_take(l.tx, 64, l.most, &first), -EKEYEXPIRED);
        assert_int_equal(lane_take(l.tx, 38, l.most, &first), 0);
        assert_true(first == TWO48 - 40);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(worker_seal(&p, who, &a), 0);
            assert_int_equal(worker_open(&p, !who, &a), LANE_OPEN);
        }
        for (int i = 0; i < 10; i++) {
            assert_int_equal(worker_seal(&p, who, &a), -EKEYEXPIRED);
            assert_int_equal(lane_take(l.tx, 60000, l.most, &first), -EKEYEXPIRED);
        }
        assert_int_equal(session_seal(p.s[who], INNER_FRAME, 0, buf, 1, p.now), -EKEYEXPIRED);
        /* The sealer itself notices at the next look: there are counters left for just that. */
        used(&p);
        pair_wait(&p, p.now);
        pair_run(&p);
        assert_int_equal(epoch_of(&p, 0), 1);
        assert_int_equal(epoch_of(&p, 1), 1);
        l = lanes_of(&p, who);
        struct lane_totals t;
        lane_totals(l.tx, &t);
        assert_true(t.counter < 100);
        assert_int_equal(worker_seal(&p, who, &a), 0);
        assert_int_equal(worker_open(&p, !who, &a), LANE_OPEN);
        assert_int_equal(session_seal(p.s[who], INNER_FRAME, 0, buf, 1, p.now), 0);
        pair_done(&p);
    }
}

/* The limits hold a week of 10 Gbit/s, with room. */
static void test_week(void **state)
{
    const struct session_limits *l = &session_limits_default;
    uint64_t second = 10000000000u / 8 / 1400, week = second * 7 * 24 * 3600;
    assert_true(week > 539000000000u && week < 541000000000u); /* 5.4e11, between 2^38 and 2^39 */
    assert_true(week > ((uint64_t)1 << 38) && week < ((uint64_t)1 << 39));
    assert_int_equal(week / l->rekey_packets, 125); /* by packets alone: each 4810 s */
    uint64_t by_bytes = l->rekey_bytes / (second * (1400 + INNER_HEADER_LEN));
    assert_int_equal(by_bytes, 54); /* seconds: before time (300 s) and packets */
    assert_true(by_bytes * SEC < l->rekey_after && by_bytes * SEC > 10 * l->rekey_retry);
    /* A key whose rekey never succeeded would last for that week 500 times over; the epoch's 32 bits for 7000
     * years. */
    assert_true(l->seal_max / week > 500);
    assert_true((uint64_t)UINT32_MAX * by_bytes / (365u * 86400u) > 7000);
    /* What workers take until the session looks (25 ms; say a second at ten times the speed) is small beside
     * the limits. */
    assert_true(10 * second < l->rekey_packets / 400);
    assert_true(l->rekey_packets + 10 * second < l->seal_max);
    /* AES-GCM with 96-bit nonces that are counters: the bound on one key is of blocks (2^64 birthday);
     * rekey_bytes is 2^32. */
    assert_true(l->rekey_bytes / 16 <= TWO32);
    /* The epoch's byte on the wire comes again after 256 rekeys; only three epochs are ever open. */
    assert_true(256 * by_bytes * SEC > 3 * l->rekey_after);
}

/* ---- What the session learns from lanes that others used. */

/* The responder's next epoch, opened by a worker alone, becomes current; the initiator hears it likewise. */
static void test_confirmed_by_workers(void **state)
{
    struct pair p;
    struct packet a;
    pair_up(&p, 340);
    assert_int_equal(session_rekey(p.s[0], p.now), 0);
    struct tray t = {.n = 0};
    for (int i = 0; i < 2; i++) { /* INIT, REPLY; DONE is lost */
        pair_collect(&p, i, &t);
        for (size_t k = 0; k < t.n; k++)
            assert_int_equal(pair_give(&p, !i, &t.letters[k]), DROP_NONE);
        tray_clear(&t);
    }
    pair_collect(&p, 0, &t);
    assert_true(t.n > 0);
    tray_clear(&t);
    assert_int_equal(p.s[0]->rekey.state, REKEY_CONFIRM);
    assert_int_equal(p.s[1]->rekey.state, REKEY_ANSWERED);
    assert_int_equal(epoch_of(&p, 0), 1);
    assert_int_equal(epoch_of(&p, 1), 0);
    pair_expect(&p, 0, SESSION_REKEYED);

    /* Nothing was used: nothing changes. */
    used(&p);
    assert_int_equal(epoch_of(&p, 1), 0);
    assert_int_equal(p.s[0]->rekey.state, REKEY_CONFIRM);
    /* The responder still seals the old epoch, which the initiator's worker opens: no confirmation of the new
     * one. */
    assert_int_equal(worker_seal(&p, 1, &a), 0);
    assert_int_equal(a.p[1], 0);
    assert_int_equal(worker_open(&p, 0, &a), LANE_OPEN);
    used(&p);
    assert_int_equal(p.s[0]->rekey.state, REKEY_CONFIRM);
    assert_int_equal(epoch_of(&p, 1), 0);

    assert_int_equal(worker_seal(&p, 0, &a), 0);
    assert_int_equal(a.p[1], 1);
    assert_int_equal(worker_open(&p, 1, &a), LANE_OPEN);
    assert_int_equal(epoch_of(&p, 1), 0); /* not before the session was told */
    session_lanes_used(p.s[1], p.now);
    assert_int_equal(epoch_of(&p, 1), 1);
    assert_int_equal(p.s[1]->rekey.state, REKEY_IDLE);
    assert_memory_equal(p.s[0]->chain, p.s[1]->chain, sizeof p.s[0]->chain);
    assert_int_equal(pair_expect(&p, 1, SESSION_REKEYED).epoch, 1);
    assert_int_equal(worker_open(&p, 1, &a), LANE_SEEN);

    assert_int_equal(worker_seal(&p, 1, &a), 0);
    assert_int_equal(a.p[1], 1);
    assert_int_equal(worker_open(&p, 0, &a), LANE_OPEN);
    assert_int_equal(p.s[0]->rekey.state, REKEY_CONFIRM);
    session_lanes_used(p.s[0], p.now);
    assert_int_equal(p.s[0]->rekey.state, REKEY_IDLE);
    /* Said once. */
    session_lanes_used(p.s[1], p.now);
    pair_expect_none(&p, 1);
    pair_expect_none(&p, 0);
    pair_done(&p);
}

/* The responder keeps its answers to the handshake until the initiator was heard: by a worker counts, too. */
static void test_caches_let_go(void **state)
{
    struct pair p;
    struct packet a;
    pair_new(&p, 350);
    assert_int_equal(session_start(p.s[0], p.now), 0);
    while (session_state(p.s[0]) != SESSION_UP_STATE || session_state(p.s[1]) != SESSION_UP_STATE)
        for (int i = 0; i < 2; i++) {
            struct tray t = {.n = 0};
            pair_collect(&p, i, &t);
            for (size_t k = 0; k < t.n; k++)
                if (t.letters[k].handshake) /* the first data packet is lost */
                    assert_int_equal(pair_give(&p, !i, &t.letters[k]), DROP_NONE);
            tray_clear(&t);
        }
    size_t before = session_memory(p.s[1]);
    assert_non_null(p.s[1]->hs);
    session_lanes_used(p.s[1], p.now);
    assert_non_null(p.s[1]->hs);
    assert_int_equal(worker_seal(&p, 0, &a), 0);
    assert_int_equal(worker_open(&p, 1, &a), LANE_OPEN);
    session_lanes_used(p.s[1], p.now);
    assert_null(p.s[1]->hs);
    assert_true(session_memory(p.s[1]) < before);
    pair_done(&p);
}

/* Traffic of workers alone is use enough for a rekey by time, and is in the session's figures, keys that are
 * gone included. */
static void test_time_and_figures(void **state)
{
    struct pair p;
    struct packet a;
    struct session_info info;
    pair_up(&p, 360);
    assert_int_equal(session_wake(p.s[0]), USEC_NEVER);
    usec_t since = p.now;
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        assert_int_equal(worker_seal(&p, 1, &a), 0);
        assert_int_equal(worker_open(&p, 0, &a), LANE_OPEN);
        used(&p);
        assert_int_equal(session_wake(p.s[0]), usec_min(since + 300 * SEC, session_wake(p.s[0])));
        pair_wait(&p, since + 300 * SEC);
        pair_run(&p);
        since = p.now;
        assert_int_equal(epoch_of(&p, 0), epoch);
        session_info(p.s[0], &info);
        assert_int_equal(info.rx_packets, epoch);
        assert_int_equal(info.rx_bytes, 11 * epoch);
        session_info(p.s[1], &info);
        assert_int_equal(info.tx_packets, epoch);
        assert_int_equal(info.tx_bytes, 11 * epoch);
    }
    pair_done(&p);
}

/* Held ones live on when the session is gone; before it is up there are none. */
static void test_lifetime(void **state)
{
    struct pair p;
    struct packet a;
    struct session_lanes l;
    pair_new(&p, 370);
    assert_false(session_lanes(p.s[0], &l));
    assert_null(l.tx);
    pair_done(&p);
    pair_up(&p, 371);
    struct session_lanes to = lanes_of(&p, 1);
    struct lane *tx = lane_hold(lanes_of(&p, 0).tx), *rx = NULL;
    for (size_t i = 0; i < SESSION_LANES_MAX; i++)
        if (to.rx[i])
            rx = lane_hold(to.rx[i]);
    session_close(p.s[0], p.now);
    assert_false(session_lanes(p.s[0], &l));
    session_lanes_used(p.s[0], p.now);
    pair_done(&p);
    seal_at(tx, 5, 1000, "by a worker", &a);
    assert_int_equal(open_with(rx, 5, &a, "by a worker"), LANE_OPEN);
    lane_drop(tx);
    lane_drop(rx);
    lane_drop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),         cmocka_unit_test(test_flips),
        cmocka_unit_test(test_window),        cmocka_unit_test(test_unmarked),
        cmocka_unit_test(test_take),          cmocka_unit_test(test_take_together),
        cmocka_unit_test(test_together),      cmocka_unit_test(test_rekey_at_2_32),
        cmocka_unit_test(test_many_rekeys),   cmocka_unit_test(test_stop_at_2_48),

        cmocka_unit_test(test_week),          cmocka_unit_test(test_confirmed_by_workers),
        cmocka_unit_test(test_caches_let_go), cmocka_unit_test(test_time_and_figures),
        cmocka_unit_test(test_lifetime),
    };
    crypto_init(); /* before there are threads, as the programs do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
