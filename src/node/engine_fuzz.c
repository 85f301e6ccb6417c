/* What a hostile hub may say to a node that is in a party and has a member connected: text and binary
 * messages, in any order. The first byte of each piece of the input chooses; the rest is the message. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node/engine_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    struct sign_seed seed;
    struct rng_seeded state;
    struct buf saved;
    char name[80];
    struct sign_key *key;
};

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* One party with two members, made once: the second is this node. */
static void world_make(struct fuzz *w)
{
    struct sign_seed owner;
    struct rng rng = rng_seeded(&w->state, 1);
    struct buf entry;
    enum party_verdict v;
    uint8_t secret[32];
    memset(&owner, 1, sizeof owner);
    memset(&w->seed, 2, sizeof w->seed);
    struct sign_key *okey = sign_key_new(&owner);
    w->key = sign_key_new(&w->seed);
    must(okey && w->key);
    struct party_author a = {.key = okey, .rng = rng, .now_unix_s = 1800000000},
                        b = {.key = w->key, .rng = rng, .now_unix_s = 1800000000};
    node_id_of(a.id, sign_key_public(okey));
    node_id_of(b.id, sign_key_public(w->key));
    buf_init(&entry, ENTRY_MAX);
    must(party_make_genesis(&entry, &a,
                            &(struct party_genesis_args){.name = "p", .owner_name = "o", .mode = MODE_TAP}) ==
         0);
    struct party *p = party_open(buf_bytes(&entry), 0, &v);
    must(p != NULL);
    must(party_make_invite(&entry, p, &a, 9, 1800086400, ROLE_MEMBER, secret) == PARTY_OK);
    must(party_append(p, buf_bytes(&entry), 0) == PARTY_OK);
    must(party_make_join(&entry, p, &b, secret, "me") == PARTY_OK);
    must(party_append(p, buf_bytes(&entry), 0) == PARTY_OK);
    buf_init(&w->saved, PARTY_PIECE_MAX);
    must(party_file_begin(&w->saved) == 0 &&
         party_file_settings(&w->saved, &(struct party_settings){.device = true}) == 0);
    for (uint64_t seq = 0; seq <= party_seq(p); seq++)
        must(party_file_entry(&w->saved, party_entry(p, seq)) == 0);
    memcpy(w->name, "party-", 6);
    hex_put(w->name + 6, bytes_of(party_id(p), PARTY_ID_LEN));
    party_free(p);
    buf_done(&entry);
    sign_key_free(okey);
}

static ssize_t read_back(void *arg, const char *name, uint64_t at, uint8_t *p, size_t n)
{
    const struct fuzz *w = arg;
    size_t left = at < w->saved.n ? w->saved.n - at : 0;
    n = n < left ? n : left;
    memcpy(p, w->saved.p + at, n);
    return (ssize_t)n;
}

static void drain(struct node *n, usec_t now)
{
    struct node_out out;
    struct buf m;
    bool binary;
    buf_init(&m, RELAY_MESSAGE_MAX + SIGNAL_MAX);
    while (node_output(n, now, &out))
        if (out.kind == NODE_DEVICE_OPEN)
            node_device_opened(n, out.party_ref, "t0", NULL, now);
    while (node_hub_take(n, &m, &binary, now))
        buf_clear(&m);
    buf_done(&m);
}

static void text_in(struct node *n, const struct signal *s, usec_t now)
{
    struct buf text;
    buf_init(&text, SIGNAL_MAX);
    must(signal_write(&text, s) == 0);
    node_hub_text(n, buf_bytes(&text), now);
    buf_done(&text);
    drain(n, now);
}

static struct node *node_ready(struct fuzz *w, usec_t now)
{
    struct node_config c = {.seed = &w->seed,
                            .name = "me",
                            .have_hub = true,
                            .hub = {.host = "h", .port = 443},
                            .unix_s = 1800000000,
                            .disk = {.read = read_back, .arg = w}};
    const char *why;
    node_limits_default(&c.limits);
    c.rng = rng_seeded(&w->state, 7);
    struct node *n = node_new(&c, now);
    must(n && node_load_party(n, w->name, now, &why) == 0);
    node_start(n, now);
    drain(n, now);
    node_hub_up(n, w->state.s[0] ? (const uint8_t[32]){1} : (const uint8_t[32]){2}, now);
    struct signal s = {.type = SIGNAL_CHALLENGE, .u.challenge.version = HUB_PROTOCOL};
    text_in(n, &s, now);
    s = (struct signal){.type = SIGNAL_WELCOME,
                        .u.welcome = {.token = "t", .expires = 1, .time = 1800000000, .relay = 5}};
    text_in(n, &s, now);
    s = (struct signal){.type = SIGNAL_LOG, .u.log = {.op = LOG_OP_ENTRIES, .seq = 3}};
    memcpy(s.u.log.party, n->parties[0]->id, PARTY_ID_LEN);
    text_in(n, &s, now);
    struct signal_peer peer = {.relay = 9};
    memcpy(peer.node, party_member_at(n->parties[0]->log, 0)->id, NODE_ID_LEN);
    s = (struct signal){.type = SIGNAL_PEER_LIST, .u.peer_list = {.count = 1, .peers = &peer}};
    memcpy(s.u.peer_list.party, n->parties[0]->id, PARTY_ID_LEN);
    text_in(n, &s, now);
    node_tick(n, now + 1);
    drain(n, now + 1);
    return n;
}

/* What cannot be guessed is put in by us: P for the party's id in hex, M for the other member's. */
static void text_fuzzed(struct node *n, struct bytes in, usec_t now)
{
    struct buf text;
    char party[65], member[65];
    hex_put(party, bytes_of(n->party_count ? n->parties[0]->id : n->id, 32));
    hex_put(member, bytes_of(n->peer_slots && n->peers[0] ? n->peers[0]->id : n->id, 32));
    buf_init(&text, SIGNAL_MAX + 1024);
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == 'P' || in.p[i] == 'M')
            buf_add_str(&text, in.p[i] == 'P' ? party : member);
        else
            buf_add(&text, bytes_of(in.p + i, 1));
    }
    node_hub_text(n, buf_bytes(&text), now);
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz w;
    usec_t now = 1000 * SEC;
    if (!w.key)
        world_make(&w);
    struct node *n = node_ready(&w, now);
    struct rd r = rd_of(bytes_of(data, size));
    while (rd_left(&r) >= 3) {
        uint8_t what = rd_u8(&r);
        size_t len = rd_u16(&r);
        struct bytes piece = rd_bytes(&r, len < rd_left(&r) ? len : rd_left(&r));
        uint8_t *copy = malloc(piece.n + 1);
        memcpy(copy, piece.p, piece.n);
        if (what & 1) {
            text_fuzzed(n, piece, now);
        } else {
            if (piece.n >= 8 && (what & 2))
                relay_header_write(copy, (uint8_t)(1 + (what >> 2) % 4), 9, piece.n - 8);
            /* The index of the handshake that waits cannot be guessed either. */
            if (piece.n >= 20 && (what & 4) && n->peers[0] && n->peers[0]->next)
                memcpy(copy + 12,
                       (const uint8_t[]){(uint8_t)(n->peers[0]->next->index >> 24),
                                         (uint8_t)(n->peers[0]->next->index >> 16),
                                         (uint8_t)(n->peers[0]->next->index >> 8),
                                         (uint8_t)n->peers[0]->next->index},
                       4);
            node_hub_binary(n, copy, piece.n, now);
        }
        free(copy);
        drain(n, now);
        now += (usec_t)(what >> 4) * 500 * MSEC;
        if (node_wake(n) <= now)
            node_tick(n, now);
        drain(n, now);
    }
    node_free(n);
    return 0;
}
