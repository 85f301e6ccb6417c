#include "hub/core_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_PATH      "/api/v1/parties/"
#define LOG_BYTES_MAX (256 * 1024) /* of entries in one answer */
#define HTTP_BODY_MAX (1024 * 1024)

static void answer(struct hub_response *rs, int status, const char *type, const char *body)
{
    rs->status = status;
    rs->content_type = type;
    buf_clear(&rs->body);
    buf_add_str(&rs->body, body);
}

/* Errors have the form of those on the WebSocket. All texts are ours: nothing needs escaping. */
static void refuse(struct hub_response *rs, int status, const char *code, const char *text)
{
    answer(rs, status, "application/json", "");
    buf_printf(&rs->body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", code, text);
}

static void health(struct hub *h, struct hub_response *rs)
{
    answer(rs, h->down ? 503 : 200, "application/json", "");
    buf_printf(&rs->body,
               "{\"status\":\"%s\",\"version\":\"%s\",\"connections\":%zu,\"devices_online\":%llu}\n",
               h->down ? "shutting_down" : "ok", WARREN_VERSION, map_count(h->conns),
               (unsigned long long)h->logged_in);
}

/* The device that a request speaks for; false: answered with 401. */
static bool authorized(struct hub *h, const struct hub_request *rq, struct hub_response *rs,
                       uint8_t node[NODE_ID_LEN])
{
    struct token_claims claims;
    int rc = rq->bearer ? token_check(h->token_key, rq->bearer, hub_unix(h), &claims) : -EBADMSG;
    if (rc == 0) {
        memcpy(node, claims.node, NODE_ID_LEN);
        return true;
    }
    refuse(rs, 401, rc == -EKEYEXPIRED ? "token_expired" : "not_logged_in",
           "send the token of a login over the WebSocket as Authorization: Bearer");
    return false;
}

static void limits(struct hub *h, const struct hub_request *rq, struct hub_response *rs)
{
    uint8_t node[NODE_ID_LEN];
    uint32_t value;
    const char *what, *name;
    if (!authorized(h, rq, rs, node))
        return;
    const struct conn *c = map_get(h->nodes, node);
    uint64_t owned = 0;
    if (h->store.ops->party_owned(h->store.ctx, node, &owned) < 0)
        h->count.store_errors++;
    answer(rs, 200, "application/json", "{\"limits\":{");
    for (size_t i = 0; (name = hub_limit_at(i, &h->limits, &value, &what)); i++)
        buf_printf(&rs->body, "%s\"%s\":%u", i ? "," : "", name, value);
    buf_printf(&rs->body, "},\"used\":{\"connected\":%s,\"parties_joined\":%u,\"parties_created\":%llu}}\n",
               c ? "true" : "false", c && c->session ? c->session->sub_count : 0, (unsigned long long)owned);
}

/* "?since=N" or nothing. */
static bool since_of(const char *query, uint64_t *since)
{
    char *end;
    *since = 0;
    if (*query == 0)
        return true;
    if (strncmp(query, "?since=", 7) != 0 || query[7] < '0' || query[7] > '9')
        return false;
    errno = 0;
    *since = strtoull(query + 7, &end, 10);
    return errno == 0 && *end == 0;
}

static void log_body(const struct party *p, uint64_t since, struct buf *out)
{
    char id[HEX_LEN(PARTY_ID_LEN) + 1], text[BASE64_LEN(ENTRY_MAX) + 1];
    uint64_t end = party_seq(p) + 1, at = since < end ? since : end;
    size_t room = LOG_BYTES_MAX;
    hex_put(id, bytes_of(party_id(p), PARTY_ID_LEN));
    buf_printf(out, "{\"party\":\"%s\",\"seq\":%llu,\"entries\":[", id, (unsigned long long)at);
    for (bool first = true; at < end; at++, first = false) {
        struct bytes e = party_entry(p, at);
        if (e.n > room)
            break;
        room -= e.n;
        base64url_put(text, e);
        buf_printf(out, "%s\"%s\"", first ? "" : ",", text);
    }
    buf_printf(out, "],\"more\":%s}\n", at < end ? "true" : "false");
}

static void party_log(struct hub *h, const struct hub_request *rq, struct hub_response *rs)
{
    uint8_t node[NODE_ID_LEN], id[PARTY_ID_LEN];
    const char *hex = rq->path + strlen(LOG_PATH);
    const char *rest = strchr(hex, '/');
    uint64_t since;
    size_t n;
    struct hub_party *p;
    if (!rest || strncmp(rest, "/log", 4) != 0 || !since_of(rest + 4, &since) ||
        (size_t)(rest - hex) != HEX_LEN(PARTY_ID_LEN) ||
        hex_get(id, sizeof id, &n, hex, (size_t)(rest - hex)) < 0) {
        refuse(rs, 404, "not_found", "there is nothing here");
        return;
    }
    if (!authorized(h, rq, rs, node))
        return;
    /* Who is no member does not learn which parties exist. */
    int rc = hub_party_get(h, id, &p);
    if (rc == -ENOENT || (rc == 0 && !party_member(p->log, node))) {
        refuse(rs, 403, signal_error_code(SIGERR_NOT_A_MEMBER), signal_error_text(SIGERR_NOT_A_MEMBER));
    } else if (rc < 0) {
        refuse(rs, 500, signal_error_code(SIGERR_INTERNAL), signal_error_text(SIGERR_INTERNAL));
    } else {
        answer(rs, 200, "application/json", "");
        log_body(p->log, since, &rs->body);
    }
}

static void serve(struct hub *h, const struct hub_request *rq, struct hub_response *rs)
{
    const char *path = rq->path;
    if (strcmp(rq->method, "GET") != 0) {
        refuse(rs, 405, "method_not_allowed", "only GET is answered");
    } else if (strcmp(path, "/") == 0) {
        answer(rs, 200, "text/plain; charset=utf-8",
               "This is a Warren hub. It connects the members of private networks and reads nothing of what "
               "they say.\n"
               "To join one, ask a member for an invite and run:  warren join\n");
    } else if (strcmp(path, "/health") == 0) {
        health(h, rs);
    } else if (strcmp(path, "/metrics") == 0) {
        answer(rs, 200, "text/plain; version=0.0.4; charset=utf-8", "");
        metrics_write(h, &rs->body);
    } else if (strcmp(path, "/api/v1/limits") == 0) {
        limits(h, rq, rs);
    } else if (strncmp(path, LOG_PATH, strlen(LOG_PATH)) == 0) {
        party_log(h, rq, rs);
    } else {
        refuse(rs, 404, "not_found", "there is nothing here");
    }
}

void hub_http(struct hub *h, const struct hub_request *rq, struct hub_response *rs, usec_t now)
{
    h->now = now;
    buf_init(&rs->body, HTTP_BODY_MAX);
    struct ip_entry *ip = iptable_get(h->ips, &rq->remote, now);
    if (ip && ip_take(&ip->http, now))
        serve(h, rq, rs);
    else
        refuse(rs, 429, signal_error_code(SIGERR_RATE_LIMITED), signal_error_text(SIGERR_RATE_LIMITED));
    h->count.http[rs->status / 100 % 6]++;
    hub_settle(h);
}
