/* The node's one WebSocket to its hub: made, logged in, kept alive, made again; and what waits for it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/underlay_int.h"

/* A message of frames fills one TLS record with its header (io/ws_client.h): the hub then hands it on whole
 * as it was decrypted. A frame of the largest size alone may be longer. */
#define RECORD    16376
#define FRAME_MAX (RELAY_HEADER_LEN + RELAY_PAYLOAD_MAX)

int link_init(struct node *n, const struct node_config *c)
{
    struct link *l = &n->link;
    l->text_tail = &l->texts;
    l->next_ref = 1;
    buf_init(&l->control, LINK_CONTROL_MAX);
    if (ring_init(&l->data, n->limits.relay_queue_bytes) < 0)
        return -ENOMEM;
    if (c->have_hub) {
        l->have_hub = l->kept = true;
        l->hub = c->hub;
        snprintf(l->label, sizeof l->label, strchr(c->hub.host, ':') ? "[%s]:%u" : "%s:%u", c->hub.host,
                 c->hub.port);
    }
    return 0;
}

static void link_clear(struct link *l)
{
    while (l->texts) {
        struct link_text *t = l->texts;
        l->texts = t->next;
        free(t);
    }
    l->text_tail = &l->texts;
    l->text_bytes = 0;
    buf_clear(&l->control);
    l->data.head = l->data.used = 0;
    l->told = false;
    l->overflow = false;
}

void link_done(struct link *l)
{
    link_clear(l);
    buf_done(&l->control);
    ring_done(&l->data);
}

bool link_ready(const struct node *n)
{
    return n->link.state == LINK_READY;
}

static void link_connect(struct node *n, usec_t now)
{
    struct link *l = &n->link;
    struct out_item *item = out_add(n, NODE_HUB_CONNECT);
    if (!item) {
        l->state = LINK_WAIT;
        l->retry_at = now + SEC;
        node_due(n, l->retry_at);
        return;
    }
    item->o.hub = l->hub;
    l->state = LINK_CONNECTING;
    l->open_until = now + LINK_OPEN_MAX;
    node_due(n, l->open_until);
}

void link_use(struct node *n, const struct hub_address *hub, bool kept, usec_t now)
{
    struct link *l = &n->link;
    l->have_hub = true;
    l->kept = kept;
    l->hub = *hub;
    snprintf(l->label, sizeof l->label, strchr(hub->host, ':') ? "[%s]:%u" : "%s:%u", hub->host, hub->port);
    l->failures = 0;
    l->why[0] = '\0';
    link_connect(n, now);
}

void link_forget(struct node *n, usec_t now)
{
    struct link *l = &n->link;
    if (!l->have_hub || l->kept)
        return;
    if (l->state != LINK_OFF && l->state != LINK_WAIT)
        out_add(n, NODE_HUB_CLOSE);
    l->state = LINK_OFF;
    l->have_hub = false;
    link_clear(l);
}

void link_try_now(struct node *n, usec_t now)
{
    if (n->link.have_hub && n->link.state == LINK_WAIT)
        link_connect(n, now);
}

void node_network_changed(struct node *n, usec_t now)
{
    n->link.failures = 0;
    underlay_woke(n, now);
    link_try_now(n, now);
}

static usec_t link_backoff(struct node *n)
{
    uint64_t ms = n->limits.backoff_min_ms;
    for (unsigned i = 1; i < n->link.failures && ms < n->limits.backoff_max_ms; i++)
        ms *= 2;
    if (ms > n->limits.backoff_max_ms)
        ms = n->limits.backoff_max_ms;
    return (ms - ms / 4) * MSEC + rng_below(&n->rng, ms / 2 * MSEC + 1);
}

void link_lost(struct node *n, const char *why, bool tell_edge, usec_t now)
{
    struct link *l = &n->link;
    if (l->state == LINK_OFF || l->state == LINK_WAIT)
        return;
    bool was_ready = l->state == LINK_READY;
    if (why != l->why)
        snprintf(l->why, sizeof l->why, "%s", why);
    if (tell_edge)
        out_add(n, NODE_HUB_CLOSE);
    if (was_ready && usec_since(now, l->ready_at) >= LINK_STABLE)
        l->failures = 0;
    l->failures++;
    l->state = n->stopping ? LINK_OFF : LINK_WAIT;
    l->retry_at = now + link_backoff(n);
    l->rtt = l->ping_sent = 0;
    l->relay = 0;
    node_due(n, l->retry_at);
    link_clear(l);
    out_log(n, LOG_WARN, was_ready ? "hub-lost" : "hub-unreachable", "hub=%s why=\"%s\" retry_ms=%llu",
            l->label, l->why, (unsigned long long)((l->retry_at - now) / MSEC));
    udp_bind_lost(n);
    peers_link_lost(n, now);
    for (size_t i = 0; i < n->party_count; i++) {
        struct node_party *np = n->parties[i];
        np->subscribed = np->join_sent = np->asking = false;
        np->heal = (struct log_heal){0};
        np->stranger_count = 0;
    }
    /* An answer in several messages broke off: what came of it counts. */
    for (size_t i = n->party_count; i-- > 0;)
        if (i < n->party_count && n->parties[i]->pending && n->parties[i]->state == NP_ACTIVE)
            np_changed(n, n->parties[i], now);
    requests_link_lost(n, now);
    if (was_ready) {
        count(n, COUNT_HUB_LOST);
    } else {
        l->failed_total++;
        requests_link_failed(n, now);
    }
}

void node_hub_down(struct node *n, const char *why, usec_t now)
{
    /* What the hub said in its last words explains more than "connection closed". */
    link_lost(n,
              n->link.state == LINK_READY || !n->link.why[0] || n->link.state == LINK_CONNECTING
                  ? why
                  : n->link.why,
              false, now);
}

void node_hub_up(struct node *n, const uint8_t binding[32], usec_t now)
{
    struct link *l = &n->link;
    if (l->state != LINK_CONNECTING)
        return;
    memcpy(l->binding, binding, sizeof l->binding);
    l->state = LINK_CHALLENGE;
    l->heard = now;
    l->why[0] = '\0';
}

/* ---- Out. */

void link_send(struct node *n, const struct signal *s, usec_t now)
{
    struct link *l = &n->link;
    if (l->state < LINK_CHALLENGE)
        return;
    struct buf text;
    buf_init(&text, SIGNAL_MAX);
    struct link_text *t = NULL;
    if (signal_write(&text, s) == 0)
        t = malloc(sizeof *t + text.n);
    if (!t || l->text_bytes + text.n > LINK_TEXT_MAX) {
        free(t);
        buf_done(&text);
        count(n, COUNT_TEXT_OVERFLOW);
        l->overflow = true;
        node_due(n, now);
        return;
    }
    t->next = NULL;
    t->n = text.n;
    memcpy(t->p, text.p, text.n);
    buf_done(&text);
    *l->text_tail = t;
    l->text_tail = &t->next;
    l->text_bytes += t->n;
}

void link_relay(struct node *n, uint32_t relay, bool control, const uint8_t *p, size_t len)
{
    struct link *l = &n->link;
    if (l->state != LINK_READY || relay == 0 || len > RELAY_PAYLOAD_MAX) {
        count(n, COUNT_TX_NO_LINK);
        return;
    }
    uint8_t header[RELAY_HEADER_LEN];
    relay_header_write(header, control ? RELAY_CONTROL : RELAY_DATA, relay, len);
    if (!control) {
        n->counts[COUNT_TX_DATA_DROPPED] += ring_put(&l->data, header, p, len);
        return;
    }
    uint8_t *to = buf_room(&l->control, RELAY_HEADER_LEN + len);
    if (!to) {
        count(n, COUNT_TX_CONTROL_DROPPED);
        return;
    }
    memcpy(to, header, RELAY_HEADER_LEN);
    memcpy(to + RELAY_HEADER_LEN, p, len);
    buf_grow(&l->control, RELAY_HEADER_LEN + len);
}

bool node_hub_waiting(const struct node *n)
{
    const struct link *l = &n->link;
    return l->state >= LINK_CHALLENGE && (l->texts || l->control.n > 0 || l->data.used > 0);
}

/* Whole frames from the front of the control queue, one at least. */
static size_t control_take(struct buf *control, struct buf *out)
{
    size_t total = 0;
    while (total < control->n) {
        const uint8_t *h = control->p + total;
        size_t n = RELAY_HEADER_LEN + ((size_t)h[2] << 8 | h[3]);
        if (total > 0 && total + n > RECORD)
            break;
        total += n;
    }
    if (total == 0 || buf_add(out, bytes_of(control->p, total)) < 0)
        return 0;
    buf_eat(control, total);
    return total;
}

bool node_hub_take(struct node *n, struct buf *out, bool *binary, usec_t now)
{
    struct link *l = &n->link;
    peers_pump(n, now);
    if (!node_hub_waiting(n)) {
        l->told = false;
        return false;
    }
    struct link_text *t = l->texts;
    /* At the end the farewell to the peers goes first: after our "leave" the hub carries nothing more to
     * them. */
    if (t && !(n->stopping && (l->control.n > 0 || l->data.used > 0))) {
        if (buf_add(out, bytes_of(t->p, t->n)) < 0)
            return false;
        l->texts = t->next;
        if (!l->texts)
            l->text_tail = &l->texts;
        l->text_bytes -= t->n;
        free(t);
        *binary = false;
        return true;
    }
    *binary = true;
    size_t took = control_take(&l->control, out);
    if (l->control.n == 0 && took < RECORD)
        took += ring_take(&l->data, out, took > 0 ? RECORD - took : FRAME_MAX);
    return took > 0;
}

/* ---- In. */

static void link_login(struct node *n, const struct signal *in, usec_t now)
{
    struct link *l = &n->link;
    if (l->state != LINK_CHALLENGE)
        return;
    if (in->u.challenge.version != HUB_PROTOCOL) {
        link_lost(n, "the hub speaks another version of the protocol: update this node or the hub", true,
                  now);
        return;
    }
    struct signal *s = calloc(1, sizeof *s);
    if (!s)
        return;
    memcpy(l->nonce, in->u.challenge.nonce, sizeof l->nonce);
    uint8_t message[SIGNAL_NONCE_LEN + 32 + NODE_ID_LEN];
    memcpy(message, l->nonce, SIGNAL_NONCE_LEN);
    memcpy(message + SIGNAL_NONCE_LEN, l->binding, 32);
    memcpy(message + SIGNAL_NONCE_LEN + 32, n->id, NODE_ID_LEN);
    s->type = SIGNAL_LOGIN;
    memcpy(s->u.login.node, n->id, NODE_ID_LEN);
    s->u.login.keys = *sign_key_public(n->key);
    memcpy(s->u.login.name, n->name, sizeof s->u.login.name);
    if (sign_make(n->key, "warren login v1", bytes_of(message, sizeof message), &n->rng,
                  s->u.login.signature) == 0) {
        link_send(n, s, now);
        l->state = LINK_LOGIN;
    }
    free(s);
}

static void link_welcome(struct node *n, const struct signal *s, usec_t now)
{
    struct link *l = &n->link;
    if (l->state != LINK_LOGIN)
        return;
    l->state = LINK_READY;
    l->ready_at = now;
    l->relay = s->u.welcome.relay;
    udp_bind_welcome(n, s, now);
    turning_welcome(n, s, now);
    underlay_discover(n, false, now);
    memcpy(l->seen, s->u.welcome.seen, sizeof l->seen);
    count(n, COUNT_HUB_CONNECTS);
    if (!l->kept)
        l->kept = l->save_due = true;
    out_log(n, LOG_INFO, "hub-connected", "hub=%s seen=%s", l->label, l->seen);
    uint64_t ours = node_unix(n, now), theirs = s->u.welcome.time;
    uint64_t off = ours > theirs ? ours - theirs : theirs - ours;
    if (off > CLOCK_OFF_S)
        out_log(n, LOG_WARN, "clock-differs",
                "hub=%s seconds=%llu hint=\"set this machine's clock: invites expire by it\"", l->label,
                (unsigned long long)off);
    link_ping(n, now);
    for (size_t i = 0; i < n->party_count; i++)
        if (n->parties[i]->state == NP_ACTIVE)
            np_subscribe(n, n->parties[i], NULL, now);
    requests_go_on(n, 0, now);
}

uint64_t link_ping(struct node *n, usec_t now)
{
    struct link *l = &n->link;
    l->ping_token = now;
    l->ping_sent = now;
    l->ping_at = now + n->limits.hub_ping_s * SEC;
    node_due(n, l->ping_at);
    struct signal s = {.type = SIGNAL_PING};
    s.u.ping.t = l->ping_token;
    link_send(n, &s, now);
    return l->ping_token;
}

static void link_pong(struct node *n, const struct signal *s, usec_t now)
{
    struct link *l = &n->link;
    if (l->ping_sent == 0 || s->u.ping.t != l->ping_token)
        return;
    usec_t rtt = usec_since(now, l->ping_sent);
    l->ping_sent = 0;
    l->rtt = rtt > 0 ? rtt : 1;
    requests_go_on(n, 0, now);
}

static void link_error(struct node *n, const struct signal *s, usec_t now)
{
    struct link *l = &n->link;
    const char *code = s->u.error.code, *message = s->u.error.message;
    count(n, COUNT_HUB_ERRORS);
    enum signal_error e = signal_error_of(code);
    if (e == SIGERR_LOGIN_FAILED || e == SIGERR_NOT_LOGGED_IN ||
        (l->state < LINK_READY && e != SIGERR_COUNT)) {
        snprintf(l->why, sizeof l->why, "the hub refused the login: %s", message[0] ? message : code);
        return;
    }
    if (e == SIGERR_REPLACED || e == SIGERR_SHUTTING_DOWN) {
        if (e == SIGERR_REPLACED)
            l->failures = 5;
        link_lost(n,
                  e == SIGERR_REPLACED
                      ? "another program logged in with this node's key: two daemons must not share a state"
                      : "the hub is shutting down",
                  true, now);
        return;
    }
    uint32_t ref = s->u.error.ref;
    if (ref != 0 && heal_error(n, ref, code, now))
        return;
    struct request *r = ref != 0 ? request_by_op(n, ref) : NULL;
    if (r && r->kind == REQUEST_CHANGE)
        change_refused(n, r, code, message, now);
    else if (r)
        join_refused(n, r, code, message, now);
    else if (s->u.error.has_party)
        np_hub_error(n, s->u.error.party, code, message, now);
    else
        out_log(n, LOG_DEBUG, "hub-error", "code=%s message=\"%s\"", code, message);
}

static void link_signal(struct node *n, const struct signal *s, usec_t now)
{
    switch (s->type) {
    case SIGNAL_LOG:
        log_from_hub(n, s, now);
        return;
    case SIGNAL_PRESENCE:
    case SIGNAL_PEER_LIST:
    case SIGNAL_PEER_JOINED:
    case SIGNAL_PEER_LEFT:
        peers_from_hub(n, s, now);
        return;
    case SIGNAL_PONG:
        link_pong(n, s, now);
        return;
    default: /* what direct paths will need; nothing here listens yet */
        count(n, COUNT_HUB_BAD_TEXT);
    }
}

void node_hub_text(struct node *n, struct bytes text, usec_t now)
{
    struct link *l = &n->link;
    if (l->state < LINK_CHALLENGE)
        return;
    l->heard = now;
    struct signal *s = malloc(sizeof *s);
    if (!s)
        return;
    if (signal_read(s, text) < 0)
        count(n, COUNT_HUB_BAD_TEXT);
    else if (s->type == SIGNAL_CHALLENGE)
        link_login(n, s, now);
    else if (s->type == SIGNAL_WELCOME)
        link_welcome(n, s, now);
    else if (s->type == SIGNAL_ERROR)
        link_error(n, s, now);
    else if (s->type == SIGNAL_PING) {
        s->type = SIGNAL_PONG;
        link_send(n, s, now);
    } else if (l->state == LINK_READY)
        link_signal(n, s, now);
    else
        count(n, COUNT_HUB_BAD_TEXT);
    signal_done(s);
    free(s);
}

/* ---- Time. */

usec_t link_wake(const struct node *n)
{
    const struct link *l = &n->link;
    usec_t silent = l->heard + n->limits.hub_silent_s * SEC;
    switch (l->state) {
    case LINK_OFF:
        return USEC_NEVER;
    case LINK_WAIT:
        return l->retry_at;
    case LINK_CONNECTING:
        return l->open_until;
    case LINK_CHALLENGE:
    case LINK_LOGIN:
        return l->overflow ? 0 : usec_min(l->open_until, silent);
    case LINK_READY:
        return l->overflow ? 0 : usec_min(l->ping_at, silent);
    }
    return USEC_NEVER;
}

void link_tick(struct node *n, usec_t now)
{
    struct link *l = &n->link;
    if (link_wake(n) > now)
        return;
    if (l->state == LINK_WAIT)
        link_connect(n, now);
    else if (l->state == LINK_CONNECTING)
        link_lost(n, "no answer", true, now);
    else if (l->overflow)
        link_lost(n, "the hub takes nothing", true, now);
    else if (l->state < LINK_READY || now >= l->heard + n->limits.hub_silent_s * SEC)
        link_lost(n, l->why[0] && l->state < LINK_READY ? l->why : "the hub is silent", true, now);
    else
        link_ping(n, now);
}
