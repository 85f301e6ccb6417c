#include "party/party_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 16

/* Where the party holds a member twice for a moment (a lease moves it), the map does too. */
#define MAP_LIMIT (PARTY_MEMBERS_MAX + 1)

uint64_t map_seed(const uint8_t id[PARTY_ID_LEN])
{
    /* Not secret, and need not be: a party's tables hold a thousand members that an admin let in. */
    struct rd r = rd_of(bytes_of(id, 8));
    return rd_u64(&r);
}

static void key_of_ip4(uint8_t key[4], uint32_t ip4)
{
    struct wr w = wr_of(key, 4);
    wr_u32(&w, ip4);
}

static int put_ip4(struct party *p, struct party_member *m, uint32_t ip4)
{
    uint8_t key[4];
    key_of_ip4(key, ip4);
    return map_put(p->by_ip4, key, m);
}

static void del_ip4(struct party *p, uint32_t ip4)
{
    uint8_t key[4];
    key_of_ip4(key, ip4);
    map_del(p->by_ip4, key);
}

static void member_unlink(struct party *p, const struct party_member *m)
{
    map_del(p->by_id, m->id);
    map_del(p->by_ip6, m->ip6);
    map_del(p->by_mac, m->mac);
    del_ip4(p, m->ip4);
}

static int member_link(struct party *p, struct party_member *m)
{
    if (map_put(p->by_id, m->id, m) == 0 && map_put(p->by_ip6, m->ip6, m) == 0 &&
        map_put(p->by_mac, m->mac, m) == 0 && put_ip4(p, m, m->ip4) == 0)
        return 0;
    /* None of its keys was anybody's before, so what is there is its own. */
    member_unlink(p, m);
    return -ENOMEM;
}

/* The addresses but the host follow from the id. */
static enum party_verdict member_add(struct party *p, const struct party_member *from, uint16_t host)
{
    struct party_member *m = malloc(sizeof *m);
    if (!m)
        return PARTY_NO_MEMORY;
    *m = *from;
    m->ip4 = p->net4 | host;
    party_mac(m->mac, p->id, m->id);
    party_ip6(m->ip6, p->net6, p->id, m->id);
    if (member_link(p, m) < 0) {
        free(m);
        return PARTY_NO_MEMORY;
    }
    p->members[p->member_count++] = m;
    p->owner_count += m->role == ROLE_OWNER;
    return PARTY_OK;
}

/* An invite is worth what its author's word is worth: else a removed admin would have kept a key to the door.
 */
static void revoke_all_of(struct party *p, const uint8_t author[NODE_ID_LEN])
{
    for (size_t i = 0; i < p->invite_count; i++)
        if (memcmp(p->invites[i]->author, author, NODE_ID_LEN) == 0)
            p->invites[i]->revoked = true;
}

static enum party_verdict apply_admit(struct party *p, const struct case_file *c)
{
    const struct entry *e = c->e;
    struct party_invite *i = invite_find(p, e->author);
    struct party_member m = {.entry = (uint32_t)e->seq, .role = e->u.admit.role, .since = e->time};
    memcpy(m.id, c->subject, sizeof m.id);
    memcpy(m.name, e->u.admit.name, sizeof m.name);
    if (i)
        memcpy(m.invite, i->id, sizeof m.invite);
    enum party_verdict v = member_add(p, &m, e->u.admit.host);
    if (v != PARTY_OK)
        return v;
    map_del(p->removed, c->subject);
    if (i)
        i->used++;
    return PARTY_OK;
}

static enum party_verdict apply_remove(struct party *p, const struct case_file *c)
{
    struct party_member *m = member_find(p, c->e->u.remove.node);
    bool left = memcmp(c->e->author, m->id, NODE_ID_LEN) == 0;
    /* The entry's own position: it is the next one. */
    if (!left && map_put(p->removed, m->id, (void *)(uintptr_t)p->slot_count) < 0)
        return PARTY_NO_MEMORY;
    revoke_all_of(p, m->id);
    member_unlink(p, m);
    size_t at = 0;
    while (p->members[at] != m)
        at++;
    p->member_count--;
    memmove(&p->members[at], &p->members[at + 1], (p->member_count - at) * sizeof p->members[0]);
    p->owner_count -= m->role == ROLE_OWNER;
    free(m);
    return PARTY_OK;
}

static enum party_verdict apply_role(struct party *p, const struct case_file *c)
{
    struct party_member *m = member_find(p, c->e->u.role.node);
    p->owner_count -= m->role == ROLE_OWNER;
    m->role = c->e->u.role.role;
    p->owner_count += m->role == ROLE_OWNER;
    if (m->role < ROLE_ADMIN)
        revoke_all_of(p, m->id);
    return PARTY_OK;
}

static enum party_verdict apply_lease(struct party *p, const struct case_file *c)
{
    struct party_member *m = member_find(p, c->e->u.lease.node);
    uint32_t ip4 = p->net4 | c->e->u.lease.host;
    if (put_ip4(p, m, ip4) < 0)
        return PARTY_NO_MEMORY;
    del_ip4(p, m->ip4);
    m->ip4 = ip4;
    return PARTY_OK;
}

static void forget_oldest_closed(struct party *p, uint64_t time)
{
    size_t at = 0;
    while (at < p->invite_count && !invite_closed(p->invites[at], time))
        at++;
    if (at == p->invite_count)
        return;
    free(p->invites[at]);
    p->invite_count--;
    memmove(&p->invites[at], &p->invites[at + 1], (p->invite_count - at) * sizeof p->invites[0]);
}

static enum party_verdict apply_invite(struct party *p, const struct case_file *c)
{
    const struct entry_invite *from = &c->e->u.invite;
    struct party_invite *i = malloc(sizeof *i);
    if (!i)
        return PARTY_NO_MEMORY;
    *i = (struct party_invite){
        .entry = (uint32_t)c->e->seq, .uses = from->uses, .expires = from->expires, .role = from->role};
    memcpy(i->id, c->subject, sizeof i->id);
    memcpy(i->author, c->e->author, sizeof i->author);
    if (p->invite_count == PARTY_INVITES_MAX)
        forget_oldest_closed(p, c->e->time);
    p->invites[p->invite_count++] = i;
    return PARTY_OK;
}

static enum party_verdict apply_revoke(struct party *p, const struct case_file *c)
{
    invite_find(p, c->e->u.revoke.invite)->revoked = true;
    return PARTY_OK;
}

static enum party_verdict apply_rename(struct party *p, const struct case_file *c)
{
    struct party_member *m = member_find(p, c->e->u.rename.node);
    memcpy(m ? m->name : p->name, c->e->u.rename.name, NAME_CAP);
    return PARTY_OK;
}

static enum party_verdict apply_policy(struct party *p, const struct case_file *c)
{
    p->policy = c->e->u.policy;
    return PARTY_OK;
}

/* Each takes effect whole or not at all. */
static enum party_verdict (*const apply[ENTRY_TYPE_COUNT])(struct party *p, const struct case_file *c) = {
    [ENTRY_ADMIT] = apply_admit,   [ENTRY_REMOVE] = apply_remove, [ENTRY_ROLE] = apply_role,
    [ENTRY_LEASE] = apply_lease,   [ENTRY_INVITE] = apply_invite, [ENTRY_REVOKE_INVITE] = apply_revoke,
    [ENTRY_RENAME] = apply_rename, [ENTRY_POLICY] = apply_policy,
};

/* Room for one more entry and a copy of it, or NULL. */
static uint8_t *slot_prepare(struct party *p, struct bytes entry)
{
    if (p->slot_count == p->slot_cap) {
        size_t cap = p->slot_cap ? p->slot_cap * 2 : FIRST_SLOTS;
        struct party_slot *s = realloc(p->slots, cap * sizeof *s);
        if (!s)
            return NULL;
        p->slots = s;
        p->slot_cap = cap;
    }
    uint8_t *copy = malloc(entry.n);
    if (copy)
        memcpy(copy, entry.p, entry.n);
    return copy;
}

static void slot_commit(struct party *p, uint8_t *copy, size_t n, const uint8_t hash[ENTRY_HASH_LEN])
{
    struct party_slot *s = &p->slots[p->slot_count++];
    *s = (struct party_slot){.p = copy, .n = (uint32_t)n};
    memcpy(s->hash, hash, sizeof s->hash);
    p->bytes += 4 + n;
}

static enum party_verdict judge_bytes(const struct party *p, struct bytes in, uint8_t hash[ENTRY_HASH_LEN],
                                      struct entry *e, struct case_file *c)
{
    if (entry_read(e, in) < 0)
        return PARTY_MALFORMED;
    entry_hash(hash, e);
    enum party_verdict v = judge_position(p, e, hash, c->now);
    c->e = e;
    c->size = in.n;
    if (v == PARTY_OK)
        v = judge_rules(p, c);
    return v == PARTY_OK ? judge_signatures(p, c, hash) : v;
}

enum party_verdict party_judge(const struct party *p, struct bytes entry, uint64_t now_unix_s)
{
    struct entry e;
    uint8_t hash[ENTRY_HASH_LEN];
    struct case_file c = {.now = now_unix_s};
    return judge_bytes(p, entry, hash, &e, &c);
}

/* Judges, lets k keep the entry if there is one, and only then changes the party. */
static enum party_verdict extend(struct party *p, struct bytes entry, struct case_file *c,
                                 struct party_keeper *k)
{
    struct entry e;
    uint8_t hash[ENTRY_HASH_LEN];
    enum party_verdict v = judge_bytes(p, entry, hash, &e, c);
    if (v != PARTY_OK)
        return v;
    uint8_t *copy = slot_prepare(p, entry);
    if (!copy)
        return PARTY_NO_MEMORY;
    if (k)
        k->rc = k->keep(k->arg, &e, hash);
    if (k && k->rc != 0) {
        free(copy);
        return PARTY_OK;
    }
    v = apply[e.type](p, c);
    if (v != PARTY_OK) {
        free(copy);
        return v;
    }
    slot_commit(p, copy, entry.n, hash);
    p->time = e.time;
    return PARTY_OK;
}

enum party_verdict party_append(struct party *p, struct bytes entry, uint64_t now_unix_s)
{
    struct case_file c = {.now = now_unix_s};
    return extend(p, entry, &c, NULL);
}

enum party_verdict party_append_kept(struct party *p, struct bytes entry, uint64_t now_unix_s,
                                     struct party_keeper *k)
{
    struct case_file c = {.now = now_unix_s};
    k->rc = -ECANCELED;
    return extend(p, entry, &c, k);
}

static bool maps_new(struct party *p)
{
    uint64_t seed = map_seed(p->id);
    p->by_id = map_new(NODE_ID_LEN, MAP_LIMIT, seed);
    p->by_ip4 = map_new(4, MAP_LIMIT, seed);
    p->by_ip6 = map_new(16, MAP_LIMIT, seed);
    p->by_mac = map_new(6, MAP_LIMIT, seed);
    p->removed = map_new(NODE_ID_LEN, PARTY_ENTRIES_MAX, seed);
    return p->by_id && p->by_ip4 && p->by_ip6 && p->by_mac && p->removed;
}

static enum party_verdict open_genesis(struct party *p, const struct entry *e, struct bytes in,
                                       const uint8_t hash[ENTRY_HASH_LEN])
{
    const struct entry_genesis *g = &e->u.genesis;
    memcpy(p->id, hash, sizeof p->id);
    memcpy(p->name, g->name, sizeof p->name);
    memcpy(p->net6, g->net6, sizeof p->net6);
    p->mode = g->mode;
    p->policy = g->policy;
    p->net4 = g->net4;
    p->time = e->time;
    struct party_member m = {.role = ROLE_OWNER, .since = e->time};
    memcpy(m.id, e->author, sizeof m.id);
    memcpy(m.name, g->owner, sizeof m.name);
    if (!maps_new(p) || member_add(p, &m, g->host) != PARTY_OK)
        return PARTY_NO_MEMORY;
    uint8_t *copy = slot_prepare(p, in);
    if (!copy)
        return PARTY_NO_MEMORY;
    slot_commit(p, copy, in.n, hash);
    return PARTY_OK;
}

static struct party *open_judged(struct bytes genesis, struct case_file *c, enum party_verdict *v)
{
    struct entry e;
    uint8_t hash[ENTRY_HASH_LEN];
    *v = PARTY_MALFORMED;
    if (entry_read(&e, genesis) < 0)
        return NULL;
    entry_hash(hash, &e);
    c->e = &e;
    *v = judge_genesis(c, hash);
    if (*v != PARTY_OK)
        return NULL;
    struct party *p = calloc(1, sizeof *p);
    *v = p ? open_genesis(p, &e, genesis, hash) : PARTY_NO_MEMORY;
    if (*v == PARTY_OK)
        return p;
    party_free(p);
    return NULL;
}

struct party *party_open(struct bytes genesis, uint64_t now_unix_s, enum party_verdict *v)
{
    struct case_file c = {.now = now_unix_s};
    return open_judged(genesis, &c, v);
}

enum party_verdict party_replay(struct party **p, struct bytes entry)
{
    struct case_file c = {.signatures_known = true};
    enum party_verdict v;
    if (*p)
        return extend(*p, entry, &c, NULL);
    *p = open_judged(entry, &c, &v);
    return v;
}

void party_free(struct party *p)
{
    if (!p)
        return;
    for (size_t i = p->stored; i < p->slot_count; i++)
        free(p->slots[i].p);
    for (size_t i = 0; i < p->member_count; i++)
        free(p->members[i]);
    for (size_t i = 0; i < p->invite_count; i++)
        free(p->invites[i]);
    free(p->slots);
    map_free(p->by_id);
    map_free(p->by_ip4);
    map_free(p->by_ip6);
    map_free(p->by_mac);
    map_free(p->removed);
    free(p);
}

const uint8_t *party_id(const struct party *p)
{
    return p->id;
}

uint32_t party_tag(const struct party *p)
{
    struct rd r = rd_of(bytes_of(p->id, 4));
    return rd_u32(&r);
}

const char *party_name(const struct party *p)
{
    return p->name;
}

enum party_mode party_mode(const struct party *p)
{
    return p->mode;
}

const struct party_policy *party_policy(const struct party *p)
{
    return &p->policy;
}

uint32_t party_net4(const struct party *p)
{
    return p->net4;
}

const uint8_t *party_net6(const struct party *p)
{
    return p->net6;
}

uint64_t party_seq(const struct party *p)
{
    return p->slot_count - 1;
}

const uint8_t *party_head(const struct party *p)
{
    return p->slots[p->slot_count - 1].hash;
}

void party_hs_head(const struct party *p, struct hs_head *head)
{
    memcpy(head->party, p->id, sizeof head->party);
    head->seq = party_seq(p);
    memcpy(head->hash, party_head(p), sizeof head->hash);
}

struct bytes party_entry(const struct party *p, uint64_t seq)
{
    return seq >= p->stored && seq < p->slot_count ? bytes_of(p->slots[seq].p, p->slots[seq].n)
                                                   : bytes_of(NULL, 0);
}

/* The first n bytes of an entry, or all; out: of n. */
static int slot_read(const struct party *p, uint64_t seq, uint8_t *out, size_t n, struct bytes *view)
{
    if (seq >= p->slot_count)
        return -ENOENT;
    const struct party_slot *s = &p->slots[seq];
    n = s->n < n ? s->n : n;
    if (seq >= p->stored) {
        *view = bytes_of(s->p, n);
        return 0;
    }
    if (p->store.read(p->store.arg, s->at, out, n) < 0)
        return -EIO;
    *view = bytes_of(out, n);
    return 0;
}

int party_entry_read(const struct party *p, uint64_t seq, uint8_t out[ENTRY_MAX], struct bytes *entry)
{
    return slot_read(p, seq, out, ENTRY_MAX, entry);
}

int key_read(const struct party *p, uint64_t seq, const uint8_t id[32], struct sign_public *key)
{
    uint8_t start[ENTRY_KEY_END], found[NODE_ID_LEN];
    struct bytes view;
    if (slot_read(p, seq, start, sizeof start, &view) < 0 || entry_key(key, view) < 0)
        return -EIO;
    node_id_of(found, key);
    return memcmp(found, id, sizeof found) == 0 ? 0 : -EIO;
}

int party_key(const struct party *p, const uint8_t id[NODE_ID_LEN], struct sign_public *key)
{
    const struct party_member *m = member_find(p, id);
    return m ? key_read(p, m->entry, m->id, key) : -ENOENT;
}

void party_store_use(struct party *p, const struct party_store *s)
{
    p->store = *s;
}

void party_stored(struct party *p, uint64_t at)
{
    if (p->stored == p->slot_count)
        return;
    struct party_slot *s = &p->slots[p->stored++];
    free(s->p);
    s->at = at;
}

uint64_t party_stored_count(const struct party *p)
{
    return p->stored;
}

const uint8_t *party_hash_at(const struct party *p, uint64_t seq)
{
    return seq < p->slot_count ? p->slots[seq].hash : NULL;
}

enum party_verdict party_compare(const struct party *p, const struct hs_head *theirs)
{
    if (memcmp(theirs->party, p->id, sizeof p->id) != 0)
        return PARTY_OTHER;
    const uint8_t *ours = party_hash_at(p, theirs->seq);
    if (!ours)
        return PARTY_GAP;
    return memcmp(ours, theirs->hash, ENTRY_HASH_LEN) == 0 ? PARTY_KNOWN : PARTY_FORK;
}

enum party_verdict party_compare_source(const struct party *p, const struct hs_head *theirs)
{
    enum party_verdict v = party_compare(p, theirs);
    return v == PARTY_KNOWN && theirs->seq < party_seq(p) ? PARTY_ROLLBACK : v;
}

size_t party_member_count(const struct party *p)
{
    return p->member_count;
}

const struct party_member *party_member_at(const struct party *p, size_t i)
{
    return i < p->member_count ? p->members[i] : NULL;
}

struct party_member *member_find(const struct party *p, const uint8_t id[NODE_ID_LEN])
{
    return map_get(p->by_id, id);
}

const struct party_member *party_member(const struct party *p, const uint8_t id[NODE_ID_LEN])
{
    return member_find(p, id);
}

const struct party_member *party_member_by_ip4(const struct party *p, uint32_t ip4)
{
    uint8_t key[4];
    key_of_ip4(key, ip4);
    return map_get(p->by_ip4, key);
}

const struct party_member *party_member_by_ip6(const struct party *p, const uint8_t ip6[16])
{
    return map_get(p->by_ip6, ip6);
}

const struct party_member *party_member_by_mac(const struct party *p, const uint8_t mac[6])
{
    return map_get(p->by_mac, mac);
}

bool party_was_removed(const struct party *p, const uint8_t id[NODE_ID_LEN])
{
    return party_removed_at(p, id) != 0;
}

uint64_t party_removed_at(const struct party *p, const uint8_t id[NODE_ID_LEN])
{
    return (uintptr_t)map_get(p->removed, id);
}

size_t party_invite_count(const struct party *p)
{
    return p->invite_count;
}

const struct party_invite *party_invite_at(const struct party *p, size_t i)
{
    return i < p->invite_count ? p->invites[i] : NULL;
}

struct party_invite *invite_find(const struct party *p, const uint8_t id[INVITE_ID_LEN])
{
    for (size_t i = 0; i < p->invite_count; i++)
        if (memcmp(p->invites[i]->id, id, INVITE_ID_LEN) == 0)
            return p->invites[i];
    return NULL;
}

const struct party_invite *party_invite(const struct party *p, const uint8_t id[INVITE_ID_LEN])
{
    return invite_find(p, id);
}

int party_save(const struct party *p, struct buf *out)
{
    size_t before = out->n;
    for (size_t i = 0; i < p->slot_count; i++) {
        uint8_t length[4], scratch[ENTRY_MAX];
        struct bytes entry;
        struct wr w = wr_of(length, sizeof length);
        wr_u32(&w, p->slots[i].n);
        int rc = party_entry_read(p, i, scratch, &entry);
        if (rc == 0)
            rc = buf_add(out, wr_done(&w));
        if (rc == 0)
            rc = buf_add(out, entry);
        if (rc < 0) {
            out->n = before;
            return rc;
        }
    }
    return 0;
}

static struct bytes load_entry(struct rd *r)
{
    uint32_t n = rd_u32(r);
    return rd_bytes(r, n);
}

struct party *party_load(struct bytes file, enum party_verdict *v)
{
    struct rd r = rd_of(file);
    *v = PARTY_MALFORMED;
    if (file.n > PARTY_FILE_MAX)
        return NULL;
    struct party *p = party_open(load_entry(&r), 0, v);
    while (p && *v == PARTY_OK && rd_left(&r) > 0) {
        struct bytes entry = load_entry(&r);
        *v = rd_ok(&r) ? party_append(p, entry, 0) : PARTY_MALFORMED;
        /* In a chain every entry stands once. */
        if (*v == PARTY_KNOWN)
            *v = PARTY_MALFORMED;
    }
    if (*v == PARTY_OK)
        return p;
    party_free(p);
    return NULL;
}
