#include "party/party_int.h"

#include <string.h>

/* What an entry is about, as bits: a role, its own author, or the party as a whole. */
#define G     (1u << ROLE_GUEST)
#define M     (1u << ROLE_MEMBER)
#define A     (1u << ROLE_ADMIN)
#define O     (1u << ROLE_OWNER)
#define ALL   (G | M | A | O)
#define SELF  (1u << 5)
#define PARTY (1u << 6)

typedef enum party_verdict judge_fn(const struct party *p, struct case_file *c,
                                    const struct party_member *author);

static judge_fn judge_admit, judge_remove, judge_role, judge_lease, judge_invite, judge_revoke, judge_rename,
    judge_policy;

/* Who may do what: for each type of entry and role of the author, whom or what it may concern
 * (doc/protocol/party.md section 4). An admit by an invite is judged apart: its right is the invite's. */
static const struct rule {
    judge_fn *judge;
    unsigned guest, member, admin, owner;
} rules[ENTRY_TYPE_COUNT] = {
    /* clang-format off */
    /* entry                  judge           guest member admin               owner                  the bits say */
    [ENTRY_ADMIT]         = { judge_admit,    0,    0,     G | M,              G | M | A },        /* the role given */
    [ENTRY_REMOVE]        = { judge_remove,   SELF, SELF,  SELF | G | M,       SELF | ALL },       /* who goes */
    [ENTRY_ROLE]          = { judge_role,     0,    0,     G | M,              SELF | ALL },       /* old role and new */
    [ENTRY_LEASE]         = { judge_lease,    0,    0,     SELF | ALL,         SELF | ALL },       /* who moves */
    [ENTRY_INVITE]        = { judge_invite,   0,    0,     G | M,              G | M },            /* what joiners become */
    [ENTRY_REVOKE_INVITE] = { judge_revoke,   0,    0,     G | M,              G | M },            /* the same */
    [ENTRY_RENAME]        = { judge_rename,   SELF, SELF,  SELF | ALL | PARTY, SELF | ALL | PARTY }, /* who is renamed */
    [ENTRY_POLICY]        = { judge_policy,   0,    0,     0,                  PARTY },
    /* clang-format on */
};

static bool may(const struct party_member *author, uint8_t type, unsigned what)
{
    const struct rule *r = &rules[type];
    const unsigned of_role[ROLE_COUNT] = {0, r->guest, r->member, r->admin, r->owner};
    return (of_role[author->role] & what) == what;
}

static bool same(const uint8_t a[32], const uint8_t b[32])
{
    return memcmp(a, b, 32) == 0;
}

static bool is_zero(const uint8_t id[32])
{
    static const uint8_t zero[32];
    return same(id, zero);
}

/* The bit that says whom an entry of this author concerns. */
static unsigned who(const struct party_member *author, const struct party_member *subject)
{
    return author == subject ? SELF : 1u << subject->role;
}

bool invite_closed(const struct party_invite *i, uint64_t time)
{
    return i->revoked || i->used >= i->uses || time > i->expires;
}

static enum party_verdict invite_verdict(const struct party_invite *i, uint64_t time)
{
    if (!i)
        return PARTY_INVITE_UNKNOWN;
    if (i->revoked)
        return PARTY_INVITE_REVOKED;
    if (time > i->expires)
        return PARTY_INVITE_EXPIRED;
    return i->used >= i->uses ? PARTY_INVITE_USED_UP : PARTY_OK;
}

enum party_verdict party_invite_state(const struct party *p, const uint8_t id[INVITE_ID_LEN],
                                      uint64_t now_unix_s)
{
    return invite_verdict(invite_find(p, id), now_unix_s > p->time ? now_unix_s : p->time);
}

/* What every newcomer has to be, whoever lets it in. */
static enum party_verdict judge_newcomer(const struct party *p, const struct case_file *c)
{
    const uint8_t *id = c->subject;
    uint8_t mac[6], ip6[16];
    if (member_find(p, id))
        return PARTY_ALREADY_MEMBER;
    /* The key of an invite is known to many. */
    if (invite_find(p, id))
        return PARTY_NOT_ALLOWED;
    if (p->member_count >= PARTY_MEMBERS_MAX)
        return PARTY_FULL;
    uint16_t host = party_address(p, p->id, id);
    if (host == 0 || c->e->u.admit.host != host)
        return PARTY_BAD_ADDRESS;
    party_mac(mac, p->id, id);
    party_ip6(ip6, p->net6, p->id, id);
    if (party_member_by_mac(p, mac) || party_member_by_ip6(p, ip6))
        return PARTY_BAD_ADDRESS;
    return PARTY_OK;
}

static enum party_verdict judge_admit(const struct party *p, struct case_file *c,
                                      const struct party_member *author)
{
    if (!may(author, ENTRY_ADMIT, 1u << c->e->u.admit.role))
        return PARTY_NOT_ALLOWED;
    node_id_of(c->subject, &c->e->u.admit.key);
    return judge_newcomer(p, c);
}

static enum party_verdict judge_join(const struct party *p, struct case_file *c)
{
    const struct entry *e = c->e;
    const struct party_invite *i = invite_find(p, e->author);
    enum party_verdict v = invite_verdict(i, c->now > e->time ? c->now : e->time);
    if (v != PARTY_OK)
        return v;
    if (e->u.admit.role != i->role)
        return PARTY_NOT_ALLOWED;
    c->signer = i->id;
    c->signer_entry = i->entry;
    node_id_of(c->subject, &e->u.admit.key);
    if (party_was_removed(p, c->subject))
        return PARTY_WAS_REMOVED;
    return judge_newcomer(p, c);
}

static enum party_verdict judge_remove(const struct party *p, struct case_file *c,
                                       const struct party_member *author)
{
    const struct party_member *m = member_find(p, c->e->u.remove.node);
    if (!m)
        return PARTY_NO_MEMBER;
    if (!may(author, ENTRY_REMOVE, who(author, m)))
        return PARTY_NOT_ALLOWED;
    if (m->role == ROLE_OWNER && p->owner_count == 1 && p->member_count > 1)
        return PARTY_LAST_OWNER;
    return PARTY_OK;
}

static enum party_verdict judge_role(const struct party *p, struct case_file *c,
                                     const struct party_member *author)
{
    const struct entry_role *r = &c->e->u.role;
    const struct party_member *m = member_find(p, r->node);
    if (!m)
        return PARTY_NO_MEMBER;
    if (!may(author, ENTRY_ROLE, who(author, m) | 1u << r->role))
        return PARTY_NOT_ALLOWED;
    if (m->role == ROLE_OWNER && r->role != ROLE_OWNER && p->owner_count == 1)
        return PARTY_LAST_OWNER;
    return PARTY_OK;
}

static enum party_verdict judge_lease(const struct party *p, struct case_file *c,
                                      const struct party_member *author)
{
    const struct entry_lease *l = &c->e->u.lease;
    const struct party_member *m = member_find(p, l->node);
    if (!m)
        return PARTY_NO_MEMBER;
    if (!may(author, ENTRY_LEASE, who(author, m)))
        return PARTY_NOT_ALLOWED;
    if (!host_usable(l->host) || party_member_by_ip4(p, p->net4 | l->host))
        return PARTY_BAD_ADDRESS;
    return PARTY_OK;
}

static bool invites_full(const struct party *p, uint64_t time)
{
    if (p->invite_count < PARTY_INVITES_MAX)
        return false;
    for (size_t i = 0; i < p->invite_count; i++)
        if (invite_closed(p->invites[i], time))
            return false;
    return true;
}

static enum party_verdict judge_invite(const struct party *p, struct case_file *c,
                                       const struct party_member *author)
{
    const struct entry_invite *i = &c->e->u.invite;
    uint64_t time = c->e->time;
    if (!may(author, ENTRY_INVITE, 1u << i->role))
        return PARTY_NOT_ALLOWED;
    if (i->uses == 0 || i->uses > INVITE_USES_MAX)
        return PARTY_MALFORMED;
    if (i->expires <= time || i->expires - time > INVITE_LIFE_MAX)
        return PARTY_BAD_TIME;
    if (invites_full(p, time))
        return PARTY_FULL;
    node_id_of(c->subject, &i->key);
    /* One key, one purpose. */
    if (invite_find(p, c->subject) || member_find(p, c->subject) || party_was_removed(p, c->subject))
        return PARTY_NOT_ALLOWED;
    return PARTY_OK;
}

static enum party_verdict judge_revoke(const struct party *p, struct case_file *c,
                                       const struct party_member *author)
{
    const struct party_invite *i = invite_find(p, c->e->u.revoke.invite);
    if (!may(author, ENTRY_REVOKE_INVITE, i ? 1u << i->role : G))
        return PARTY_NOT_ALLOWED;
    if (!i)
        return PARTY_INVITE_UNKNOWN;
    return i->revoked ? PARTY_INVITE_REVOKED : PARTY_OK;
}

static enum party_verdict judge_rename(const struct party *p, struct case_file *c,
                                       const struct party_member *author)
{
    const uint8_t *node = c->e->u.rename.node;
    const struct party_member *m = member_find(p, node);
    if (!m && !is_zero(node))
        return PARTY_NO_MEMBER;
    return may(author, ENTRY_RENAME, m ? who(author, m) : PARTY) ? PARTY_OK : PARTY_NOT_ALLOWED;
}

static enum party_verdict judge_policy(const struct party *p, struct case_file *c,
                                       const struct party_member *author)
{
    return may(author, ENTRY_POLICY, PARTY) ? PARTY_OK : PARTY_NOT_ALLOWED;
}

/* A party that guests have filled with their renames could not remove them any more. */
static bool log_full(const struct party *p, const struct case_file *c, const struct party_member *author)
{
    bool any = c->e->type == ENTRY_REMOVE || (author && author->role >= ROLE_ADMIN);
    uint64_t entries = PARTY_ENTRIES_MAX, bytes = PARTY_FILE_MAX;
    if (!any) {
        entries -= entries / PARTY_RESERVE;
        bytes -= bytes / PARTY_RESERVE;
    }
    return p->slot_count >= entries || p->bytes + 4 + c->size > bytes;
}

static bool time_ahead(uint64_t time, uint64_t now)
{
    return now != 0 && time > now && time - now > PARTY_SKEW_S;
}

enum party_verdict judge_rules(const struct party *p, struct case_file *c)
{
    const struct entry *e = c->e;
    const struct party_member *author = member_find(p, e->author);
    bool join = e->type == ENTRY_ADMIT && !author && !party_was_removed(p, e->author);
    if (!author && !join)
        return PARTY_NO_MEMBER;
    if (e->time < p->time || time_ahead(e->time, c->now))
        return PARTY_BAD_TIME;
    if (log_full(p, c, author))
        return PARTY_FULL;
    if (join)
        return judge_join(p, c);
    c->signer = author->id;
    c->signer_entry = author->entry;
    return rules[e->type].judge(p, c, author);
}

enum party_verdict judge_position(const struct party *p, const struct entry *e,
                                  const uint8_t hash[ENTRY_HASH_LEN], uint64_t now)
{
    if (e->type == ENTRY_GENESIS)
        return same(hash, p->id) ? PARTY_KNOWN : PARTY_OTHER;
    if (!same(e->party, p->id))
        return PARTY_OTHER;
    if (e->seq == 0)
        return PARTY_MALFORMED;
    if (e->seq > p->slot_count)
        return PARTY_GAP;
    bool ours = same(e->prev, p->slots[e->seq - 1].hash);
    if (e->seq == p->slot_count)
        return ours ? PARTY_OK : PARTY_FORK;
    if (same(hash, p->slots[e->seq].hash))
        return PARTY_KNOWN;
    return ours && now != 0 ? PARTY_STALE : PARTY_FORK;
}

static bool signed_by(const struct sign_public *key, const char *context, struct bytes msg,
                      const uint8_t sig[SIGN_SIG_LEN])
{
    return sign_check(key, context, msg, sig) == 0;
}

struct bytes possession_message(uint8_t out[POSSESSION_MAX], const uint8_t party[PARTY_ID_LEN],
                                const uint8_t node[NODE_ID_LEN], const char *name, uint8_t role)
{
    struct wr w = wr_of(out, POSSESSION_MAX);
    wr_copy(&w, party, PARTY_ID_LEN);
    wr_copy(&w, node, NODE_ID_LEN);
    wr_text8(&w, name);
    wr_u8(&w, role);
    return wr_done(&w);
}

enum party_verdict judge_signatures(const struct party *p, const struct case_file *c,
                                    const uint8_t hash[ENTRY_HASH_LEN])
{
    const struct entry *e = c->e;
    if (c->signatures_known)
        return PARTY_OK;
    struct sign_public key;
    if (key_read(p, c->signer_entry, c->signer, &key) < 0)
        return PARTY_UNREADABLE;
    if (!signed_by(&key, CONTEXT_ENTRY, bytes_of(hash, ENTRY_HASH_LEN), e->sig))
        return PARTY_BAD_SIGNATURE;
    if (e->type != ENTRY_ADMIT)
        return PARTY_OK;
    const struct entry_admit *a = &e->u.admit;
    uint8_t scratch[POSSESSION_MAX];
    struct bytes msg = possession_message(scratch, p->id, c->subject, a->name, a->role);
    return signed_by(&a->key, CONTEXT_JOIN, msg, a->possession) ? PARTY_OK : PARTY_BAD_SIGNATURE;
}

enum party_verdict judge_genesis(const struct case_file *c, const uint8_t hash[ENTRY_HASH_LEN])
{
    const struct entry *e = c->e;
    const struct entry_genesis *g = &e->u.genesis;
    uint8_t id[NODE_ID_LEN];
    if (e->type != ENTRY_GENESIS || e->seq != 0 || !is_zero(e->party) || !is_zero(e->prev))
        return PARTY_MALFORMED;
    if (time_ahead(e->time, c->now))
        return PARTY_BAD_TIME;
    node_id_of(id, &g->key);
    if (!same(id, e->author))
        return PARTY_NOT_ALLOWED;
    /* fd00::/8 is what RFC 4193 gives to local networks. */
    if (!party_net4_allowed(g->net4) || g->net6[0] != 0xfd || g->host != party_address(NULL, g->salt, id))
        return PARTY_BAD_ADDRESS;
    if (c->signatures_known)
        return PARTY_OK;
    if (!signed_by(&g->key, CONTEXT_ENTRY, bytes_of(hash, ENTRY_HASH_LEN), e->sig))
        return PARTY_BAD_SIGNATURE;
    return PARTY_OK;
}
