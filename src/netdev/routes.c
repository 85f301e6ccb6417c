#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netdev/netdev.h"
#include "netdev/netlink_int.h"
#include "netdev/routes_int.h"

#define DUMP_TRIES   4
#define WATCH_MAX    32768
#define WATCH_ROUNDS 256 /* datagrams per drain: a storm of changes must not hold the loop */

/* ---- One message. */

static uint8_t family_of(uint8_t af)
{
    return af == AF_INET ? 4 : af == AF_INET6 ? 6 : 0;
}

static size_t bits_of(uint8_t family)
{
    return family == 4 ? 32 : 128;
}

static void mask(uint8_t *net, size_t prefix)
{
    for (size_t i = 0; i < 16; i++) {
        size_t keep = prefix > i * 8 ? prefix - i * 8 : 0;
        if (keep < 8)
            net[i] &= (uint8_t)(0xff00 >> keep);
    }
}

bool route_read(struct netdev_route *r, uint32_t *oif, const struct nl_message *m)
{
    struct rtmsg h;
    struct bytes in = m->body;
    if (m->type != RTM_NEWROUTE || !nl_fixed(&in, &h, sizeof h))
        return false;
    uint32_t table = h.rtm_table;
    memset(r, 0, sizeof *r);
    *oif = 0;
    r->family = family_of(h.rtm_family);
    r->prefix = h.rtm_dst_len;
    bool has_dst = false;
    for (struct nl_attr a; nl_attr_next(&in, &a);) {
        if (a.type == RTA_DST && r->family && a.value.n == bits_of(r->family) / 8) {
            memcpy(r->net, a.value.p, a.value.n);
            has_dst = true;
        } else if (a.type == RTA_OIF) {
            nl_u32(a.value, oif);
        } else if (a.type == RTA_TABLE) {
            nl_u32(a.value, &table);
        }
    }
    bool wanted = h.rtm_type == RTN_UNICAST && table != RT_TABLE_LOCAL && !(h.rtm_flags & RTM_F_CLONED);
    if (!wanted || !r->family || !has_dst || r->prefix == 0 || r->prefix > bits_of(r->family))
        return false;
    mask(r->net, r->prefix);
    return true;
}

bool address_read(struct netdev_route *r, uint32_t *oif, const struct nl_message *m)
{
    struct ifaddrmsg h;
    struct bytes in = m->body;
    if (m->type != RTM_NEWADDR || !nl_fixed(&in, &h, sizeof h))
        return false;
    memset(r, 0, sizeof *r);
    r->family = family_of(h.ifa_family);
    r->prefix = h.ifa_prefixlen;
    *oif = h.ifa_index;
    bool has_ip = false;
    for (struct nl_attr a; nl_attr_next(&in, &a);) {
        /* IFA_ADDRESS is the network's side; on a point-to-point link that is the other end, which has a
         * route. */
        if (a.type != (h.ifa_family == AF_INET ? IFA_LOCAL : IFA_ADDRESS) || !r->family ||
            a.value.n != bits_of(r->family) / 8)
            continue;
        memcpy(r->net, a.value.p, a.value.n);
        has_ip = true;
    }
    if (!has_ip || r->prefix == 0 || r->prefix > bits_of(r->family))
        return false;
    mask(r->net, r->prefix);
    return true;
}

/* ---- All of them. */

struct gather {
    struct netdev_route *out;
    size_t n, cap;
};

static bool same(const struct netdev_route *a, const struct netdev_route *b)
{
    return a->family == b->family && a->prefix == b->prefix && memcmp(a->net, b->net, sizeof a->net) == 0 &&
           strcmp(a->device, b->device) == 0;
}

static void gather_one(void *ctx, const struct nl_message *m)
{
    struct gather *g = ctx;
    struct netdev_route r;
    uint32_t oif;
    char device[IF_NAMESIZE] = "";
    if (!route_read(&r, &oif, m) && !address_read(&r, &oif, m))
        return;
    if (oif && if_indextoname(oif, device))
        memcpy(r.device, device, sizeof r.device);
    for (size_t i = 0; i < g->n; i++)
        if (same(&g->out[i], &r))
            return;
    if (g->n < g->cap)
        g->out[g->n++] = r;
}

static int gather_dump(int nl, struct gather *g, uint16_t type)
{
    struct rtmsg route = {0};
    struct ifaddrmsg address = {0};
    bool is_route = type == RTM_GETROUTE;
    size_t before = g->n;
    int e = -EINTR;
    for (int i = 0; i < DUMP_TRIES && e == -EINTR; i++) {
        struct nl_request q;
        g->n = before;
        nl_request_begin(&q, type, NLM_F_DUMP, is_route ? (void *)&route : (void *)&address,
                         is_route ? sizeof route : sizeof address);
        e = nl_dump(nl, &q, gather_one, g);
    }
    return e == -EINTR ? 0 : e; /* a machine whose routes change all the time: what was seen will do */
}

int netdev_routes(struct netdev_route *out, size_t cap)
{
    struct gather g = {.out = out, .cap = cap < NETDEV_ROUTES_MAX ? cap : NETDEV_ROUTES_MAX};
    int nl = nl_open(0, false);
    if (nl < 0)
        return nl;
    int e = gather_dump(nl, &g, RTM_GETROUTE);
    if (e == 0)
        e = gather_dump(nl, &g, RTM_GETADDR);
    close(nl);
    return e == 0 ? (int)g.n : e;
}

const struct netdev_route *netdev_conflict4(const struct netdev_route *routes, size_t n, uint32_t net4,
                                            uint8_t prefix4)
{
    for (size_t i = 0; i < n; i++) {
        const struct netdev_route *r = &routes[i];
        if (r->family != 4 || r->prefix == 0)
            continue;
        struct rd rd = rd_of(bytes_of(r->net, 4));
        uint8_t common = r->prefix < prefix4 ? r->prefix : prefix4;
        uint32_t differ = rd_u32(&rd) ^ net4;
        if (common == 0 || differ >> (32 - common) == 0)
            return r;
    }
    return NULL;
}

/* ---- Watching. */

int netdev_watch_open(void)
{
    return nl_open(
        RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE, true);
}

bool change_matters(const struct nl_message *m)
{
    struct bytes in = m->body;
    struct ifinfomsg link;
    struct rtmsg route;
    switch (m->type) {
    case RTM_NEWADDR:
    case RTM_DELADDR:
    case RTM_DELLINK:
        return true;
    case RTM_NEWLINK: /* wireless drivers send many that change nothing */
        return nl_fixed(&in, &link, sizeof link) && link.ifi_change != 0;
    case RTM_NEWROUTE:
    case RTM_DELROUTE: /* the local table follows the addresses; cloned ones are a cache */
        return nl_fixed(&in, &route, sizeof route) && route.rtm_type == RTN_UNICAST &&
               route.rtm_table != RT_TABLE_LOCAL && !(route.rtm_flags & RTM_F_CLONED);
    default:
        return false;
    }
}

bool netdev_watch_drain(int fd)
{
    uint8_t buf[WATCH_MAX];
    bool changed = false;
    for (int i = 0; i < WATCH_ROUNDS; i++) {
        ssize_t n = nl_receive(fd, buf, sizeof buf);
        if (n == -ENOBUFS || n == -EMSGSIZE) {
            changed = true; /* some were lost: they may have mattered */
            continue;
        }
        if (n < 0)
            break;
        struct bytes in = bytes_of(buf, (size_t)n);
        for (struct nl_message m; nl_message_next(&in, &m);)
            changed |= change_matters(&m);
    }
    return changed;
}
