/* For the tests of this folder: a hub on a memory store and a virtual clock, and nodes that talk to it. What
 * the hub sends to a node is kept in its inbox until the test looks at it. */
#ifndef WARREN_HUB_HUB_KIT_INT_H
#define WARREN_HUB_HUB_KIT_INT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hub/core.h"
#include "party/party.h"

#define KIT_NODES 12
#define KIT_UNIX  1800000000ull
#define KIT_INBOX 256

struct kit_message {
    bool binary;
    struct buf bytes;
};

struct kit_node {
    struct sign_key *key;
    uint8_t id[NODE_ID_LEN], nonce[SIGNAL_NONCE_LEN], binding[32];
    hub_conn conn; /* 0: none */
    uint32_t relay;
    uint8_t udp_key[SIGNAL_UDP_KEY_LEN];
    char token[SIGNAL_TOKEN_MAX + 1];
    bool stuck;      /* does not read */
    uint16_t closed; /* the code with which the hub closed it */
    char reason[64];
    struct kit_message in[KIT_INBOX];
    size_t first, count;
};

struct kit {
    struct rng_seeded seeded;
    struct rng rng;
    struct store store;
    struct hub *hub;
    struct hub_limits limits;
    struct hub_config config; /* what kit_start shall set beside the rest: UDP, TURN */
    usec_t now;
    hub_conn last_conn;
    struct kit_node nodes[KIT_NODES];
    struct signal got; /* of the last kit_expect */
};

static inline void kit_start(struct kit *k)
{
    k->config.limits = k->limits;
    k->config.store = k->store;
    k->config.rng = k->rng;
    k->config.unix_s = KIT_UNIX;
    k->hub = hub_new(&k->config, k->now);
    assert_non_null(k->hub);
}

static inline void kit_init(struct kit *k, uint64_t seed)
{
    memset(k, 0, sizeof *k);
    k->rng = rng_seeded(&k->seeded, seed);
    k->now = 1000 * SEC;
    hub_limits_default(&k->limits);
    assert_int_equal(store_memory_open(&k->store), 0);
    for (int i = 0; i < KIT_NODES; i++) {
        struct sign_seed s;
        memset(&s, i + 1, sizeof s);
        k->nodes[i].key = sign_key_new(&s);
        assert_non_null(k->nodes[i].key);
        node_id_of(k->nodes[i].id, sign_key_public(k->nodes[i].key));
    }
}

static inline void kit_forget(struct kit *k, int i)
{
    struct kit_node *n = &k->nodes[i];
    for (; n->count > 0; n->count--, n->first = (n->first + 1) % KIT_INBOX)
        buf_done(&n->in[n->first].bytes);
}

static inline void kit_done(struct kit *k)
{
    signal_done(&k->got);
    hub_free(k->hub);
    store_close(&k->store);
    for (int i = 0; i < KIT_NODES; i++) {
        kit_forget(k, i);
        sign_key_free(k->nodes[i].key);
    }
}

static inline struct kit_node *kit_of(struct kit *k, hub_conn c)
{
    for (int i = 0; i < KIT_NODES; i++) {
        if (k->nodes[i].conn == c)
            return &k->nodes[i];
    }
    return NULL;
}

static inline bool kit_read_one(struct kit *k, struct kit_node *n)
{
    struct kit_message m;
    buf_init(&m.bytes, RELAY_MESSAGE_MAX);
    if (!hub_take(k->hub, n->conn, &m.bytes, &m.binary, k->now)) {
        assert_int_equal(m.bytes.n, 0);
        buf_done(&m.bytes);
        return false;
    }
    assert_true(n->count < KIT_INBOX);
    n->in[(n->first + n->count++) % KIT_INBOX] = m;
    return true;
}

/* Carries everything that the hub has to say. */
static inline void kit_pump(struct kit *k)
{
    hub_conn c;
    uint16_t code;
    const char *reason;
    bool more = true;
    while (more) {
        more = false;
        while (hub_ready(k->hub, &c)) {
            struct kit_node *n = kit_of(k, c);
            more = true;
            while (n && !n->stuck && kit_read_one(k, n))
                ;
            if (!n) { /* a connection that its node has given up */
                struct buf b;
                bool binary;
                buf_init(&b, RELAY_MESSAGE_MAX);
                while (hub_take(k->hub, c, &b, &binary, k->now))
                    buf_clear(&b);
                buf_done(&b);
            }
        }
        while (hub_close_next(k->hub, &c, &code, &reason)) {
            struct kit_node *n = kit_of(k, c);
            more = true;
            if (n) {
                n->conn = 0;
                n->closed = code;
                snprintf(n->reason, sizeof n->reason, "%s", reason);
            }
            hub_closed(k->hub, c, k->now);
        }
    }
}

static inline void kit_unstick(struct kit *k, int i)
{
    k->nodes[i].stuck = false;
    while (kit_read_one(k, &k->nodes[i]))
        ;
    kit_pump(k);
}

static inline void kit_say_raw(struct kit *k, int i, const char *text)
{
    hub_text(k->hub, k->nodes[i].conn, bytes_of_str(text), k->now);
    kit_pump(k);
}

static inline void kit_say(struct kit *k, int i, const struct signal *s)
{
    struct buf b;
    buf_init(&b, SIGNAL_MAX);
    assert_int_equal(signal_write(&b, s), 0);
    hub_text(k->hub, k->nodes[i].conn, buf_bytes(&b), k->now);
    buf_done(&b);
    kit_pump(k);
}

/* Passes time in steps, so that every deadline comes when it is due. */
static inline void kit_pass(struct kit *k, usec_t span)
{
    usec_t end = k->now + span;
    while (hub_wake(k->hub) <= end) {
        assert_true(hub_wake(k->hub) > k->now);
        k->now = hub_wake(k->hub);
        hub_tick(k->hub, k->now);
        kit_pump(k);
    }
    k->now = end;
}

static inline struct net_addr kit_addr(int i)
{
    return (struct net_addr){.family = 4, .ip = {192, 0, 2, (uint8_t)(i + 1)}, .port = (uint16_t)(4000 + i)};
}

static inline int kit_open_from(struct kit *k, int i, struct net_addr addr)
{
    struct kit_node *n = &k->nodes[i];
    hub_conn c = ++k->last_conn;
    memset(n->binding, (int)c, sizeof n->binding);
    int rc = hub_open(k->hub, c, &addr, n->binding, k->now);
    if (rc == 0) {
        n->conn = c;
        n->closed = 0;
        n->stuck = false;
        kit_pump(k);
    }
    return rc;
}

/* The next message of node i into *bytes (to be freed) and whether it was a frame message; false: none. */
static inline bool kit_next(struct kit *k, int i, struct buf *bytes, bool *binary)
{
    struct kit_node *n = &k->nodes[i];
    if (n->count == 0)
        return false;
    *bytes = n->in[n->first].bytes;
    *binary = n->in[n->first].binary;
    n->first = (n->first + 1) % KIT_INBOX;
    n->count--;
    return true;
}

/* The next message of node i is of this type; it stays in k->got until the next call. */
static inline struct signal *kit_expect(struct kit *k, int i, enum signal_type type)
{
    struct buf b;
    bool binary;
    signal_done(&k->got);
    if (!kit_next(k, i, &b, &binary))
        fail_msg("node %d: expected %s, got nothing", i, signal_type_name(type));
    assert_false(binary);
    assert_int_equal(signal_read(&k->got, buf_bytes(&b)), 0);
    if (k->got.type != type)
        fail_msg("node %d: expected %s, got %.*s", i, signal_type_name(type), (int)(b.n < 300 ? b.n : 300),
                 (char *)b.p);
    buf_done(&b);
    return &k->got;
}

static inline void kit_expect_nothing(struct kit *k, int i)
{
    struct kit_node *n = &k->nodes[i];
    if (n->count > 0) {
        struct kit_message *m = &n->in[n->first];
        fail_msg("node %d: expected nothing, got %s %.*s", i, m->binary ? "frames" : "text",
                 m->binary ? 0 : (int)(m->bytes.n < 300 ? m->bytes.n : 300), (char *)m->bytes.p);
    }
}

static inline void kit_expect_error(struct kit *k, int i, const char *code)
{
    struct signal *s = kit_expect(k, i, SIGNAL_ERROR);
    assert_string_equal(s->u.error.code, code);
    assert_true(strlen(s->u.error.message) > 10);
}

static inline void kit_login_message(struct kit *k, int i, struct signal *s)
{
    struct kit_node *n = &k->nodes[i];
    uint8_t msg[SIGNAL_NONCE_LEN + 32 + NODE_ID_LEN];
    memset(s, 0, sizeof *s);
    s->type = SIGNAL_LOGIN;
    memcpy(s->u.login.node, n->id, NODE_ID_LEN);
    s->u.login.keys = *sign_key_public(n->key);
    snprintf(s->u.login.name, sizeof s->u.login.name, "node %d", i);
    memcpy(msg, n->nonce, 32);
    memcpy(msg + 32, n->binding, 32);
    memcpy(msg + 64, n->id, 32);
    assert_int_equal(
        sign_make(n->key, "warren login v1", bytes_of(msg, sizeof msg), &k->rng, s->u.login.signature), 0);
}

static inline void kit_challenged(struct kit *k, int i)
{
    struct signal *s = kit_expect(k, i, SIGNAL_CHALLENGE);
    memcpy(k->nodes[i].nonce, s->u.challenge.nonce, SIGNAL_NONCE_LEN);
}

static inline void kit_login_from(struct kit *k, int i, struct net_addr addr)
{
    struct signal login;
    assert_int_equal(kit_open_from(k, i, addr), 0);
    kit_challenged(k, i);
    kit_login_message(k, i, &login);
    kit_say(k, i, &login);
    struct signal *s = kit_expect(k, i, SIGNAL_WELCOME);
    k->nodes[i].relay = s->u.welcome.relay;
    memcpy(k->nodes[i].udp_key, s->u.welcome.udp_key, SIGNAL_UDP_KEY_LEN);
    memcpy(k->nodes[i].token, s->u.welcome.token, sizeof k->nodes[i].token);
}

static inline void kit_login(struct kit *k, int i)
{
    kit_login_from(k, i, kit_addr(i));
}

static inline void kit_hang_up(struct kit *k, int i)
{
    hub_closed(k->hub, k->nodes[i].conn, k->now);
    k->nodes[i].conn = 0;
    kit_pump(k);
}

static inline uint64_t kit_unix(const struct kit *k)
{
    return KIT_UNIX + (k->now - 1000 * SEC) / SEC;
}

static inline struct party_author kit_author(const struct kit *k, int i)
{
    struct party_author a = {.key = k->nodes[i].key, .rng = k->rng, .now_unix_s = kit_unix(k)};
    memcpy(a.id, k->nodes[i].id, NODE_ID_LEN);
    return a;
}

static inline void kit_send_entry(struct kit *k, int i, enum signal_log_op op, const uint8_t *party,
                                  uint32_t ref, struct bytes entry)
{
    struct signal s = {.type = SIGNAL_LOG};
    s.u.log.op = op;
    s.u.log.ref = ref;
    s.u.log.count = 1;
    s.u.log.entries[0] = entry;
    if (party)
        memcpy(s.u.log.party, party, PARTY_ID_LEN);
    kit_say(k, i, &s);
}

/* Node i makes a party: at the hub, and as a copy of our own. */
static inline struct party *kit_party(struct kit *k, int i)
{
    struct buf b;
    enum party_verdict v;
    struct party_author a = kit_author(k, i);
    struct party_genesis_args args = {.name = "Friday", .owner_name = "owner", .mode = MODE_TAP};
    buf_init(&b, ENTRY_MAX);
    assert_int_equal(party_make_genesis(&b, &a, &args), 0);
    struct party *p = party_open(buf_bytes(&b), kit_unix(k), &v);
    assert_non_null(p);
    kit_send_entry(k, i, LOG_OP_CREATE, NULL, 7, buf_bytes(&b));
    struct signal *s = kit_expect(k, i, SIGNAL_LOG);
    assert_int_equal(s->u.log.op, LOG_OP_ACK);
    assert_int_equal(s->u.log.ref, 7);
    assert_int_equal(s->u.log.seq, 0);
    assert_memory_equal(s->u.log.party, party_id(p), PARTY_ID_LEN);
    buf_done(&b);
    return p;
}

static inline void kit_join_since(struct kit *k, int i, const struct party *p, uint64_t since)
{
    struct signal s = {.type = SIGNAL_JOIN, .u.join.since = since};
    memcpy(s.u.join.party, party_id(p), PARTY_ID_LEN);
    kit_say(k, i, &s);
}

/* A member joins and its inbox is cleared; the others are left with what they heard. */
static inline void kit_join(struct kit *k, int i, const struct party *p)
{
    kit_join_since(k, i, p, party_seq(p) + 1);
    struct signal *s = kit_expect(k, i, SIGNAL_LOG);
    assert_int_equal(s->u.log.op, LOG_OP_ENTRIES);
    kit_expect(k, i, SIGNAL_PEER_LIST);
}

static inline void kit_join_by_invite(struct kit *k, int i, const struct party *p, const uint8_t secret[32],
                                      uint64_t since)
{
    struct signal s = {.type = SIGNAL_JOIN, .u.join.since = since, .u.join.has_invite = true};
    memcpy(s.u.join.party, party_id(p), PARTY_ID_LEN);
    party_invite_id(s.u.join.invite, secret);
    assert_int_equal(party_invite_prove(s.u.join.proof, secret, bytes_of(k->nodes[i].nonce, SIGNAL_NONCE_LEN),
                                        party_id(p), k->nodes[i].id, &k->rng),
                     0);
    kit_say(k, i, &s);
}

/* Sends an entry that is in b, takes the ack, and appends to our own copy. */
static inline void kit_append(struct kit *k, int i, struct party *p, struct buf *b)
{
    kit_send_entry(k, i, LOG_OP_APPEND, party_id(p), 9, buf_bytes(b));
    struct signal *s = kit_expect(k, i, SIGNAL_LOG);
    assert_int_equal(s->u.log.op, LOG_OP_ACK);
    assert_int_equal(s->u.log.ref, 9);
    assert_int_equal(party_append(p, buf_bytes(b), kit_unix(k)), PARTY_OK);
    assert_int_equal(s->u.log.seq, party_seq(p));
    buf_clear(b);
}

static inline void kit_invite(struct kit *k, int i, struct party *p, uint32_t uses, uint8_t secret[32])
{
    struct buf b;
    struct party_author a = kit_author(k, i);
    buf_init(&b, ENTRY_MAX);
    assert_int_equal(party_make_invite(&b, p, &a, uses, kit_unix(k) + 3600, ROLE_MEMBER, secret), PARTY_OK);
    kit_append(k, i, p, &b);
    buf_done(&b);
}

static inline void kit_forget_all(struct kit *k)
{
    for (int i = 0; i < KIT_NODES; i++)
        kit_forget(k, i);
}

/* Nodes 0 .. n-1 log in and are members of a party of node 0's, joined, with empty inboxes. */
static inline struct party *kit_world(struct kit *k, int n)
{
    struct buf b;
    uint8_t secret[32];
    buf_init(&b, ENTRY_MAX);
    for (int i = 0; i < n; i++)
        kit_login(k, i);
    struct party *p = kit_party(k, 0);
    kit_join(k, 0, p);
    kit_invite(k, 0, p, 100, secret);
    for (int i = 1; i < n; i++) {
        char name[16];
        struct party_author a = kit_author(k, i);
        snprintf(name, sizeof name, "node %d", i);
        kit_join_by_invite(k, i, p, secret, party_seq(p) + 1);
        kit_forget(k, i);
        assert_int_equal(party_make_join(&b, p, &a, secret, name), PARTY_OK);
        kit_append(k, i, p, &b);
    }
    kit_forget_all(k);
    buf_done(&b);
    return p;
}

#endif
