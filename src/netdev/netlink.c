#include "netdev/netlink_int.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_MAX 32768 /* what the kernel fills at most in one datagram of a dump */
#define SEQUENCE    1     /* one request at a time per socket */

/* ---- Reading. */

static void eat(struct bytes *in, size_t n)
{
    n = n < in->n ? n : in->n; /* the last item need not be padded */
    in->p += n;
    in->n -= n;
}

bool nl_message_next(struct bytes *in, struct nl_message *m)
{
    struct nlmsghdr h;
    if (in->n < sizeof h)
        return false;
    memcpy(&h, in->p, sizeof h);
    if (h.nlmsg_len < sizeof h || h.nlmsg_len > in->n)
        return false;
    *m = (struct nl_message){.type = h.nlmsg_type, .flags = h.nlmsg_flags, .seq = h.nlmsg_seq};
    m->body = bytes_of(in->p + NLMSG_HDRLEN, h.nlmsg_len - NLMSG_HDRLEN);
    eat(in, NLMSG_ALIGN((size_t)h.nlmsg_len));
    return true;
}

bool nl_attr_next(struct bytes *in, struct nl_attr *a)
{
    struct rtattr h;
    if (in->n < sizeof h)
        return false;
    memcpy(&h, in->p, sizeof h);
    if (h.rta_len < sizeof h || h.rta_len > in->n)
        return false;
    a->type = h.rta_type & NLA_TYPE_MASK;
    a->value = bytes_of(in->p + sizeof h, h.rta_len - sizeof h);
    eat(in, RTA_ALIGN((size_t)h.rta_len));
    return true;
}

bool nl_fixed(struct bytes *in, void *out, size_t n)
{
    if (in->n < n)
        return false;
    memcpy(out, in->p, n);
    eat(in, NLMSG_ALIGN(n));
    return true;
}

bool nl_u32(struct bytes value, uint32_t *v)
{
    if (value.n != sizeof *v)
        return false;
    memcpy(v, value.p, sizeof *v);
    return true;
}

/* ---- Requests. */

static void add(struct nl_request *q, const void *p, size_t n)
{
    size_t padded = NLMSG_ALIGN(n);
    if (q->bad || padded > NL_REQUEST_MAX - q->n) {
        q->bad = true;
        return;
    }
    memset(q->bytes + q->n, 0, padded);
    memcpy(q->bytes + q->n, p, n);
    q->n += padded;
}

void nl_request_begin(struct nl_request *q, uint16_t type, uint16_t flags, const void *fixed, size_t n)
{
    struct nlmsghdr h = {
        .nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags), .nlmsg_seq = SEQUENCE};
    q->n = 0;
    q->bad = false;
    add(q, &h, sizeof h);
    add(q, fixed, n);
}

void nl_request_attr(struct nl_request *q, uint16_t type, const void *value, size_t n)
{
    struct rtattr h = {.rta_len = (unsigned short)(sizeof h + n), .rta_type = type};
    add(q, &h, sizeof h);
    add(q, value, n);
}

int nl_open(uint32_t groups, bool nonblocking)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_groups = groups};
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        int e = errno;
        close(fd);
        return -e;
    }
    return fd;
}

static int request_send(int fd, struct nl_request *q)
{
    uint32_t length = (uint32_t)q->n;
    if (q->bad)
        return -EMSGSIZE;
    memcpy(q->bytes, &length, sizeof length); /* nlmsg_len comes first */
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t n;
    do
        n = sendto(fd, q->bytes, q->n, 0, (struct sockaddr *)&kernel, sizeof kernel);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

ssize_t nl_receive(int fd, void *buf, size_t cap)
{
    for (;;) {
        struct sockaddr_nl from = {0};
        struct iovec v = {.iov_base = buf, .iov_len = cap};
        struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &v, .msg_iovlen = 1};
        ssize_t n = recvmsg(fd, &m, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (m.msg_flags & MSG_TRUNC)
            return -EMSGSIZE;
        if (m.msg_namelen == sizeof from && from.nl_pid == 0)
            return n;
    }
}

/* What an NLMSG_ERROR (an acknowledgement is one with 0) or the end of a dump says. */
static int error_of(struct bytes body)
{
    int32_t e;
    if (body.n < sizeof e)
        return -EBADMSG;
    memcpy(&e, body.p, sizeof e);
    return e;
}

/* Reads until the acknowledgement or the end of a dump. */
static int converse(int fd, void (*each)(void *, const struct nl_message *), void *ctx)
{
    uint8_t buf[RECEIVE_MAX];
    bool cut = false;
    for (;;) {
        ssize_t n = nl_receive(fd, buf, sizeof buf);
        if (n < 0)
            return (int)n;
        struct bytes in = bytes_of(buf, (size_t)n);
        struct nl_message m;
        while (nl_message_next(&in, &m)) {
            if (m.seq != SEQUENCE)
                continue;
            cut |= m.flags & NLM_F_DUMP_INTR;
            if (m.type == NLMSG_ERROR)
                return error_of(m.body);
            if (m.type == NLMSG_DONE)
                return cut ? -EINTR : m.body.n >= sizeof(int32_t) ? error_of(m.body) : 0;
            if (m.type >= NLMSG_MIN_TYPE && each)
                each(ctx, &m);
        }
    }
}

int nl_do(int fd, struct nl_request *q)
{
    struct nlmsghdr h;
    memcpy(&h, q->bytes, sizeof h);
    h.nlmsg_flags |= NLM_F_ACK;
    memcpy(q->bytes, &h, sizeof h);
    int e = request_send(fd, q);
    return e < 0 ? e : converse(fd, NULL, NULL);
}

int nl_dump(int fd, struct nl_request *q, void (*each)(void *ctx, const struct nl_message *m), void *ctx)
{
    int e = request_send(fd, q);
    return e < 0 ? e : converse(fd, each, ctx);
}
