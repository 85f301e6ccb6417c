#include "sim/hub_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sim/node_net.h"

#define MESSAGE_ROOM (256 * 1024)

static void pump(struct hub_host *h);

static void peer_forget(struct hub_peer *p)
{
    struct hub_peer **at = &p->hub->peers;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    free(p);
}

static void tell_time(struct hub_host *h)
{
    uint64_t unix_s = sim_unix(h->sim);
    if (unix_s == h->unix_told)
        return;
    h->unix_told = unix_s;
    hub_clock(h->hub, h->sim->now, unix_s);
}

static bool hooked(bool (*hook)(void *, struct hub_host *, const uint8_t *, bool, struct buf *),
                   struct hub_peer *p, bool binary, struct buf *message)
{
    return !hook || hook(p->hub->hooks.arg, p->hub, p->known ? p->node : NULL, binary, message);
}

/* Writes what the hub has for this connection while the stream takes it. */
static void serve(struct hub_peer *p)
{
    struct hub_host *h = p->hub;
    struct buf message;
    bool binary, more = true;
    buf_init(&message, MESSAGE_ROOM);
    while (stream_writable(p->stream) && (more = hub_take(h->hub, p->conn, &message, &binary, h->sim->now))) {
        if (hooked(h->hooks.says, p, binary, &message))
            stream_send(p->stream, binary, buf_bytes(&message));
        buf_clear(&message);
    }
    buf_done(&message);
    if (more)
        stream_want_write(p->stream);
    if (!more && p->closing) {
        stream_close(p->stream);
        hub_closed(h->hub, p->conn, h->sim->now);
        peer_forget(p);
    }
}

static struct hub_peer *peer_of(struct hub_host *h, hub_conn c)
{
    for (struct hub_peer *p = h->peers; p; p = p->next)
        if (p->conn == c)
            return p;
    return NULL;
}

static void drain_events(struct hub_host *h)
{
    struct hub_event ev;
    while (hub_event(h->hub, &ev)) {
        h->events[ev.level <= LOG_DEBUG ? ev.level : LOG_DEBUG]++;
        snprintf(h->last_event, sizeof h->last_event, "%s %s", ev.event, ev.text);
        if (h->print)
            fprintf(stderr, "# %9.3f hub %s %s\n", (double)(h->sim->now - SIM_START) / SEC, ev.event,
                    ev.text);
    }
}

static void pump(struct hub_host *h)
{
    hub_conn c;
    uint16_t code;
    const char *reason;
    while (hub_ready(h->hub, &c)) {
        struct hub_peer *p = peer_of(h, c);
        if (p)
            serve(p);
    }
    while (hub_close_next(h->hub, &c, &code, &reason)) {
        struct hub_peer *p = peer_of(h, c);
        if (!p)
            continue;
        p->closing = true;
        serve(p);
    }
    drain_events(h);
    sim_arm(h->sim, &h->timer, hub_wake(h->hub));
}

static void on_timer(void *arg)
{
    struct hub_host *h = arg;
    tell_time(h);
    hub_tick(h->hub, h->sim->now);
    pump(h);
}

static void on_up(void *arg, struct stream *s, const uint8_t binding[32], const uint8_t fingerprint[32])
{
    struct hub_peer *p = arg;
    struct hub_host *h = p->hub;
    const struct net_addr *remote = stream_remote(s);
    struct net_addr addr = {.family = remote->family, .port = remote->port};
    memcpy(addr.ip, remote->ip, sizeof addr.ip);
    p->conn = ++h->next_conn;
    tell_time(h);
    if (hub_open(h->hub, p->conn, &addr, binding, h->sim->now) != 0) {
        stream_close(s);
        peer_forget(p);
        return;
    }
    pump(h);
}

/* Who speaks on a connection is in its login, for hooks that treat nodes differently. */
static void learn_node(struct hub_peer *p, struct bytes text)
{
    struct signal m;
    if (p->known)
        return;
    if (signal_read(&m, text) == 0 && m.type == SIGNAL_LOGIN) {
        p->known = true;
        memcpy(p->node, m.u.login.node, NODE_ID_LEN);
    }
    signal_done(&m);
}

static void on_message(void *arg, struct stream *s, bool binary, uint8_t *data, size_t n)
{
    struct hub_peer *p = arg;
    struct hub_host *h = p->hub;
    struct buf message;
    buf_init(&message, MESSAGE_ROOM);
    buf_add(&message, bytes_of(data, n));
    if (!binary)
        learn_node(p, buf_bytes(&message));
    tell_time(h);
    if (!p->closing && hooked(h->hooks.hears, p, binary, &message)) {
        if (binary)
            hub_binary(h->hub, p->conn, buf_bytes(&message), h->sim->now);
        else
            hub_text(h->hub, p->conn, buf_bytes(&message), h->sim->now);
    }
    buf_done(&message);
    pump(h);
}

static void on_writable(void *arg, struct stream *s)
{
    struct hub_peer *p = arg;
    struct hub_host *h = p->hub;
    serve(p);
    drain_events(h);
    sim_arm(h->sim, &h->timer, hub_wake(h->hub));
}

static void on_down(void *arg, struct stream *s, const char *why)
{
    struct hub_peer *p = arg;
    struct hub_host *h = p->hub;
    hub_conn conn = p->conn;
    stream_close(s);
    peer_forget(p);
    if (conn == 0)
        return;
    tell_time(h);
    hub_closed(h->hub, conn, h->sim->now);
    pump(h);
}

static const struct stream_ops ops = {on_up, on_message, on_writable, on_down};

static void *on_accept(void *arg, struct stream *s)
{
    struct hub_host *h = arg;
    struct hub_peer *p = sim_alloc(sizeof *p);
    p->hub = h;
    p->stream = s;
    p->next = h->peers;
    h->peers = p;
    return p;
}

struct hub_host *hub_host_new(struct host *host, const char *dns_name, const struct hub_limits *limits)
{
    struct hub_host *h = sim_alloc(sizeof *h);
    h->sim = host->net->sim;
    h->host = host;
    h->store = journal_new();
    h->timer = (struct sim_timer){.fire = on_timer, .arg = h};
    if (limits)
        h->limits = *limits;
    else
        hub_limits_default(&h->limits);
    snprintf(h->address.host, sizeof h->address.host, "%s", dns_name);
    h->address.port = HUB_PORT;
    h->address.pinned = true;
    rng_fill(&h->sim->rng, h->address.fingerprint, sizeof h->address.fingerprint);
    h->print = getenv("WARREN_SIM_LOG") != NULL;
    return h;
}

/* ---- UDP. */

static void on_datagram(struct hub_host *h, uint32_t socket, const struct net_addr *from, uint8_t *p,
                        size_t n)
{
    struct net_addr a = *from;
    struct hub_udp_out out;
    tell_time(h);
    hub_udp(h->hub, socket, &a, p, n, h->sim->now);
    while (hub_udp_next(h->hub, &out)) {
        struct net_addr to = out.to;
        if (out.socket < 2 && h->udp[out.socket])
            udp_send(h->udp[out.socket], &to, bytes_of(out.p, out.n));
    }
    pump(h);
}

static void on_main(void *arg, const struct net_addr *from, uint8_t *p, size_t n)
{
    on_datagram(arg, 0, from, p, n);
}

static void on_other(void *arg, const struct net_addr *from, uint8_t *p, size_t n)
{
    on_datagram(arg, 1, from, p, n);
}

static void udp_start(struct hub_host *h, struct hub_config *c)
{
    const struct net_addr *own[] = {&h->host->ip4, &h->host->ip6};
    h->udp[0] = udp_open(h->host, HUB_UDP_PORT, on_main, h);
    h->udp[1] = udp_open(h->host, HUB_UDP_PORT + 1, on_other, h);
    c->udp = true;
    for (size_t i = 0; i < 2; i++) {
        if (own[i]->family == 0)
            continue;
        c->udp_addrs[c->udp_count++] = (struct net_addr){.family = own[i]->family, .port = HUB_UDP_PORT};
        for (size_t socket = 0; socket < 2; socket++) {
            struct net_addr *e = &c->udp_endpoints[socket + (i == 1 ? HUB_UDP_SOCKETS : 0)];
            *e = *own[i];
            e->port = (uint16_t)(HUB_UDP_PORT + socket);
        }
    }
}

static void udp_stop(struct hub_host *h)
{
    for (size_t i = 0; i < 2; i++) {
        if (h->udp[i])
            udp_close(h->udp[i]);
        h->udp[i] = NULL;
    }
}

void hub_host_start(struct hub_host *h)
{
    if (h->hub)
        return;
    struct hub_config c = {.limits = h->limits, .store = journal_store(h->store), .unix_s = sim_unix(h->sim)};
    c.rng = rng_seeded(&h->chance, h->sim->seed ^ (0x9e37 + ++h->starts));
    h->unix_told = c.unix_s;
    if (!h->no_udp)
        udp_start(h, &c);
    h->hub = hub_new(&c, h->sim->now);
    if (!h->hub)
        abort();
    struct stream_listener l = {.port = HUB_PORT, .ops = &ops, .accept = on_accept, .arg = h};
    memcpy(l.fingerprint, h->address.fingerprint, sizeof l.fingerprint);
    stream_listen(h->host, &l);
    pump(h);
}

void hub_host_kill(struct hub_host *h)
{
    if (!h->hub)
        return;
    sim_disarm(h->sim, &h->timer);
    stream_host_reset(h->host, h->host->off);
    while (h->peers)
        peer_forget(h->peers);
    udp_stop(h);
    hub_free(h->hub);
    h->hub = NULL;
}

void hub_host_shutdown(struct hub_host *h)
{
    if (!h->hub)
        return;
    hub_shutdown(h->hub, h->sim->now);
    pump(h);
    stream_unlisten(h->host, HUB_PORT);
    while (h->peers) {
        stream_close(h->peers->stream);
        peer_forget(h->peers);
    }
    sim_disarm(h->sim, &h->timer);
    udp_stop(h);
    hub_free(h->hub);
    h->hub = NULL;
}

void hub_host_restart(struct hub_host *h)
{
    hub_host_kill(h);
    hub_host_start(h);
}

void hub_host_free(struct hub_host *h)
{
    if (!h)
        return;
    hub_host_kill(h);
    journal_free(h->store);
    free(h);
}

bool hub_host_say(struct hub_host *h, const uint8_t node[NODE_ID_LEN], bool binary, struct bytes message)
{
    bool said = false;
    for (struct hub_peer *p = h->peers; p; p = p->next)
        if (p->known && memcmp(p->node, node, NODE_ID_LEN) == 0)
            said |= stream_send(p->stream, binary, message);
    return said;
}

bool hub_host_has(const struct hub_host *h, const uint8_t node[NODE_ID_LEN])
{
    for (const struct hub_peer *p = h->peers; p; p = p->next)
        if (p->known && memcmp(p->node, node, NODE_ID_LEN) == 0)
            return true;
    return false;
}
