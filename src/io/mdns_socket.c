#include "io/mdns_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define TTL_LINK    255
#define CONTROL_LEN 128

struct mdns_socket {
    uv_poll_t poll;
    int fd;
    uint8_t family;
    uint16_t port;
    bool closing;
    mdns_receive_cb *cb;
    void *arg;
    struct addresses net;
    unsigned joined[ADDRESSES_MAX]; /* indices of interfaces */
    size_t joined_count;
    uint8_t data[MDNS_DATAGRAM_MAX];
};

struct net_addr mdns_group(uint8_t family, uint16_t port)
{
    static const uint8_t group6[16] = {0xff, 0x02, [15] = 0xfb};
    return family == 6 ? net_addr6(group6, port) : net_addr4(0xe00000fb, port);
}

/* ---- in */

struct arrival {
    unsigned interface;
    int ttl; /* -1: not told */
};

static void read_control(struct msghdr *m, struct arrival *a)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo i;
            memcpy(&i, CMSG_DATA(c), sizeof i);
            a->interface = (unsigned)i.ipi_ifindex;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo i;
            memcpy(&i, CMSG_DATA(c), sizeof i);
            a->interface = i.ipi6_ifindex;
        } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
                   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)) {
            memcpy(&a->ttl, CMSG_DATA(c), sizeof a->ttl);
        }
    }
}

static bool on_link(const struct mdns_socket *m, const struct net_addr *from, unsigned interface)
{
    for (size_t i = 0; i < m->net.count; i++) {
        const struct address *a = &m->net.list[i];
        if (a->index != interface || a->addr.family != from->family)
            continue;
        if (net_addr_scope(from) == NET_LINK_LOCAL || net_ip_common(&a->addr, from) >= a->prefix)
            return true;
    }
    return false;
}

static struct net_addr addr_of(const struct sockaddr_storage *sa)
{
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        return net_addr4(ntohl(in->sin_addr.s_addr), ntohs(in->sin_port));
    }
    const struct sockaddr_in6 *in = (const void *)sa;
    return net_addr6(in->sin6_addr.s6_addr, ntohs(in->sin6_port));
}

static bool receive_one(struct mdns_socket *m)
{
    struct sockaddr_storage name;
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_LEN];
    struct iovec part = {.iov_base = m->data, .iov_len = sizeof m->data};
    struct msghdr h = {.msg_name = &name,
                       .msg_namelen = sizeof name,
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    struct arrival a = {.ttl = -1};
    ssize_t n = recvmsg(m->fd, &h, MSG_DONTWAIT);
    if (n < 0)
        return errno == EINTR;
    read_control(&h, &a);
    struct net_addr from = addr_of(&name);
    if (!(h.msg_flags & MSG_TRUNC) && (a.ttl < 0 || a.ttl == TTL_LINK) && on_link(m, &from, a.interface))
        m->cb(m->arg, &from, m->data, (size_t)n);
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct mdns_socket *m = poll->data;
    (void)status, (void)events;
    for (int i = 0; i < MDNS_BATCH && !m->closing; i++)
        if (!receive_one(m))
            return;
}

/* ---- out */

static socklen_t sockaddr_of(struct sockaddr_storage *out, const struct net_addr *a, unsigned interface)
{
    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        struct sockaddr_in *in = (void *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in = (void *)out;
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(a->port);
    in->sin6_scope_id = interface;
    memcpy(&in->sin6_addr, a->ip, 16);
    return sizeof *in;
}

/* An address of the interface: the source of what goes out there, for others check that it is on their link.
 */
static void source_of(const struct mdns_socket *m, unsigned interface, struct in_addr *out)
{
    for (size_t i = 0; i < m->net.count; i++) {
        const struct address *a = &m->net.list[i];
        if (a->index == interface && a->addr.family == 4) {
            memcpy(out, a->addr.ip, 4);
            return;
        }
    }
}

/* interface 0: where the routes say. */
static int send_on(struct mdns_socket *m, const struct net_addr *to, struct bytes b, unsigned interface)
{
    struct sockaddr_storage name;
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_LEN] = {0};
    struct iovec part = {.iov_base = (void *)b.p, .iov_len = b.n};
    struct msghdr h = {.msg_name = &name, .msg_iov = &part, .msg_iovlen = 1};
    h.msg_namelen = sockaddr_of(&name, to, interface);
    if (interface && m->family == 4) {
        struct in_pktinfo i = {.ipi_ifindex = (int)interface};
        source_of(m, interface, &i.ipi_spec_dst);
        h.msg_control = control;
        h.msg_controllen = CMSG_SPACE(sizeof i);
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof i);
        memcpy(CMSG_DATA(c), &i, sizeof i);
    }
    ssize_t n = sendmsg(m->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : 0;
}

static bool is_multicast(const struct net_addr *a)
{
    return a->family == 4 ? a->ip[0] >> 4 == 0xe : a->ip[0] == 0xff;
}

/* The interface whose network an address is in: needed for link-local IPv6. */
static unsigned interface_of(const struct mdns_socket *m, const struct net_addr *to)
{
    for (size_t i = 0; i < m->net.count; i++)
        if (m->net.list[i].addr.family == to->family && on_link(m, to, m->net.list[i].index))
            return m->net.list[i].index;
    return 0;
}

int mdns_socket_send(struct mdns_socket *m, const struct net_addr *to, struct bytes datagram)
{
    int rc = -ENETUNREACH;
    if (to->family != m->family)
        return -EAFNOSUPPORT;
    if (!is_multicast(to))
        return send_on(m, to, datagram, to->family == 6 ? interface_of(m, to) : 0);
    for (size_t i = 0; i < m->joined_count; i++) {
        int one = send_on(m, to, datagram, m->joined[i]);
        rc = rc == 0 ? 0 : one;
    }
    return rc;
}

/* ---- groups */

static int membership(struct mdns_socket *m, unsigned interface, bool join)
{
    struct net_addr group = mdns_group(m->family, 0);
    if (m->family == 4) {
        struct ip_mreqn r = {.imr_ifindex = (int)interface};
        memcpy(&r.imr_multiaddr, group.ip, 4);
        return setsockopt(m->fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &r, sizeof r);
    }
    struct ipv6_mreq r = {.ipv6mr_interface = interface};
    memcpy(&r.ipv6mr_multiaddr, group.ip, 16);
    return setsockopt(m->fd, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &r, sizeof r);
}

static bool has_interface(const struct mdns_socket *m, const struct addresses *net, unsigned interface)
{
    for (size_t i = 0; i < net->count; i++)
        if (net->list[i].index == interface && net->list[i].addr.family == m->family &&
            net->list[i].multicast)
            return true;
    return false;
}

static bool joined(const struct mdns_socket *m, unsigned interface)
{
    for (size_t i = 0; i < m->joined_count; i++)
        if (m->joined[i] == interface)
            return true;
    return false;
}

void mdns_socket_network(struct mdns_socket *m, const struct addresses *now)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->joined_count; i++) {
        if (has_interface(m, now, m->joined[i]))
            m->joined[kept++] = m->joined[i];
        else
            membership(m, m->joined[i], false);
    }
    m->joined_count = kept;
    m->net = *now;
    for (size_t i = 0; i < now->count; i++) {
        unsigned index = now->list[i].index;
        /* EADDRINUSE: the kernel still knows our membership, of an interface that went and came. */
        if (has_interface(m, now, index) && !joined(m, index) &&
            (membership(m, index, true) == 0 || errno == EADDRINUSE))
            m->joined[m->joined_count++] = index;
    }
}

/* ---- birth and death */

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

static int set_options(int fd, uint8_t family)
{
    const struct {
        uint8_t family; /* 0: both */
        int level, name, value;
    } all[] = {{0, SOL_SOCKET, SO_REUSEADDR, 1},
               {0, SOL_SOCKET, SO_REUSEPORT, 1},
               {4, IPPROTO_IP, IP_MULTICAST_TTL, TTL_LINK},
               {4, IPPROTO_IP, IP_TTL, TTL_LINK},
               {4, IPPROTO_IP, IP_MULTICAST_LOOP, 1},
               {4, IPPROTO_IP, IP_MULTICAST_ALL, 0},
               {4, IPPROTO_IP, IP_PKTINFO, 1},
               {4, IPPROTO_IP, IP_RECVTTL, 1},
               {6, IPPROTO_IPV6, IPV6_V6ONLY, 1},
               {6, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, TTL_LINK},
               {6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, TTL_LINK},
               {6, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1},
               {6, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
               {6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1}};
    int rc = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all && !rc; i++)
        if (!all[i].family || all[i].family == family)
            rc = set(fd, all[i].level, all[i].name, all[i].value);
    return rc;
}

static int open_fd(uint8_t family, uint16_t port)
{
    struct sockaddr_storage name;
    struct net_addr any = {.family = family, .port = port};
    int fd = socket(family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = set_options(fd, family);
    if (!rc && bind(fd, (struct sockaddr *)&name, sockaddr_of(&name, &any, 0)) < 0)
        rc = -errno;
    if (!rc)
        return fd;
    close(fd);
    return rc;
}

static void closed(uv_handle_t *h)
{
    free(h->data);
}

int mdns_socket_open(struct mdns_socket **out, struct uv_loop_s *loop, uint8_t family, uint16_t port,
                     mdns_receive_cb *cb, void *arg)
{
    struct mdns_socket *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->fd = open_fd(family, port);
    int rc = m->fd < 0 ? m->fd : uv_poll_init(loop, &m->poll, m->fd);
    if (rc) {
        if (m->fd >= 0)
            close(m->fd);
        free(m);
        return rc;
    }
    m->family = family;
    m->port = port;
    m->cb = cb;
    m->arg = arg;
    m->poll.data = m;
    uv_poll_start(&m->poll, UV_READABLE, on_readable);
    *out = m;
    return 0;
}

void mdns_socket_close(struct mdns_socket *m)
{
    if (!m || m->closing)
        return;
    m->closing = true;
    uv_close((uv_handle_t *)&m->poll, closed);
    close(m->fd);
}
