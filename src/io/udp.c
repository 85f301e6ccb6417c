#include "io/udp.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "io/udp_int.h"

/* Linux has these since 4.18 and 5.0; some C libraries not yet. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define CONTROL_LEN 128
#define BATCH_MIN   4 /* messages a system call, however long they are */

/* Where a peer's last datagram came to. */
struct asked {
    struct net_addr peer, at;
    uint32_t interface;
};

/* Datagrams for one destination that wait for udp_flush: a run in pieces. */
struct later {
    struct net_addr to;
    size_t n, segment, count; /* bytes; of each datagram; datagrams; count 0: not in use */
    bool ended;               /* by a shorter one: nothing can follow */
    uint64_t since;           /* counts */
    size_t part_count;
    struct iovec parts[UDP_RUN_SEGMENTS];
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
    udp_sendmsg *sendmsg;
    struct later *later; /* UDP_LATER of them, or NULL */
    uint64_t later_count;
    uint32_t overflows; /* of the receive buffer, as the kernel counts them */
    size_t batch;       /* messages that the next system call asks for */
    size_t slot;        /* bytes of each: UDP_DATAGRAM or UDP_RUN_BUFFER */
    uint8_t *data;      /* UDP_BATCH times UDP_HEAD and a slot */
    struct mmsghdr messages[UDP_BATCH];
    struct iovec parts[UDP_BATCH];
    struct sockaddr_in6 names[UDP_BATCH];
    _Alignas(struct cmsghdr) uint8_t control[UDP_BATCH][CONTROL_LEN];
};

/* ---- addresses ---- */

struct net_addr udp_addr_of(const struct sockaddr *sa)
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
socklen_t udp_name_of(struct sockaddr_in6 *out, const struct net_addr *a, int family)
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

/* What the kernel says beside a message. */
struct beside {
    struct net_addr to;
    uint32_t interface;
    size_t segment; /* 0: one datagram */
};

static void control_item(const struct cmsghdr *c, struct beside *b)
{
    const void *data = CMSG_DATA(c);
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo i;
        memcpy(&i, data, sizeof i);
        b->to.family = 4;
        memcpy(b->to.ip, &i.ipi_addr, 4);
        b->interface = (uint32_t)i.ipi_ifindex;
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo i;
        memcpy(&i, data, sizeof i);
        b->to = net_addr6(i.ipi6_addr.s6_addr, b->to.port);
        net_addr_unmap(&b->to);
        b->interface = i.ipi6_ifindex;
    } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
        int segment;
        memcpy(&segment, data, sizeof segment);
        b->segment = segment > 0 ? (size_t)segment : 0;
    }
}

static void control_read(const struct udp *u, const struct msghdr *m, struct beside *b)
{
    *b = (struct beside){.to.port = u->local.port};
    if (!wildcard(&u->local))
        b->to = u->local;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c))
        control_item(c, b);
}

static size_t datagrams_in(size_t n, size_t segment)
{
    return segment == 0 || n <= segment ? 1 : (n + segment - 1) / segment;
}

/* A run for somebody who knows datagrams only. */
static void receive_each(struct udp *u, const struct net_addr *from, const struct net_addr *to,
                         struct iovec run, size_t segment)
{
    uint8_t *p = run.iov_base, *slot_end = p + u->slot;
    bool last = false;
    for (size_t at = 0; !last && !u->closing; at += segment) {
        last = run.iov_len - at <= segment;
        size_t n = last ? run.iov_len - at : segment;
        size_t room = last ? (size_t)(slot_end - p - at) : n;
        u->ops.receive(u->arg, from, to, p + at, n, room < UDP_DATAGRAM ? room : UDP_DATAGRAM);
    }
}

static void receive_one(struct udp *u, size_t i)
{
    const struct msghdr *m = &u->messages[i].msg_hdr;
    struct iovec run = {.iov_base = u->parts[i].iov_base, .iov_len = u->messages[i].msg_len};
    struct beside b;
    control_read(u, m, &b);
    size_t segment = b.segment ? b.segment : run.iov_len;
    size_t count = datagrams_in(run.iov_len, b.segment);
    u->stats.received += count;
    if (m->msg_flags & (MSG_TRUNC | MSG_CTRUNC) || segment > UDP_DATAGRAM) {
        u->stats.too_long += count;
        return;
    }
    u->stats.runs_in += count > 1;
    const struct net_addr from = udp_addr_of((const struct sockaddr *)&u->names[i]);
    asked_put(u, &from, &b.to, b.interface);
    if (u->ops.receive_run && u->flags & UDP_OFFLOAD)
        u->ops.receive_run(u->arg, &from, &b.to, run.iov_base, run.iov_len, segment);
    else
        receive_each(u, &from, &b.to, run, segment);
}

static void batch_prepare(struct udp *u)
{
    for (size_t i = 0; i < u->batch; i++) {
        u->parts[i] =
            (struct iovec){.iov_base = u->data + i * (UDP_HEAD + u->slot) + UDP_HEAD, .iov_len = u->slot};
        u->messages[i].msg_hdr = (struct msghdr){.msg_name = &u->names[i],
                                                 .msg_namelen = sizeof u->names[i],
                                                 .msg_iov = &u->parts[i],
                                                 .msg_iovlen = 1,
                                                 .msg_control = u->control[i],
                                                 .msg_controllen = CONTROL_LEN};
    }
}

/* Lone: not longer than the datagrams of ours are, so most likely one. What is a run after all only loses its
 * place. */
static bool is_lone(const struct udp *u, size_t i)
{
    return u->messages[i].msg_len <= UDP_DATAGRAM;
}

/* A lone datagram goes before the runs of others, but not before those of its own source. */
static bool goes_first(const struct udp *u, size_t i)
{
    const struct msghdr *m = &u->messages[i].msg_hdr;
    if (!is_lone(u, i))
        return false;
    for (size_t k = 0; k < i; k++) {
        const struct msghdr *o = &u->messages[k].msg_hdr;
        if (!is_lone(u, k) && o->msg_namelen == m->msg_namelen &&
            memcmp(o->msg_name, m->msg_name, m->msg_namelen) == 0)
            return false;
    }
    return true;
}

/* Hands up n messages; their bytes. */
static size_t receive_batch(struct udp *u, size_t n)
{
    bool first[UDP_BATCH] = {false};
    size_t bytes = 0;
    for (size_t i = 0; i < n && !u->closing; i++) {
        bytes += u->messages[i].msg_len;
        first[i] = goes_first(u, i);
        if (first[i])
            receive_one(u, i);
    }
    for (size_t i = 0; i < n && !u->closing; i++)
        if (!first[i])
            receive_one(u, i);
    return bytes;
}

/* The longer the messages, the fewer at once. */
static size_t batch_next(const struct udp *u, size_t n, size_t bytes)
{
    size_t want = bytes > 0 ? UDP_BATCH_BYTES / (bytes / n + 1) : UDP_BATCH;
    if (!(u->flags & UDP_OFFLOAD) || want > UDP_BATCH)
        return UDP_BATCH;
    return want < BATCH_MIN ? BATCH_MIN : want;
}

static void udp_release(struct udp *u)
{
    free(u->asked);
    free(u->later);
    free(u->data);
    free(u);
}

static void udp_free(uv_handle_t *h)
{
    udp_release(h->data);
}

/* Drops of the receive buffer since the last look. They are what SO_RXQ_OVFL tells, but that comes with every
 * message, once there was one. */
static uint32_t lost_since(const struct udp *u)
{
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t n = sizeof info;
    if (getsockopt(u->fd, SOL_SOCKET, SO_MEMINFO, info, &n) < 0 || n <= SK_MEMINFO_DROPS * sizeof *info)
        return 0;
    return info[SK_MEMINFO_DROPS] - u->overflows;
}

static void lost_look(struct udp *u)
{
    uint32_t since = lost_since(u);
    u->stats.lost += since;
    u->overflows += since;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct udp *u = poll->data;
    size_t bytes = 0;
    bool busy = false; /* more came than one system call took */
    for (int batch = 0; batch < UDP_BATCHES && bytes < UDP_WAKEUP_BYTES && !u->closing; batch++) {
        batch_prepare(u);
        int n = recvmmsg(u->fd, u->messages, (unsigned)u->batch, MSG_DONTWAIT, NULL);
        if (n <= 0)
            break;
        bool all = (size_t)n < u->batch;
        busy = busy || !all;
        size_t got = receive_batch(u, (size_t)n);
        if (!u->closing && u->ops.flush)
            u->ops.flush(u->arg);
        u->batch = batch_next(u, (size_t)n, got);
        bytes += got;
        if (all)
            break;
    }
    if (!u->closing && busy)
        lost_look(u);
    if (!u->closing && u->ops.drained)
        u->ops.drained(u->arg);
}

/* ---- sending ---- */

/* What goes in one call: `count` datagrams of `segment` bytes, the last may be shorter, in pieces that each
 * begin with a datagram. */
struct run {
    const struct net_addr *to;
    const struct iovec *parts;
    size_t part_count, n, segment, count;
};

static void control_add(struct msghdr *m, int level, int type, const void *data, size_t n)
{
    struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)m->msg_control + m->msg_controllen);
    memset(c, 0, CMSG_SPACE(n));
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(c), data, n);
    m->msg_controllen += CMSG_SPACE(n);
}

/* From the address that the peer asked; the interface matters only where addresses mean nothing without one.
 */
static void control_source(const struct udp *u, struct msghdr *m, const struct asked *a)
{
    bool link = net_addr_scope(&a->at) == NET_LINK_LOCAL && a->at.family == 6;
    if (u->family == AF_INET6) {
        struct in6_pktinfo i = {.ipi6_ifindex = link ? a->interface : 0};
        ip6_of(&i.ipi6_addr, &a->at);
        control_add(m, IPPROTO_IPV6, IPV6_PKTINFO, &i, sizeof i);
    } else {
        struct in_pktinfo i = {0};
        memcpy(&i.ipi_spec_dst, a->at.ip, 4);
        control_add(m, IPPROTO_IP, IP_PKTINFO, &i, sizeof i);
    }
}

static int send_once(struct udp *u, struct msghdr *m)
{
    ssize_t n;
    do {
        n = u->sendmsg(u->fd, m, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* One system call. */
static int send_run(struct udp *u, const struct run *r)
{
    struct sockaddr_in6 name;
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_LEN];
    uint16_t segment = (uint16_t)r->segment;
    struct msghdr m = {.msg_name = &name,
                       .msg_iov = (struct iovec *)r->parts,
                       .msg_iovlen = r->part_count,
                       .msg_control = control};
    const struct asked *a = asked_get(u, r->to);
    m.msg_namelen = udp_name_of(&name, r->to, u->family);
    if (m.msg_namelen == 0)
        return -EAFNOSUPPORT;
    if (r->count > 1)
        control_add(&m, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    size_t without = m.msg_controllen;
    if (a)
        control_source(u, &m, a);
    int rc = send_once(u, &m);
    if (a && (rc == -EINVAL || rc == -EADDRNOTAVAIL || rc == -ENETUNREACH)) {
        /* The address has gone from this machine since: then from any. */
        m.msg_controllen = without;
        rc = send_once(u, &m);
    }
    return rc;
}

static void count_sent(struct udp *u, int rc, size_t count)
{
    if (rc == 0) {
        u->stats.sent += count;
        return;
    }
    u->stats.refused += count;
    if (rc == -EAGAIN || rc == -ENOBUFS)
        u->stats.full += count;
}

/* What one datagram has met, those of the same length and destination will meet now, too. */
static bool meets_all(int rc)
{
    return rc == -EMSGSIZE || rc == -EAGAIN || rc == -ENOBUFS || rc == -EAFNOSUPPORT;
}

/* Datagram by datagram; how many went, and the first error into *rc. */
static size_t send_each(struct udp *u, const struct run *r, int *rc)
{
    size_t went = 0;
    int last = 0;
    *rc = 0;
    for (size_t i = 0; i < r->part_count; i++) {
        const struct iovec *part = &r->parts[i];
        for (size_t at = 0; at < part->iov_len; at += r->segment) {
            size_t left = part->iov_len - at;
            struct iovec one = {.iov_base = (uint8_t *)part->iov_base + at,
                                .iov_len = left < r->segment ? left : r->segment};
            const struct run single = {.to = r->to, .parts = &one, .part_count = 1, .n = left, .count = 1};
            if (!meets_all(last) || (last == -EMSGSIZE && left < r->segment))
                last = send_run(u, &single);
            count_sent(u, last, 1);
            went += last == 0;
            if (*rc == 0)
                *rc = last;
        }
    }
    return went;
}

static bool refuses_runs(int rc)
{
    return rc == -EIO || rc == -EINVAL || rc == -ENOPROTOOPT;
}

/* A device without checksum offload, or a policy on the way, does not take runs. */
static void runs_off(struct udp *u, int rc)
{
    u->stats.sends_runs = false;
    u->stats.runs_refused++;
    log_event(LOG_INFO, "udp-runs-off", "port=%u error=\"%s\"", u->local.port, strerror(-rc));
}

static int send_parts(struct udp *u, const struct run *r)
{
    int rc;
    if (r->count > 1 && !u->stats.sends_runs) {
        send_each(u, r, &rc);
        return rc;
    }
    rc = send_run(u, r);
    if (r->count > 1 && (refuses_runs(rc) || rc == -EMSGSIZE)) {
        /* Kernels also say EINVAL where a segment is longer than the path's MTU: that is a matter of this run
         * only, and the datagrams themselves meet EMSGSIZE. */
        int why = rc;
        if (send_each(u, r, &rc) > 0 && refuses_runs(why) && rc != -EMSGSIZE)
            runs_off(u, why);
        return rc;
    }
    u->stats.runs_out += rc == 0 && r->count > 1;
    count_sent(u, rc, r->count);
    return rc;
}

static bool run_fits(size_t n, size_t count)
{
    return n <= UDP_RUN_MAX && count <= UDP_RUN_SEGMENTS;
}

int udp_send(struct udp *u, const struct net_addr *to, const void *p, size_t n)
{
    const struct iovec part = {.iov_base = (void *)p, .iov_len = n};
    const struct run r = {.to = to, .parts = &part, .part_count = 1, .n = n, .segment = n, .count = 1};
    return send_parts(u, &r);
}

int udp_send_run(struct udp *u, const struct net_addr *to, const void *p, size_t n, size_t segment)
{
    int first = 0;
    if (segment == 0 || segment >= n)
        return udp_send(u, to, p, n);
    size_t most = UDP_RUN_MAX / segment;
    if (most > UDP_RUN_SEGMENTS)
        most = UDP_RUN_SEGMENTS;
    size_t step = most > 0 ? most * segment : segment;
    for (size_t at = 0; at < n; at += step) {
        const struct iovec part = {.iov_base = (uint8_t *)p + at, .iov_len = n - at < step ? n - at : step};
        struct run r = {.to = to, .parts = &part, .part_count = 1, .n = part.iov_len, .segment = segment};
        r.count = datagrams_in(r.n, segment);
        int rc = send_parts(u, &r);
        if (first == 0)
            first = rc;
    }
    return first;
}

static void later_send(struct udp *u, struct later *l)
{
    const struct run r = {.to = &l->to,
                          .parts = l->parts,
                          .part_count = l->part_count,
                          .n = l->n,
                          .segment = l->segment,
                          .count = l->count};
    if (l->count > 0)
        (void)send_parts(u, &r);
    l->count = 0;
}

/* What waits for this destination, or a place for what shall; where all are taken the oldest goes. */
static struct later *later_at(struct udp *u, const struct net_addr *to)
{
    struct later *place = &u->later[0];
    for (size_t i = 0; i < UDP_LATER; i++) {
        struct later *l = &u->later[i];
        if (l->count > 0 && net_addr_equal(&l->to, to))
            return l;
        if (place->count > 0 && (l->count == 0 || l->since < place->since))
            place = l;
    }
    later_send(u, place);
    return place;
}

void udp_send_later(struct udp *u, const struct net_addr *to, const void *p, size_t n, size_t segment)
{
    if (segment == 0 || segment > n)
        segment = n;
    size_t count = datagrams_in(n, segment);
    struct later *l = u->later ? later_at(u, to) : NULL;
    bool follows = l && n > 0 && l->count > 0 && !l->ended && run_fits(l->n + n, l->count + count) &&
                   (segment == l->segment || (count == 1 && n < l->segment));
    if (l && !follows)
        later_send(u, l);
    if (!l || n == 0 || !u->stats.sends_runs || !run_fits(n, count)) {
        (void)udp_send_run(u, to, p, n, segment);
        return;
    }
    if (!follows) {
        l->to = *to;
        l->n = l->part_count = 0;
        l->segment = segment;
        l->since = u->later_count++;
    }
    l->parts[l->part_count++] = (struct iovec){.iov_base = (void *)p, .iov_len = n};
    l->n += n;
    l->count += count;
    l->ended = l->n != l->count * l->segment;
}

void udp_flush(struct udp *u)
{
    for (size_t i = 0; u->later && i < UDP_LATER; i++)
        later_send(u, &u->later[i]);
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

/* Where a socket has one address, nobody needs to be told it with each datagram. */
static int options_set(const struct udp *u, bool many)
{
    bool six = u->family == AF_INET6;
    int rc = six ? set(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, (u->flags & UDP_V6ONLY) != 0) : 0;
    if (rc == 0 && u->flags & UDP_REUSE)
        rc = set(u->fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && many)
        rc = six ? set(u->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : set(u->fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (rc == 0 && u->flags & UDP_DONT_FRAGMENT && six)
        rc = set(u->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    if (rc == 0 && u->flags & UDP_DONT_FRAGMENT)
        rc = set(u->fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    buffers_grow(u->fd);
    return rc;
}

/* What the kernel can do of offloads. One that does not know UDP_SEGMENT would take no notice of it in a
 * message, and send all as one datagram: so it is asked before. */
static int offload_set(struct udp *u)
{
    int value;
    socklen_t n = sizeof value;
    u->stats.sends_runs = getsockopt(u->fd, IPPROTO_UDP, UDP_SEGMENT, &value, &n) == 0;
    u->stats.receives_runs = u->flags & UDP_OFFLOAD && set(u->fd, IPPROTO_UDP, UDP_GRO, 1) == 0;
    u->slot = u->stats.receives_runs ? UDP_RUN_BUFFER : UDP_DATAGRAM;
    u->data = malloc(UDP_BATCH * (UDP_HEAD + u->slot));
    u->later = u->flags & UDP_OFFLOAD ? calloc(UDP_LATER, sizeof *u->later) : NULL;
    return u->data && (u->later || !(u->flags & UDP_OFFLOAD)) ? 0 : -ENOMEM;
}

static int bind_to(struct udp *u, const struct net_addr *at)
{
    struct sockaddr_in6 name;
    socklen_t n = udp_name_of(&name, at, u->family);
    if (bind(u->fd, (const struct sockaddr *)&name, n) < 0)
        return -errno;
    n = sizeof name;
    if (getsockname(u->fd, (struct sockaddr *)&name, &n) < 0)
        return -errno;
    u->local = udp_addr_of((const struct sockaddr *)&name);
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
    u->sendmsg = sendmsg;
    u->batch = UDP_BATCH;
    u->family = at->family == 6 ? AF_INET6 : AF_INET;
    u->fd = socket(u->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = u->fd < 0 ? -errno : options_set(u, wildcard(at));
    if (rc == 0)
        rc = offload_set(u);
    if (rc == 0)
        rc = bind_to(u, at);
    if (rc == 0)
        rc = uv_poll_init(loop, &u->poll, u->fd);
    if (rc < 0) {
        if (u->fd >= 0)
            close(u->fd);
        udp_release(u);
        return rc;
    }
    u->poll.data = u;
    if (!(flags & UDP_SEND_ONLY))
        uv_poll_start(&u->poll, UV_READABLE, on_readable);
    *out = u;
    return 0;
}

void udp_sendmsg_set(struct udp *u, udp_sendmsg *f)
{
    u->sendmsg = f;
}

void udp_offload_off(struct udp *u)
{
    (void)set(u->fd, IPPROTO_UDP, UDP_GRO, 0);
    u->stats.sends_runs = u->stats.receives_runs = false;
}

int udp_fd(const struct udp *u)
{
    return u->fd;
}

struct net_addr udp_local(const struct udp *u)
{
    return u->local;
}

void udp_stats(const struct udp *u, struct udp_stats *s)
{
    *s = u->stats;
    s->lost += u->closing ? 0 : lost_since(u);
}

uint64_t udp_losses(const struct udp *u)
{
    return u->stats.lost + u->stats.full;
}

void udp_close(struct udp *u)
{
    if (!u || u->closing)
        return;
    u->closing = true;
    uv_close((uv_handle_t *)&u->poll, udp_free);
    close(u->fd);
}
