#include "party/party_int.h"

#include <errno.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/secret.h"

#define DEFAULT_BROADCAST_PPS 200
#define ALL_CIPHERS           ((1u << AEAD_ALG_COUNT) - 1)

static uint64_t clock_of(const struct party *p, uint64_t now_unix_s)
{
    return now_unix_s > p->time ? now_unix_s : p->time;
}

static struct entry begin(const struct party *p, uint8_t type, const uint8_t author[NODE_ID_LEN],
                          uint64_t now_unix_s)
{
    struct entry e = {.type = type, .seq = party_seq(p) + 1, .time = clock_of(p, now_unix_s)};
    memcpy(e.party, p->id, sizeof e.party);
    memcpy(e.prev, party_head(p), sizeof e.prev);
    memcpy(e.author, author, sizeof e.author);
    return e;
}

/* Refuses what form or rules refuse, before anything is signed. */
static enum party_verdict judge_made(const struct party *p, const struct entry *e)
{
    uint8_t scratch[ENTRY_MAX];
    struct entry back;
    struct wr w = wr_of(scratch, sizeof scratch);
    entry_write(&w, e);
    if (!wr_ok(&w) || entry_read(&back, wr_done(&w)) < 0)
        return PARTY_MALFORMED;
    struct case_file c = {.e = e, .size = w.n, .now = e->time};
    return judge_rules(p, &c);
}

static int sign_into(struct buf *out, struct entry *e, const struct sign_key *key, const struct rng *rng)
{
    uint8_t hash[ENTRY_HASH_LEN], scratch[ENTRY_MAX];
    entry_hash(hash, e);
    int rc = sign_make(key, CONTEXT_ENTRY, bytes_of(hash, sizeof hash), rng, e->sig);
    if (rc < 0)
        return rc;
    struct wr w = wr_of(scratch, sizeof scratch);
    entry_write(&w, e);
    size_t before = out->n;
    out->n = 0;
    rc = buf_add(out, wr_done(&w));
    if (rc < 0)
        out->n = before;
    return rc;
}

static enum party_verdict finish(struct buf *out, const struct party *p, struct entry *e,
                                 const struct party_author *a)
{
    enum party_verdict v = judge_made(p, e);
    if (v != PARTY_OK)
        return v;
    return sign_into(out, e, a->key, &a->rng) < 0 ? PARTY_NO_MEMORY : PARTY_OK;
}

/* Whether s is a name that fits; copies it with zeros behind. */
static bool put_name(char out[NAME_CAP], const char *s)
{
    if (!name_valid(s))
        return false;
    memset(out, 0, NAME_CAP);
    memcpy(out, s, strlen(s));
    return true;
}

int party_make_genesis(struct buf *out, const struct party_author *a, const struct party_genesis_args *args)
{
    struct entry e = {.type = ENTRY_GENESIS, .time = a->now_unix_s};
    struct entry_genesis *g = &e.u.genesis;
    memcpy(e.author, a->id, sizeof e.author);
    g->key = *sign_key_public(a->key);
    g->mode = (uint8_t)args->mode;
    g->net4 = args->net4 ? args->net4 : party_pick_net4(&a->rng);
    if (!put_name(g->name, args->name) || !put_name(g->owner, args->owner_name) || args->mode < MODE_TAP ||
        args->mode > MODE_WIREGUARD || !party_net4_allowed(g->net4) || (args->ciphers & ~ALL_CIPHERS))
        return -EINVAL;
    rng_fill(&a->rng, g->salt, sizeof g->salt);
    /* RFC 4193: a random global id of 40 bits, subnet 0. */
    g->net6[0] = 0xfd;
    rng_fill(&a->rng, g->net6 + 1, 5);
    g->host = party_address(NULL, g->salt, a->id);
    g->policy = (struct party_policy){.broadcast_pps = DEFAULT_BROADCAST_PPS,
                                      .ciphers = args->ciphers ? args->ciphers : ALL_CIPHERS};
    return sign_into(out, &e, a->key, &a->rng);
}

static struct sign_key *invite_key(const uint8_t secret[32])
{
    struct sign_seed seed;
    sign_seed_derive(&seed, secret, LABEL_INVITE);
    struct sign_key *key = sign_key_new(&seed);
    wipe(&seed, sizeof seed);
    return key;
}

static int possess(uint8_t sig[SIGN_SIG_LEN], const struct sign_key *key, const uint8_t party[PARTY_ID_LEN],
                   const struct entry_admit *a, const struct rng *rng)
{
    uint8_t id[NODE_ID_LEN], scratch[POSSESSION_MAX];
    node_id_of(id, &a->key);
    return sign_make(key, CONTEXT_JOIN, possession_message(scratch, party, id, a->name, a->role), rng, sig);
}

static enum party_verdict join_with(struct buf *out, const struct party *p, const struct party_author *joiner,
                                    const struct sign_key *key, const char *name)
{
    uint8_t id[INVITE_ID_LEN];
    node_id_of(id, sign_key_public(key));
    const struct party_invite *i = party_invite(p, id);
    if (!i)
        return PARTY_INVITE_UNKNOWN;
    struct entry e = begin(p, ENTRY_ADMIT, id, joiner->now_unix_s);
    struct entry_admit *a = &e.u.admit;
    a->key = *sign_key_public(joiner->key);
    a->role = (uint8_t)i->role;
    a->host = party_address(p, p->id, joiner->id);
    if (!put_name(a->name, name))
        return PARTY_MALFORMED;
    enum party_verdict v = judge_made(p, &e);
    if (v != PARTY_OK)
        return v;
    if (possess(a->possession, joiner->key, p->id, a, &joiner->rng) < 0 ||
        sign_into(out, &e, key, &joiner->rng) < 0)
        return PARTY_NO_MEMORY;
    return PARTY_OK;
}

enum party_verdict party_make_join(struct buf *out, const struct party *p, const struct party_author *joiner,
                                   const uint8_t invite_secret[32], const char *name)
{
    struct sign_key *key = invite_key(invite_secret);
    enum party_verdict v = key ? join_with(out, p, joiner, key, name) : PARTY_NO_MEMORY;
    sign_key_free(key);
    return v;
}

int party_possession(struct party_newcomer *who, const uint8_t party[PARTY_ID_LEN],
                     const struct sign_key *key, const struct rng *rng)
{
    struct entry_admit a = {.key = who->key, .role = (uint8_t)who->role};
    return put_name(a.name, who->name) ? possess(who->possession, key, party, &a, rng) : -EINVAL;
}

enum party_verdict party_make_admit(struct buf *out, const struct party *p, const struct party_author *a,
                                    const struct party_newcomer *who)
{
    struct entry e = begin(p, ENTRY_ADMIT, a->id, a->now_unix_s);
    struct entry_admit *to = &e.u.admit;
    uint8_t id[NODE_ID_LEN], scratch[POSSESSION_MAX];
    node_id_of(id, &who->key);
    to->key = who->key;
    to->role = (uint8_t)who->role;
    to->host = party_address(p, p->id, id);
    if (!put_name(to->name, who->name))
        return PARTY_MALFORMED;
    memcpy(to->possession, who->possession, sizeof to->possession);
    if (sign_check(&who->key, CONTEXT_JOIN, possession_message(scratch, p->id, id, to->name, to->role),
                   to->possession) < 0)
        return PARTY_BAD_SIGNATURE;
    return finish(out, p, &e, a);
}

static enum party_verdict make_invite(struct buf *out, const struct party *p, const struct party_author *a,
                                      struct entry *e, const uint8_t secret[32])
{
    struct sign_key *key = invite_key(secret);
    if (!key)
        return PARTY_NO_MEMORY;
    e->u.invite.key = *sign_key_public(key);
    sign_key_free(key);
    return finish(out, p, e, a);
}

enum party_verdict party_make_invite(struct buf *out, const struct party *p, const struct party_author *a,
                                     uint32_t uses, uint64_t expires, enum party_role role,
                                     uint8_t secret[32])
{
    struct entry e = begin(p, ENTRY_INVITE, a->id, a->now_unix_s);
    e.u.invite.uses = uses;
    e.u.invite.expires = expires;
    e.u.invite.role = (uint8_t)role;
    rng_fill(&a->rng, secret, 32);
    enum party_verdict v = make_invite(out, p, a, &e, secret);
    if (v != PARTY_OK)
        wipe(secret, 32);
    return v;
}

enum party_verdict party_make_revoke(struct buf *out, const struct party *p, const struct party_author *a,
                                     const uint8_t invite[INVITE_ID_LEN])
{
    struct entry e = begin(p, ENTRY_REVOKE_INVITE, a->id, a->now_unix_s);
    memcpy(e.u.revoke.invite, invite, INVITE_ID_LEN);
    return finish(out, p, &e, a);
}

enum party_verdict party_make_remove(struct buf *out, const struct party *p, const struct party_author *a,
                                     const uint8_t node[NODE_ID_LEN])
{
    struct entry e = begin(p, ENTRY_REMOVE, a->id, a->now_unix_s);
    memcpy(e.u.remove.node, node, NODE_ID_LEN);
    return finish(out, p, &e, a);
}

enum party_verdict party_make_role(struct buf *out, const struct party *p, const struct party_author *a,
                                   const uint8_t node[NODE_ID_LEN], enum party_role role)
{
    struct entry e = begin(p, ENTRY_ROLE, a->id, a->now_unix_s);
    memcpy(e.u.role.node, node, NODE_ID_LEN);
    e.u.role.role = (uint8_t)role;
    return finish(out, p, &e, a);
}

enum party_verdict party_make_lease(struct buf *out, const struct party *p, const struct party_author *a,
                                    const uint8_t node[NODE_ID_LEN], uint16_t host)
{
    struct entry e = begin(p, ENTRY_LEASE, a->id, a->now_unix_s);
    memcpy(e.u.lease.node, node, NODE_ID_LEN);
    e.u.lease.host = host;
    return finish(out, p, &e, a);
}

enum party_verdict party_make_rename(struct buf *out, const struct party *p, const struct party_author *a,
                                     const uint8_t node_or_zero[NODE_ID_LEN], const char *name)
{
    struct entry e = begin(p, ENTRY_RENAME, a->id, a->now_unix_s);
    memcpy(e.u.rename.node, node_or_zero, NODE_ID_LEN);
    if (!put_name(e.u.rename.name, name))
        return PARTY_MALFORMED;
    return finish(out, p, &e, a);
}

enum party_verdict party_make_policy(struct buf *out, const struct party *p, const struct party_author *a,
                                     const struct party_policy *policy)
{
    struct entry e = begin(p, ENTRY_POLICY, a->id, a->now_unix_s);
    e.u.policy = *policy;
    return finish(out, p, &e, a);
}

void party_invite_id(uint8_t id[INVITE_ID_LEN], const uint8_t invite_secret[32])
{
    struct sign_key *key = invite_key(invite_secret);
    memset(id, 0, INVITE_ID_LEN);
    if (key)
        node_id_of(id, sign_key_public(key));
    sign_key_free(key);
}

#define PROOF_MAX (PARTY_CHALLENGE_MAX + PARTY_ID_LEN + NODE_ID_LEN)

/* Empty where the challenge is. */
static struct bytes proof_message(uint8_t out[PROOF_MAX], struct bytes challenge,
                                  const uint8_t party[PARTY_ID_LEN], const uint8_t node[NODE_ID_LEN])
{
    struct wr w = wr_of(out, PROOF_MAX);
    if (challenge.n == 0)
        return bytes_of(NULL, 0);
    wr_bytes(&w, challenge);
    wr_copy(&w, party, PARTY_ID_LEN);
    wr_copy(&w, node, NODE_ID_LEN);
    return wr_done(&w);
}

int party_invite_prove(uint8_t sig[SIGN_SIG_LEN], const uint8_t invite_secret[32], struct bytes challenge,
                       const uint8_t party[PARTY_ID_LEN], const uint8_t node[NODE_ID_LEN],
                       const struct rng *rng)
{
    uint8_t scratch[PROOF_MAX];
    struct bytes msg = proof_message(scratch, challenge, party, node);
    if (msg.n == 0)
        return -EINVAL;
    struct sign_key *key = invite_key(invite_secret);
    int rc = key ? sign_make(key, CONTEXT_PROOF, msg, rng, sig) : -EIO;
    sign_key_free(key);
    return rc;
}

bool party_invite_proven(const struct party *p, const uint8_t invite[INVITE_ID_LEN], struct bytes challenge,
                         const uint8_t node[NODE_ID_LEN], const uint8_t sig[SIGN_SIG_LEN])
{
    uint8_t scratch[PROOF_MAX];
    const struct party_invite *i = party_invite(p, invite);
    struct bytes msg = proof_message(scratch, challenge, p->id, node);
    struct sign_public key;
    return i && msg.n > 0 && key_read(p, i->entry, i->id, &key) == 0 &&
           sign_check(&key, CONTEXT_PROOF, msg, sig) == 0;
}
