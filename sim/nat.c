#include "sim/nat.h"

#include <stdlib.h>
#include <string.h>

#include "sim/clock.h"

#define LIFETIME_USUAL        (120 * SEC)
#define STREAM_LIFETIME_USUAL (2 * HOUR)
#define STREAM_OPENING        (4 * MINUTE) /* until something is answered (RFC 5382 REQ-5) */
#define PORT_FIRST            1024

void nat_init(struct nat *n, const struct nat_config *c, const struct net_addr *outside)
{
    memset(n, 0, sizeof *n);
    n->config = *c;
    if (n->config.step == 0)
        n->config.step = 1;
    if (n->config.lifetime == 0)
        n->config.lifetime = LIFETIME_USUAL;
    if (n->config.stream_lifetime == 0)
        n->config.stream_lifetime = STREAM_LIFETIME_USUAL;
    if (n->config.max_mappings == 0 || n->config.max_mappings > NAT_MAPPINGS_MAX)
        n->config.max_mappings = NAT_MAPPINGS_MAX;
    n->outside = *outside;
    n->last_port = 40000;
    if (!c->passes_all)
        n->mappings = sim_alloc(NAT_MAPPINGS_MAX * sizeof *n->mappings);
}

void nat_done(struct nat *n)
{
    free(n->mappings);
    memset(n, 0, sizeof *n);
}

/* The part of `remote` that a behaviour of this kind looks at. */
static struct net_addr seen_part(enum nat_kind kind, const struct net_addr *remote)
{
    struct net_addr part = *remote;
    if (kind == NAT_ENDPOINT)
        return (struct net_addr){0};
    if (kind == NAT_ADDRESS)
        part.port = 0;
    return part;
}

static bool alive(const struct nat_mapping *m, usec_t now)
{
    return m->used && m->expires > now;
}

static struct nat_mapping *find_inside(struct nat *n, enum nat_proto proto, const struct net_addr *from,
                                       const struct net_addr *part, usec_t now)
{
    for (uint16_t i = 0; i < n->high; i++) {
        struct nat_mapping *m = &n->mappings[i];
        if (alive(m, now) && m->proto == proto && net_addr_equal(&m->inside, from) &&
            net_addr_equal(&m->remote, part))
            return m;
    }
    return NULL;
}

static struct nat_mapping *find_port(struct nat *n, enum nat_proto proto, uint16_t port, usec_t now)
{
    for (uint16_t i = 0; i < n->high; i++) {
        struct nat_mapping *m = &n->mappings[i];
        if (alive(m, now) && m->proto == proto && m->port == port)
            return m;
    }
    return NULL;
}

/* ---- Port mappings. */

static struct nat_forward *forward_of(struct nat *n, enum nat_proto proto, const struct net_addr *inside,
                                      usec_t now)
{
    for (size_t i = 0; i < NAT_FORWARDS_MAX; i++) {
        struct nat_forward *f = &n->forwards[i];
        if (f->expires > now && f->proto == proto && net_addr_equal(&f->inside, inside))
            return f;
    }
    return NULL;
}

static struct nat_forward *forward_at(struct nat *n, enum nat_proto proto, uint16_t port, usec_t now)
{
    for (size_t i = 0; i < NAT_FORWARDS_MAX; i++) {
        struct nat_forward *f = &n->forwards[i];
        if (f->expires > now && f->proto == proto && f->port == port)
            return f;
    }
    return NULL;
}

static uint16_t step_port(int port, int step)
{
    port += step;
    if (port > 65535 || port < PORT_FIRST)
        port = step > 0 ? PORT_FIRST : 65535;
    return (uint16_t)port;
}

static uint16_t choose_port(struct nat *n, const struct rng *rng, enum nat_proto proto, uint16_t inside,
                            usec_t now)
{
    uint16_t port = inside;
    int step = n->config.step;
    if (n->config.ports == NAT_PORT_SEQUENTIAL)
        port = step_port(n->last_port, step);
    if (n->config.ports == NAT_PORT_RANDOM)
        port = (uint16_t)(PORT_FIRST + rng_below(rng, 65536 - PORT_FIRST));
    while (find_port(n, proto, port, now) || forward_at(n, proto, port, now))
        port = step_port(port, step);
    n->last_port = port;
    return port;
}

static struct nat_mapping *add_mapping(struct nat *n, const struct rng *rng, enum nat_proto proto,
                                       const struct net_addr *from, const struct net_addr *part, usec_t now)
{
    for (uint16_t i = 0; i < n->config.max_mappings; i++) {
        struct nat_mapping *m = &n->mappings[i];
        if (alive(m, now))
            continue;
        uint16_t port = choose_port(n, rng, proto, from->port, now);
        if (i >= n->high)
            n->high = (uint16_t)(i + 1);
        *m = (struct nat_mapping){
            .used = true, .proto = proto, .inside = *from, .remote = *part, .port = port};
        return m;
    }
    return NULL;
}

static usec_t life(const struct nat *n, enum nat_proto proto)
{
    return proto == NAT_UDP ? n->config.lifetime : n->config.stream_lifetime;
}

static struct nat_remote *find_remote(struct nat_mapping *m, enum nat_kind kind,
                                      const struct net_addr *remote, usec_t now)
{
    struct net_addr want = seen_part(kind, remote);
    for (size_t i = 0; i < NAT_REMOTES_MAX; i++) {
        struct net_addr have = seen_part(kind, &m->remotes[i].addr);
        if (m->remotes[i].expires > now && net_addr_equal(&have, &want))
            return &m->remotes[i];
    }
    return NULL;
}

static struct nat_remote *stalest_remote(struct nat_mapping *m)
{
    struct nat_remote *r = &m->remotes[0];
    for (size_t i = 1; i < NAT_REMOTES_MAX; i++)
        if (m->remotes[i].expires < r->expires)
            r = &m->remotes[i];
    return r;
}

static void remember(struct nat *n, struct nat_mapping *m, const struct net_addr *to, usec_t now)
{
    bool opening = m->proto == NAT_STREAM && !m->answered;
    m->expires = now + (opening ? usec_min(STREAM_OPENING, life(n, m->proto)) : life(n, m->proto));
    struct nat_remote *r = find_remote(m, NAT_ADDRESS_PORT, to, now);
    if (!r)
        r = stalest_remote(m);
    *r = (struct nat_remote){*to, m->expires};
}

static enum nat_verdict verdict(struct nat *n, enum nat_verdict v)
{
    n->verdicts[v]++;
    return v;
}

uint16_t nat_forward(struct nat *n, enum nat_proto proto, const struct net_addr *inside, uint16_t wish,
                     usec_t until, usec_t now)
{
    struct nat_forward *f = forward_of(n, proto, inside, now);
    for (size_t i = 0; i < NAT_FORWARDS_MAX && !f; i++)
        if (n->forwards[i].expires <= now)
            f = &n->forwards[i];
    if (!f)
        return 0;
    if (f->expires <= now) {
        uint16_t port = wish ? wish : inside->port;
        struct nat_mapping *m;
        while (((m = find_port(n, proto, port, now)) && !net_addr_equal(&m->inside, inside)) ||
               forward_at(n, proto, port, now))
            port = step_port(port, 1);
        *f = (struct nat_forward){.proto = proto, .inside = *inside, .port = port};
    }
    f->expires = until;
    return f->port;
}

enum nat_verdict nat_out(struct nat *n, const struct rng *rng, enum nat_proto proto, struct net_addr *from,
                         const struct net_addr *to, usec_t now)
{
    if (n->config.udp_blocked && proto == NAT_UDP)
        return verdict(n, NAT_BLOCKED);
    if (n->config.only_443 && (proto == NAT_UDP || to->port != 443))
        return verdict(n, NAT_BLOCKED);
    if (n->config.passes_all)
        return verdict(n, NAT_PASS);
    const struct nat_forward *f = forward_of(n, proto, from, now);
    if (f) {
        *from = n->outside;
        from->port = f->port;
        return verdict(n, NAT_PASS);
    }
    enum nat_kind kind = proto == NAT_UDP ? n->config.mapping : n->config.stream_mapping;
    struct net_addr part = seen_part(n->config.firewall ? NAT_ENDPOINT : kind, to);
    struct nat_mapping *m = find_inside(n, proto, from, &part, now);
    if (!m)
        m = add_mapping(n, rng, proto, from, &part, now);
    if (!m)
        return verdict(n, NAT_FULL);
    remember(n, m, to, now);
    if (!n->config.firewall) {
        *from = n->outside;
        from->port = m->port;
    }
    return verdict(n, NAT_PASS);
}

enum nat_verdict nat_in(struct nat *n, enum nat_proto proto, const struct net_addr *from, struct net_addr *to,
                        usec_t now)
{
    if (n->config.udp_blocked && proto == NAT_UDP)
        return verdict(n, NAT_BLOCKED);
    if (n->config.passes_all)
        return verdict(n, NAT_PASS);
    const struct nat_forward *f = forward_at(n, proto, to->port, now);
    if (f && !n->config.firewall) {
        *to = f->inside;
        return verdict(n, NAT_PASS);
    }
    struct net_addr none = {0};
    struct nat_mapping *m =
        n->config.firewall ? find_inside(n, proto, to, &none, now) : find_port(n, proto, to->port, now);
    if (!m)
        return verdict(n, NAT_NO_MAPPING);
    enum nat_kind kind = proto == NAT_UDP ? n->config.filtering : NAT_ADDRESS_PORT;
    struct nat_remote *r = find_remote(m, kind, from, now);
    if (!r && kind != NAT_ENDPOINT)
        return verdict(n, NAT_FILTERED);
    m->answered = true;
    if (n->config.refresh_inbound || proto == NAT_STREAM) {
        m->expires = now + life(n, proto);
        if (r)
            r->expires = m->expires;
    }
    *to = m->inside;
    return verdict(n, NAT_PASS);
}

void nat_forget(struct nat *n, enum nat_proto proto)
{
    for (uint16_t i = 0; i < n->high; i++)
        if (n->mappings[i].proto == proto)
            n->mappings[i].used = false;
}

void nat_reboot(struct nat *n, const struct net_addr *outside)
{
    if (n->mappings)
        memset(n->mappings, 0, NAT_MAPPINGS_MAX * sizeof *n->mappings);
    if (outside)
        n->outside = *outside;
    n->high = 0;
    memset(n->forwards, 0, sizeof n->forwards);
}

uint16_t nat_mapping_count(const struct nat *n, usec_t now)
{
    uint16_t count = 0;
    for (uint16_t i = 0; i < n->high; i++)
        count += alive(&n->mappings[i], now);
    return count;
}
