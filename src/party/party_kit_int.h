/* For the tests of this folder: people with keys that are made once, entries signed by whomever, and a small
 * party in which every role stands twice. */
#ifndef WARREN_PARTY_PARTY_KIT_INT_H
#define WARREN_PARTY_PARTY_KIT_INT_H

#include <stdlib.h>
#include <string.h>

#include "party/party_int.h"

enum kit_person { OWNER, OWNER2, ADMIN, ADMIN2, MEMBER, MEMBER2, GUEST, GUEST2, GONE, OUT, OUT2, KIT_PEOPLE };

#define KIT_TIME 1800000000ull /* of the genesis */

struct kit {
    struct rng_seeded state;
    struct rng rng;
    struct sign_key *keys[KIT_PEOPLE];
    uint8_t ids[KIT_PEOPLE][NODE_ID_LEN];
    uint8_t secret[32]; /* of the world's invite */
    uint8_t invite[INVITE_ID_LEN];
};

static inline struct sign_key *kit_key(uint8_t number)
{
    struct sign_seed seed;
    memset(&seed, number, sizeof seed);
    seed.ed25519[0] ^= 0xa5;
    struct sign_key *key = sign_key_new(&seed);
    if (!key)
        abort();
    return key;
}

static inline void kit_init(struct kit *k, uint64_t seed)
{
    memset(k, 0, sizeof *k);
    k->rng = rng_seeded(&k->state, seed);
    for (int i = 0; i < KIT_PEOPLE; i++) {
        k->keys[i] = kit_key((uint8_t)(i + 1));
        node_id_of(k->ids[i], sign_key_public(k->keys[i]));
    }
}

static inline void kit_done(struct kit *k)
{
    for (int i = 0; i < KIT_PEOPLE; i++)
        sign_key_free(k->keys[i]);
}

static inline struct sign_key *kit_invite_key(const uint8_t secret[32])
{
    struct sign_seed seed;
    sign_seed_derive(&seed, secret, LABEL_INVITE);
    struct sign_key *key = sign_key_new(&seed);
    if (!key)
        abort();
    return key;
}

static inline struct party_author kit_author(const struct kit *k, int who, uint64_t now)
{
    struct party_author a = {.key = k->keys[who], .rng = k->rng, .now_unix_s = now};
    memcpy(a.id, k->ids[who], sizeof a.id);
    return a;
}

/* The next entry of this author, without a body. */
static inline struct entry kit_next(const struct kit *k, const struct party *p, uint8_t type, int author)
{
    struct entry e = {.type = type, .seq = party_seq(p) + 1, .time = p->time + 1};
    memcpy(e.party, party_id(p), sizeof e.party);
    memcpy(e.prev, party_head(p), sizeof e.prev);
    memcpy(e.author, k->ids[author], sizeof e.author);
    return e;
}

static inline void kit_sign(const struct kit *k, struct buf *out, struct entry *e, const struct sign_key *key)
{
    uint8_t hash[ENTRY_HASH_LEN], scratch[ENTRY_MAX];
    entry_hash(hash, e);
    if (sign_make(key, CONTEXT_ENTRY, bytes_of(hash, sizeof hash), &k->rng, e->sig) < 0)
        abort();
    struct wr w = wr_of(scratch, sizeof scratch);
    entry_write(&w, e);
    buf_clear(out);
    if (buf_add(out, wr_done(&w)) < 0 || !wr_ok(&w))
        abort();
}

/* The verdict on e, signed by key. */
static inline enum party_verdict kit_judge(const struct kit *k, const struct party *p, struct entry *e,
                                           const struct sign_key *key, uint64_t now)
{
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    kit_sign(k, &b, e, key);
    enum party_verdict v = party_judge(p, buf_bytes(&b), now);
    buf_done(&b);
    return v;
}

static inline enum party_verdict kit_append(const struct kit *k, struct party *p, struct entry *e,
                                            const struct sign_key *key, uint64_t now)
{
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    kit_sign(k, &b, e, key);
    enum party_verdict v = party_append(p, buf_bytes(&b), now);
    buf_done(&b);
    return v;
}

/* The body of an admit with the newcomer's own signature. */
static inline void kit_fill_admit(const struct kit *k, const struct party *p, struct entry *e, int who,
                                  uint8_t role)
{
    struct entry_admit *a = &e->u.admit;
    uint8_t scratch[POSSESSION_MAX];
    a->key = *sign_key_public(k->keys[who]);
    a->role = role;
    a->name[0] = (char)('a' + who);
    a->host = party_address(p, party_id(p), k->ids[who]);
    struct bytes msg = possession_message(scratch, party_id(p), k->ids[who], a->name, role);
    if (sign_make(k->keys[who], CONTEXT_JOIN, msg, &k->rng, a->possession) < 0)
        abort();
}

static inline void kit_must(enum party_verdict v)
{
    if (v != PARTY_OK)
        abort();
}

static inline void kit_admit(const struct kit *k, struct party *p, int who, uint8_t role)
{
    struct entry e = kit_next(k, p, ENTRY_ADMIT, OWNER);
    kit_fill_admit(k, p, &e, who, role);
    kit_must(kit_append(k, p, &e, k->keys[OWNER], 0));
}

static inline void kit_role(const struct kit *k, struct party *p, int who, uint8_t role)
{
    struct entry e = kit_next(k, p, ENTRY_ROLE, OWNER);
    memcpy(e.u.role.node, k->ids[who], NODE_ID_LEN);
    e.u.role.role = role;
    kit_must(kit_append(k, p, &e, k->keys[OWNER], 0));
}

static inline void kit_remove(const struct kit *k, struct party *p, int who, int author)
{
    struct entry e = kit_next(k, p, ENTRY_REMOVE, author);
    memcpy(e.u.remove.node, k->ids[who], NODE_ID_LEN);
    kit_must(kit_append(k, p, &e, k->keys[author], 0));
}

/* secret receives the invite's. */
static inline void kit_invite(const struct kit *k, struct party *p, uint32_t uses, uint64_t life,
                              uint8_t role, uint8_t secret[32])
{
    struct entry e = kit_next(k, p, ENTRY_INVITE, OWNER);
    rng_fill(&k->rng, secret, 32);
    struct sign_key *key = kit_invite_key(secret);
    e.u.invite = (struct entry_invite){*sign_key_public(key), uses, e.time + life, role};
    sign_key_free(key);
    kit_must(kit_append(k, p, &e, k->keys[OWNER], 0));
}

static inline void kit_genesis(const struct kit *k, struct buf *out)
{
    struct party_author a = kit_author(k, OWNER, KIT_TIME);
    struct party_genesis_args args = {"Friday", "owner", MODE_TAP, 0};
    if (party_make_genesis(out, &a, &args) < 0)
        abort();
}

static inline struct party *kit_open(const struct kit *k)
{
    struct buf b;
    enum party_verdict v;
    buf_init(&b, ENTRY_MAX);
    kit_genesis(k, &b);
    struct party *p = party_open(buf_bytes(&b), KIT_TIME, &v);
    buf_done(&b);
    kit_must(v);
    return p;
}

/* Everybody but OUT and OUT2, GONE removed by OWNER, and an invite for three members. */
static inline struct party *kit_world(struct kit *k)
{
    struct party *p = kit_open(k);
    for (int i = OWNER2; i <= GONE; i++) {
        uint8_t role = i < MEMBER ? ROLE_ADMIN : i < GUEST || i == GONE ? ROLE_MEMBER : ROLE_GUEST;
        kit_admit(k, p, i, role);
    }
    kit_role(k, p, OWNER2, ROLE_OWNER);
    kit_remove(k, p, GONE, OWNER);
    kit_invite(k, p, 3, 3600, ROLE_MEMBER, k->secret);
    party_invite_id(k->invite, k->secret);
    return p;
}

#endif
