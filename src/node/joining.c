/* Coming into a party: by creating it, or by an invite. In both the device is made before the hub is asked to
 * write anything, so an invite is not used up on a machine that cannot make devices. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_int.h"

static struct party_author author(const struct node *n, usec_t now)
{
    struct party_author a = {.key = n->key, .rng = n->rng, .now_unix_s = node_unix(n, now)};
    memcpy(a.id, n->id, NODE_ID_LEN);
    return a;
}

static void progress(struct node *n, const struct request *r, const char *step, const char *text)
{
    if (!r->gone)
        reply_progress(n, r->id, json_pack("{s:s, s:s}", "step", step, "text", text));
}

/* The half-made party goes, and the hub that only it needed. */
static void join_end(struct node *n, struct request *r, usec_t now)
{
    struct node_party *np = np_by_ref(n, r->party_ref);
    r->party_ref = 0;
    if (np && np->state == NP_JOINING)
        np_forget(n, np, now);
    if (n->party_count == 0)
        link_forget(n, now);
}

static void join_fail(struct node *n, struct request *r, const char *code, usec_t now, const char *text)
{
    char copy[512];
    snprintf(copy, sizeof copy, "%s", text);
    join_end(n, r, now);
    request_fail(n, r, code, "%s", copy);
}

void join_refused(struct node *n, struct request *r, const char *code, const char *message, usec_t now)
{
    struct node_party *np = np_by_ref(n, r->party_ref);
    char text[512];
    enum signal_error e = signal_error_of(code);
    if (np && e == SIGERR_STALE_HEAD && r->kind == REQUEST_JOIN && ++r->tries <= STALE_TRIES) {
        r->step = STEP_FETCH;
        np_fetch(n, np, now);
        return;
    }
    if (strcmp(code, "hub_unreachable") == 0)
        snprintf(text, sizeof text, "the hub %s cannot be reached: %s", n->link.label, message);
    else if (strcmp(code, "timeout") == 0)
        snprintf(text, sizeof text, "%s", message);
    else if (e == SIGERR_UNKNOWN_PARTY)
        snprintf(text, sizeof text, "the hub %s does not know this party: ask for a new invite",
                 n->link.label);
    else
        snprintf(text, sizeof text, "%s",
                 strcmp(code, "bad_log") == 0
                     ? "the hub shows a log of this party that does not verify: do not "
                       "use this hub, and tell who invited you"
                     : refusal_text(code, message));
    join_fail(n, r, code, now, text);
}

static json_t *joined_result(const struct node *n, const struct node_party *np)
{
    char hex[HEX_LEN(PARTY_ID_LEN) + 1], ip4[16], ip6[46];
    const struct party_member *self = np_self(n, np);
    hex_put(hex, bytes_of(np->id, PARTY_ID_LEN));
    ip4_text(ip4, self->ip4);
    ip6_text(ip6, self->ip6);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "party", party_name(np->log), "party_id", hex,
                     "mode", mode_name(party_mode(np->log)), "ip", ip4, "ip6", ip6, "device",
                     np->dev == DEV_OPEN ? json_string(np->dev_name) : json_null(), "role",
                     role_name(self->role));
}

static bool device_failed(struct node *n, struct request *r, const struct node_party *np, usec_t now)
{
    if (np->dev != DEV_FAILED || n->no_device)
        return false;
    char text[ALERT_TEXT_CAP];
    memcpy(text, np->dev_error, sizeof text);
    join_fail(n, r, "device", now, text);
    return true;
}

static void step_ack(struct node *n, struct request *r, const struct node_party *np, usec_t now)
{
    r->op_ref = log_append_send(n, np->id, buf_bytes(&r->entry), r->kind == REQUEST_CREATE, now);
    r->step = STEP_ACK;
}

/* ---- Creating. */

#define PICK_TRIES 32

/* A network by chance, but none that a party of ours has. */
static uint32_t net4_pick(const struct node *n)
{
    uint32_t net4 = 0;
    for (int i = 0; i < PICK_TRIES; i++) {
        bool taken = false;
        net4 = party_pick_net4(&n->rng);
        for (size_t k = 0; k < n->party_count; k++)
            taken |= n->parties[k]->log && party_net4(n->parties[k]->log) == net4;
        if (!taken)
            break;
    }
    return net4;
}

static void create_begin(struct node *n, struct request *r, usec_t now)
{
    struct party_author a = author(n, now);
    struct party_genesis_args args = {.name = r->change.name,
                                      .owner_name = n->name,
                                      .mode = r->mode,
                                      .net4 = r->net4 ? r->net4 : net4_pick(n),
                                      .ciphers = r->change.policy.ciphers};
    enum party_verdict v = PARTY_NO_MEMORY;
    struct party *log = NULL;
    struct node_party *np = NULL;
    if (party_make_genesis(&r->entry, &a, &args) == 0)
        log = party_open(buf_bytes(&r->entry), 0, &v);
    if (log)
        np = np_new(n, party_id(log));
    if (!np) {
        party_free(log);
        join_fail(n, r, "internal", now,
                  log ? "this node is in as many parties as it may: leave one, or raise the limit \"parties\""
                      : party_verdict_text(v));
        return;
    }
    np->log = log;
    r->party_ref = np->ref;
    r->step = STEP_DEVICE;
    progress(n, r, "device", "making the network device");
    np_device_wish(n, np, now);
}

static void create_go_on(struct node *n, struct request *r, usec_t now)
{
    struct node_party *np = np_by_ref(n, r->party_ref);
    if (r->step == STEP_HUB && link_ready(n)) {
        if (np)
            step_ack(n, r, np, now);
        else
            create_begin(n, r, now);
        np = request_lives(n, r) ? np_by_ref(n, r->party_ref) : NULL;
    }
    if (!np || r->step != STEP_DEVICE || !np_device_settled(n, np) || device_failed(n, r, np, now))
        return;
    if (link_ready(n))
        step_ack(n, r, np, now);
    else
        r->step = STEP_HUB;
}

/* ---- Joining. */

/* false: refused. */
static bool join_possible(struct node *n, struct request *r, const struct node_party *np, usec_t now)
{
    for (size_t i = 0; i < n->party_count; i++) {
        if (n->parties[i] == np || n->parties[i]->tag != np->tag)
            continue;
        join_fail(n, r, "party_clash", now,
                  "this party's id begins like that of another one here: it cannot be told apart in traffic");
        return false;
    }
    if (party_mode(np->log) == MODE_WIREGUARD && !n->no_device) {
        join_fail(
            n, r, "mode", now,
            "the party's mode is wireguard, which this version cannot do: update, or use --device none");
        return false;
    }
    uint8_t invite[INVITE_ID_LEN];
    party_invite_id(invite, r->invite.secret);
    enum party_verdict v = party_was_removed(np->log, n->id)
                               ? PARTY_WAS_REMOVED
                               : party_invite_state(np->log, invite, node_unix(n, now));
    if (v == PARTY_OK)
        return true;
    join_fail(n, r, party_verdict_name(v), now, party_verdict_text(v));
    return false;
}

static void join_in(struct node *n, struct request *r, struct node_party *np, usec_t now)
{
    r->step = STEP_UP;
    if (np_activate(n, np, now) < 0)
        join_fail(n, r, "internal", now, "not enough memory");
}

static void join_prepare(struct node *n, struct request *r, struct node_party *np, usec_t now)
{
    if (np_self(
            n,
            np)) { /* our entry is there: sent before the link broke, or before this machine lost its state */
        join_in(n, r, np, now);
        return;
    }
    if (!join_possible(n, r, np, now))
        return;
    uint16_t host = party_address(np->log, np->id, n->id);
    if (host == 0) {
        join_fail(n, r, "full", now, party_verdict_text(PARTY_FULL));
        return;
    }
    r->step = STEP_DEVICE;
    progress(n, r, "device", "making the network device");
    np_device_open(n, np, host, now);
}

static void join_admit(struct node *n, struct request *r, struct node_party *np, usec_t now)
{
    if (device_failed(n, r, np, now))
        return;
    if (!link_ready(n)) {
        r->step = STEP_HUB;
        return;
    }
    struct party_author a = author(n, now);
    enum party_verdict v = party_make_join(&r->entry, np->log, &a, r->invite.secret, n->name);
    if (v != PARTY_OK) {
        join_fail(n, r, party_verdict_name(v), now, party_verdict_text(v));
        return;
    }
    progress(n, r, "admit", "asking to be admitted");
    step_ack(n, r, np, now);
}

static void join_up(struct node *n, struct request *r, const struct node_party *np, usec_t now)
{
    if (!np_device_settled(n, np))
        return;
    if (np->dev == DEV_FAILED && !n->no_device)
        request_fail(n, r, "device", "joined \"%s\", but its device could not be made: %s",
                     party_name(np->log), np->dev_error);
    else
        request_ok(n, r, joined_result(n, np));
}

static void join_party_go_on(struct node *n, struct request *r, usec_t now)
{
    struct node_party *np = np_by_ref(n, r->party_ref);
    if (!np) {
        request_fail(n, r, "internal", "the party was forgotten meanwhile");
        return;
    }
    if (r->step == STEP_HUB && link_ready(n)) {
        progress(n, r, "log", "getting the party's log");
        np_subscribe(n, np, &r->invite, now);
        r->step = STEP_FETCH;
    } else if (r->step == STEP_FETCH && np->log && np->subscribed && !np->asking) {
        join_prepare(n, r, np, now);
    }
    /* Each step may be over at once, and the request with it. */
    if (request_lives(n, r) && r->step == STEP_DEVICE && np_device_settled(n, np))
        join_admit(n, r, np, now);
    if (request_lives(n, r) && r->step == STEP_UP)
        join_up(n, r, np, now);
}

void join_go_on(struct node *n, struct request *r, usec_t now)
{
    struct node_party *np = np_by_ref(n, r->party_ref);
    if (r->step == STEP_UP && np)
        join_up(n, r, np, now);
    else if (r->kind == REQUEST_CREATE)
        create_go_on(n, r, now);
    else
        join_party_go_on(n, r, now);
}

void join_acked(struct node *n, struct request *r, uint64_t seq, usec_t now)
{
    struct node_party *np = np_by_ref(n, r->party_ref);
    if (!np || np->state != NP_JOINING)
        return;
    if (r->kind == REQUEST_JOIN) {
        enum party_verdict v = party_append(np->log, buf_bytes(&r->entry), 0);
        if (v != PARTY_OK && v != PARTY_KNOWN) {
            join_refused(n, r, "bad_log", party_verdict_text(v), now);
            return;
        }
    }
    uint32_t ref = np->ref;
    bool create = r->kind == REQUEST_CREATE;
    join_in(n, r, np, now);
    np = np_by_ref(n, ref);
    if (np && create)
        np_subscribe(n, np, NULL, now);
}

/* ---- Commands. */

/* "10.77.0.0/16" */
static bool net4_of(const char *text, uint32_t *net4)
{
    unsigned a, b;
    int end = 0;
    if (sscanf(text, "%3u.%3u.0.0/16%n", &a, &b, &end) != 2 || end == 0 || text[end] || a > 255 || b > 255)
        return false;
    *net4 = a << 24 | b << 16;
    return party_net4_allowed(*net4);
}

static bool create_args(struct node *n, uint32_t id, const json_t *rq, enum party_mode *mode, uint32_t *net4)
{
    const char *name = arg_text(rq, "name"), *m = arg_text(rq, "mode"), *net = arg_text(rq, "net");
    *mode = m && strcmp(m, "tun") == 0 ? MODE_TUN : MODE_TAP;
    *net4 = 0;
    if (!name || !name_valid(name))
        reply_error(n, id, "bad_request",
                    "a party's name has 1 to %d bytes of text without control characters", NAME_MAX_BYTES);
    else if (m && strcmp(m, "wireguard") == 0)
        reply_error(n, id, "mode", "mode wireguard is not built in this version: use tap or tun");
    else if (m && strcmp(m, "tap") != 0 && strcmp(m, "tun") != 0)
        reply_error(n, id, "bad_request", "a mode is tap or tun");
    else if (net && !net4_of(net, net4))
        reply_error(n, id, "bad_request", "--net needs a private /16, for example 10.77.0.0/16");
    else
        return true;
    return false;
}

void cmd_create(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    enum party_mode mode;
    uint32_t net4;
    json_int_t ciphers; /* 0: all */
    if (!create_args(n, id, rq, &mode, &net4) ||
        !arg_number(n, id, rq, "ciphers", (json_int_t[]){1, (1 << AEAD_ALG_COUNT) - 1, 0}, &ciphers))
        return;
    const char *name = arg_text(rq, "name");
    for (size_t i = 0; i < n->party_count; i++) {
        if (n->parties[i]->state == NP_JOINING || strcmp(party_name(n->parties[i]->log), name) != 0)
            continue;
        reply_error(n, id, "name_taken", "this node is in a party \"%s\" already: choose another name", name);
        return;
    }
    if (!n->link.have_hub) {
        reply_error(n, id, "no_hub", "no hub is known: start the node with `warren up --hub URL`");
        return;
    }
    if (n->party_count >= n->limits.parties) {
        reply_error(
            n, id, "limit",
            "this node is in %u parties, as many as it may: leave one, or raise the limit \"parties\"",
            n->limits.parties);
        return;
    }
    struct request *r = request_new(n, id, REQUEST_CREATE, now);
    if (!r)
        return;
    snprintf(r->change.name, sizeof r->change.name, "%s", name);
    r->mode = mode;
    r->net4 = net4;
    r->change.policy.ciphers = (uint8_t)ciphers;
    link_try_now(n, now);
    create_go_on(n, r, now);
}

static bool same_hub(const struct hub_address *a, const struct hub_address *b)
{
    if (a->pinned && b->pinned && memcmp(a->fingerprint, b->fingerprint, sizeof a->fingerprint) == 0)
        return true; /* one certificate, two names */
    return hub_address_equal(a, b);
}

static bool join_args(struct node *n, uint32_t id, const struct invite *inv)
{
    struct node_party *np = np_by_id(n, inv->party);
    if (np && np->state == NP_JOINING) {
        reply_error(n, id, "busy", "this party is being joined already");
    } else if (np && np->state == NP_REMOVED) {
        reply_error(n, id, party_verdict_name(PARTY_WAS_REMOVED), "%s",
                    party_verdict_text(PARTY_WAS_REMOVED));
    } else if (np) {
        reply_error(n, id, party_verdict_name(PARTY_ALREADY_MEMBER),
                    "this node is a member of \"%s\" already", party_name(np->log));
    } else if (n->link.have_hub && !same_hub(&n->link.hub, &inv->hub)) {
        char theirs[HUB_HOST_MAX + 128], ours[HUB_HOST_MAX + 128];
        hub_address_write(theirs, sizeof theirs, &inv->hub);
        hub_address_write(ours, sizeof ours, &n->link.hub);
        reply_error(
            n, id, "other_hub",
            "the invite is for the hub %s, this node uses %s: a node has one hub; run a second one with "
            "another --state for it",
            theirs, ours);
    } else if (n->party_count >= n->limits.parties) {
        reply_error(
            n, id, "limit",
            "this node is in %u parties, as many as it may: leave one, or raise the limit \"parties\"",
            n->limits.parties);
    } else {
        return true;
    }
    return false;
}

static void join_begin(struct node *n, uint32_t id, const struct invite *inv, usec_t now)
{
    struct request *r = request_new(n, id, REQUEST_JOIN, now);
    struct node_party *np = r ? np_new(n, inv->party) : NULL;
    if (!np) {
        if (r)
            request_fail(n, r, "internal", "not enough memory");
        return;
    }
    r->invite = *inv;
    r->party_ref = np->ref;
    np->state = NP_JOINING;
    if (!n->link.have_hub)
        link_use(n, &inv->hub, false, now);
    else
        link_try_now(n, now);
    char text[sizeof n->link.label + 16];
    snprintf(text, sizeof text, "reaching %s", n->link.label);
    progress(n, r, "hub", text);
    join_party_go_on(n, r, now);
}

void cmd_join(struct node *n, uint32_t id, const json_t *rq, usec_t now)
{
    struct invite inv;
    const char *text = arg_text(rq, "invite");
    enum invite_error e = text ? invite_read(&inv, text) : INVITE_NOT_ONE;
    text_wipe(json_object_get(rq, "invite"));
    if (e != INVITE_OK) {
        reply_error(n, id, e == INVITE_MISTYPED ? "invite_mistyped" : "invite_bad", "%s",
                    invite_error_text(e));
        return;
    }
    if (join_args(n, id, &inv))
        join_begin(n, id, &inv, now);
    wipe(&inv, sizeof inv);
}
