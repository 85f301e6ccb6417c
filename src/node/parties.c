/* The parties of this node: what is kept of each, its device and its switch, and what follows from a changed
 * log. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_int.h"

struct node_party *np_by_ref(const struct node *n, uint32_t ref)
{
    for (size_t i = 0; i < n->party_count; i++)
        if (n->parties[i]->ref == ref)
            return n->parties[i];
    return NULL;
}

struct node_party *np_by_id(const struct node *n, const uint8_t id[PARTY_ID_LEN])
{
    for (size_t i = 0; i < n->party_count; i++)
        if (memcmp(n->parties[i]->id, id, PARTY_ID_LEN) == 0)
            return n->parties[i];
    return NULL;
}

static unsigned free_bit(const struct node *n)
{
    uint64_t used = 0;
    for (size_t i = 0; i < n->party_count; i++)
        used |= 1ull << n->parties[i]->bit;
    unsigned bit = 0;
    while (used >> bit & 1)
        bit++;
    return bit;
}

struct node_party *np_new(struct node *n, const uint8_t id[PARTY_ID_LEN])
{
    if (n->party_count >= n->limits.parties || n->party_count >= PARTIES_CAP)
        return NULL;
    struct node_party *np = calloc(1, sizeof *np);
    if (!np)
        return NULL;
    np->ref = ++n->next_party_ref;
    np->bit = free_bit(n);
    memcpy(np->id, id, PARTY_ID_LEN);
    struct rd r = rd_of(bytes_of(id, PARTY_ID_LEN));
    np->tag = rd_u32(&r);
    np->device_wanted = true;
    np->file.disk = n->disk;
    np->dev_retry = np->save_retry = np->sync_retry = np->join_again = USEC_NEVER;
    n->parties[n->party_count++] = np;
    return np;
}

void np_free(struct node_party *np)
{
    if (!np)
        return;
    party_free(np->log);
    vnet_free(np->vnet);
    free(np->refs);
    free(np);
}

static void np_unlist(struct node *n, const struct node_party *np)
{
    size_t i = 0;
    while (n->parties[i] != np)
        i++;
    memmove(&n->parties[i], &n->parties[i + 1], (n->party_count - i - 1) * sizeof *n->parties);
    n->party_count--;
}

static void np_tell_leave(struct node *n, const struct node_party *np, usec_t now)
{
    if (!link_ready(n) || !np->join_sent)
        return;
    struct signal s = {.type = SIGNAL_LEAVE};
    memcpy(s.u.leave.party, np->id, PARTY_ID_LEN);
    link_send(n, &s, now);
}

/* Peers of np that no other party has in common with us are closed. np is not counted as common any more by
 * the caller's doing. */
static void np_let_go(struct node *n, struct node_party *np, usec_t now)
{
    for (size_t i = 0; i < np->ref_count; i++) {
        struct node_peer *p = peer_by_ref(n, np->refs[i]);
        if (!p)
            continue;
        if (!peer_common(n, p->id, NULL))
            peer_doom(n, p);
        else
            peer_offline(n, p, 1ull << np->bit, now);
    }
    np->ref_count = 0;
    lan_members_changed(n, now);
}

void np_forget(struct node *n, struct node_party *np, usec_t now)
{
    bool kept = np->state != NP_JOINING;
    np_tell_leave(n, np, now);
    np_device_close(n, np);
    np_unlist(n, np);
    np_let_go(n, np, now);
    if (kept) {
        char name[80];
        np_file_name(name, np);
        out_delete(n, name);
    }
    size_t left = 0;
    for (size_t i = 0; i < n->alert_count; i++)
        if (n->alerts[i].party_ref != np->ref)
            n->alerts[left++] = n->alerts[i];
    n->alert_count = left;
    np_free(np);
}

const struct party_member *np_self(const struct node *n, const struct node_party *np)
{
    return np->log ? party_member(np->log, n->id) : NULL;
}

/* ---- From the disk (saving.c). */

/* Of a file that was read: 0, or -EBADMSG with *why. */
static int np_take_up(struct node *n, struct node_party *np, usec_t now, const char **why)
{
    const struct party_settings *s = &np->file.settings;
    *why = "this node is not in it: joining was cut short, or its identity is another one; let it be invited "
           "again";
    if (!np_self(n, np) && !s->removed && !party_was_removed(np->log, n->id))
        return -EBADMSG;
    np->mtu = s->mtu != 0 && s->mtu < VNET_MTU_MIN ? 0 : s->mtu;
    np->device_wanted = s->device;
    np->state = NP_REMOVED;
    *why = "not enough memory";
    if (np_self(n, np) && !s->removed && np_activate(n, np, now) < 0)
        return -EBADMSG;
    np->save_due = false;
    return 0;
}

int node_load_party(struct node *n, const char *name, usec_t now, const char **why)
{
    uint8_t id[PARTY_ID_LEN];
    struct node_party *np = NULL;
    *why = "its name is not that of a saved party";
    if (!np_file_id(id, name))
        return -EBADMSG;
    *why = "there are too many parties, or this one was loaded already";
    if (!np_by_id(n, id))
        np = np_new(n, id);
    if (!np)
        return -EBADMSG;
    if (np_file_load(n, np, why) == 0 && np_take_up(n, np, now, why) == 0)
        return 0;
    np_unlist(n, np);
    np_free(np);
    return -EBADMSG;
}

/* ---- The device. */

static void device_config(const struct node *n, const struct node_party *np, uint32_t ip4,
                          const uint8_t ip6[16], const uint8_t mac[6], struct node_device *d)
{
    memset(d, 0, sizeof *d);
    d->tap = party_mode(np->log) == MODE_TAP;
    memcpy(d->mac, mac, 6);
    d->ip4 = ip4;
    d->prefix4 = 16;
    memcpy(d->ip6, ip6, 16);
    d->prefix6 = 64;
    d->mtu = np->mtu ? np->mtu : n->limits.mtu;
    d->net4 = party_net4(np->log);
}

void np_device_close(struct node *n, struct node_party *np)
{
    if (np->dev == DEV_OPENING || np->dev == DEV_OPEN)
        out_device_close(n, np->ref);
    np->dev = DEV_NONE;
    np->dev_name[0] = '\0';
    np->dev_retry = USEC_NEVER;
}

static bool device_same(const struct node_device *a, const struct node_device *b)
{
    return a->tap == b->tap && memcmp(a->mac, b->mac, 6) == 0 && a->ip4 == b->ip4 &&
           a->prefix4 == b->prefix4 && memcmp(a->ip6, b->ip6, 16) == 0 && a->prefix6 == b->prefix6 &&
           a->mtu == b->mtu && a->net4 == b->net4;
}

static void device_failed(struct node *n, struct node_party *np, const char *error, usec_t now)
{
    np->dev = DEV_FAILED;
    snprintf(np->dev_error, sizeof np->dev_error, "%s", error);
    np->dev_retry = now + DEVICE_RETRY;
    node_due(n, np->dev_retry);
    out_log(n, LOG_ERROR, "device-failed", "party=\"%s\" why=\"%s\"", party_name(np->log), error);
}

static void device_want(struct node *n, struct node_party *np, const struct node_device *d, usec_t now)
{
    if (n->no_device || n->stopping || !np->device_wanted || !n->started ||
        party_mode(np->log) == MODE_WIREGUARD)
        return;
    if (np->dev != DEV_NONE && device_same(d, &np->dev_config))
        return;
    np_device_close(n, np);
    np->dev_config = *d;
    np->dev = DEV_OPENING;
    np->dev_error[0] = '\0';
    if (!out_device_open(n, np))
        device_failed(n, np, "not enough memory", now);
}

void np_device_wish(struct node *n, struct node_party *np, usec_t now)
{
    const struct party_member *self = np_self(n, np);
    struct node_device d;
    if (!self || np->state == NP_REMOVED)
        return;
    device_config(n, np, self->ip4, self->ip6, self->mac, &d);
    device_want(n, np, &d, now);
}

void np_device_open(struct node *n, struct node_party *np, uint16_t host, usec_t now)
{
    struct node_device d;
    uint8_t ip6[16], mac[6];
    party_ip6(ip6, party_net6(np->log), np->id, n->id);
    party_mac(mac, np->id, n->id);
    device_config(n, np, party_net4(np->log) | host, ip6, mac, &d);
    device_want(n, np, &d, now);
}

bool np_device_settled(const struct node *n, const struct node_party *np)
{
    return n->no_device || !np->device_wanted || np->dev == DEV_OPEN || np->dev == DEV_FAILED ||
           party_mode(np->log) == MODE_WIREGUARD;
}

void node_device_opened(struct node *n, uint32_t party_ref, const char *name, const char *error, usec_t now)
{
    struct node_party *np = np_by_ref(n, party_ref);
    if (!np || np->dev != DEV_OPENING)
        return;
    if (error) {
        device_failed(n, np, error, now);
    } else {
        np->dev = DEV_OPEN;
        snprintf(np->dev_name, sizeof np->dev_name, "%s", name ? name : "");
        out_log(n, LOG_INFO, "device-up", "party=\"%s\" device=%s", party_name(np->log), np->dev_name);
    }
    requests_go_on(n, np->ref, now);
}

/* ---- The switch. */

static int np_switch(struct node *n, struct node_party *np, usec_t now)
{
    const struct party_member *self = np_self(n, np);
    const struct party_policy *policy = party_policy(np->log);
    struct vnet_config c = {.tap = party_mode(np->log) == MODE_TAP,
                            .net4 = party_net4(np->log),
                            .allow_dhcp = policy->allow_dhcp,
                            .broadcast_pps = policy->broadcast_pps,
                            .mtu = np->mtu ? np->mtu : n->limits.mtu};
    c.self.ip4 = self->ip4;
    memcpy(c.self.ip6, self->ip6, 16);
    memcpy(c.self.mac, self->mac, 6);
    memcpy(c.net6, party_net6(np->log), 8);
    c.seed = rng_u64(&n->rng);
    struct vnet *v = vnet_new(&c, now);
    if (!v)
        return -ENOMEM;
    vnet_free(np->vnet);
    np->vnet = v;
    np->ref_count = 0;
    np->switch_ip4 = self->ip4;
    return 0;
}

/* 0, -ENOMEM, or -EEXIST where an address is still another's. */
static int switch_set(struct node *n, struct node_party *np, const struct party_member *m, usec_t now)
{
    struct node_peer *p = peer_need(n, m->id, now);
    if (!p)
        return n->peer_count < PEERS_MAX ? -ENOMEM : 0;
    if (p->doomed) {
        p->doomed = false;
        n->doomed--;
    }
    struct vnet_member v = {.ref = p->ref, .ip4 = m->ip4};
    memcpy(v.ip6, m->ip6, 16);
    memcpy(v.mac, m->mac, 6);
    int rc = vnet_member_set(np->vnet, &v, now);
    if (rc == -EEXIST)
        return rc;
    vnet_member_mtu(np->vnet, p->ref, peer_mtu(p, np));
    np->refs[np->ref_count++] = p->ref;
    return rc == -ENOMEM ? rc : 0;
}

/* As switch_set; without memory for one member it goes on with the others. */
static int switch_fill(struct node *n, struct node_party *np, usec_t now)
{
    int worst = 0;
    np->ref_count = 0;
    for (size_t i = 0; i < party_member_count(np->log); i++) {
        const struct party_member *m = party_member_at(np->log, i);
        int rc = memcmp(m->id, n->id, NODE_ID_LEN) != 0 ? switch_set(n, np, m, now) : 0;
        if (rc == -EEXIST)
            return rc;
        worst = rc < 0 ? rc : worst;
    }
    return worst;
}

static void switch_drop_gone(struct node *n, struct node_party *np, usec_t now)
{
    for (size_t i = 0; i < np->ref_count; i++) {
        struct node_peer *p = peer_by_ref(n, np->refs[i]);
        if (p && party_member(np->log, p->id))
            continue;
        vnet_member_del(np->vnet, np->refs[i]);
        if (!p)
            continue;
        if (peer_common(n, p->id, NULL))
            peer_offline(n, p, 1ull << np->bit, now);
        else
            peer_doom(n, p);
    }
}

static int switch_follow(struct node *n, struct node_party *np, usec_t now)
{
    const struct party_policy *policy = party_policy(np->log);
    switch_drop_gone(n, np, now);
    if (np->switch_ip4 != np_self(n, np)->ip4 && np_switch(n, np, now) < 0)
        return -ENOMEM;
    uint32_t *bigger = realloc(np->refs, (party_member_count(np->log) + 1) * sizeof *bigger);
    if (!bigger)
        return -ENOMEM;
    np->refs = bigger;
    vnet_policy_set(np->vnet, policy->allow_dhcp, policy->broadcast_pps, now);
    int rc = switch_fill(n, np, now);
    /* Two members changed addresses with each other: begin with an empty switch. */
    if (rc == -EEXIST)
        rc = np_switch(n, np, now) == 0 ? switch_fill(n, np, now) : -ENOMEM;
    return rc;
}

static void np_sync(struct node *n, struct node_party *np, usec_t now)
{
    np->sync_retry = USEC_NEVER;
    if (switch_follow(n, np, now) != -ENOMEM)
        return;
    np->sync_retry = now + SYNC_RETRY;
    node_due(n, np->sync_retry);
}

/* ---- What follows. */

int np_activate(struct node *n, struct node_party *np, usec_t now)
{
    if (np_switch(n, np, now) < 0)
        return -ENOMEM;
    np->state = NP_ACTIVE;
    np_changed(n, np, now);
    return 0;
}

static void np_we_are_out(struct node *n, struct node_party *np, usec_t now)
{
    np->state = NP_REMOVED;
    np_device_close(n, np);
    np_let_go(n, np, now);
    vnet_free(np->vnet);
    np->vnet = NULL;
    np->gap.open = false;
    if (!np->leaving)
        out_log(n, LOG_WARN, "removed-from-party",
                "party=\"%s\" hint=\"ask an admin of it for a new admission\"", party_name(np->log));
}

static void np_gossip(struct node *n, struct node_party *np, usec_t now)
{
    np_presence(n, np, now);
    for (size_t i = 0; i < np->ref_count; i++) {
        struct node_peer *p = peer_by_ref(n, np->refs[i]);
        if (p && !p->doomed)
            message_heads(n, p, now);
    }
}

void np_changed(struct node *n, struct node_party *np, usec_t now)
{
    np->pending = false;
    if (np->state == NP_JOINING)
        return;
    np->save_due = true;
    lan_members_changed(n, now);
    if (np->state == NP_ACTIVE && !np_self(n, np))
        np_we_are_out(n, np, now);
    if (np->state == NP_ACTIVE) {
        np_sync(n, np, now);
        np_device_wish(n, np, now);
        strangers_retry(n, np, now);
        np_gossip(n, np, now);
    }
    requests_go_on(n, np->ref, now);
}

usec_t np_wake(const struct node_party *np)
{
    return usec_min(usec_min(np->dev_retry, usec_min(np->save_retry, np->sync_retry)), log_wake(np));
}

void np_tick(struct node *n, struct node_party *np, usec_t now)
{
    if (np->dev_retry <= now) {
        np->dev_retry = USEC_NEVER;
        if (np->dev == DEV_FAILED) {
            np->dev = DEV_NONE;
            np_device_wish(n, np, now);
        }
    }
    if (np->save_retry <= now) {
        np->save_retry = USEC_NEVER;
        np->save_due = np->state != NP_JOINING;
    }
    if (np->sync_retry <= now) {
        np->sync_retry = USEC_NEVER;
        if (np->state == NP_ACTIVE && np_self(n, np))
            np_sync(n, np, now);
    }
    log_tick(n, np, now);
}

void alert_raise(struct node *n, const struct node_party *np, const char *code, const char *source,
                 usec_t now, const char *fmt, ...)
{
    char text[ALERT_TEXT_CAP];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct alert *a = NULL;
    for (size_t i = 0; i < n->alert_count && !a; i++)
        if (n->alerts[i].party_ref == np->ref && !strcmp(n->alerts[i].code, code) &&
            !strcmp(n->alerts[i].source, source))
            a = &n->alerts[i];
    bool news = !a || strcmp(a->text, text) != 0;
    if (!a) {
        if (n->alert_count == ALERTS_MAX)
            memmove(n->alerts, n->alerts + 1, --n->alert_count * sizeof *n->alerts);
        a = &n->alerts[n->alert_count++];
        *a = (struct alert){.party_ref = np->ref, .since = node_unix(n, now)};
        memcpy(a->party, np->id, PARTY_ID_LEN);
        snprintf(a->code, sizeof a->code, "%s", code);
        snprintf(a->source, sizeof a->source, "%s", source);
    }
    a->count++;
    count(n, COUNT_ALERTS);
    memcpy(a->text, text, sizeof text);
    if (news)
        out_log(n, LOG_WARN, "alert", "code=%s party=\"%s\" source=\"%s\" text=\"%s\"", code,
                np->log ? party_name(np->log) : "", source, text);
}
