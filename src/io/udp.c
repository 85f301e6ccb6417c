#include "io/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL_LEN 128

/* Where a peer's last datagram came to. */
struct asked {
    struct net_addr peer, at;
    uint32_t interface;
};

struct udp {
    uv_poll_t poll;
    int fd;
    int family; /* AF_INET or AF_INET6 */
    unsigned flags;
    bool closing;
    struct udp_ops ops;
    void *arg;
    struct net_addr local;
    struct udp_stats stats;
    struct asked *asked; /* UDP_ASKED_AT of them by a hash of the peer, or NULL */
    struct mmsghdr messages[UDP_BATCH];
    struct iovec parts[UDP_BATCH];
    struct sockaddr_in6 names[UDP_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[UDP_BATCH][CONTROL_LEN];
    uint8_t data[UDP_BATCH][UDP_HEAD + UDP_DATAGRAM];
};

/* ---- addresses ---- */

static struct net_addr addr_of(const struct sockaddr *sa)
{
    struct net_addr a = {0};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        a.family = 4;
        a.port = ntohs(in.sin_port);
        memcpy(a.ip, &in.sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        a = net_addr6(in6.sin6_addr.s6_addr, ntohs(in6.sin6_port));
        net_addr_unmap(&a);
    }
    return a;
}

static void ip6_of(struct in6_addr *out, const struct net_addr *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memcpy(out->s6_addr, a->ip, 16);
    if (a->family == 4) {
        memcpy(out->s6_addr, mapped, 12);
        memcpy(out->s6_addr + 12, a->ip, 4);
    }
}

/* The address for a socket of this family; 0: it cannot be said. */
static socklen_t sockaddr_of(struct sockaddr_in6 *out, const struct net_addr *a, int family)
{
    memset(out, 0, sizeof *out);
    if (a->family != 4 && a->family != 6)
        return 0;
    if (family == AF_INET6) {
        out->sin6_family = AF_INET6;
        out->sin6_port = htons(a->port);
        ip6_of(&out->sin6_addr, a);
        return sizeof *out;
    }
    if (a->family != 4)
        return 0;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    memcpy(&in.sin_addr, a->ip, 4);
    memcpy(out, &in, sizeof in);
    return sizeof in;
}

static bool wildcard(const struct net_addr *a)
{
    static const uint8_t zero[16];
    return memcmp(a->ip, zero, sizeof zero) == 0;
}

/* ---- who was asked where ---- */

static struct asked *asked_slot(const struct udp *u, const struct net_addr *peer)
{
    uint64_t x = (uint64_t)peer->port << 8 | peer->family;
    for (size_t i = 0; i < 16; i++)
        x = (x ^ peer->ip[i]) * 0x100000001b3u;
    return &u->asked[(x ^ x >> 29) % UDP_ASKED_AT];
}

static void asked_put(struct udp *u, const struct net_addr *peer, const struct net_addr *at,
                      uint32_t interface)
{
    if (u->asked && at->family != 0)
        *asked_slot(u, peer) = (struct asked){.peer = *peer, .at = *at, .interface = interface};
}

static const struct asked *asked_get(const struct udp *u, const struct net_addr *peer)
{
    const struct asked *a = u->asked ? asked_slot(u, peer) : NULL;
    return a && net_addr_equal(&a->peer, peer) ? a : NULL;
}

/* ---- receiving ---- */

static void control_read(const struct msghdr *m, struct net_addr *to, uint32_t *interface)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo i;
            memcpy(&i, CMSG_DATA(c), sizeof i);
            to->family = 4;
            memcpy(to->ip, &i.ipi_addr, 4);
            *interface = (uint32_t)i.ipi_ifindex;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo i;
            memcpy(&i, CMSG_DATA(c), sizeof i);
            *to = net_addr6(i.ipi6_addr.s6_addr, to->port);
            net_addr_unmap(to);
            *interface = i.ipi6_ifindex;
        }
    }
}

static void receive_one(struct udp *u, size_t i)
{
    const struct msghdr *m = &u->messages[i].msg_hdr;
    struct net_addr from, to = {.port = u->local.port};
    uint32_t interface = 0;
    u->stats.received++;
    if (m->msg_flags & MSG_TRUNC) {
        u->stats.too_long++;
        return;
    }
    from = addr_of((const struct sockaddr *)&u->names[i]);
    control_read(m, &to, &interface);
    asked_put(u, &from, &to, interface);
    u->ops.receive(u->arg, &from, &to, u->data[i] + UDP_HEAD, u->messages[i].msg_len, UDP_DATAGRAM);
}

static void batch_prepare(struct udp *u)
{
    for (size_t i = 0; i < UDP_BATCH; i++) {
        u->parts[i] = (struct iovec){.iov_base = u->data[i] + UDP_HEAD, .iov_len = UDP_DATAGRAM};
        u->messages[i].msg_hdr = (struct msghdr){.msg_name = &u->names[i],
                                                 .msg_namelen = sizeof u->names[i],
                                                 .msg_iov = &u->parts[i],
                                                 .msg_iovlen = 1,
                                                 .msg_control = u->control[i],
                                                 .msg_controllen = CONTROL_LEN};
    }
}

static void udp_free(uv_handle_t *h)
{
    struct udp *u = h->data;
    free(u->asked);
    free(u);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct udp *u = poll->data;
    for (int batch = 0; batch < UDP_BATCHES && !u->closing; batch++) {
        batch_prepare(u);
        int n = recvmmsg(u->fd, u->messages, UDP_BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < n && !u->closing; i++)
            receive_one(u, (size_t)i);
        if (n < UDP_BATCH)
            break;
    }
    if (!u->closing && u->ops.drained)
        u->ops.drained(u->arg);
}

/* ---- sending ---- */

/* From the address that the peer asked; the interface matters only where addresses mean nothing without one.
 */
static void control_write(const struct udp *u, struct msghdr *m, const struct asked *a)
{
    bool link = net_addr_scope(&a->at) == NET_LINK_LOCAL && a->at.family == 6;
    m->msg_controllen = u->family == AF_INET6 ? CMSG_SPACE(sizeof(struct in6_pktinfo))
                                              : CMSG_SPACE(sizeof(struct in_pktinfo));
    memset(m->msg_control, 0, m->msg_controllen);
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (u->family == AF_INET6) {
        struct in6_pktinfo i = {.ipi6_ifindex = link ? a->interface : 0};
        ip6_of(&i.ipi6_addr, &a->at);
        c->cmsg_level = IPPROTO_IPV6;
        c->cmsg_type = IPV6_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof i);
        memcpy(CMSG_DATA(c), &i, sizeof i);
    } else {
        struct in_pktinfo i = {0};
        memcpy(&i.ipi_spec_dst, a->at.ip, 4);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof i);
        memcpy(CMSG_DATA(c), &i, sizeof i);
    }
}

static int send_once(struct udp *u, struct msghdr *m)
{
    ssize_t n;
    do {
        n = sendmsg(u->fd, m, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

int udp_send(struct udp *u, const struct net_addr *to, const void *p, size_t n)
{
    struct sockaddr_in6 name;
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_LEN];
    struct iovec part = {.iov_base = (void *)p, .iov_len = n};
    struct msghdr m = {.msg_name = &name, .msg_iov = &part, .msg_iovlen = 1};
    const struct asked *a = asked_get(u, to);
    m.msg_namelen = sockaddr_of(&name, to, u->family);
    if (m.msg_namelen == 0)
        return -EAFNOSUPPORT;
    if (a) {
        m.msg_control = control;
        control_write(u, &m, a);
    }
    int rc = send_once(u, &m);
    if (a && (rc == -EINVAL || rc == -EADDRNOTAVAIL || rc == -ENETUNREACH)) {
        /* The address has gone from this machine since: then from any. */
        m.msg_control = NULL;
        m.msg_controllen = 0;
        rc = send_once(u, &m);
    }
    if (rc == 0)
        u->stats.sent++;
    else
        u->stats.refused++;
    return rc;
}

/* ---- birth and death ---- */

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

static void buffers_grow(int fd)
{
    if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, UDP_BUFFER) < 0)
        (void)set(fd, SOL_SOCKET, SO_RCVBUF, UDP_BUFFER);
    if (set(fd, SOL_SOCKET, SO_SNDBUFFORCE, UDP_BUFFER) < 0)
        (void)set(fd, SOL_SOCKET, SO_SNDBUF, UDP_BUFFER);
}

static int options_set(const struct udp *u)
{
    bool six = u->family == AF_INET6;
    int rc = six ? set(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, (u->flags & UDP_V6ONLY) != 0) : 0;
    if (rc == 0 && u->flags & UDP_REUSE)
        rc = set(u->fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0)
        rc = six ? set(u->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : set(u->fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (rc == 0 && u->flags & UDP_DONT_FRAGMENT && six)
        rc = set(u->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    if (rc == 0 && u->flags & UDP_DONT_FRAGMENT)
        rc = set(u->fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    buffers_grow(u->fd);
    return rc;
}

static int bind_to(struct udp *u, const struct net_addr *at)
{
    struct sockaddr_in6 name;
    socklen_t n = sockaddr_of(&name, at, u->family);
    if (bind(u->fd, (const struct sockaddr *)&name, n) < 0)
        return -errno;
    n = sizeof name;
    if (getsockname(u->fd, (struct sockaddr *)&name, &n) < 0)
        return -errno;
    u->local = addr_of((const struct sockaddr *)&name);
    return 0;
}

int udp_open(struct udp **out, uv_loop_t *loop, const struct net_addr *at, unsigned flags,
             const struct udp_ops *ops, void *arg)
{
    if (at->family != 4 && at->family != 6)
        return -EAFNOSUPPORT;
    struct udp *u = calloc(1, sizeof *u);
    bool remember = flags & UDP_ANSWER_FROM && wildcard(at);
    if (u && remember)
        u->asked = calloc(UDP_ASKED_AT, sizeof *u->asked);
    if (!u || (remember && !u->asked)) {
        free(u);
        return -ENOMEM;
    }
    u->flags = flags;
    u->ops = *ops;
    u->arg = arg;
    u->family = at->family == 6 ? AF_INET6 : AF_INET;
    u->fd = socket(u->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = u->fd < 0 ? -errno : options_set(u);
    if (rc == 0)
        rc = bind_to(u, at);
    if (rc == 0)
        rc = uv_poll_init(loop, &u->poll, u->fd);
    if (rc < 0) {
        if (u->fd >= 0)
            close(u->fd);
        free(u->asked);
        free(u);
        return rc;
    }
    u->poll.data = u;
    uv_poll_start(&u->poll, UV_READABLE, on_readable);
    *out = u;
    return 0;
}

struct net_addr udp_local(const struct udp *u)
{
    return u->local;
}

void udp_stats(const struct udp *u, struct udp_stats *s)
{
    *s = u->stats;
}

void udp_close(struct udp *u)
{
    if (!u || u->closing)
        return;
    u->closing = true;
    uv_close((uv_handle_t *)&u->poll, udp_free);
    close(u->fd);
}
