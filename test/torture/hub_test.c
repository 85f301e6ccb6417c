/* The hub when memory or its store fails. What it must never do is fall silent: whoever asked gets an answer,
 * an error or the end of its connection, and whoever should have heard of a change hears of it or is closed,
 * so that it comes back and asks. What was acknowledged stays. */
#include "torture.h"

#include "hub/core.h"

/* The kit's own memory does not fail: only what happens inside the hub's verbs. */
static int sick_open(struct hub *h, hub_conn c, const struct net_addr *remote, const uint8_t binding[32],
                     usec_t now)
{
    torture_on();
    int rc = hub_open(h, c, remote, binding, now);
    torture_off();
    return rc;
}

static void sick_text(struct hub *h, hub_conn c, struct bytes text, usec_t now)
{
    torture_on();
    hub_text(h, c, text, now);
    torture_off();
}

static void sick_binary(struct hub *h, hub_conn c, struct bytes message, usec_t now)
{
    torture_on();
    hub_binary(h, c, message, now);
    torture_off();
}

static bool sick_take(struct hub *h, hub_conn c, struct buf *out, bool *binary, usec_t now)
{
    torture_on();
    bool took = hub_take(h, c, out, binary, now);
    torture_off();
    return took;
}

static void sick_tick(struct hub *h, usec_t now)
{
    torture_on();
    hub_tick(h, now);
    torture_off();
}

static void sick_closed(struct hub *h, hub_conn c, usec_t now)
{
    torture_on();
    hub_closed(h, c, now);
    torture_off();
}

#define hub_open   sick_open
#define hub_text   sick_text
#define hub_binary sick_binary
#define hub_take   sick_take
#define hub_tick   sick_tick
#define hub_closed sick_closed
#include "hub/hub_kit_int.h"

#define NEWCOMER 5 /* a node of the kit that the world does not know */
#define MEMBERS  3

static struct kit k;
static struct party *lan; /* our own copy */
static uint8_t secret[32];

/* ---- a store that fails ---- */

static struct store inner;
static bool after_the_deed; /* the worst store: it has done what it says it could not do */

static int sick_rc(void)
{
    return torture_k() % 2 == 0 ? -EIO : -ENOSPC;
}

static int device_put(void *ctx, const uint8_t id[NODE_ID_LEN], const struct sign_public *keys,
                      const char *name, uint64_t t)
{
    return torture_fails(TORTURE_OWN) ? sick_rc() : inner.ops->device_put(inner.ctx, id, keys, name, t);
}

static int device_get(void *ctx, const uint8_t id[NODE_ID_LEN], struct sign_public *keys)
{
    return torture_fails(TORTURE_OWN) ? sick_rc() : inner.ops->device_get(inner.ctx, id, keys);
}

static int device_count(void *ctx, uint64_t *n)
{
    return torture_fails(TORTURE_OWN) ? sick_rc() : inner.ops->device_count(inner.ctx, n);
}

static int party_create(void *ctx, const uint8_t id[PARTY_ID_LEN], struct bytes genesis, uint64_t t)
{
    return torture_fails(TORTURE_OWN) ? sick_rc() : inner.ops->party_create(inner.ctx, id, genesis, t);
}

static int party_append_sick(void *ctx, const struct store_append *a)
{
    if (!torture_fails(TORTURE_OWN))
        return inner.ops->party_append(inner.ctx, a);
    if (after_the_deed)
        inner.ops->party_append(inner.ctx, a);
    return sick_rc();
}

static int party_entries(void *ctx, const uint8_t id[PARTY_ID_LEN], uint64_t since,
                         int (*each)(void *arg, struct bytes entry), void *arg)
{
    return torture_fails(TORTURE_OWN) ? sick_rc() : inner.ops->party_entries(inner.ctx, id, since, each, arg);
}

static int party_count(void *ctx, uint64_t *n)
{
    return torture_fails(TORTURE_OWN) ? sick_rc() : inner.ops->party_count(inner.ctx, n);
}

static int party_owned(void *ctx, const uint8_t author[NODE_ID_LEN], uint64_t *n)
{
    return torture_fails(TORTURE_OWN) ? sick_rc() : inner.ops->party_owned(inner.ctx, author, n);
}

static int blob_get(void *ctx, const char *name, uint8_t *out, size_t cap, size_t *n)
{
    return torture_fails(TORTURE_OWN) ? sick_rc() : inner.ops->blob_get(inner.ctx, name, out, cap, n);
}

static int blob_put(void *ctx, const char *name, struct bytes value)
{
    return torture_fails(TORTURE_OWN) ? sick_rc() : inner.ops->blob_put(inner.ctx, name, value);
}

static void close_inner(void *ctx)
{
    store_close(&inner);
}

static const struct store_ops sick_ops = {.device_put = device_put,
                                          .device_get = device_get,
                                          .device_count = device_count,
                                          .party_create = party_create,
                                          .party_append = party_append_sick,
                                          .party_entries = party_entries,
                                          .party_count = party_count,
                                          .blob_get = blob_get,
                                          .blob_put = blob_put,
                                          .close = close_inner,
                                          .party_owned = party_owned};

/* ---- the world ---- */

static void world_init(void)
{
    kit_init(&k, 11);
    inner = k.store;
    k.store = (struct store){&sick_ops, NULL};
}

/* The arrangement is as healthy as can be, whatever k says. */
static void world(void)
{
    world_init();
    kit_start(&k);
    /* The kit goes through our sick verbs: nothing is hit while nothing is armed. */
    torture_pause();
    lan = kit_world(&k, MEMBERS);
    kit_invite(&k, 0, lan, 5, secret);
    kit_forget_all(&k);
    torture_resume();
}

static void world_end(void)
{
    party_free(lan);
    lan = NULL;
    kit_done(&k);
}

/* ---- what a node heard ---- */

struct heard {
    unsigned entries, acks, errors, joined, left, removed, lists, forwards, presences, pongs, challenges,
        welcomes;
    uint64_t top; /* highest seq of an entry */
    unsigned frames, dropped;
    char code[64];
};

static void hear_text(struct heard *h, struct bytes text)
{
    struct signal s;
    assert_int_equal(signal_read(&s, text), 0);
    h->challenges += s.type == SIGNAL_CHALLENGE;
    h->welcomes += s.type == SIGNAL_WELCOME;
    h->joined += s.type == SIGNAL_PEER_JOINED;
    h->left += s.type == SIGNAL_PEER_LEFT;
    h->removed += s.type == SIGNAL_PEER_LEFT && s.u.peer_left.removed;
    h->lists += s.type == SIGNAL_PEER_LIST;
    h->forwards += s.type == SIGNAL_SIGNAL;
    h->presences += s.type == SIGNAL_PRESENCE;
    h->pongs += s.type == SIGNAL_PONG;
    if (s.type == SIGNAL_ERROR) {
        h->errors++;
        snprintf(h->code, sizeof h->code, "%s", s.u.error.code);
    }
    if (s.type == SIGNAL_LOG && s.u.log.op == LOG_OP_ACK)
        h->acks++;
    if (s.type == SIGNAL_LOG && s.u.log.op == LOG_OP_ENTRIES) {
        h->entries += (unsigned)s.u.log.count;
        if (s.u.log.count > 0)
            h->top = s.u.log.seq + s.u.log.count - 1;
    }
    signal_done(&s);
}

static void hear_frames(struct heard *h, struct bytes message)
{
    struct rd r = rd_of(message);
    struct relay_frame f;
    while (relay_frame_read(&f, &r) == 1) {
        h->frames += f.kind == RELAY_DATA || f.kind == RELAY_CONTROL;
        if (f.kind == RELAY_DROPPED) {
            struct rd n = rd_of(f.payload);
            h->dropped += rd_u32(&n);
        }
    }
}

/* Everything that has come to node i. */
static struct heard hear(int i)
{
    struct heard h = {.entries = 0};
    struct buf b;
    bool binary;
    while (kit_next(&k, i, &b, &binary)) {
        if (binary)
            hear_frames(&h, buf_bytes(&b));
        else
            hear_text(&h, buf_bytes(&b));
        buf_done(&b);
    }
    return h;
}

static bool closed(int i)
{
    return k.nodes[i].conn == 0;
}

/* ---- well again ---- */

/* Whoever was closed comes back, and the copy of the log that everybody gets is the store's. */
static void come_back(int i)
{
    if (closed(i)) {
        kit_forget(&k, i);
        kit_login(&k, i);
        kit_join_since(&k, i, lan, 0);
        struct heard h = hear(i);
        assert_int_equal(h.errors, 0);
        assert_int_equal(h.lists, 1);
    }
}

static int follow(void *arg, struct bytes entry)
{
    uint64_t *seq = arg;
    if ((*seq)++ > party_seq(lan))
        assert_int_equal(party_append(lan, entry, 0), PARTY_OK);
    return 0;
}

/* Our copy takes what the store has. */
static void catch_up(void)
{
    uint64_t seq = 0;
    assert_int_equal(inner.ops->party_entries(inner.ctx, party_id(lan), 0, follow, &seq), 0);
    assert_int_equal(seq, party_seq(lan) + 1);
}

/* An append by node 0 that all members hear, after whatever was. A hub whose store lied to it may ask for it
 * to be made again, once. */
static void works(void)
{
    struct buf b;
    uint8_t other[32];
    struct heard h = {.entries = 0};
    torture_heal();
    kit_pump(&k);
    struct party_author a = kit_author(&k, 0);
    buf_init(&b, ENTRY_MAX);
    for (int try = 0; try < 2 && h.acks == 0; try++) {
        if (!after_the_deed || !torture_hit() || try > 0)
            catch_up();
        for (int i = 0; i < MEMBERS; i++)
            come_back(i);
        kit_forget_all(&k);
        assert_int_equal(party_make_invite(&b, lan, &a, 1, kit_unix(&k) + 60, ROLE_MEMBER, other), PARTY_OK);
        kit_send_entry(&k, 0, LOG_OP_APPEND, party_id(lan), 5, buf_bytes(&b));
        h = hear(0);
        assert_true(h.acks == 1 || (after_the_deed && strcmp(h.code, "stale_head") == 0));
    }
    assert_int_equal(h.acks, 1);
    buf_done(&b);
    catch_up();
    for (int i = 1; i < MEMBERS; i++) {
        h = hear(i);
        assert_int_equal(h.top, party_seq(lan));
    }
}

/* ---- stories ---- */

static void births(void)
{
    world_init();
    struct hub_config c = {.limits = k.limits, .store = k.store, .rng = k.rng, .unix_s = KIT_UNIX};
    errno = 0;
    torture_on();
    k.hub = hub_new(&c, k.now);
    torture_off();
    if (!k.hub) {
        assert_true(torture_hit());
        assert_true(errno == ENOMEM || errno == EIO || errno == ENOSPC);
        torture_heal();
        kit_start(&k);
    }
    torture_heal();
    kit_login(&k, 0);
    kit_done(&k);
}

/* A newcomer: refused at the door, closed, told, or in. */
static void logins(void)
{
    world();
    struct signal login;
    int rc = kit_open_from(&k, NEWCOMER, kit_addr(NEWCOMER));
    if (rc == 0) {
        struct heard h = {.entries = 0};
        if (k.nodes[NEWCOMER].count > 0) {
            kit_challenged(&k, NEWCOMER);
            kit_login_message(&k, NEWCOMER, &login);
            kit_say(&k, NEWCOMER, &login);
            h = hear(NEWCOMER);
            assert_int_equal(h.welcomes + h.errors > 0 || closed(NEWCOMER), 1);
            if (h.errors > 0)
                assert_string_equal(h.code, "internal");
        } else {
            assert_true(closed(NEWCOMER));
        }
    } else {
        assert_int_equal(rc, -EMFILE);
        assert_true(torture_hit());
    }
    torture_heal();
    kit_forget(&k, NEWCOMER);
    if (!closed(NEWCOMER))
        kit_hang_up(&k, NEWCOMER);
    kit_login(&k, NEWCOMER);
    works();
    world_end();
}

static void creates(void)
{
    world();
    struct buf b;
    uint64_t count = 0;
    uint8_t id[32];
    enum party_verdict v;
    struct party_author a = kit_author(&k, 1);
    struct party_genesis_args args = {.name = "Second", .owner_name = "node 1", .mode = MODE_TAP};
    buf_init(&b, ENTRY_MAX);
    assert_int_equal(party_make_genesis(&b, &a, &args), 0);
    struct party *own = party_open(buf_bytes(&b), kit_unix(&k), &v);
    assert_non_null(own);
    memcpy(id, party_id(own), sizeof id);
    kit_send_entry(&k, 1, LOG_OP_CREATE, NULL, 3, buf_bytes(&b));
    struct heard h = hear(1);
    assert_int_equal(h.acks + h.errors > 0 || closed(1), 1);
    assert_int_equal(inner.ops->party_count(inner.ctx, &count), 0);
    if (h.acks > 0)
        assert_int_equal(count, 2); /* acknowledged is kept */
    torture_heal();
    come_back(1);
    kit_send_entry(&k, 1, LOG_OP_CREATE, NULL, 4, buf_bytes(&b)); /* again: made now, or known */
    h = hear(1);
    assert_int_equal(h.acks, 1);
    kit_join(&k, 1, own);
    assert_int_equal(inner.ops->party_count(inner.ctx, &count), 0);
    assert_int_equal(count, 2);
    party_free(own);
    buf_done(&b);
    works();
    world_end();
}

/* Leaves and subscribes again; the log has to be read from the store for it. */
static void joins(void)
{
    world();
    kit_hang_up(&k, 2);
    kit_pump(&k);
    torture_pause();
    if (!closed(0))
        kit_hang_up(&k, 0);
    if (!closed(1))
        kit_hang_up(&k, 1);
    k.limits.parties_cached = 0; /* a hub that has forgotten it all */
    hub_free(k.hub);
    kit_start(&k);
    for (int i = 0; i < MEMBERS; i++) {
        kit_forget(&k, i);
        kit_login(&k, i);
    }
    torture_resume();
    for (int i = 0; i < MEMBERS; i++) {
        kit_join_since(&k, i, lan, 0);
        struct heard h = hear(i);
        bool whole = h.lists > 0 && h.top == party_seq(lan) && h.entries == party_seq(lan) + 1;
        assert_true(whole || h.errors > 0 || closed(i));
        if (h.errors > 0) {
            assert_string_equal(h.code, "internal");
            torture_pause();
            kit_hang_up(&k, i);
            torture_resume();
        }
    }
    works();
    world_end();
}

/* A member signs an entry: the author has an answer, the others have the entry, or they are closed. */
static void appends(void)
{
    world();
    struct buf b;
    uint8_t other[32];
    struct party_author a = kit_author(&k, 0);
    uint64_t next = party_seq(lan) + 1;
    buf_init(&b, ENTRY_MAX);
    assert_int_equal(party_make_invite(&b, lan, &a, 1, kit_unix(&k) + 60, ROLE_MEMBER, other), PARTY_OK);
    kit_send_entry(&k, 0, LOG_OP_APPEND, party_id(lan), 5, buf_bytes(&b));
    struct heard h = hear(0);
    bool acked = h.acks > 0;
    assert_true(acked || h.errors > 0 || closed(0));
    if (!after_the_deed || acked)
        catch_up();
    if (acked)
        assert_int_equal(party_seq(lan), next);
    for (int i = 1; i < MEMBERS; i++) {
        h = hear(i);
        if (acked)
            assert_true(h.top == next || closed(i));
    }
    buf_done(&b);
    works();
    world_end();
}

static void kicks(void)
{
    world();
    struct buf b;
    struct party_author a = kit_author(&k, 0);
    buf_init(&b, ENTRY_MAX);
    assert_int_equal(party_make_remove(&b, lan, &a, k.nodes[MEMBERS - 1].id), PARTY_OK);
    kit_send_entry(&k, 0, LOG_OP_APPEND, party_id(lan), 5, buf_bytes(&b));
    struct heard h = hear(0), other = hear(1);
    bool acked = h.acks > 0;
    assert_true(acked || h.errors > 0 || closed(0));
    if (acked)
        assert_true(other.removed > 0 || closed(1));
    buf_done(&b);
    torture_heal();
    kit_pump(&k);
    catch_up();
    come_back(0);
    come_back(1);
    /* Whatever happened: whom the log does not hold any more, the hub does not carry. */
    if (!party_member(lan, k.nodes[MEMBERS - 1].id)) {
        kit_forget(&k, MEMBERS - 1);
        if (closed(MEMBERS - 1))
            kit_login(&k, MEMBERS - 1);
        kit_join_since(&k, MEMBERS - 1, lan, 0);
        h = hear(MEMBERS - 1);
        assert_int_equal(h.errors, 1);
        assert_string_equal(h.code, "was_removed");
    }
    world_end();
}

/* Frames may be dropped, and then the receiver is told how many. */
static void relays(void)
{
    world();
    uint8_t message[4000], payload[300];
    unsigned sent = 0;
    memset(payload, 1, sizeof payload);
    k.nodes[1].stuck = true;
    for (int round = 0; round < 20; round++) {
        struct wr w = wr_of(message, sizeof message);
        for (int i = 0; i < 8; i++) {
            struct relay_frame f = {.kind = i == 0 ? RELAY_CONTROL : RELAY_DATA, .peer = k.nodes[1].relay};
            f.payload = bytes_of(payload, sizeof payload);
            relay_frame_write(&w, &f);
            sent++;
        }
        hub_binary(k.hub, k.nodes[0].conn, wr_done(&w), k.now);
    }
    if (!closed(1))
        kit_unstick(&k, 1);
    struct heard h = hear(1);
    assert_true(h.frames + h.dropped == sent || closed(1));
    assert_true(h.frames > 0 || torture_hit());
    works();
    world_end();
}

static void forwards(void)
{
    world();
    struct signal s = {.type = SIGNAL_SIGNAL, .has_to = true}, here = {.type = SIGNAL_PRESENCE};
    memcpy(s.to, k.nodes[1].id, NODE_ID_LEN);
    memcpy(s.u.forward.party, party_id(lan), PARTY_ID_LEN);
    s.u.forward.data = bytes_of(secret, sizeof secret);
    memcpy(here.u.presence.party, party_id(lan), PARTY_ID_LEN);
    here.u.presence.seq = 77;
    kit_say(&k, 0, &s);
    kit_say(&k, 0, &here);
    struct heard h = hear(1);
    assert_true(h.forwards == 1 || closed(1) || closed(0));
    assert_true(h.presences == 1 || closed(1) || closed(0));
    works();
    world_end();
}

/* Deadlines: pings that cannot be written close, they do not hang. */
static void silences(void)
{
    world();
    kit_pass(&k, 90 * SEC);
    for (int i = 0; i < MEMBERS; i++)
        assert_true(closed(i));
    works();
    world_end();
}

/* ---- the tests ---- */

static const struct {
    const char *name;
    void (*story)(void);
    unsigned stride;
} stories[] = {{"hub_new", births, 1},  {"login", logins, 3},
               {"create", creates, 4},  {"join", joins, 12},
               {"append", appends, 3},  {"kick", kicks, 3},
               {"relay", relays, 2},    {"forward and presence", forwards, 3},
               {"silence", silences, 3}};

static void test_memory(void **state)
{
    for (size_t i = 0; i < sizeof stories / sizeof stories[0]; i++)
        torture(stories[i].name, TORTURE_MEMORY, stories[i].stride, stories[i].story);
}

static void test_store(void **state)
{
    torture("hub_new on a failing store", TORTURE_OWN, 1, births);
    torture("login on a failing store", TORTURE_OWN, 1, logins);
    torture("create on a failing store", TORTURE_OWN, 1, creates);
    torture("join on a failing store", TORTURE_OWN, 1, joins);
    torture("append on a failing store", TORTURE_OWN, 1, appends);
    torture("kick on a failing store", TORTURE_OWN, 1, kicks);
    after_the_deed = true;
    torture("append on a lying store", TORTURE_OWN, 1, appends);
    after_the_deed = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_memory, torture_report),
        cmocka_unit_test_teardown(test_store, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
