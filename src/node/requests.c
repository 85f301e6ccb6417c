/* What people ask through the control socket: one JSON object in, one or more out. Commands that only look
 * are answered at once; the others are requests, which go on whenever something happens that they wait for,
 * and give up at their deadline. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_int.h"

struct command {
    const char *name;
    command_handler *handler;
};

static const struct command commands[] = {
    {"status", cmd_status},
    {"peers", cmd_peers},
    {"id", cmd_id},
    {"party-create", cmd_create},
    {"party-list", cmd_party_list},
    {"party-log", cmd_party_log},
    {"party-leave", cmd_leave},
    {"invite", cmd_invite},
    {"invite-list", cmd_invite_list},
    {"invite-revoke", cmd_invite_revoke},
    {"join", cmd_join},
    {"kick", cmd_kick},
    {"role", cmd_role},
    {"rename", cmd_rename},
    {"lease", cmd_lease},
    {"policy", cmd_policy},
    {"ping", cmd_ping},
    {"route", cmd_route},
    {"netcheck", cmd_netcheck},
    {"metrics", cmd_metrics},
    {"debug-dump", cmd_debug_dump},
};

/* ---- Replies. */

void text_wipe(json_t *text)
{
    /* The library keeps the bytes to itself and frees them as they are. */
    if (json_is_string(text))
        wipe((void *)(uintptr_t)json_string_value(text), json_string_length(text));
}

static void reply(struct node *n, uint32_t id, json_t *body, bool final, bool ok, uint32_t depends)
{
    char *text = body ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(10)) : NULL;
    text_wipe(json_object_get(json_object_get(body, "result"), "invite"));
    json_decref(body);
    struct out_item *item = out_add(n, NODE_REPLY);
    if (item) {
        item->o.request = id;
        item->o.final = final;
        item->ok = ok;
        item->depends = depends;
        if (!text || buf_add_str(&item->data, text) < 0)
            buf_add_str(&item->data,
                        "{\"ok\":false,\"code\":\"internal\",\"error\":\"the answer is too large\"}");
    }
    if (text)
        wipe(text, strlen(text));
    free(text);
}

void reply_ok(struct node *n, uint32_t id, json_t *result, uint32_t depends)
{
    reply(n, id, json_pack("{s:b, s:o}", "ok", 1, "result", result ? result : json_object()), true, true,
          depends);
}

void reply_progress(struct node *n, uint32_t id, json_t *progress)
{
    reply(n, id, json_pack("{s:o}", "progress", progress), false, false, 0);
}

static void __attribute__((format(printf, 4, 0)))
reply_verror(struct node *n, uint32_t id, const char *code, const char *fmt, va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof text, fmt, ap);
    count(n, COUNT_REQUESTS_FAILED);
    json_t *e = json_pack("{s:b, s:o, s:o}", "ok", 0, "error", text_json(text), "code", text_json(code));
    reply(n, id, e, true, false, 0);
}

void reply_error(struct node *n, uint32_t id, const char *code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    reply_verror(n, id, code, fmt, ap);
    va_end(ap);
}

/* ---- The table of requests. */

struct request *request_new(struct node *n, uint32_t id, enum request_kind kind, usec_t now)
{
    struct request *r = n->request_count < REQUESTS_MAX ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        reply_error(n, id, "busy", "too many commands wait at once: try again when one of them is done");
        return NULL;
    }
    r->id = id;
    r->kind = kind;
    r->deadline = now + n->limits.request_s * SEC;
    r->failed_before = n->link.failed_total;
    buf_init(&r->entry, ENTRY_MAX);
    n->requests[n->request_count++] = r;
    node_due(n, r->deadline);
    return r;
}

static void request_free(struct request *r)
{
    wipe(&r->change, sizeof r->change);
    wipe(&r->invite, sizeof r->invite);
    buf_done(&r->entry);
    free(r->ping);
    free(r);
}

void request_end(struct node *n, struct request *r)
{
    size_t i = 0;
    while (n->requests[i] != r)
        i++;
    n->requests[i] = n->requests[--n->request_count];
    request_free(r);
}

void requests_free(struct node *n)
{
    for (size_t i = 0; i < n->request_count; i++)
        request_free(n->requests[i]);
    n->request_count = 0;
}

struct request *request_by_op(const struct node *n, uint32_t ref)
{
    for (size_t i = 0; i < n->request_count; i++)
        if (n->requests[i]->step == STEP_ACK && n->requests[i]->op_ref == ref)
            return n->requests[i];
    return NULL;
}

void request_ok(struct node *n, struct request *r, json_t *result)
{
    if (r->gone)
        json_decref(result);
    else
        reply_ok(n, r->id, result, r->party_ref);
    request_end(n, r);
}

void request_fail(struct node *n, struct request *r, const char *code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (!r->gone)
        reply_verror(n, r->id, code, fmt, ap);
    va_end(ap);
    request_end(n, r);
}

/* ---- Going on. */

static void request_go_on(struct node *n, struct request *r, usec_t now)
{
    switch (r->kind) {
    case REQUEST_CHANGE:
        change_go_on(n, r, now);
        break;
    case REQUEST_CREATE:
    case REQUEST_JOIN:
        join_go_on(n, r, now);
        break;
    case REQUEST_PING:
        ping_go_on(n, r, now);
        break;
    case REQUEST_NETCHECK:
        netcheck_go_on(n, r, false, now);
        break;
    }
}

bool request_lives(const struct node *n, const struct request *r)
{
    for (size_t i = 0; i < n->request_count; i++)
        if (n->requests[i] == r)
            return true;
    return false;
}

void requests_go_on(struct node *n, uint32_t party_ref, usec_t now)
{
    struct request *all[REQUESTS_MAX];
    size_t total = n->request_count;
    memcpy(all, n->requests, total * sizeof *all);
    for (size_t i = 0; i < total; i++)
        if (request_lives(n, all[i]) &&
            (party_ref == 0 || all[i]->party_ref == party_ref || all[i]->party_ref == 0))
            request_go_on(n, all[i], now);
}

void requests_link_lost(struct node *n, usec_t now)
{
    for (size_t i = 0; i < n->request_count; i++) {
        struct request *r = n->requests[i];
        bool waits = r->kind == REQUEST_CHANGE || r->kind == REQUEST_CREATE || r->kind == REQUEST_JOIN;
        if (waits && (r->step == STEP_ACK || r->step == STEP_FETCH))
            r->step = STEP_HUB;
    }
}

static void hub_unreachable(struct node *n, struct request *r, usec_t now)
{
    struct link *l = &n->link;
    char label[sizeof l->label], why[LINK_WHY_CAP];
    memcpy(label, l->label, sizeof label);
    snprintf(why, sizeof why, "%s", l->why[0] ? l->why : "no answer yet");
    if (r->kind == REQUEST_CHANGE)
        request_fail(n, r, "hub_unreachable", "the hub %s cannot be reached: %s", label, why);
    else
        join_refused(n, r, "hub_unreachable", why, now);
}

static bool wants_hub(const struct request *r)
{
    return (r->kind == REQUEST_CHANGE || r->kind == REQUEST_CREATE || r->kind == REQUEST_JOIN) &&
           r->step == STEP_HUB;
}

void requests_link_failed(struct node *n, usec_t now)
{
    struct request *all[REQUESTS_MAX];
    size_t total = n->request_count;
    memcpy(all, n->requests, total * sizeof *all);
    for (size_t i = 0; i < total; i++)
        if (request_lives(n, all[i]) && wants_hub(all[i]) &&
            n->link.failed_total - all[i]->failed_before >= HUB_TRIES)
            hub_unreachable(n, all[i], now);
    requests_go_on(n, 0, now);
}

usec_t requests_wake(const struct node *n)
{
    usec_t wake = USEC_NEVER;
    for (size_t i = 0; i < n->request_count; i++) {
        const struct request *r = n->requests[i];
        wake = usec_min(wake, r->kind == REQUEST_PING ? ping_wake(r) : r->deadline);
    }
    return wake;
}

static void request_timed_out(struct node *n, struct request *r, usec_t now)
{
    const struct node_party *np = np_by_ref(n, r->party_ref);
    if (r->kind == REQUEST_NETCHECK)
        netcheck_go_on(n, r, true, now);
    else if (r->step == STEP_HUB && !link_ready(n))
        hub_unreachable(n, r, now);
    else if (r->kind != REQUEST_CHANGE)
        join_refused(n, r, "timeout",
                     r->step == STEP_DEVICE || r->step == STEP_UP
                         ? "the device was not made in time"
                         : "the hub did not answer in time: try again",
                     now);
    else if (np && !np->subscribed)
        request_fail(n, r, "hub_refuses",
                     "the hub does not show this party to this node: see the alerts of `warren status`");
    else
        request_fail(n, r, "timeout", "the hub did not answer in time: try again");
}

void requests_tick(struct node *n, usec_t now)
{
    struct request *all[REQUESTS_MAX];
    size_t total = n->request_count;
    memcpy(all, n->requests, total * sizeof *all);
    for (size_t i = 0; i < total; i++) {
        if (!request_lives(n, all[i]))
            continue;
        if (all[i]->kind == REQUEST_PING)
            ping_go_on(n, all[i], now);
        else if (all[i]->deadline <= now) {
            request_timed_out(n, all[i], now);
            requests_go_on(n, 0, now); /* others may have waited for it */
        }
    }
}

/* ---- Arguments. */

const char *arg_text(const json_t *rq, const char *key)
{
    return json_string_value(json_object_get(rq, key));
}

bool arg_number(struct node *n, uint32_t id, const json_t *rq, const char *key, json_int_t range[3],
                json_int_t *out)
{
    const json_t *v = json_object_get(rq, key);
    *out = range[2];
    if (!v || json_is_null(v))
        return true;
    if (json_is_integer(v) && json_integer_value(v) >= range[0] && json_integer_value(v) <= range[1]) {
        *out = json_integer_value(v);
        return true;
    }
    reply_error(n, id, "bad_request", "%s must be a number from %lld to %lld", key, (long long)range[0],
                (long long)range[1]);
    return false;
}

/* Candidates of an ambiguous name, as "a, b, c". */
struct names {
    char text[512];
    size_t n;
};

static void names_add(struct names *l, const char *name)
{
    size_t at = strlen(l->text);
    if (at + strlen(name) + 3 < sizeof l->text)
        snprintf(l->text + at, sizeof l->text - at, "%s%s", l->n ? ", " : "", name);
    l->n++;
}

static bool party_fits(const struct node_party *np, const char *arg)
{
    char hex[HEX_LEN(PARTY_ID_LEN) + 1];
    size_t len = strlen(arg);
    hex_put(hex, bytes_of(np->id, PARTY_ID_LEN));
    return strcmp(party_name(np->log), arg) == 0 || (len >= 4 && strncmp(hex, arg, len) == 0);
}

struct node_party *choose_party(struct node *n, uint32_t id, const char *arg)
{
    struct node_party *found = NULL;
    struct names all = {0}, fit = {0};
    for (size_t i = 0; i < n->party_count; i++) {
        struct node_party *np = n->parties[i];
        if (np->state == NP_JOINING)
            continue;
        char one[NAME_CAP + 32], hex[9];
        hex_put(hex, bytes_of(np->id, 4));
        snprintf(one, sizeof one, "%s (%s)", party_name(np->log), hex);
        names_add(&all, one);
        if (arg && !party_fits(np, arg))
            continue;
        names_add(&fit, one);
        found = np;
    }
    if (fit.n == 1)
        return found;
    if (all.n == 0)
        reply_error(n, id, "no_party",
                    "this node is in no party: use `warren join` or `warren party create`");
    else if (fit.n == 0)
        reply_error(n, id, "no_party", "there is no party \"%s\"; there are: %s", arg, all.text);
    else
        reply_error(n, id, "ambiguous", "which party? name one of: %s", fit.text);
    return NULL;
}

struct node_party *choose_writable(struct node *n, uint32_t id, const char *arg)
{
    struct node_party *np = choose_party(n, id, arg);
    if (!np || np->state == NP_ACTIVE)
        return np;
    reply_error(
        n, id, "removed",
        "this node was removed from the party \"%s\": ask an admin of it for a new admission, or forget it "
        "with `warren party leave`",
        party_name(np->log));
    return NULL;
}

static bool member_fits(const struct party_member *m, const char *arg)
{
    char id[NODE_ID_TEXT_CAP], ip[46];
    size_t len = strlen(arg);
    node_id_text(id, m->id);
    if (strcmp(m->name, arg) == 0 || (len >= 6 && strncmp(id, arg, len) == 0))
        return true;
    ip4_text(ip, m->ip4);
    if (strcmp(ip, arg) == 0)
        return true;
    ip6_text(ip, m->ip6);
    return strcmp(ip, arg) == 0;
}

const struct party_member *choose_member(struct node *n, uint32_t id, const struct node_party *np,
                                         const char *arg, struct node_party **found)
{
    const struct party_member *hit = NULL;
    struct names fit = {0};
    if (!arg || !*arg) {
        reply_error(n, id, "bad_request", "which peer? give its name, its id or its address");
        return NULL;
    }
    for (size_t i = 0; i < n->party_count; i++) {
        struct node_party *in = n->parties[i];
        if (in->state != NP_ACTIVE || (np && in != np))
            continue;
        for (size_t k = 0; k < party_member_count(in->log); k++) {
            const struct party_member *m = party_member_at(in->log, k);
            /* The same machine in a second party is no second candidate. */
            if (!member_fits(m, arg) || (hit && memcmp(hit->id, m->id, NODE_ID_LEN) == 0))
                continue;
            char one[NAME_CAP + NODE_ID_TEXT_CAP + 8], text[NODE_ID_TEXT_CAP];
            node_id_text(text, m->id);
            snprintf(one, sizeof one, "%s (%.13s)", m->name, text);
            names_add(&fit, one);
            hit = m;
            *found = in;
        }
    }
    if (fit.n == 1)
        return hit;
    if (fit.n == 0)
        reply_error(n, id, "no_peer", "there is no member \"%s\": see `warren peers`", arg);
    else
        reply_error(n, id, "ambiguous", "\"%s\" could be %s: give an id", arg, fit.text);
    return NULL;
}

/* ---- In. */

void node_request(struct node *n, uint32_t id, struct bytes json, usec_t now)
{
    json_error_t err;
    count(n, COUNT_REQUESTS);
    json_t *rq = json.n > 0 && json.n <= REQUEST_MAX
                     ? json_loadb((const char *)json.p, json.n, JSON_REJECT_DUPLICATES, &err)
                     : NULL;
    const char *cmd = rq ? arg_text(rq, "cmd") : NULL;
    const struct command *c = NULL;
    for (size_t i = 0; cmd && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, cmd) == 0)
            c = &commands[i];
    if (c)
        c->handler(n, id, rq, now);
    else if (cmd)
        reply_error(n, id, "unknown_command",
                    "this node does not know the command \"%.40s\": update it, or restart it after an update",
                    cmd);
    else
        reply_error(n, id, "bad_request", "a request is one JSON object with \"cmd\", at most %u bytes",
                    REQUEST_MAX);
    json_decref(rq);
}

void node_request_gone(struct node *n, uint32_t id)
{
    for (size_t i = 0; i < n->request_count; i++) {
        struct request *r = n->requests[i];
        if (r->id != id)
            continue;
        /* What was begun is brought to its end; pings and looks have nobody to tell. */
        r->gone = true;
        if (r->kind == REQUEST_PING || r->kind == REQUEST_NETCHECK)
            request_end(n, r);
        return;
    }
}
