#include "pump/runs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "io/udp.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define BUFFER 65536
#define CONTROL                                                                                              \
    128 /* the owner of the socket may have asked for its destination and for what ran over, too */

/* ---- Out. */

void run_socket_init(struct run_socket *s, uint8_t family, int fd)
{
    int on = 1, value;
    socklen_t n = sizeof value;
    s->fd = fd;
    s->family = family;
    /* A kernel that does not know runs would not refuse one, but send all as one datagram. */
    atomic_init(&s->one_by_one, getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &value, &n) < 0);
    (void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
}

bool run_socket_offloads(const struct run_socket *s)
{
    return !atomic_load_explicit(&s->one_by_one, memory_order_relaxed);
}

static int send_message(int fd, const struct msghdr *m, int wait_ms)
{
    for (;;) {
        if (sendmsg(fd, m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno == EINTR)
            continue;
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        if (errno != EAGAIN || wait_ms <= 0 || poll(&room, 1, wait_ms) <= 0)
            return -errno;
        wait_ms = 0;
    }
}

static int send_one(const struct run_socket *s, struct sockaddr_in6 *name, socklen_t name_n, const uint8_t *p,
                    size_t n, int wait_ms)
{
    struct iovec part = {(void *)(uintptr_t)p, n};
    struct msghdr m = {.msg_name = name, .msg_namelen = name_n, .msg_iov = &part, .msg_iovlen = 1};
    return send_message(s->fd, &m, wait_ms);
}

static int send_run(const struct run_socket *s, struct sockaddr_in6 *name, socklen_t name_n, const uint8_t *p,
                    size_t n, size_t segment, int wait_ms)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct iovec part = {(void *)(uintptr_t)p, n};
    struct msghdr m = {.msg_name = name,
                       .msg_namelen = name_n,
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    uint16_t size = (uint16_t)segment;
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(c), &size, sizeof size);
    return send_message(s->fd, &m, wait_ms);
}

/* A device without checksum offload says EIO; older kernels say EINVAL also where the size is wrong: then the
 * first datagram tells. */
static bool refused(int rc)
{
    return rc == -EIO || rc == -EINVAL || rc == -ENOPROTOOPT || rc == -EOPNOTSUPP;
}

int run_send(struct run_socket *s, const struct net_addr *to, const uint8_t *p, size_t n, size_t segment,
             int wait_ms)
{
    struct sockaddr_in6 name;
    if (to->family != s->family) /* these sockets are of one family alone */
        return -EAFNOSUPPORT;
    socklen_t name_n = udp_name_of(&name, to, s->family == 6 ? AF_INET6 : AF_INET);
    if (n <= segment)
        return send_one(s, &name, name_n, p, n, wait_ms);
    if (run_socket_offloads(s)) {
        int rc = send_run(s, &name, name_n, p, n, segment, wait_ms);
        if (!refused(rc))
            return rc;
        rc = send_one(s, &name, name_n, p, segment, wait_ms);
        if (rc < 0)
            return rc;
        atomic_store(&s->one_by_one, true);
        p += segment;
        n -= segment;
    }
    int first = 0;
    for (size_t at = 0; at < n; at += segment) {
        int rc = send_one(s, &name, name_n, p + at, n - at < segment ? n - at : segment, wait_ms);
        if (rc < 0 && first == 0)
            first = rc;
        if (rc < 0)
            wait_ms = 0;
    }
    return first;
}

/* ---- In. */

struct run_buffers {
    int count;
    struct mmsghdr *messages;
    struct iovec *parts;
    struct sockaddr_in6 *names;
    struct received *received;
    uint8_t (*control)[CONTROL];
    uint8_t *bytes;
};

struct run_buffers *run_buffers_new(int count)
{
    struct run_buffers *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    size_t n = (size_t)count;
    b->count = count;
    b->messages = calloc(n, sizeof *b->messages);
    b->parts = calloc(n, sizeof *b->parts);
    b->names = calloc(n, sizeof *b->names);
    b->received = calloc(n, sizeof *b->received);
    b->control = calloc(n, sizeof *b->control);
    b->bytes = malloc(n * BUFFER); /* touched when it is used */
    if (b->messages && b->parts && b->names && b->received && b->control && b->bytes)
        return b;
    run_buffers_free(b);
    return NULL;
}

void run_buffers_free(struct run_buffers *b)
{
    if (!b)
        return;
    free(b->messages);
    free(b->parts);
    free(b->names);
    free(b->received);
    free(b->control);
    free(b->bytes);
    free(b);
}

static size_t segment_of(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        int size = 0;
        if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO || c->cmsg_len < CMSG_LEN(sizeof size))
            continue;
        memcpy(&size, CMSG_DATA(c), sizeof size);
        return size > 0 ? (size_t)size : 0;
    }
    return 0;
}

int run_receive(struct run_socket *s, struct run_buffers *b)
{
    for (int i = 0; i < b->count; i++) {
        b->parts[i] = (struct iovec){b->bytes + (size_t)i * BUFFER, BUFFER};
        b->messages[i].msg_hdr = (struct msghdr){.msg_name = &b->names[i],
                                                 .msg_namelen = sizeof b->names[i],
                                                 .msg_iov = &b->parts[i],
                                                 .msg_iovlen = 1,
                                                 .msg_control = b->control[i],
                                                 .msg_controllen = sizeof b->control[i]};
    }
    int n = recvmmsg(s->fd, b->messages, (unsigned)b->count, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        struct msghdr *m = &b->messages[i].msg_hdr;
        size_t len = m->msg_flags & MSG_TRUNC ? 0 : b->messages[i].msg_len;
        b->received[i] = (struct received){udp_addr_of((const struct sockaddr *)&b->names[i]),
                                           b->parts[i].iov_base, len, segment_of(m)};
    }
    return n > 0 ? n : 0;
}

struct received *run_received(struct run_buffers *b, int i)
{
    return &b->received[i];
}
