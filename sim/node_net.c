#include "sim/node_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/node_host.h"

struct sim_socket {
    struct node_net *net;
    uint32_t number;
    uint8_t family;
    struct udp_socket *udp; /* NULL: free */
};

struct node_net {
    struct node_host *h;
    struct sim_socket sockets[NODE_SOCKETS_MAX];
};

struct net_addr net_addr_of(const struct sim_addr *a)
{
    struct net_addr n = {.family = a->family, .port = a->port};
    memcpy(n.ip, a->ip, sizeof n.ip);
    return n;
}

struct sim_addr sim_addr_of(const struct net_addr *a)
{
    struct sim_addr s = {.family = a->family, .port = a->port};
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

void node_net_free(struct node_net *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < NODE_SOCKETS_MAX; i++)
        socket_close(&e->sockets[i]);
    free(e);
}

/* Sockets of a simulated host take both families; ours are for one each. */
static void on_datagram(void *arg, const struct sim_addr *from, uint8_t *p, size_t n)
{
    struct sim_socket *s = arg;
    struct node_host *h = s->net->h;
    if (!h->node || h->asleep || from->family != s->family)
        return;
    struct net_addr a = net_addr_of(from);
    node_udp(h->node, s->number, &a, p, n, h->sim->now);
    node_host_pump(h);
}

static void open_socket(struct node_net *e, const struct node_out *o)
{
    struct node_host *h = e->h;
    struct sim_socket *s = NULL;
    for (size_t i = 0; i < NODE_SOCKETS_MAX && !s; i++)
        if (!e->sockets[i].udp)
            s = &e->sockets[i];
    bool has = o->family == 4 ? h->host->ip4.family != 0 : h->host->ip6.family != 0;
    if (!s || !has || o->socket == NODE_SOCKET_MDNS4 || o->socket == NODE_SOCKET_MDNS6) {
        node_udp_opened(h->node, o->socket, 0, "the simulated host has no such socket", h->sim->now);
        return;
    }
    *s = (struct sim_socket){.net = e, .number = o->socket, .family = o->family};
    s->udp = udp_open(h->host, o->port, on_datagram, s);
    if (!s->udp)
        s->udp = udp_open(h->host, 0, on_datagram, s);
    node_udp_opened(h->node, o->socket, s->udp ? s->udp->port : 0, s->udp ? NULL : "no port is free",
                    h->sim->now);
}

static void send_datagram(struct node_net *e, const struct node_out *o)
{
    struct sim_socket *s = socket_of(e, o->socket);
    struct sim_addr to = sim_addr_of(&o->to);
    if (!s)
        return;
    uint16_t mtu = e->h->host->up.config.mtu ? e->h->host->up.config.mtu : 1500;
    if (o->data.n + (o->to.family == 4 ? 28 : 48) > mtu) /* the kernel knows its own line */
        node_udp_too_big(e->h->node, o->socket, &o->to, o->data.n, e->h->sim->now);
    else
        udp_send(s->udp, &to, o->data);
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
        return false;
    }
}

static void address_add(struct node_network *net, const struct sim_addr *a, uint8_t prefix)
{
    if (a->family == 0)
        return;
    net->addrs[net->count].addr = net_addr_of(a);
    net->addrs[net->count].addr.port = 0;
    net->addrs[net->count].prefix = prefix;
    memcpy(net->addrs[net->count].interface, "eth0", 5);
    net->count++;
}

void node_net_tell(struct node_net *e)
{
    struct node_host *h = e->h;
    struct node_network net = {0};
    /* Hosts of the root stand each on a line of their own. */
    bool root = h->host->site->parent == NULL;
    address_add(&net, &h->host->ip4, root ? 32 : 24);
    address_add(&net, &h->host->ip6, root ? 128 : 64);
    if (!root && h->host->ip4.family == 4)
        net.gateway4 = net_addr4(h->host->site->config.net4 | 1, 0);
    node_network(h->node, &net, h->sim->now);
}

void node_net_hub(struct node_net *e, const struct sim_addr *hub, const struct sim_addr *other)
{
    struct net_addr a[2];
    size_t n = 0;
    if (hub->family)
        a[n++] = net_addr_of(hub);
    if (other->family)
        a[n++] = net_addr_of(other);
    node_hub_addresses(e->h->node, a, n, e->h->sim->now);
}
