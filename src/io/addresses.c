#include "io/addresses.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "io/file.h"

#define FIELDS_MAX   12
#define RTF_UP_      0x1u
#define RTF_GATEWAY_ 0x2u
#define UNUSABLE6    (IFA_F_TENTATIVE | IFA_F_DEPRECATED | IFA_F_DADFAILED)

/* ---- the kernel's tables: lines of fields between blanks */

struct fields {
    struct bytes f[FIELDS_MAX];
    size_t n;
};

static struct bytes next_line(struct bytes *text)
{
    const uint8_t *end = text->n ? memchr(text->p, '\n', text->n) : NULL;
    struct bytes line = bytes_of(text->p, end ? (size_t)(end - text->p) : text->n);
    size_t taken = line.n + (end ? 1 : 0);
    *text = bytes_of(text->p + taken, text->n - taken);
    return line;
}

static void split(struct bytes line, struct fields *out)
{
    size_t i = 0;
    out->n = 0;
    while (out->n < FIELDS_MAX) {
        while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
            i++;
        size_t from = i;
        while (i < line.n && line.p[i] != ' ' && line.p[i] != '\t')
            i++;
        if (i == from)
            return;
        out->f[out->n++] = bytes_of(line.p + from, i - from);
    }
}

static int digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool number(struct bytes f, unsigned base, uint32_t *out)
{
    uint64_t v = 0;
    if (f.n == 0 || f.n > 10)
        return false;
    for (size_t i = 0; i < f.n; i++) {
        int d = digit(f.p[i]);
        if (d < 0 || (unsigned)d >= base)
            return false;
        v = v * base + (unsigned)d;
    }
    *out = (uint32_t)v;
    return v <= UINT32_MAX;
}

static bool hex16(struct bytes f, uint8_t out[16])
{
    if (f.n != 32)
        return false;
    for (size_t i = 0; i < 16; i++) {
        int high = digit(f.p[2 * i]), low = digit(f.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool name_of(struct bytes f, char out[ADDRESSES_INTERFACE_CAP])
{
    if (f.n == 0 || f.n >= ADDRESSES_INTERFACE_CAP || memchr(f.p, 0, f.n))
        return false;
    memcpy(out, f.p, f.n);
    out[f.n] = 0;
    return true;
}

static bool is_own(const char *name, addresses_own_fn *own, void *arg)
{
    return own && own(arg, name);
}

/* Iface Destination Gateway Flags RefCnt Use Metric Mask ...: addresses in hex as they lie in memory, the
 * metric decimal. */
bool addresses_gateway4(struct bytes text, struct net_addr *gateway, addresses_own_fn *own, void *arg)
{
    uint32_t best = 0;
    bool found = false;
    while (text.n) {
        struct fields l;
        char name[ADDRESSES_INTERFACE_CAP];
        uint32_t to, via, flags, metric, mask;
        split(next_line(&text), &l);
        if (l.n < 8 || !name_of(l.f[0], name) || !number(l.f[1], 16, &to) || !number(l.f[2], 16, &via) ||
            !number(l.f[3], 16, &flags) || !number(l.f[6], 10, &metric) || !number(l.f[7], 16, &mask))
            continue;
        if (to || mask || !(flags & RTF_UP_) || !(flags & RTF_GATEWAY_) || (found && metric >= best) ||
            is_own(name, own, arg))
            continue;
        found = true;
        best = metric;
        *gateway = (struct net_addr){.family = 4};
        memcpy(gateway->ip, &via, 4);
    }
    return found;
}

/* destination length source length next-hop metric refcount use flags interface, all in hex. */
bool addresses_gateway6(struct bytes text, struct net_addr *gateway, char interface[ADDRESSES_INTERFACE_CAP],
                        addresses_own_fn *own, void *arg)
{
    static const uint8_t none[16];
    uint32_t best = 0;
    bool found = false;
    while (text.n) {
        struct fields l;
        char name[ADDRESSES_INTERFACE_CAP];
        uint8_t to[16], via[16];
        uint32_t len, metric, flags;
        split(next_line(&text), &l);
        if (l.n < 10 || !hex16(l.f[0], to) || !number(l.f[1], 16, &len) || !hex16(l.f[4], via) ||
            !number(l.f[5], 16, &metric) || !number(l.f[8], 16, &flags) || !name_of(l.f[9], name))
            continue;
        if (len || memcmp(to, none, 16) || !memcmp(via, none, 16) || !(flags & RTF_UP_) ||
            !(flags & RTF_GATEWAY_) || (found && metric >= best) || is_own(name, own, arg))
            continue;
        found = true;
        best = metric;
        *gateway = net_addr6(via, 0);
        memcpy(interface, name, sizeof name);
    }
    return found;
}

/* address index length scope flags interface, all in hex. */
unsigned addresses_flags6(struct bytes text, const uint8_t ip[16])
{
    while (text.n) {
        struct fields l;
        uint8_t of[16];
        uint32_t flags;
        split(next_line(&text), &l);
        if (l.n >= 6 && hex16(l.f[0], of) && !memcmp(of, ip, 16) && number(l.f[4], 16, &flags))
            return flags;
    }
    return 0;
}

/* ---- this machine */

static void slurp(const char *path, struct buf *b)
{
    buf_init(b, ADDRESSES_PROC_MAX);
    if (file_read(path, ADDRESSES_PROC_MAX, b))
        buf_clear(b); /* no such table: the family is switched off */
}

static uint8_t prefix_of(const uint8_t *mask, size_t n)
{
    uint8_t bits = 0;
    for (size_t i = 0; i < n * 8 && (mask[i / 8] >> (7 - i % 8) & 1); i++)
        bits++;
    return bits;
}

static bool take(const struct ifaddrs *i, struct address *a)
{
    const unsigned want = IFF_UP | IFF_RUNNING;
    if (!i->ifa_addr || (i->ifa_flags & want) != want || i->ifa_flags & IFF_LOOPBACK)
        return false;
    *a = (struct address){.index = if_nametoindex(i->ifa_name), .multicast = i->ifa_flags & IFF_MULTICAST};
    snprintf(a->interface, sizeof a->interface, "%s", i->ifa_name);
    a->interface[strcspn(a->interface, ":")] = 0; /* an alias is an address of its interface */
    if (i->ifa_addr->sa_family == AF_INET) {
        const struct sockaddr_in *s = (const void *)i->ifa_addr, *m = (const void *)i->ifa_netmask;
        a->addr = net_addr4(ntohl(s->sin_addr.s_addr), 0);
        a->prefix = m ? prefix_of((const uint8_t *)&m->sin_addr, 4) : 32;
    } else if (i->ifa_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *s = (const void *)i->ifa_addr, *m = (const void *)i->ifa_netmask;
        a->addr = net_addr6(s->sin6_addr.s6_addr, 0);
        a->prefix = m ? prefix_of(m->sin6_addr.s6_addr, 16) : 128;
    } else {
        return false;
    }
    enum net_scope scope = net_addr_scope(&a->addr);
    return scope != NET_NONE && scope != NET_LOOPBACK;
}

static bool have(const struct addresses *all, const struct address *a)
{
    for (size_t i = 0; i < all->count; i++)
        if (net_ip_equal(&all->list[i].addr, &a->addr) && all->list[i].index == a->index)
            return true;
    return false;
}

/* A temporary address goes before the lasting ones of its prefix, which say longer who we are. */
static void insert(struct addresses *all, const struct address *a, bool temporary)
{
    size_t at = all->count;
    for (size_t i = 0; temporary && i < all->count && at == all->count; i++)
        if (all->list[i].index == a->index && all->list[i].prefix == a->prefix &&
            net_ip_common(&all->list[i].addr, &a->addr) >= a->prefix)
            at = i;
    if (all->count == ADDRESSES_MAX)
        return;
    memmove(&all->list[at + 1], &all->list[at], (all->count - at) * sizeof *a);
    all->list[at] = *a;
    all->count++;
}

int addresses_read(struct addresses *out, addresses_own_fn *own, void *arg)
{
    struct ifaddrs *list;
    struct buf flags6, route4, route6;
    memset(out, 0, sizeof *out);
    if (getifaddrs(&list))
        return -errno;
    slurp("/proc/net/if_inet6", &flags6);
    slurp("/proc/net/route", &route4);
    slurp("/proc/net/ipv6_route", &route6);
    for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
        struct address a;
        if (!take(i, &a) || is_own(a.interface, own, arg) || have(out, &a))
            continue;
        unsigned flags = a.addr.family == 6 ? addresses_flags6(buf_bytes(&flags6), a.addr.ip) : 0;
        if (!(flags & UNUSABLE6))
            insert(out, &a, flags & IFA_F_TEMPORARY);
    }
    freeifaddrs(list);
    addresses_gateway4(buf_bytes(&route4), &out->gateway4, own, arg);
    addresses_gateway6(buf_bytes(&route6), &out->gateway6, out->gateway6_interface, own, arg);
    buf_done(&flags6);
    buf_done(&route4);
    buf_done(&route6);
    return 0;
}

bool addresses_equal(const struct addresses *a, const struct addresses *b)
{
    if (a->count != b->count || !net_addr_equal(&a->gateway4, &b->gateway4) ||
        !net_addr_equal(&a->gateway6, &b->gateway6) || strcmp(a->gateway6_interface, b->gateway6_interface))
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct address *x = &a->list[i], *y = &b->list[i];
        if (x->index != y->index || x->prefix != y->prefix || x->multicast != y->multicast ||
            !net_addr_equal(&x->addr, &y->addr) || strcmp(x->interface, y->interface))
            return false;
    }
    return true;
}
