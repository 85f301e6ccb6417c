#include "hub/core_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

#define LOGIN_CONTEXT "warren login v1"
#define TURN_LIFE_S   (12 * 3600u)

void login_challenge(struct hub *h, struct conn *c)
{
    struct signal s = {.type = SIGNAL_CHALLENGE, .u.challenge.version = HUB_VERSION};
    rng_fill(&h->rng, c->nonce, sizeof c->nonce);
    memcpy(s.u.challenge.nonce, c->nonce, sizeof c->nonce);
    conn_send(h, c, &s);
}

/* The id is the hash of the keys, and whoever is on this very connection holds them. */
static bool login_proven(const struct conn *c, const struct signal *s)
{
    uint8_t id[NODE_ID_LEN], msg[SIGNAL_NONCE_LEN + 32 + NODE_ID_LEN];
    struct wr w = wr_of(msg, sizeof msg);
    node_id_of(id, &s->u.login.keys);
    if (memcmp(id, s->u.login.node, sizeof id) != 0)
        return false;
    wr_copy(&w, c->nonce, sizeof c->nonce);
    wr_copy(&w, c->binding, sizeof c->binding);
    wr_copy(&w, id, sizeof id);
    return sign_check(&s->u.login.keys, LOGIN_CONTEXT, wr_done(&w), s->u.login.signature) == 0;
}

static void login_fail(struct hub *h, struct conn *c, enum signal_error e, const char *why)
{
    hub_note(h, LOG_INFO, "login-refused", "ip=%s reason=%s", addr_short((char[64]){0}, &c->remote), why);
    conn_error(h, c, e, NULL);
    conn_doom(h, c,
              e == SIGERR_RATE_LIMITED ? CLOSE_TRY_LATER
              : e == SIGERR_INTERNAL   ? CLOSE_INTERNAL
                                       : CLOSE_POLICY,
              why);
}

/* The newer connection of a node wins: the older one is often a dead one that nobody has noticed yet. */
static void replace_older(struct hub *h, const uint8_t node[NODE_ID_LEN])
{
    struct conn *older = map_get(h->nodes, node);
    if (!older)
        return;
    h->count.login_replaced++;
    conn_error(h, older, SIGERR_REPLACED, NULL);
    conn_doom(h, older, CLOSE_REPLACED, "replaced");
    hub_settle(h);
}

static uint32_t relay_index(struct hub *h)
{
    uint32_t i;
    do {
        i = rng_u32(&h->rng);
    } while (i == 0 || map_get(h->relays, &i));
    return i;
}

static int session_begin(struct hub *h, struct conn *c, const uint8_t node[NODE_ID_LEN])
{
    struct session *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    memcpy(s->node, node, NODE_ID_LEN);
    s->relay = relay_index(h);
    list_init(&s->subs);
    ratelimit_init(&s->appends, h->limits.entries_per_minute, 60 * (uint64_t)h->limits.entries_per_minute,
                   h->now);
    ratelimit_init(&s->relay_bytes, h->limits.relay_bytes_per_s,
                   2 * (uint64_t)h->limits.relay_bytes_per_s + RELAY_MESSAGE_MAX, h->now);
    int rc = map_put(h->nodes, s->node, c);
    if (rc == 0) {
        rc = map_put(h->relays, &s->relay, c);
        if (rc < 0)
            map_del(h->nodes, s->node);
    }
    if (rc < 0) {
        free(s);
        return rc;
    }
    udp_session_begin(h, s);
    c->session = s;
    h->logged_in++;
    return 0;
}

void session_end(struct hub *h, struct conn *c)
{
    struct session *s = c->session;
    struct list *l;
    if (!s)
        return;
    while ((l = list_first(&s->subs)))
        sub_end(h, LIST_OWNER(l, struct sub, in_session));
    map_del(h->nodes, s->node);
    map_del(h->relays, &s->relay);
    udp_session_end(h, s);
    hub_note(h, LOG_INFO, "device-gone", "node=%s", node_short((char[17]){0}, s->node));
    h->epoch++;
    h->logged_in--;
    c->session = NULL;
    wipe(s, sizeof *s);
    free(s);
}

/* Credentials for the operator's TURN server, as coturn's use-auth-secret (the "TURN REST API") checks them:
 * the password is base64(HMAC-SHA1(secret, user name)), and the user name says until when. */
static void turn_welcome(const struct hub *h, const struct session *s, struct signal *w)
{
    uint8_t mac[SHA1_LEN];
    if (!h->turn_url[0])
        return;
    w->u.welcome.has_turn = true;
    w->u.welcome.turn_expires = hub_unix(h) + TURN_LIFE_S;
    memcpy(w->u.welcome.turn_url, h->turn_url, sizeof h->turn_url);
    snprintf(w->u.welcome.turn_user, sizeof w->u.welcome.turn_user, "%llu:%s",
             (unsigned long long)w->u.welcome.turn_expires, node_short((char[17]){0}, s->node));
    struct bytes user = bytes_of_str(w->u.welcome.turn_user);
    hmac_sha1(mac, bytes_of(h->turn_secret, h->turn_secret_len), &user, 1);
    _Static_assert(BASE64_LEN(SHA1_LEN) + 1 <= SIGNAL_TURN_PASSWORD_MAX, "room for the padding");
    base64_put(w->u.welcome.turn_password, bytes_of(mac, sizeof mac));
    wipe(mac, sizeof mac);
}

static void welcome(struct hub *h, struct conn *c)
{
    struct signal s = {.type = SIGNAL_WELCOME};
    struct token_claims claims = {.issued = hub_unix(h), .expires = hub_unix(h) + h->limits.token_s};
    memcpy(claims.node, c->session->node, NODE_ID_LEN);
    if (token_make(h->token_key, &claims, s.u.welcome.token) < 0) {
        login_fail(h, c, SIGERR_INTERNAL, "token");
        return;
    }
    s.u.welcome.expires = claims.expires;
    s.u.welcome.time = claims.issued;
    s.u.welcome.relay = c->session->relay;
    addr_text(s.u.welcome.seen, sizeof s.u.welcome.seen, &c->remote);
    udp_welcome(h, c->session, &s);
    turn_welcome(h, c->session, &s);
    conn_send(h, c, &s);
    wipe(&s.u.welcome, sizeof s.u.welcome);
}

/* New devices are counted by asking first: the store does not say whether it knew one. */
static int device_remember(struct hub *h, const struct signal *s)
{
    struct sign_public known;
    int got = h->store.ops->device_get(h->store.ctx, s->u.login.node, &known);
    int rc = h->store.ops->device_put(h->store.ctx, s->u.login.node, &s->u.login.keys, s->u.login.name,
                                      hub_unix(h));
    if (rc == 0 && got == -ENOENT)
        h->devices++;
    return rc;
}

void login_handle(struct hub *h, struct conn *c, const struct signal *s)
{
    if (c->session) {
        conn_error(h, c, SIGERR_BAD_MESSAGE, NULL);
        return;
    }
    if (!ip_take(&c->ip->logins, h->now)) {
        h->count.login_limited++;
        login_fail(h, c, SIGERR_RATE_LIMITED, "rate");
        return;
    }
    if (!login_proven(c, s)) {
        h->count.login_failed++;
        login_fail(h, c, SIGERR_LOGIN_FAILED, "signature");
        return;
    }
    int rc = device_remember(h, s);
    if (rc == -EEXIST) {
        h->count.login_failed++;
        login_fail(h, c, SIGERR_LOGIN_FAILED, "keys");
        return;
    }
    if (rc == 0) {
        replace_older(h, s->u.login.node);
        if (c->closing) /* it was told so much that it had to give way */
            return;
        rc = session_begin(h, c, s->u.login.node);
    } else {
        h->count.store_errors++;
    }
    if (rc < 0) {
        login_fail(h, c, SIGERR_INTERNAL, strerrorname_np(-rc));
        return;
    }
    h->count.login_ok++;
    hub_note(h, LOG_INFO, "device-login", "node=%s ip=%s", node_short((char[17]){0}, s->u.login.node),
             addr_short((char[64]){0}, &c->remote));
    welcome(h, c);
    conn_schedule(h, c);
}
