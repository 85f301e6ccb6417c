#include "hub/core_int.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

/* An append under way. */
struct append {
    struct hub *h;
    struct conn *c;
    struct hub_party *party;
    struct error_about about;
    struct bytes bytes;
    struct entry entry;
};

static void ack(struct hub *h, struct conn *c, const uint8_t party[PARTY_ID_LEN], uint32_t ref, uint64_t seq)
{
    struct signal s = {.type = SIGNAL_LOG};
    s.u.log.op = LOG_OP_ACK;
    s.u.log.ref = ref;
    s.u.log.seq = seq;
    memcpy(s.u.log.party, party, PARTY_ID_LEN);
    conn_send(h, c, &s);
}

static void store_failed(struct hub *h, struct conn *c, int rc, const struct error_about *about)
{
    h->count.store_errors++;
    hub_note(h, LOG_ERROR, "store-failed", "reason=%s", strerrorname_np(-rc));
    conn_error(h, c, SIGERR_INTERNAL, about);
}

/* Stands in the store before it stands in memory: what memory shows is acknowledged and told to others. */
static int keep(void *arg, const struct entry *e, const uint8_t hash[ENTRY_HASH_LEN])
{
    const struct append *a = arg;
    struct hub *h = a->h;
    struct store_invite made;
    struct store_append put = {
        .party = a->party->id,
        .seq = e->seq,
        .hash = hash,
        .entry = a->bytes,
        .unix_s = hub_unix(h),
    };
    if (e->type == ENTRY_INVITE) {
        made = (struct store_invite){.uses = e->u.invite.uses, .expires = e->u.invite.expires};
        node_id_of(made.id, &e->u.invite.key);
        put.invite = &made;
    }
    if (e->type == ENTRY_REVOKE_INVITE)
        put.revoke = e->u.revoke.invite;
    if (e->type == ENTRY_ADMIT && party_invite(a->party->log, e->author))
        put.redeem = e->author;
    return h->store.ops->party_append(h->store.ctx, &put);
}

/* The subscription of `node` in this party, where it is online. */
static struct sub *sub_of_node(struct hub *h, const struct hub_party *p, const uint8_t node[NODE_ID_LEN])
{
    struct conn *c = map_get(h->nodes, node);
    return c && c->session ? sub_find(c->session, p->id) : NULL;
}

static void admitted(struct hub *h, const struct append *a)
{
    uint8_t node[NODE_ID_LEN];
    node_id_of(node, &a->entry.u.admit.key);
    struct sub *sub = sub_of_node(h, a->party, node);
    if (!sub || sub->full)
        return;
    sub->full = true;
    sub->until = 0;
    sub_announce(h, sub);
    if (sub->streaming)
        sub->list_due = true;
    else
        sub_send_list(h, sub);
}

static void removed(struct hub *h, const struct append *a)
{
    const uint8_t *node = a->entry.u.remove.node;
    struct signal s = {.type = SIGNAL_PEER_LEFT};
    memcpy(s.u.peer_left.party, a->party->id, PARTY_ID_LEN);
    memcpy(s.u.peer_left.node, node, NODE_ID_LEN);
    s.u.peer_left.removed = true;
    party_broadcast(h, a->party, &s, NULL, false);
    struct sub *sub = sub_of_node(h, a->party, node);
    h->epoch++;
    if (!sub)
        return;
    sub->full = false; /* the others know already */
    sub_end(h, sub);
}

static void tell(struct hub *h, const struct append *a)
{
    struct signal s = {.type = SIGNAL_LOG};
    s.u.log.op = LOG_OP_ENTRIES;
    s.u.log.seq = a->entry.seq;
    s.u.log.count = 1;
    s.u.log.entries[0] = a->bytes;
    memcpy(s.u.log.party, a->party->id, PARTY_ID_LEN);
    struct text *t = text_new(h, &s);
    for (struct list *l = a->party->subs.next; l != &a->party->subs; l = l->next) {
        struct sub *sub = LIST_OWNER(l, struct sub, in_party);
        if (!sub->streaming && !sub->until) /* else the stream comes by it */
            conn_push(h, sub->conn, t);
    }
    text_drop(h, t);
}

/* Holders of an invite hear no more of the party once it opens nothing any more. */
static void dismiss_guests(struct hub *h, struct hub_party *p)
{
    struct list *l = p->subs.next;
    while (l != &p->subs) {
        struct sub *sub = LIST_OWNER(l, struct sub, in_party);
        l = l->next;
        sub_dismiss(h, sub);
    }
}

static void committed(struct hub *h, struct append *a)
{
    h->count.entries++;
    ack(h, a->c, a->party->id, a->about.ref, a->entry.seq);
    dismiss_guests(h, a->party);
    tell(h, a);
    if (a->entry.type == ENTRY_ADMIT)
        admitted(h, a);
    if (a->entry.type == ENTRY_REMOVE)
        removed(h, a);
    hub_note(h, LOG_INFO, "log-entry", "party=%s seq=%llu type=%u", node_short((char[17]){0}, a->party->id),
             (unsigned long long)a->entry.seq, a->entry.type);
}

/* Memory is not what the store is: whoever uses the party comes again, and for the first of them it is read anew. */
static void party_lost(struct hub *h, struct hub_party *p)
{
    hub_note(h, LOG_ERROR, "party-lost", "party=%s", node_short((char[17]){0}, p->id));
    p->lost = true;
    for (struct list *l = p->subs.next; l != &p->subs; l = l->next)
        conn_doom(h, LIST_OWNER(l, struct sub, in_party)->conn, CLOSE_INTERNAL, "internal");
}

/* The store has it and memory could not follow: what is here is older than what was acknowledged. */
static void reread(struct hub *h, struct append *a)
{
    if (hub_party_reload(h, a->party) == 0)
        committed(h, a);
    else
        party_lost(h, a->party);
}

/* A holder of an invite may do one thing: admit itself. */
static bool may_append(const struct append *a, const struct sub *sub)
{
    uint8_t node[NODE_ID_LEN];
    if (sub->full)
        return true;
    if (a->entry.type != ENTRY_ADMIT)
        return false;
    node_id_of(node, &a->entry.u.admit.key);
    return memcmp(node, a->c->session->node, NODE_ID_LEN) == 0;
}

static void not_kept(struct hub *h, const struct append *a, int rc)
{
    if (rc == -ESTALE) { /* though it fits our head: an append that the store said had failed was made after all */
        conn_refuse(h, a->c, PARTY_STALE, &a->about);
        party_lost(h, a->party);
    } else if (rc == -EDQUOT) {
        conn_refuse(h, a->c, PARTY_INVITE_USED_UP, &a->about);
    } else {
        store_failed(h, a->c, rc, &a->about);
    }
}

static void append(struct hub *h, struct append *a)
{
    if (a->entry.type == ENTRY_ADMIT && party_member_count(a->party->log) >= h->limits.party_members) {
        conn_error(h, a->c, SIGERR_LIMIT, &a->about);
        return;
    }
    struct party_keeper k = {.keep = keep, .arg = a};
    enum party_verdict v = party_append_kept(a->party->log, a->bytes, hub_unix(h), &k);
    if (v == PARTY_KNOWN) /* sent again because our answer was lost */
        ack(h, a->c, a->party->id, a->about.ref, a->entry.seq);
    else if (v == PARTY_OK && k.rc == 0)
        committed(h, a);
    else if (v == PARTY_OK)
        not_kept(h, a, k.rc);
    else if (k.rc == 0)
        reread(h, a);
    else
        conn_refuse(h, a->c, v, &a->about);
}

static void append_handle(struct hub *h, struct conn *c, const struct signal *s)
{
    struct append a = {.h = h,
                       .c = c,
                       .about = {.party = s->u.log.party, .ref = s->u.log.ref},
                       .bytes = s->u.log.entries[0]};
    struct sub *sub = sub_find(c->session, s->u.log.party);
    if (!sub) {
        conn_error(h, c, SIGERR_NOT_A_MEMBER, &a.about);
        return;
    }
    a.party = sub->party;
    if (!conn_may_change(h, c)) {
        conn_error(h, c, SIGERR_RATE_LIMITED, &a.about);
        return;
    }
    if (entry_read(&a.entry, a.bytes) < 0)
        conn_refuse(h, c, PARTY_MALFORMED, &a.about);
    else if (!may_append(&a, sub))
        conn_refuse(h, c, PARTY_NOT_ALLOWED, &a.about);
    else
        append(h, &a);
}

/* ---- new parties ---- */

static void create(struct hub *h, struct conn *c, struct bytes genesis, struct party *log,
                   struct error_about *about)
{
    uint8_t id[PARTY_ID_LEN];
    struct hub_party *p;
    memcpy(id, party_id(log), PARTY_ID_LEN);
    about->party = id;
    int rc = h->store.ops->party_create(h->store.ctx, id, genesis, hub_unix(h));
    if (rc < 0 && rc != -EEXIST) {
        party_free(log);
        store_failed(h, c, rc, about);
        return;
    }
    /* -EEXIST: sent again because our answer was lost; the log that stands may be longer by now. */
    if (rc == 0) {
        h->count.parties_created++;
        h->party_total++;
        hub_note(h, LOG_INFO, "party-created", "party=%s node=%s", node_short((char[17]){0}, id),
                 node_short((char[17]){0}, c->session->node));
        hub_party_adopt(h, log, &p); /* without memory for it now, the next join loads it */
    } else {
        party_free(log);
    }
    ack(h, c, id, about->ref, 0);
}

static void create_handle(struct hub *h, struct conn *c, const struct signal *s)
{
    struct error_about about = {.ref = s->u.log.ref};
    struct bytes genesis = s->u.log.entries[0];
    struct entry e;
    uint64_t owned = 0;
    if (!conn_may_change(h, c)) {
        conn_error(h, c, SIGERR_RATE_LIMITED, &about);
        return;
    }
    if (entry_read(&e, genesis) < 0 || e.type != ENTRY_GENESIS) {
        conn_refuse(h, c, PARTY_MALFORMED, &about);
        return;
    }
    if (memcmp(e.author, c->session->node, NODE_ID_LEN) != 0) {
        conn_refuse(h, c, PARTY_NOT_ALLOWED, &about);
        return;
    }
    int rc = h->store.ops->party_owned(h->store.ctx, e.author, &owned);
    if (rc < 0) {
        store_failed(h, c, rc, &about);
        return;
    }
    if (owned >= h->limits.parties_per_device) {
        conn_error(h, c, SIGERR_LIMIT, &about);
        return;
    }
    enum party_verdict v = PARTY_OK;
    struct party *log = party_open(genesis, hub_unix(h), &v);
    if (log)
        create(h, c, genesis, log, &about);
    else
        conn_refuse(h, c, v, &about);
}

static void get_handle(struct hub *h, struct conn *c, const struct signal *s)
{
    struct error_about about = {.party = s->u.log.party};
    struct sub *sub = sub_find(c->session, s->u.log.party);
    if (sub && !sub_dismiss(h, sub))
        sub_stream(h, sub, s->u.log.seq, false);
    else if (!sub)
        conn_error(h, c, SIGERR_NOT_A_MEMBER, &about);
}

void log_handle(struct hub *h, struct conn *c, const struct signal *s)
{
    switch (s->u.log.op) {
    case LOG_OP_GET:
        get_handle(h, c, s);
        break;
    case LOG_OP_APPEND:
        append_handle(h, c, s);
        break;
    case LOG_OP_CREATE:
        create_handle(h, c, s);
        break;
    default:
        conn_error(h, c, SIGERR_BAD_MESSAGE, NULL);
    }
}
