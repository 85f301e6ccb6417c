/* A TURN server that the hub names, as one more candidate (doc/protocol/turn.md): allocated when some pair
 * has no direct path, given back when nothing goes over it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nat/turn.h"
#include "node/underlay_int.h"

#define TURNING_AFTER         (4 * SEC)         /* without a direct path */
#define TURNING_IDLE          (10 * MINUTE)     /* nobody's way goes over it */
#define TURNING_AGAIN         (5 * MINUTE)      /* after a failure */
#define TURNING_STREAM_NUMBER STREAM_NUMBER_END /* ours of all streams */

enum turning_over { OVER_UDP, OVER_TCP, OVER_TLS };
struct turning {
    bool known; /* the hub named one */
    enum turning_over over;
    struct net_addr server; /* family 0: only the name is known */
    char host[256];
    uint16_t port;
    char user[SIGNAL_TURN_USER_MAX + 1], password[SIGNAL_TURN_PASSWORD_MAX + 1];
    struct turn *core; /* NULL: not in use */
    struct net_addr relayed;
    uint32_t stream; /* of TCP and TLS; 0: none */
    uint32_t next_stream;
    usec_t idle_at, again_at;
    char why[160];
};

int turning_init(struct node *n)
{
    struct turning *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->idle_at = USEC_NEVER;
    t->next_stream = TURNING_STREAM_NUMBER;
    n->underlay->turning = t;
    return 0;
}

static void drop(struct node *n, const char *why, usec_t now)
{
    struct turning *t = n->underlay->turning;
    if (t->stream) {
        struct out_item *item = out_add(n, NODE_STREAM_CLOSE);
        if (item)
            item->o.stream = t->stream;
    }
    t->stream = 0;
    turn_free(t->core);
    t->core = NULL;
    t->idle_at = USEC_NEVER;
    t->again_at = now + TURNING_AGAIN;
    snprintf(t->why, sizeof t->why, "%s", why ? why : "");
    for (size_t i = 0; i < n->peer_slots; i++) {
        struct node_peer *p = n->peers[i];
        for (size_t k = 0; p && p->ways && k < WAYS_MAX; k++)
            if (p->ways[k].id != 0 && p->ways[k].at.via == PATH_TURN)
                way_close(n, p, &p->ways[k], now);
        if (p && p->direct && p->direct->ice)
            ice_remove_base(p->direct->ice, TURN_BASE, now);
    }
    if (t->relayed.family != 0) {
        t->relayed = (struct net_addr){0};
        underlay_gather(n, now);
    }
}

void turning_done(struct node *n)
{
    struct turning *t = n->underlay->turning;
    if (!t)
        return;
    turn_free(t->core);
    wipe(t, sizeof *t);
    free(t);
    n->underlay->turning = NULL;
}

/* ---- Where it is. */

/* "turn:HOST[:PORT][?transport=udp|tcp]" or "turns:..." (RFC 7065). */
static bool url_read(struct turning *t, const char *url)
{
    bool tls = strncmp(url, "turns:", 6) == 0;
    if (!tls && strncmp(url, "turn:", 5) != 0)
        return false;
    const char *at = url + (tls ? 6 : 5), *end = at + strcspn(at, "?");
    t->over = tls ? OVER_TLS : strcmp(end, "?transport=tcp") == 0 ? OVER_TCP : OVER_UDP;
    if (*end && !tls && t->over == OVER_UDP && strcmp(end, "?transport=udp") != 0)
        return false;
    char text[256];
    if (end == at || (size_t)(end - at) >= sizeof text)
        return false;
    memcpy(text, at, (size_t)(end - at));
    text[end - at] = 0;
    t->port = tls ? 5349 : 3478;
    t->server = (struct net_addr){0};
    if (net_addr_read(&t->server, text) == 0) {
        t->port = t->server.port ? t->server.port : t->port;
        t->server.port = t->port;
        net_ip_text(t->host, &t->server);
        return true;
    }
    char *colon = strrchr(text, ':');
    if (colon) {
        unsigned long port = strtoul(colon + 1, &colon, 10);
        if (*colon || port == 0 || port > 65535)
            return false;
        t->port = (uint16_t)port;
        *strrchr(text, ':') = 0;
    }
    snprintf(t->host, sizeof t->host, "%s", text);
    return text[0] != 0;
}

/* Datagrams need an address: a name is one where it is the hub's own; else the server is reached over TCP,
 * which the edge finds by name. */
static void address_find(const struct node *n, struct turning *t)
{
    const struct underlay *u = n->underlay;
    for (size_t i = 0; i < u->hub_count && t->server.family == 0 && strcmp(t->host, n->link.hub.host) == 0;
         i++)
        if (underlay_socket(n, u->hub[i].family) != 0) {
            t->server = u->hub[i];
            t->server.port = t->port;
        }
    if (t->over == OVER_UDP && (t->server.family == 0 || underlay_socket(n, t->server.family) == 0))
        t->over = OVER_TCP;
}

void turning_welcome(struct node *n, const struct signal *s, usec_t now)
{
    struct turning *t = n->underlay->turning;
    t->known = false;
    if (!s->u.welcome.has_turn || !url_read(t, s->u.welcome.turn_url))
        return;
    snprintf(t->user, sizeof t->user, "%s", s->u.welcome.turn_user);
    snprintf(t->password, sizeof t->password, "%s", s->u.welcome.turn_password);
    t->known = true;
    t->again_at = now;
    address_find(n, t);
}

/* ---- In and out. */

static void turning_said(struct node *n, const struct turn_event *ev, usec_t now)
{
    struct turning *t = n->underlay->turning;
    switch (ev->kind) {
    case TURN_EVENT_ALLOCATED:
        t->relayed = ev->relayed;
        t->idle_at = now + TURNING_IDLE;
        out_log(n, LOG_INFO, "turn-allocated", "server=%s", t->host);
        underlay_gather(n, now);
        break;
    case TURN_EVENT_DATA: {
        uint8_t datagram[2048];
        if (ev->data.n > sizeof datagram || ev->data.n == 0)
            break;
        memcpy(datagram, ev->data.p, ev->data.n);
        struct bytes in = bytes_of(datagram, ev->data.n);
        const struct origin o = {.via = PATH_TURN, .number = TURN_BASE, .addr = ev->peer};
        if (stun_is(in))
            direct_stun(n, TURN_BASE, &ev->peer, in, now);
        else
            peers_input(n, &o, datagram, in.n, now);
        break;
    }
    case TURN_EVENT_FAILED:
    case TURN_EVENT_LOST:
        out_log(n, LOG_WARN, "turn-failed", "server=%s code=%u why=\"%s\"", t->host, ev->code,
                ev->why ? ev->why : "");
        drop(n, ev->why, now);
        break;
    case TURN_EVENT_ALTERNATE: /* another server over a stream: the hub may name it next time */
        drop(n, "the TURN server sends us to another one", now);
        break;
    case TURN_EVENT_REFUSED:
    case TURN_EVENT_RELEASED:
        break;
    }
}

static void send_to_server(struct node *n, const struct turn_out *out)
{
    struct turning *t = n->underlay->turning;
    if (t->over == OVER_UDP) {
        out_datagram(n, underlay_socket(n, out->to.family), &out->to, NULL, 0, out->data.p, out->data.n);
        return;
    }
    struct out_item *item = t->stream ? out_add(n, NODE_STREAM_SEND) : NULL;
    if (!item)
        return;
    item->o.stream = t->stream;
    item->o.final = true; /* a gap would end the framing */
    buf_add(&item->data, out->data);
}

static void turning_pump(struct node *n, usec_t now)
{
    struct turning *t = n->underlay->turning;
    struct turn_event ev;
    struct turn_out out;
    while (t->core && turn_event(t->core, &ev))
        turning_said(n, &ev, now);
    while (t->core && turn_output(t->core, now, &out))
        send_to_server(n, &out);
    if (t->core)
        node_due(n, turn_wake(t->core));
}

bool turning_input(struct node *n, const struct net_addr *from, struct bytes in, usec_t now)
{
    struct turning *t = n->underlay->turning;
    if (!t->core || t->over != OVER_UDP || !turn_is(t->core, from, in))
        return false;
    turn_input(t->core, in, now);
    turning_pump(n, now);
    return true;
}

bool turning_send(struct node *n, const struct net_addr *to, const uint8_t *p, size_t len, usec_t now)
{
    struct turning *t = n->underlay->turning;
    struct turn_out out;
    uint8_t room[TURN_HEADROOM + 2048 + TURN_TAILROOM];
    if (!t->core || len > 2048)
        return false;
    memcpy(room + TURN_HEADROOM, p, len);
    const struct turn_packet packet = {room + TURN_HEADROOM, len, TURN_HEADROOM, TURN_TAILROOM};
    if (turn_send(t->core, to, packet, now, &out) < 0)
        return false;
    /* The request for a permission goes first; what turn_send gave may lie in the core's buffer, so it is
     * kept. */
    uint8_t wrapped[sizeof room + TURN_INDICATION_OVERHEAD6];
    size_t n_wrapped = out.data.n;
    struct net_addr server = out.to;
    if (n_wrapped > sizeof wrapped)
        return false;
    memcpy(wrapped, out.data.p, n_wrapped);
    struct turn_out before;
    while (turn_output(t->core, now, &before))
        send_to_server(n, &before);
    send_to_server(n, &(struct turn_out){.to = server, .data = bytes_of(wrapped, n_wrapped)});
    node_due(n, turn_wake(t->core));
    return true;
}

/* ---- Streams. */

bool turning_stream_up(struct node *n, uint32_t stream, usec_t now)
{
    struct turning *t = n->underlay->turning;
    if (!t->core || stream == 0 || stream != t->stream)
        return false;
    turn_start(t->core, now);
    turning_pump(n, now);
    return true;
}

bool turning_stream_bytes(struct node *n, uint32_t stream, struct bytes in, usec_t now)
{
    struct turning *t = n->underlay->turning;
    if (!t->core || stream == 0 || stream != t->stream)
        return false;
    turn_input(t->core, in, now);
    turning_pump(n, now);
    return true;
}

bool turning_stream_down(struct node *n, uint32_t stream, usec_t now)
{
    struct turning *t = n->underlay->turning;
    if (stream == 0 || stream != t->stream)
        return false;
    t->stream = 0;
    if (t->core)
        turn_disconnected(t->core, now);
    turning_pump(n, now);
    return true;
}

/* ---- When. */

static bool stream_dial(struct node *n, struct turning *t)
{
    struct out_item *item = out_add(n, NODE_STREAM_DIAL);
    if (!item)
        return false;
    t->stream = t->next_stream++;
    if (t->next_stream >= NODE_STREAM_ACCEPTED)
        t->next_stream = TURNING_STREAM_NUMBER;
    item->o.stream = t->stream;
    item->o.stream_kind = t->over == OVER_TLS ? NODE_STREAM_TURN_TLS : NODE_STREAM_TURN_TCP;
    item->o.to = t->over == OVER_TLS ? (struct net_addr){0} : t->server;
    snprintf(item->o.hub.host, sizeof item->o.hub.host, "%s", t->host);
    item->o.hub.port = t->port;
    return true;
}

void turning_wish(struct node *n, usec_t now)
{
    struct turning *t = n->underlay->turning;
    if (!t->known || t->core || t->again_at > now)
        return;
    t->again_at = now + TURNING_AGAIN;
    const struct turn_config c = {.transport = t->over == OVER_UDP ? TURN_UDP : TURN_STREAM,
                                  .server = t->server,
                                  .username = t->user,
                                  .password = t->password,
                                  .txid_prefix = TXID_TURN,
                                  .rng = n->rng};
    t->core = turn_new(&c);
    if (!t->core)
        return;
    if (t->over == OVER_UDP)
        turn_start(t->core, now);
    else if (!stream_dial(n, t))
        drop(n, "too much is waiting", now);
    turning_pump(n, now);
}

bool turning_relayed(const struct node *n, struct net_addr *a)
{
    *a = n->underlay->turning->relayed;
    return a->family != 0;
}

const char *turning_words(const struct node *n)
{
    const struct turning *t = n->underlay->turning;
    return !t->known                ? "the hub names no TURN server"
           : t->relayed.family != 0 ? "allocated"
           : t->core                ? "being asked"
           : t->why[0]              ? t->why
                                    : "not needed so far";
}

usec_t turning_wake(const struct node *n)
{
    const struct turning *t = n->underlay->turning;
    return t->core ? usec_min(turn_wake(t->core), t->idle_at) : USEC_NEVER;
}

/* Probes alone are no use of it. */
static bool carries(const struct node *n)
{
    for (size_t i = 0; i < n->peer_slots; i++) {
        const struct node_peer *p = n->peers[i];
        uint32_t id;
        enum path_kind kind;
        if (p && p->paths && paths_best(p->paths, &id, &kind) && kind == PATH_TURN)
            return true;
    }
    return false;
}

void turning_tick(struct node *n, usec_t now)
{
    struct turning *t = n->underlay->turning;
    if (!t->core)
        return;
    if (turn_wake(t->core) <= now)
        turn_tick(t->core, now);
    turning_pump(n, now);
    if (!t->core || t->idle_at > now)
        return;
    if (carries(n)) {
        t->idle_at = now + TURNING_IDLE;
        return;
    }
    turn_release(t->core, now);
    turning_pump(n, now);
    if (t->core)
        drop(n, "not needed any more", now);
}

void turning_stop(struct node *n, usec_t now)
{
    struct turning *t = n->underlay->turning;
    if (!t->core)
        return;
    turn_release(t->core, now);
    turning_pump(n, now);
}
