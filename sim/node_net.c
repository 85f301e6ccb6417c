#include "sim/node_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "sim/node_host.h"
#include "sim/node_pump.h"

#define PEER_STREAMS_MAX  64
#define PEER_STREAM_STALL (64 * 1024) /* bytes of what must not be dropped that wait for a stalled stream */

struct sim_socket {
    struct node_net *net;
    uint32_t number;
    uint8_t family;
    struct udp_socket *udp; /* NULL: free */
};

/* A stream to or from another node. */
struct peer_link {
    struct node_net *net;
    uint32_t number; /* 0: free */
    bool up, dead;   /* dead: the engine is still to be told, for the machine sleeps */
    struct stream *s;
    uint8_t wanted[32]; /* of a dialled one: the fingerprint of the key that it asked for */
    struct buf kept;    /* a message of what must not be dropped */
};

struct node_net {
    struct node_host *h;
    struct sim_socket sockets[NODE_SOCKETS_MAX];
    struct peer_link links[PEER_STREAMS_MAX];
    uint16_t listening;
    uint32_t next_comer;
};

struct net_addr net_addr_of(const struct net_addr *a)
{
    struct net_addr n = {.family = a->family, .port = a->port};
    memcpy(n.ip, a->ip, sizeof n.ip);
    return n;
}

struct net_addr sim_addr_of(const struct net_addr *a)
{
    struct net_addr s = {.family = a->family, .port = a->port};
    memcpy(s.ip, a->ip, sizeof s.ip);
    return s;
}

struct node_net *node_net_new(struct node_host *h)
{
    struct node_net *e = sim_alloc(sizeof *e);
    e->h = h;
    return e;
}

static struct sim_socket *socket_of(struct node_net *e, uint32_t number)
{
    for (size_t i = 0; i < NODE_SOCKETS_MAX; i++)
        if (e->sockets[i].udp && e->sockets[i].number == number)
            return &e->sockets[i];
    return NULL;
}

static void socket_close(struct sim_socket *s)
{
    if (s->udp)
        udp_close(s->udp);
    s->udp = NULL;
}

static void link_free(struct peer_link *l)
{
    if (l->number == 0)
        return;
    stream_close(l->s);
    buf_done(&l->kept);
    *l = (struct peer_link){0};
}

void node_net_free(struct node_net *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < NODE_SOCKETS_MAX; i++)
        socket_close(&e->sockets[i]);
    for (size_t i = 0; i < PEER_STREAMS_MAX; i++)
        link_free(&e->links[i]);
    if (e->listening != 0)
        stream_unlisten(e->h->host, e->listening);
    free(e);
}

/* Sockets of a simulated host take both families; ours are for one each. */
static void on_datagram(void *arg, const struct net_addr *from, uint8_t *p, size_t n)
{
    struct sim_socket *s = arg;
    struct node_host *h = s->net->h;
    if (!h->node || h->asleep || from->family != s->family)
        return;
    if (h->on_datagram)
        h->on_datagram(h->datagram_arg, h, from, bytes_of(p, n));
    if (h->pump && (s->number == NODE_SOCKET_MAIN4 || s->number == NODE_SOCKET_MAIN6)) {
        node_pump_datagram(h->pump, s->number, from, p, n);
        return;
    }
    struct net_addr a = *from;
    node_udp(h->node, s->number, &a, p, n, h->sim->now);
    node_host_pump(h);
}

/* Systems give ports by chance; neighbours' ports would meet in boxes that keep them. Not from the
 * simulator's own source of chance, which others' stories hang on. */
static uint16_t any_port(const struct node_host *h, uint32_t number)
{
    uint64_t x = (h->sim->seed << 32 | h->number << 16 | number) + h->starts * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (uint16_t)(32768 + (x ^ x >> 31) % 28000);
}

static void open_socket(struct node_net *e, const struct node_out *o)
{
    struct node_host *h = e->h;
    struct sim_socket *s = NULL;
    for (size_t i = 0; i < NODE_SOCKETS_MAX && !s; i++)
        if (!e->sockets[i].udp)
            s = &e->sockets[i];
    bool has = o->family == 4 ? h->host->ip4.family != 0 : h->host->ip6.family != 0;
    bool mdns = o->socket == NODE_SOCKET_MDNS4 || o->socket == NODE_SOCKET_MDNS6;
    if (!s || !has) {
        node_udp_opened(h->node, o->socket, 0, "the simulated host has no such socket", h->sim->now);
        return;
    }
    *s = (struct sim_socket){.net = e, .number = o->socket, .family = o->family};
    s->udp = udp_open(h->host, o->port || mdns ? o->port : any_port(h, o->socket), on_datagram, s);
    if (!s->udp && !mdns)
        s->udp = udp_open(h->host, 0, on_datagram, s);
    node_udp_opened(h->node, o->socket, s->udp ? s->udp->port : 0, s->udp ? NULL : "no port is free",
                    h->sim->now);
}

int node_net_send(struct node_net *e, uint32_t socket, const struct net_addr *to, struct bytes run,
                  size_t segment)
{
    struct sim_socket *s = socket_of(e, socket);
    if (!s)
        return -ENOTCONN;
    size_t mtu = e->h->host->up.config.mtu ? e->h->host->up.config.mtu : 1500;
    if (segment + (to->family == 4 ? 28 : 48) > mtu) /* the kernel knows its own line */
        return -EMSGSIZE;
    for (size_t at = 0; at < run.n; at += segment)
        udp_send(s->udp, to, bytes_of(run.p + at, run.n - at < segment ? run.n - at : segment));
    return 0;
}

static void send_datagram(struct node_net *e, const struct node_out *o)
{
    struct net_addr to = o->to;
    if (o->data.n > 0 && node_net_send(e, o->socket, &to, o->data, o->data.n) == -EMSGSIZE)
        node_udp_too_big(e->h->node, o->socket, &to, o->data.n, e->h->sim->now);
}

/* ---- Streams between nodes. */

static struct peer_link *link_of(struct node_net *e, uint32_t number)
{
    for (size_t i = 0; number != 0 && i < PEER_STREAMS_MAX; i++)
        if (e->links[i].number == number)
            return &e->links[i];
    return NULL;
}

static struct peer_link *link_new(struct node_net *e, uint32_t number)
{
    for (size_t i = 0; i < PEER_STREAMS_MAX; i++) {
        struct peer_link *l = &e->links[i];
        if (l->number != 0)
            continue;
        *l = (struct peer_link){.net = e, .number = number};
        buf_init(&l->kept, PEER_STREAM_STALL);
        return l;
    }
    return NULL;
}

static void link_down(struct peer_link *l, const char *why)
{
    struct node_host *h = l->net->h;
    uint32_t number = l->number;
    bool tell = l->up || number < NODE_STREAM_ACCEPTED;
    if (h->asleep && tell) {
        stream_abort(l->s);
        l->s = NULL;
        l->dead = true;
        return;
    }
    link_free(l);
    if (!h->node || !tell)
        return;
    node_stream_down(h->node, number, why, h->sim->now);
    node_host_pump(h);
}

static void link_up(void *arg, struct stream *s, const uint8_t binding[32], const uint8_t fingerprint[32])
{
    struct peer_link *l = arg;
    struct node_host *h = l->net->h;
    struct net_addr remote = *stream_remote(s);
    if (l->number < NODE_STREAM_ACCEPTED && memcmp(fingerprint, l->wanted, 32) != 0) {
        link_down(l, "the certificate holds another key");
        return;
    }
    l->up = true;
    node_stream_up(h->node, l->number, &remote, h->sim->now);
    node_host_pump(h);
}

static void link_message(void *arg, struct stream *s, bool binary, uint8_t *p, size_t n)
{
    struct peer_link *l = arg;
    struct node_host *h = l->net->h;
    if (!binary || h->asleep)
        return;
    node_stream_message(h->node, l->number, p, n, h->sim->now);
    node_host_pump(h);
}

static void link_writable(void *arg, struct stream *s)
{
    struct peer_link *l = arg;
    if (l->kept.n > 0 && stream_send(s, true, buf_bytes(&l->kept)))
        buf_clear(&l->kept);
}

static void link_broke(void *arg, struct stream *s, const char *why)
{
    link_down(arg, why);
}

static const struct stream_ops link_ops = {link_up, link_message, link_writable, link_broke};

static void *link_accept(void *arg, struct stream *s)
{
    struct node_net *e = arg;
    if (e->h->asleep)
        return NULL;
    struct peer_link *l = link_new(e, NODE_STREAM_ACCEPTED | (++e->next_comer & ~NODE_STREAM_ACCEPTED));
    if (l)
        l->s = s;
    return l;
}

static void key_fingerprint(uint8_t out[32], const struct sign_public *key)
{
    const struct bytes all = bytes_of(key, sizeof *key);
    sha256(out, &all, 1);
}

static void listen_at(struct node_net *e, uint16_t port)
{
    struct node_host *h = e->h;
    struct stream_listener l = {.ops = &link_ops, .accept = link_accept, .arg = e};
    struct sign_key *key = sign_key_new(&h->seed);
    key_fingerprint(l.fingerprint, sign_key_public(key));
    sign_key_free(key);
    l.port = port != 0 ? port : host_port(h->host);
    if (e->listening != 0)
        stream_unlisten(h->host, e->listening);
    int rc = stream_listen(h->host, &l);
    e->listening = rc == 0 ? l.port : 0;
    node_stream_listening(h->node, e->listening, rc == 0 ? NULL : "the port is taken", h->sim->now);
}

static void dial(struct node_net *e, const struct node_out *o)
{
    struct node_host *h = e->h;
    struct peer_link *l = o->stream_kind == NODE_STREAM_PEER ? link_new(e, o->stream) : NULL;
    struct net_addr to = o->to;
    bool has = o->to.family == 4 ? h->host->ip4.family != 0 : h->host->ip6.family != 0;
    if (l && has) {
        key_fingerprint(l->wanted, o->key);
        l->s = o->punch && e->listening != 0 ? stream_connect_from(h->host, e->listening, &to, &link_ops, l)
                                             : stream_connect(h->host, &to, &link_ops, l);
    }
    if (l && l->s)
        return;
    if (l) {
        buf_done(&l->kept);
        *l = (struct peer_link){0};
    }
    node_stream_down(h->node, o->stream, "the simulated host cannot connect there", h->sim->now);
}

/* One datagram a message. What must not be dropped waits while the stream stalls, the rest does not. */
static void link_send(struct node_net *e, const struct node_out *o)
{
    struct peer_link *l = link_of(e, o->stream);
    struct buf message;
    uint8_t head[2] = {(uint8_t)(o->data.n >> 8), (uint8_t)o->data.n};
    if (!l || !l->up || l->dead)
        return;
    buf_init(&message, NODE_STREAM_MESSAGE_MAX);
    if (buf_add(&message, bytes_of(head, 2)) == 0 && buf_add(&message, o->data) == 0 &&
        !stream_send(l->s, true, buf_bytes(&message)) && o->final)
        buf_add(&l->kept, buf_bytes(&message));
    buf_done(&message);
}

/* What ended while the machine slept. */
static void links_tell(struct node_net *e)
{
    for (size_t i = 0; i < PEER_STREAMS_MAX; i++) {
        uint32_t number = e->links[i].number;
        if (number == 0 || !e->links[i].dead)
            continue;
        link_free(&e->links[i]);
        node_stream_down(e->h->node, number, "it ended while this machine slept", e->h->sim->now);
    }
}

static bool act_on_stream(struct node_net *e, const struct node_out *o)
{
    struct peer_link *l;
    switch (o->kind) {
    case NODE_STREAM_LISTEN:
        listen_at(e, o->port);
        return true;
    case NODE_STREAM_DIAL:
        dial(e, o);
        return true;
    case NODE_STREAM_SEND:
        link_send(e, o);
        return true;
    case NODE_STREAM_CLOSE:
        l = link_of(e, o->stream);
        if (l)
            link_free(l);
        return true;
    default:
        return false;
    }
}

bool node_net_act(struct node_net *e, const struct node_out *o)
{
    struct sim_socket *s;
    switch (o->kind) {
    case NODE_UDP_OPEN:
        open_socket(e, o);
        return true;
    case NODE_UDP_CLOSE:
        s = socket_of(e, o->socket);
        if (s)
            socket_close(s);
        return true;
    case NODE_DATAGRAM:
        send_datagram(e, o);
        return true;
    default:
        return act_on_stream(e, o);
    }
}

static void address_add(struct node_network *net, const struct net_addr *a, uint8_t prefix)
{
    if (a->family == 0)
        return;
    net->addrs[net->count].addr = *a;
    net->addrs[net->count].addr.port = 0;
    net->addrs[net->count].prefix = prefix;
    memcpy(net->addrs[net->count].interface, "eth0", 5);
    net->count++;
}

void node_net_tell(struct node_net *e)
{
    struct node_host *h = e->h;
    struct node_network net = {0};
    links_tell(e);
    /* Hosts of the root stand each on a line of their own. */
    bool root = h->host->site->parent == NULL;
    address_add(&net, &h->host->ip4, root ? 32 : 24);
    address_add(&net, &h->host->ip6, root ? 128 : 64);
    if (!root && h->host->ip4.family == 4)
        net.gateway4 = net_addr4(h->host->site->config.net4 | 1, 0);
    node_network(h->node, &net, h->sim->now);
}

void node_net_hub(struct node_net *e, const struct net_addr *hub, const struct net_addr *other)
{
    struct net_addr a[2];
    size_t n = 0;
    if (hub->family)
        a[n++] = *hub;
    if (other->family)
        a[n++] = *other;
    node_hub_addresses(e->h->node, a, n, e->h->sim->now);
}
