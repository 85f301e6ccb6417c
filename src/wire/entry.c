#include "wire/entry.h"

#include <errno.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/hash.h"

#define BODY_MAX   (ENTRY_MAX - SIGN_SIG_LEN)
#define HASH_LABEL "warren party entry v1"

static void read_name(struct rd *r, char name[NAME_CAP])
{
    rd_text8(r, name, NAME_CAP);
    if (rd_ok(r) && !name_valid(name))
        rd_fail(r);
}

static uint8_t read_range(struct rd *r, uint8_t low, uint8_t high)
{
    uint8_t v = rd_u8(r);
    if (v < low || v > high)
        rd_fail(r);
    return v;
}

static void read_key(struct rd *r, struct sign_public *key)
{
    rd_copy(r, key->mldsa, sizeof key->mldsa);
    rd_copy(r, key->ed25519, sizeof key->ed25519);
}

static void write_key(struct wr *w, const struct sign_public *key)
{
    wr_copy(w, key->mldsa, sizeof key->mldsa);
    wr_copy(w, key->ed25519, sizeof key->ed25519);
}

static void read_policy(struct rd *r, struct party_policy *p)
{
    p->allow_dhcp = read_range(r, 0, 1) == 1;
    p->broadcast_pps = rd_u32(r);
    /* None at all would forbid every session. */
    p->ciphers = read_range(r, 1, (1u << AEAD_ALG_COUNT) - 1);
}

static void write_policy(struct wr *w, const struct party_policy *p)
{
    wr_u8(w, p->allow_dhcp ? 1 : 0);
    wr_u32(w, p->broadcast_pps);
    wr_u8(w, p->ciphers);
}

static void read_genesis(struct rd *r, struct entry *e)
{
    struct entry_genesis *g = &e->u.genesis;
    read_key(r, &g->key);
    read_name(r, g->name);
    read_name(r, g->owner);
    rd_copy(r, g->salt, sizeof g->salt);
    g->mode = read_range(r, MODE_TAP, MODE_WIREGUARD);
    g->net4 = rd_u32(r);
    rd_copy(r, g->net6, sizeof g->net6);
    g->host = rd_u16(r);
    read_policy(r, &g->policy);
}

static void write_genesis(struct wr *w, const struct entry *e)
{
    const struct entry_genesis *g = &e->u.genesis;
    write_key(w, &g->key);
    wr_text8(w, g->name);
    wr_text8(w, g->owner);
    wr_copy(w, g->salt, sizeof g->salt);
    wr_u8(w, g->mode);
    wr_u32(w, g->net4);
    wr_copy(w, g->net6, sizeof g->net6);
    wr_u16(w, g->host);
    write_policy(w, &g->policy);
}

static void read_admit(struct rd *r, struct entry *e)
{
    struct entry_admit *a = &e->u.admit;
    read_key(r, &a->key);
    read_name(r, a->name);
    a->role = read_range(r, ROLE_GUEST, ROLE_OWNER);
    a->host = rd_u16(r);
    rd_copy(r, a->possession, sizeof a->possession);
}

static void write_admit(struct wr *w, const struct entry *e)
{
    const struct entry_admit *a = &e->u.admit;
    write_key(w, &a->key);
    wr_text8(w, a->name);
    wr_u8(w, a->role);
    wr_u16(w, a->host);
    wr_copy(w, a->possession, sizeof a->possession);
}

static void read_remove(struct rd *r, struct entry *e)
{
    rd_copy(r, e->u.remove.node, NODE_ID_LEN);
}

static void write_remove(struct wr *w, const struct entry *e)
{
    wr_copy(w, e->u.remove.node, NODE_ID_LEN);
}

static void read_role(struct rd *r, struct entry *e)
{
    rd_copy(r, e->u.role.node, NODE_ID_LEN);
    e->u.role.role = read_range(r, ROLE_GUEST, ROLE_OWNER);
}

static void write_role(struct wr *w, const struct entry *e)
{
    wr_copy(w, e->u.role.node, NODE_ID_LEN);
    wr_u8(w, e->u.role.role);
}

static void read_lease(struct rd *r, struct entry *e)
{
    rd_copy(r, e->u.lease.node, NODE_ID_LEN);
    e->u.lease.host = rd_u16(r);
}

static void write_lease(struct wr *w, const struct entry *e)
{
    wr_copy(w, e->u.lease.node, NODE_ID_LEN);
    wr_u16(w, e->u.lease.host);
}

static void read_invite(struct rd *r, struct entry *e)
{
    struct entry_invite *i = &e->u.invite;
    read_key(r, &i->key);
    i->uses = rd_u32(r);
    i->expires = rd_u64(r);
    i->role = read_range(r, ROLE_GUEST, ROLE_OWNER);
}

static void write_invite(struct wr *w, const struct entry *e)
{
    const struct entry_invite *i = &e->u.invite;
    write_key(w, &i->key);
    wr_u32(w, i->uses);
    wr_u64(w, i->expires);
    wr_u8(w, i->role);
}

static void read_revoke(struct rd *r, struct entry *e)
{
    rd_copy(r, e->u.revoke.invite, INVITE_ID_LEN);
}

static void write_revoke(struct wr *w, const struct entry *e)
{
    wr_copy(w, e->u.revoke.invite, INVITE_ID_LEN);
}

static void read_rename(struct rd *r, struct entry *e)
{
    rd_copy(r, e->u.rename.node, NODE_ID_LEN);
    read_name(r, e->u.rename.name);
}

static void write_rename(struct wr *w, const struct entry *e)
{
    wr_copy(w, e->u.rename.node, NODE_ID_LEN);
    wr_text8(w, e->u.rename.name);
}

static void read_new_policy(struct rd *r, struct entry *e)
{
    read_policy(r, &e->u.policy);
}

static void write_new_policy(struct wr *w, const struct entry *e)
{
    write_policy(w, &e->u.policy);
}

static const struct body {
    void (*read)(struct rd *r, struct entry *e);
    void (*write)(struct wr *w, const struct entry *e);
} bodies[ENTRY_TYPE_COUNT] = {
    [ENTRY_GENESIS] = {read_genesis, write_genesis},
    [ENTRY_ADMIT] = {read_admit, write_admit},
    [ENTRY_REMOVE] = {read_remove, write_remove},
    [ENTRY_ROLE] = {read_role, write_role},
    [ENTRY_LEASE] = {read_lease, write_lease},
    [ENTRY_INVITE] = {read_invite, write_invite},
    [ENTRY_REVOKE_INVITE] = {read_revoke, write_revoke},
    [ENTRY_RENAME] = {read_rename, write_rename},
    [ENTRY_POLICY] = {read_new_policy, write_new_policy},
};

static const struct body *body_of(uint8_t type)
{
    return type < ENTRY_TYPE_COUNT && bodies[type].read ? &bodies[type] : NULL;
}

int entry_read(struct entry *e, struct bytes in)
{
    if (in.n > ENTRY_MAX)
        return -EBADMSG;
    struct rd r = rd_of(in);
    struct entry t = {0};
    if (rd_u8(&r) != ENTRY_VERSION)
        rd_fail(&r);
    t.type = rd_u8(&r);
    rd_copy(&r, t.party, sizeof t.party);
    t.seq = rd_u64(&r);
    rd_copy(&r, t.prev, sizeof t.prev);
    t.time = rd_u64(&r);
    rd_copy(&r, t.author, sizeof t.author);
    struct rd body = rd_of(rd_block16(&r, BODY_MAX));
    rd_copy(&r, t.sig, sizeof t.sig);
    const struct body *b = body_of(t.type);
    if (!rd_done(&r) || !b)
        return -EBADMSG;
    b->read(&body, &t);
    if (!rd_done(&body))
        return -EBADMSG;
    *e = t;
    return 0;
}

int entry_key(struct sign_public *key, struct bytes start)
{
    struct rd r = rd_of(start);
    struct sign_public found;
    uint8_t version = rd_u8(&r), type = rd_u8(&r);
    rd_bytes(&r, PARTY_ID_LEN + 8 + ENTRY_HASH_LEN + 8 + NODE_ID_LEN + 2);
    read_key(&r, &found);
    if (!rd_ok(&r) || version != ENTRY_VERSION ||
        (type != ENTRY_GENESIS && type != ENTRY_ADMIT && type != ENTRY_INVITE))
        return -EBADMSG;
    *key = found;
    return 0;
}

static void write_unsigned(struct wr *w, const struct entry *e)
{
    uint8_t scratch[BODY_MAX];
    struct wr body = wr_of(scratch, sizeof scratch);
    const struct body *b = body_of(e->type);
    if (b)
        b->write(&body, e);
    if (!b || !wr_ok(&body)) {
        w->bad = true;
        return;
    }
    wr_u8(w, ENTRY_VERSION);
    wr_u8(w, e->type);
    wr_copy(w, e->party, sizeof e->party);
    wr_u64(w, e->seq);
    wr_copy(w, e->prev, sizeof e->prev);
    wr_u64(w, e->time);
    wr_copy(w, e->author, sizeof e->author);
    wr_block16(w, wr_done(&body));
}

void entry_write(struct wr *w, const struct entry *e)
{
    write_unsigned(w, e);
    wr_copy(w, e->sig, sizeof e->sig);
}

void entry_hash(uint8_t hash[ENTRY_HASH_LEN], const struct entry *e)
{
    uint8_t scratch[ENTRY_MAX];
    struct wr w = wr_of(scratch, sizeof scratch);
    write_unsigned(&w, e);
    struct bytes parts[] = {bytes_of_str(HASH_LABEL), wr_done(&w)};
    sha256(hash, parts, 2);
}
