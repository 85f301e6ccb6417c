#include "sim/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOPS_MAX     32
#define PUBLIC_FIRST 0x05000001u /* 5.0.0.1 */
#define SHARED_FIRST 0x64400001u /* 100.64.0.1, RFC 6598 */
#define EPHEMERAL    32768
#define HOME_UPLINK  (5 * MSEC)
#define ACCESS_DELAY (1 * MSEC)

static uint32_t ip4_of(const struct net_addr *a)
{
    return (uint32_t)a->ip[0] << 24 | (uint32_t)a->ip[1] << 16 | (uint32_t)a->ip[2] << 8 | a->ip[3];
}

struct net *net_new(struct sim *sim)
{
    struct net *n = sim_alloc(sizeof *n);
    n->sim = sim;
    n->next_public = PUBLIC_FIRST;
    n->next_shared = SHARED_FIRST;
    struct site_config root = {
        .net6 = 0x20010db800000000, .box4 = {.passes_all = true}, .box6 = {.passes_all = true}};
    n->root = site_new(n, NULL, "internet", &root);
    return n;
}

static void host_free(struct host *h)
{
    if (h->stream_done)
        h->stream_done(h);
    while (h->sockets)
        udp_close(h->sockets);
    free(h);
}

void net_free(struct net *n)
{
    if (!n)
        return;
    for (struct host *h = n->hosts, *next; h; h = next) {
        next = h->next;
        host_free(h);
    }
    for (struct site *s = n->sites, *next; s; s = next) {
        next = s->next;
        nat_done(&s->nat4);
        nat_done(&s->nat6);
        free(s);
    }
    free(n);
}

/* The address of something new on site s. */
static struct net_addr fresh_ip4(struct site *s)
{
    if (s->config.net4)
        return net_addr4(s->config.net4 + ++s->next_host + 1, 0);
    return net_addr4(s->net->next_public++, 0);
}

struct site *site_new(struct net *n, struct site *parent, const char *name, const struct site_config *c)
{
    struct site *s = sim_alloc(sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", name);
    s->net = n;
    s->parent = parent ? parent : n->root;
    s->config = *c;
    s->up.config = c->up;
    s->down.config = c->down;
    struct net_addr outside = {0};
    if (s->parent)
        outside = c->outside4 ? net_addr4(c->outside4, 0) : fresh_ip4(s->parent);
    nat_init(&s->nat4, &c->box4, &outside);
    struct net_addr none = {0};
    nat_init(&s->nat6, &c->box6, &none);
    s->next = n->sites;
    n->sites = s;
    return s;
}

struct site *site_home(struct net *n, struct site *parent, const char *name, const struct nat_config *box)
{
    struct site_config c = {.net4 = 0xc0a80100, .box4 = *box, .box6 = {.passes_all = true}};
    c.up.delay = c.down.delay = HOME_UPLINK;
    return site_new(n, parent, name, &c);
}

void site_reboot(struct site *s, bool new_address)
{
    struct net_addr outside = new_address ? fresh_ip4(s->parent) : s->nat4.outside;
    nat_reboot(&s->nat4, &outside);
    nat_reboot(&s->nat6, NULL);
}

void site_forget_udp(struct site *s)
{
    nat_forget(&s->nat4, NAT_UDP);
    nat_forget(&s->nat6, NAT_UDP);
}

static void give_addresses(struct host *h)
{
    struct site *s = h->site;
    bool v6_only = s->config.v6_only;
    h->ip4 = h->ip6 = (struct net_addr){0};
    if (!v6_only)
        h->ip4 = fresh_ip4(s);
    if (v6_only)
        s->next_host++;
    if (s->config.net6)
        h->ip6 = sim_addr6(s->config.net6, v6_only || s->config.net4 ? s->next_host : ip4_of(&h->ip4), 0);
}

struct host *host_new(struct site *s, const char *name)
{
    struct host *h = sim_alloc(sizeof *h);
    snprintf(h->name, sizeof h->name, "%s", name);
    h->net = s->net;
    h->site = s;
    h->up.config.delay = h->down.config.delay = ACCESS_DELAY;
    h->next_port = EPHEMERAL;
    give_addresses(h);
    h->next = h->net->hosts;
    h->net->hosts = h;
    return h;
}

void host_lines(struct host *h, const struct link_config *both)
{
    h->up.config = h->down.config = *both;
}

void host_move(struct host *h, struct site *to)
{
    h->site = to;
    give_addresses(h);
}

void host_power(struct host *h, bool on)
{
    h->off = !on;
}

struct host *host_by_name(struct net *n, const char *name)
{
    for (struct host *h = n->hosts; h; h = h->next)
        if (strcmp(h->name, name) == 0)
            return h;
    return NULL;
}

uint16_t host_port(struct host *h)
{
    uint16_t port = h->next_port++;
    if (h->next_port < EPHEMERAL)
        h->next_port = EPHEMERAL;
    return port;
}

struct packet *packet_new(enum nat_proto proto, const struct net_addr *to, struct bytes data)
{
    struct packet *p = sim_alloc(sizeof *p + data.n);
    p->proto = proto;
    p->to = *to;
    p->n = data.n;
    if (data.n)
        memcpy(p->data, data.p, data.n);
    return p;
}

static void lose(struct packet *p, enum net_drop why)
{
    p->net->drops[why]++;
    if (p->net->lost)
        p->net->lost(p->net->lost_arg, p, why);
    free(p);
}

static void arrived(void *arg);

static void launch(struct packet *p, usec_t at)
{
    p->timer = (struct sim_timer){.fire = arrived, .drop = free, .arg = p};
    sim_arm(p->net->sim, &p->timer, at);
}

static struct packet *packet_copy(const struct packet *p)
{
    struct packet *twin = sim_alloc(sizeof *twin + p->n);
    memcpy(twin, p, sizeof *twin + p->n);
    return twin;
}

/* Puts p on a wire; what comes out goes to p->site or p->host. */
static void travel(struct packet *p, struct link *l)
{
    usec_t at[2];
    struct sim *sim = p->net->sim;
    size_t copies = link_pass(l, &sim->rng, p->n + NET_HEADER_LEN, sim->now, at);
    usec_t held = p->held;
    p->held = 0;
    if (copies == 0) {
        lose(p, NET_DROP_LINK);
        return;
    }
    if (copies == 2)
        launch(packet_copy(p), at[1] + held);
    launch(p, at[0] + held);
}

static struct nat *box_of(struct site *s, const struct packet *p)
{
    return p->to.family == 4 ? &s->nat4 : &s->nat6;
}

/* Whether address a lies in the subtree of s as seen from above: the box's own address, or an IPv6 host
 * within. */
static bool site_answers_for(const struct site *s, const struct net_addr *a)
{
    if (a->family == 4 && !s->nat4.config.passes_all && !s->nat4.config.firewall)
        return net_ip_equal(&s->nat4.outside, a);
    for (const struct host *h = s->net->hosts; h; h = h->next) {
        const struct site *at = h->site;
        while (at && at != s)
            at = at->parent;
        if (at == s && net_ip_equal(a->family == 4 ? &h->ip4 : &h->ip6, a))
            return true;
    }
    return false;
}

static struct host *host_at(struct site *s, const struct net_addr *a)
{
    for (struct host *h = s->net->hosts; h; h = h->next)
        if (h->site == s && net_ip_equal(a->family == 4 ? &h->ip4 : &h->ip6, a))
            return h;
    return NULL;
}

static struct site *child_for(struct site *s, const struct net_addr *a)
{
    for (struct site *c = s->net->sites; c; c = c->next)
        if (c != s && c->parent == s && site_answers_for(c, a))
            return c;
    return NULL;
}

static void route(struct packet *p, struct site *s);

static bool multicast(const struct net_addr *a)
{
    return a->family == 4 ? a->ip[0] >> 4 == 14 : a->ip[0] == 0xff;
}

/* To everybody else on the site, and no further; hosts of the root have a line each of their own. */
static void spread(struct packet *p, struct site *s)
{
    for (struct host *h = s->net->hosts; h && s->parent; h = h->next) {
        const struct net_addr *own = p->to.family == 4 ? &h->ip4 : &h->ip6;
        if (h->site != s || own->family == 0 || net_ip_equal(own, &p->from))
            continue;
        struct packet *twin = packet_copy(p);
        twin->host = h;
        travel(twin, &h->down);
    }
    free(p);
}

/* One inside host speaks to another by the address that the box shows outside. */
static void hairpin(struct packet *p, struct site *s)
{
    struct nat *box = box_of(s, p);
    struct sim *sim = p->net->sim;
    if (!box->config.hairpin || nat_out(box, &sim->rng, p->proto, &p->from, &p->to, sim->now) != NAT_PASS ||
        nat_in(box, p->proto, &p->from, &p->to, sim->now) != NAT_PASS) {
        lose(p, NET_DROP_BOX);
        return;
    }
    route(p, s);
}

/* ---- NAT64: the IPv4 Internet is 64:ff9b::/96 (RFC 6052). */

#define NAT64_NET 0x0064ff9b00000000u

static bool nat64_leaves(const struct site *s, const struct packet *p)
{
    const struct net_addr net = sim_addr6(NAT64_NET, 0, 0);
    return s->config.nat64 && p->to.family == 6 && memcmp(p->to.ip, net.ip, 12) == 0;
}

static void nat64_out(struct packet *p)
{
    struct net_addr to = {.family = 4, .port = p->to.port};
    memcpy(to.ip, p->to.ip + 12, 4);
    p->to = to;
}

/* Behind the box: the inside is IPv6, the sender is not. */
static void nat64_in(struct packet *p)
{
    if (p->to.family != 6 || p->from.family != 4)
        return;
    p->from = sim_addr6(NAT64_NET, ip4_of(&p->from), p->from.port);
}

static void climb(struct packet *p, struct site *s)
{
    struct sim *sim = p->net->sim;
    if (nat64_leaves(s, p))
        nat64_out(p);
    if (!s->parent) {
        lose(p, NET_DROP_NO_ROUTE);
        return;
    }
    if (nat_out(box_of(s, p), &sim->rng, p->proto, &p->from, &p->to, sim->now) != NAT_PASS) {
        lose(p, NET_DROP_BOX);
        return;
    }
    p->site = s->parent;
    p->from_outside = false;
    travel(p, &s->up);
}

/* p is at the router of s and meant for the inside, or it came from there. */
static void route(struct packet *p, struct site *s)
{
    if (++p->hops > HOPS_MAX) {
        lose(p, NET_DROP_NO_ROUTE);
        return;
    }
    if (multicast(&p->to)) {
        spread(p, s);
        return;
    }
    if (s->service && s->config.net4 && p->to.family == 4 && ip4_of(&p->to) == (s->config.net4 | 1) &&
        s->service(s, p)) {
        free(p);
        return;
    }
    struct host *h = host_at(s, &p->to);
    struct site *child = h ? NULL : child_for(s, &p->to);
    if (h) {
        p->host = h;
        travel(p, &h->down);
    } else if (child) {
        p->site = child;
        p->from_outside = true;
        travel(p, &child->down);
    } else if (s->parent && p->to.family == 4 && net_ip_equal(&s->nat4.outside, &p->to)) {
        hairpin(p, s);
    } else {
        climb(p, s);
    }
}

void site_send(struct site *s, struct packet *p)
{
    p->net = s->net;
    p->site = s;
    route(p, s);
}

static struct udp_socket *socket_at(struct host *h, uint16_t port)
{
    for (struct udp_socket *u = h->sockets; u; u = u->next)
        if (u->port == port)
            return u;
    return NULL;
}

static void deliver(struct packet *p)
{
    struct host *h = p->host;
    bool ours = multicast(&p->to) || net_ip_equal(p->to.family == 4 ? &h->ip4 : &h->ip6, &p->to);
    if (h->off || !ours) {
        lose(p, NET_DROP_NO_HOST);
        return;
    }
    if (p->proto == NAT_STREAM) {
        p->net->delivered++;
        if (h->stream_packet)
            h->stream_packet(h, p);
        free(p);
        return;
    }
    struct udp_socket *u = socket_at(h, p->to.port);
    if (!u || !u->receive) {
        lose(p, NET_DROP_NO_SOCKET);
        return;
    }
    p->net->delivered++;
    u->receive(u->arg, &p->from, p->data, p->n);
    free(p);
}

static void arrived(void *arg)
{
    struct packet *p = arg;
    if (p->host) {
        deliver(p);
        return;
    }
    struct site *s = p->site;
    if (p->from_outside && nat_in(box_of(s, p), p->proto, &p->from, &p->to, p->net->sim->now) != NAT_PASS) {
        lose(p, NET_DROP_BOX);
        return;
    }
    nat64_in(p);
    route(p, s);
}

int host_send(struct host *h, struct packet *p)
{
    p->net = h->net;
    const struct net_addr *own = p->to.family == 4 ? &h->ip4 : &h->ip6;
    int result = 0;
    if (own->family == 0)
        result = -EADDRNOTAVAIL;
    else if (h->off || !link_is_up(&h->up))
        result = -ENETDOWN;
    if (result != 0 || (h->net->tap && !h->net->tap(h->net->tap_arg, h, p))) {
        free(p);
        return result;
    }
    uint16_t port = p->from.port;
    p->from = *own;
    p->from.port = port;
    p->site = h->site;
    p->from_outside = false;
    struct packet *twin = p->twice ? packet_copy(p) : NULL;
    travel(p, &h->up);
    if (twin)
        travel(twin, &h->up);
    return 0;
}

struct udp_socket *udp_open(struct host *h, uint16_t port,
                            void (*receive)(void *arg, const struct net_addr *from, uint8_t *p, size_t n),
                            void *arg)
{
    if (port == 0)
        port = host_port(h);
    if (socket_at(h, port))
        return NULL;
    struct udp_socket *u = sim_alloc(sizeof *u);
    *u = (struct udp_socket){.host = h, .next = h->sockets, .port = port, .receive = receive, .arg = arg};
    h->sockets = u;
    return u;
}

void udp_close(struct udp_socket *u)
{
    if (!u)
        return;
    struct udp_socket **at = &u->host->sockets;
    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    free(u);
}

int udp_send(struct udp_socket *u, const struct net_addr *to, struct bytes data)
{
    struct packet *p = packet_new(NAT_UDP, to, data);
    p->from.port = u->port;
    return host_send(u->host, p);
}
