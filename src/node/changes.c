/* Commands that append an entry to a party's log: made on our head, given to the hub, made again when the
 * head has moved, and answered when the hub has it. */
#include <stdio.h>
#include <string.h>

#include "node/engine_int.h"

const char *refusal_text(const char *code, const char *message)
{
    for (int v = PARTY_OK; v < PARTY_VERDICT_COUNT; v++)
        if (strcmp(party_verdict_name((enum party_verdict)v), code) == 0)
            return party_verdict_text((enum party_verdict)v);
    enum signal_error e = signal_error_of(code);
    if (e != SIGERR_COUNT)
        return signal_error_text(e);
    return message && message[0] ? message : "refused without a reason";
}

static struct party_author author(const struct node *n, usec_t now)
{
    struct party_author a = {.key = n->key, .rng = n->rng, .now_unix_s = node_unix(n, now)};
    memcpy(a.id, n->id, NODE_ID_LEN);
    return a;
}

static enum party_verdict change_make(const struct node *n, const struct node_party *np, struct request *r,
                                      usec_t now)
{
    struct change *c = &r->change;
    struct party_author a = author(n, now);
    const struct party *p = np->log;
    switch (c->kind) {
    case CHANGE_INVITE:
        return party_make_invite(&r->entry, p, &a, c->uses, c->expires, c->role, c->secret);
    case CHANGE_REVOKE:
        return party_make_revoke(&r->entry, p, &a, c->subject);
    case CHANGE_REMOVE:
    case CHANGE_LEAVE:
        return party_make_remove(&r->entry, p, &a, c->subject);
    case CHANGE_ROLE:
        return party_make_role(&r->entry, p, &a, c->subject, c->role);
    case CHANGE_RENAME:
        return party_make_rename(&r->entry, p, &a, c->subject, c->name);
    case CHANGE_LEASE:
        return party_make_lease(&r->entry, p, &a, c->subject, c->host);
    case CHANGE_POLICY:
        return party_make_policy(&r->entry, p, &a, &c->policy);
    }
    return PARTY_NOT_ALLOWED;
}

static json_t *change_result(const struct node *n, const struct node_party *np, const struct request *r)
{
    const struct change *c = &r->change;
    char hex[HEX_LEN(INVITE_ID_LEN) + 1], url[INVITE_TEXT_MAX + 1], subject[NODE_ID_TEXT_CAP];
    hex_put(hex, bytes_of(np->id, PARTY_ID_LEN));
    json_t *o = json_pack("{s:s, s:s, s:I}", "party", party_name(np->log), "party_id", hex, "seq",
                          (json_int_t)party_seq(np->log));
    if (c->kind == CHANGE_INVITE) {
        struct invite inv = {.hub = n->link.hub};
        uint8_t id[INVITE_ID_LEN];
        memcpy(inv.party, np->id, PARTY_ID_LEN);
        memcpy(inv.secret, c->secret, INVITE_SECRET_LEN);
        party_invite_id(id, c->secret);
        hex_put(hex, bytes_of(id, INVITE_ID_LEN));
        invite_write(url, &inv);
        json_object_set_new(o, "invite", json_string(url));
        json_object_set_new(o, "id", json_string(hex));
        json_object_set_new(o, "uses", json_integer(c->uses));
        json_object_set_new(o, "expires", json_integer((json_int_t)c->expires));
        json_object_set_new(o, "role", json_string(role_name(c->role)));
        wipe(&inv, sizeof inv);
        wipe(url, sizeof url);
    } else if (c->kind == CHANGE_REVOKE) {
        hex_put(hex, bytes_of(c->subject, INVITE_ID_LEN));
        json_object_set_new(o, "id", json_string(hex));
    } else if (c->kind != CHANGE_POLICY) {
        node_id_text(subject, c->subject);
        json_object_set_new(o, "peer", json_string(subject));
    }
    return o;
}

static void change_done(struct node *n, struct node_party *np, struct request *r, usec_t now)
{
    if (r->change.kind != CHANGE_LEAVE) {
        request_ok(n, r, change_result(n, np, r));
        return;
    }
    json_t *result = json_pack("{s:s}", "party", party_name(np->log));
    r->party_ref = 0; /* nothing is left whose save could fail */
    np_forget(n, np, now);
    request_ok(n, r, result);
}

static void change_send(struct node *n, struct node_party *np, struct request *r, usec_t now)
{
    if (r->sent_once && party_judge(np->log, buf_bytes(&r->entry), 0) == PARTY_KNOWN) {
        change_done(n, np, r, now);
        return;
    }
    enum party_verdict v = change_make(n, np, r, now);
    if (v != PARTY_OK) {
        np->leaving = false;
        request_fail(n, r, party_verdict_name(v), "%s", party_verdict_text(v));
        return;
    }
    r->op_ref = log_append_send(n, np->id, buf_bytes(&r->entry), false, now);
    r->sent_once = true;
    r->step = STEP_ACK;
}

/* One append a party at a time: two on one head would only make each other stale. */
static bool append_under_way(const struct node *n, const struct request *r)
{
    for (size_t i = 0; i < n->request_count; i++)
        if (n->requests[i] != r && n->requests[i]->party_ref == r->party_ref &&
            n->requests[i]->step == STEP_ACK)
            return true;
    return false;
}

void change_go_on(struct node *n, struct request *r, usec_t now)
{
    struct node_party *np = np_by_ref(n, r->party_ref);
    if (!np) {
        request_fail(n, r, "no_party", "the party was forgotten meanwhile");
    } else if (np->state != NP_ACTIVE && r->change.kind == CHANGE_LEAVE) {
        change_done(n, np, r, now);
    } else if (np->state != NP_ACTIVE) {
        request_fail(n, r, "removed", "this node was removed from the party meanwhile");
    } else if (r->step == STEP_HUB || r->step == STEP_FETCH) {
        if (link_ready(n) && np->subscribed && !np->asking && !append_under_way(n, r))
            change_send(n, np, r, now);
    }
}

void change_acked(struct node *n, struct request *r, uint64_t seq, usec_t now)
{
    struct node_party *np = np_by_ref(n, r->party_ref);
    if (!np)
        return;
    enum party_verdict v =
        np->state == NP_ACTIVE ? party_append(np->log, buf_bytes(&r->entry), 0) : PARTY_KNOWN;
    if (v != PARTY_OK && v != PARTY_KNOWN) {
        request_fail(n, r, party_verdict_name(v),
                     "the hub took the change, but it does not fit this node's log: %s",
                     party_verdict_text(v));
        return;
    }
    /* np_changed lets requests go on: this one is through. */
    if (r->change.kind == CHANGE_LEAVE) {
        np_changed(n, np, now);
        return;
    }
    uint32_t ref = np->ref;
    json_t *result = change_result(n, np, r);
    r->party_ref = ref;
    request_ok(n, r, result);
    if (v == PARTY_OK)
        np_changed(n, np, now);
    else
        requests_go_on(n, ref, now);
}

void change_refused(struct node *n, struct request *r, const char *code, const char *message, usec_t now)
{
    struct node_party *np = np_by_ref(n, r->party_ref);
    if (np && signal_error_of(code) == SIGERR_STALE_HEAD && ++r->tries <= STALE_TRIES) {
        r->step = STEP_FETCH;
        r->sent_once = false;
        np_fetch(n, np, now);
        if (!np->asking)
            r->step = STEP_HUB;
        return;
    }
    uint32_t ref = r->party_ref;
    if (np)
        np->leaving = false;
    request_fail(n, r, code, "%s", refusal_text(code, message));
    requests_go_on(n, ref, now);
}

/* ---- Commands. */

static struct request *change_new(struct node *n, uint32_t id, const struct node_party *np,
                                  const struct change *c, usec_t now)
{
    if (!n->link.have_hub) {
        reply_error(n, id, "no_hub", "no hub is known: start the node with `warren up --hub URL`");
        return NULL;
    }
    struct request *r = request_new(n, id, REQUEST_CHANGE, now);
    if (!r)
        return NULL;
    r->party_ref = np->ref;
    r->change = *c;
    link_try_now(n, now);
    change_go_on(n, r, now);
    return r;
}

void cmd_invite(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    json_int_t uses, life;
    struct change c = {.kind = CHANGE_INVITE, .role = ROLE_MEMBER};
    const char *role = arg_text(rq, "role");
    struct node_party *np = choose_writable(n, id, arg_text(rq, "party"));
    if (!np || !arg_number(n, id, rq, "uses", (json_int_t[]){1, INVITE_USES_MAX, 1}, &uses) ||
        !arg_number(n, id, rq, "expires_s", (json_int_t[]){1, (json_int_t)INVITE_LIFE_MAX, 86400}, &life))
        return;
    if (role && (!role_of(role, &c.role) || (c.role != ROLE_MEMBER && c.role != ROLE_GUEST))) {
        reply_error(n, id, "bad_request", "an invite's role is member or guest");
        return;
    }
    c.uses = (uint32_t)uses;
    c.expires = node_unix(n, now) + (uint64_t)life;
    change_new(n, id, np, &c, now);
}

void cmd_invite_list(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct node_party *np = choose_party(n, id, arg_text(rq, "party"));
    if (!np)
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < party_invite_count(np->log); i++) {
        const struct party_invite *inv = party_invite_at(np->log, i);
        char hex[HEX_LEN(INVITE_ID_LEN) + 1], by[NODE_ID_TEXT_CAP];
        hex_put(hex, bytes_of(inv->id, INVITE_ID_LEN));
        node_id_text(by, inv->author);
        enum party_verdict v = party_invite_state(np->log, inv->id, node_unix(n, now));
        json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:I, s:s, s:s, s:s}", "id", hex, "uses",
                                              (int)inv->uses, "used", (int)inv->used, "expires",
                                              (json_int_t)inv->expires, "role", role_name(inv->role), "by",
                                              by, "state", v == PARTY_OK ? "open" : party_verdict_name(v)));
    }
    reply_ok(n, id, json_pack("{s:s, s:o}", "party", party_name(np->log), "invites", list), 0);
}

void cmd_invite_revoke(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    const char *arg = arg_text(rq, "id");
    struct node_party *np = choose_writable(n, id, arg_text(rq, "party"));
    struct change c = {.kind = CHANGE_REVOKE};
    size_t found = 0;
    if (!np)
        return;
    for (size_t i = 0; arg && *arg && i < party_invite_count(np->log); i++) {
        const struct party_invite *inv = party_invite_at(np->log, i);
        char hex[HEX_LEN(INVITE_ID_LEN) + 1];
        hex_put(hex, bytes_of(inv->id, INVITE_ID_LEN));
        if (strncmp(hex, arg, strlen(arg)) != 0)
            continue;
        memcpy(c.subject, inv->id, INVITE_ID_LEN);
        found++;
    }
    if (found == 1)
        change_new(n, id, np, &c, now);
    else
        reply_error(n, id, found ? "ambiguous" : "no_invite",
                    found ? "several invites begin so: give more of the id"
                          : "there is no such invite: see the list of invites");
}

/* The common part of kick, role, lease and rename: a member of one party. */
static void change_member(struct node *n, uint32_t id, const json_t *rq, struct change *c, usec_t now)
{
    struct node_party *np = NULL, *in;
    const char *party = arg_text(rq, "party");
    if (party && !(np = choose_writable(n, id, party)))
        return;
    const struct party_member *m = choose_member(n, id, np, arg_text(rq, "peer"), &in);
    if (!m)
        return;
    /* Without a party named, the peer must be in one of ours only. */
    for (size_t i = 0; !np && i < n->party_count; i++) {
        if (n->parties[i] == in || n->parties[i]->state != NP_ACTIVE ||
            !party_member(n->parties[i]->log, m->id))
            continue;
        reply_error(n, id, "ambiguous", "%s is a member of \"%s\" and of \"%s\": name the party", m->name,
                    party_name(in->log), party_name(n->parties[i]->log));
        return;
    }
    memcpy(c->subject, m->id, NODE_ID_LEN);
    if (c->kind == CHANGE_REMOVE && memcmp(m->id, n->id, NODE_ID_LEN) == 0)
        reply_error(n, id, "bad_request", "this is this node itself: use `warren party leave`");
    else
        change_new(n, id, in, c, now);
}

void cmd_kick(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct change c = {.kind = CHANGE_REMOVE};
    change_member(n, id, rq, &c, now);
}

void cmd_role(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct change c = {.kind = CHANGE_ROLE};
    const char *role = arg_text(rq, "role");
    if (role && role_of(role, &c.role))
        change_member(n, id, rq, &c, now);
    else
        reply_error(n, id, "bad_request", "a role is owner, admin, member or guest");
}

void cmd_rename(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct change c = {.kind = CHANGE_RENAME};
    const char *name = arg_text(rq, "name");
    if (!name || !name_valid(name)) {
        reply_error(n, id, "bad_request", "a name has 1 to %d bytes of text without control characters",
                    NAME_MAX_BYTES);
        return;
    }
    snprintf(c.name, sizeof c.name, "%s", name);
    if (arg_text(rq, "peer")) {
        change_member(n, id, rq, &c, now);
        return;
    }
    struct node_party *np = choose_writable(n, id, arg_text(rq, "party"));
    if (np)
        change_new(n, id, np, &c, now);
}

void cmd_lease(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct change c = {.kind = CHANGE_LEASE};
    json_int_t host;
    if (!arg_number(n, id, rq, "host", (json_int_t[]){1, 65534, 0}, &host))
        return;
    c.host = (uint16_t)host;
    if (host > 0)
        change_member(n, id, rq, &c, now);
    else
        reply_error(n, id, "bad_request", "host is the last two octets of the address as one number");
}

void cmd_policy(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct change c = {.kind = CHANGE_POLICY};
    json_int_t pps, ciphers;
    struct node_party *np = choose_writable(n, id, arg_text(rq, "party"));
    if (!np)
        return;
    c.policy = *party_policy(np->log);
    const json_t *dhcp = json_object_get(rq, "allow_dhcp");
    if (json_is_boolean(dhcp))
        c.policy.allow_dhcp = json_is_true(dhcp);
    if (!arg_number(n, id, rq, "broadcast_pps", (json_int_t[]){1, 1000000, c.policy.broadcast_pps}, &pps) ||
        !arg_number(n, id, rq, "ciphers", (json_int_t[]){1, (1 << AEAD_ALG_COUNT) - 1, c.policy.ciphers},
                    &ciphers))
        return;
    c.policy.broadcast_pps = (uint32_t)pps;
    c.policy.ciphers = (uint8_t)ciphers;
    change_new(n, id, np, &c, now);
}

void cmd_leave(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct change c = {.kind = CHANGE_LEAVE};
    struct node_party *np = choose_party(n, id, arg_text(rq, "party"));
    if (!np)
        return;
    memcpy(c.subject, n->id, NODE_ID_LEN);
    if (np->state == NP_REMOVED || json_is_true(json_object_get(rq, "force"))) {
        json_t *result = json_pack("{s:s}", "party", party_name(np->log));
        np_forget(n, np, now);
        reply_ok(n, id, result, 0);
        return;
    }
    np->leaving = true;
    change_new(n, id, np, &c, now);
}
