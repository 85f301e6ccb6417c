#include "nat/discover_int.h"

#include <stdio.h>
#include <stdlib.h>

#define SMALL_STEP 64 /* between ports given in sequence, with others' mappings in between */
#define NEIGHBOURS 16 /* of IPv4 addresses */

const char *nat_depends_name(enum nat_depends d)
{
    static const char *const names[] = {"unknown", "endpoint-independent", "address-dependent",
                                        "address and port-dependent", "not port-dependent"};
    return d < sizeof names / sizeof *names ? names[d] : names[0];
}

const char *nat_port_choice_name(enum nat_port_choice c)
{
    static const char *const names[] = {"unknown", "kept", "sequential", "random"};
    return c < sizeof names / sizeof *names ? names[c] : names[0];
}

bool behaviour_same(const struct nat_behaviour *a, const struct nat_behaviour *b)
{
    return a->family == b->family && a->udp == b->udp && a->translated == b->translated &&
           net_addr_equal(&a->mapped, &b->mapped) && a->mapping == b->mapping &&
           a->filtering == b->filtering && a->ports == b->ports && a->port_delta == b->port_delta &&
           a->hairpin == b->hairpin && a->several_addresses == b->several_addresses &&
           a->contiguous_addresses == b->contiguous_addresses && a->lifetime_min == b->lifetime_min &&
           a->lifetime_max == b->lifetime_max && a->complete == b->complete &&
           a->lifetime_complete == b->lifetime_complete;
}

void judge_translated(struct half *h, const struct discover_config *c)
{
    h->b.translated = c->local_count ? NAT_ANSWER_YES : NAT_ANSWER_UNKNOWN;
    for (size_t i = 0; i < c->local_count && i < DISCOVER_LOCALS_MAX; i++)
        if (net_ip_equal(&c->locals[i], &h->b.mapped) &&
            (h->main.port == 0 || h->main.port == h->b.mapped.port))
            h->b.translated = NAT_ANSWER_NO;
}

/* Whether two mappings are one; unknown where either is not known. */
static enum nat_answer same(const struct net_addr *a, const struct net_addr *b)
{
    if (!a->family || !b->family)
        return NAT_ANSWER_UNKNOWN;
    return net_addr_equal(a, b) ? NAT_ANSWER_YES : NAT_ANSWER_NO;
}

/* The mapping towards another server at another address, where there is one. */
static const struct net_addr *elsewhere(const struct half *h)
{
    static const struct net_addr none;
    for (size_t i = 0; i < h->server_count; i++)
        if (h->servers[i].mapped.family && !net_ip_equal(&h->servers[i].addr, &half_server(h)->addr))
            return &h->servers[i].mapped;
    return &none;
}

void judge_mapping(struct half *h)
{
    static const struct net_addr none;
    const struct probe *address = half_probe(h, PROBE_MAP_ADDRESS), *both = half_probe(h, PROBE_MAP_BOTH),
                       *port = half_probe(h, PROBE_MAP_PORT);
    const struct net_addr *m0 = &half_server(h)->mapped, *m1 = address ? &address->mapped : &none,
                          *m2 = both ? &both->mapped : &none;
    enum nat_answer by_address = same(m0, m1), by_port = same(m1, m2);
    if (by_address == NAT_ANSWER_UNKNOWN)
        by_address = same(m0, m2);
    if (by_address == NAT_ANSWER_UNKNOWN)
        by_address = same(m0, elsewhere(h));
    if (by_port == NAT_ANSWER_UNKNOWN && port)
        by_port = same(m0, &port->mapped);
    if (by_port == NAT_ANSWER_NO)
        h->b.mapping = NAT_DEPENDS_PORT;
    else if (by_address == NAT_ANSWER_NO)
        h->b.mapping = NAT_DEPENDS_ADDRESS;
    else if (by_address == NAT_ANSWER_YES)
        h->b.mapping = NAT_DEPENDS_NOT;
    else
        h->b.mapping = by_port == NAT_ANSWER_YES ? NAT_DEPENDS_NOT_PORT : NAT_DEPENDS_UNKNOWN;
}

/* Silence is the filter's only where the endpoint that should have answered is known to live: the mapping
 * test asked it. */
void judge_filtering(struct half *h)
{
    bool lives = h->other_lives;
    h->b.filtering = NAT_DEPENDS_UNKNOWN;
    if (h->filter_both == PROBE_ANSWERED)
        h->b.filtering = NAT_DEPENDS_NOT;
    else if (h->filter_port == PROBE_ANSWERED)
        h->b.filtering = lives && h->filter_both == PROBE_SILENT ? NAT_DEPENDS_ADDRESS : NAT_DEPENDS_NOT_PORT;
    else if (h->filter_port == PROBE_SILENT && lives)
        h->b.filtering = NAT_DEPENDS_PORT;
}

static int gcd(int a, int b)
{
    while (b) {
        int t = a % b;
        a = b;
        b = t;
    }
    return a;
}

/* The step of a sequence with gaps (others get ports, too), or 0 where it is none: of the differences one way
 * most must be small. */
static int step_of(const struct half *h, int sign)
{
    int small = 0, all = 0, delta = 0;
    for (size_t i = 1; i < h->sample_count; i++) {
        const struct net_addr *a = &h->samples[i - 1].mapped, *b = &h->samples[i].mapped;
        if (!net_ip_equal(a, b) || a->port == b->port)
            continue;
        int diff = sign * ((int)b->port - (int)a->port);
        all++;
        if (diff <= 0 || diff > SMALL_STEP)
            continue;
        small++;
        delta = gcd(diff, delta);
    }
    return small >= 2 && small * 3 > all * 2 ? sign * delta : 0;
}

void judge_ports(struct half *h)
{
    size_t kept = 0, known = 0;
    for (size_t i = 0; i < h->sample_count; i++) {
        known += h->samples[i].local != 0;
        kept += h->samples[i].local && h->samples[i].local == h->samples[i].mapped.port;
    }
    int delta = step_of(h, 1) ? step_of(h, 1) : step_of(h, -1);
    h->b.port_delta = 0;
    h->b.ports = NAT_CHOICE_UNKNOWN;
    if (kept * 2 > known) {
        h->b.ports = NAT_CHOICE_KEPT;
    } else if (delta) {
        h->b.ports = NAT_CHOICE_SEQUENTIAL;
        h->b.port_delta = delta;
    } else if (h->sample_count >= 4) {
        h->b.ports = NAT_CHOICE_RANDOM;
    }
}

void judge_addresses(struct half *h)
{
    uint32_t low = UINT32_MAX, high = 0;
    h->b.several_addresses = false;
    for (size_t i = 0; i < h->sample_count; i++) {
        uint32_t ip = net_addr_ip4(&h->samples[i].mapped);
        low = ip < low ? ip : low;
        high = ip > high ? ip : high;
        h->b.several_addresses |= !net_ip_equal(&h->samples[i].mapped, &h->samples[0].mapped);
    }
    h->b.contiguous_addresses = h->b.several_addresses && h->b.family == 4 && high - low < NEIGHBOURS;
}

static const char *mapping_text(const struct nat_behaviour *b)
{
    switch (b->mapping) {
    case NAT_DEPENDS_NOT:
        return "a NAT that gives this machine one address for all peers, so that direct paths mostly succeed";
    case NAT_DEPENDS_NOT_PORT:
        return "a NAT that gives this machine one address, at least for all ports of a peer, so that direct "
               "paths mostly "
               "succeed";
    case NAT_DEPENDS_ADDRESS:
    case NAT_DEPENDS_PORT:
        if (b->ports == NAT_CHOICE_SEQUENTIAL)
            return "a NAT that gives another port for every peer, but one after the other, so that the next "
                   "one can be "
                   "guessed";
        if (b->ports == NAT_CHOICE_KEPT)
            return "a NAT that treats every peer separately, but keeps the port where it can";
        return "a NAT that gives another port for every peer (symmetric), so that direct paths need a peer "
               "with an easier "
               "one, a port mapping or IPv6";
    default:
        return "a NAT whose ways could not be found out";
    }
}

static const char *filter_text(const struct nat_behaviour *b)
{
    switch (b->filtering) {
    case NAT_DEPENDS_NOT:
        return "anybody can send to it";
    case NAT_DEPENDS_ADDRESS:
        return "only addresses that were sent to can answer";
    case NAT_DEPENDS_PORT:
        return "only who was sent to can answer, so that both ends must try at once";
    default:
        return NULL;
    }
}

void nat_behaviour_text(char out[NAT_TEXT_MAX], const struct nat_behaviour *b)
{
    const char *filter = filter_text(b), *family = b->family == 6 ? "IPv6" : "IPv4";
    if (b->udp == NAT_ANSWER_UNKNOWN)
        snprintf(out, NAT_TEXT_MAX, "%s: not known yet.", family);
    else if (b->udp == NAT_ANSWER_NO)
        snprintf(out, NAT_TEXT_MAX,
                 "%s: UDP is blocked or no server answers; only paths over TLS or the relay can work.",
                 family);
    else if (b->translated == NAT_ANSWER_NO)
        snprintf(out, NAT_TEXT_MAX, "%s: no NAT%s%s.", family,
                 b->filtering == NAT_DEPENDS_NOT ? ", and " : (filter ? ", but a firewall: " : ""),
                 filter ? filter : "");
    else
        snprintf(out, NAT_TEXT_MAX, "%s: %s%s%s.", family, mapping_text(b), filter ? "; " : "",
                 filter ? filter : "");
}
