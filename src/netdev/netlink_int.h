/* Just enough rtnetlink (RFC 3549, rtnetlink(7)): requests with attributes, acknowledgements, dumps. Shared inside netdev only.
 * Everything in the kernel's messages is in the machine's byte order, but addresses. */
#ifndef WARREN_NETDEV_NETLINK_INT_H
#define WARREN_NETDEV_NETLINK_INT_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/types.h>

#include "base/bytes.h"

/* ---- Reading: each takes one item off the front; false at the end and where the rest is malformed. */
struct nl_message {
    uint16_t type, flags;
    uint32_t seq;
    struct bytes body;
};
bool nl_message_next(struct bytes *in, struct nl_message *m);

struct nl_attr {
    uint16_t type; /* without the flag bits */
    struct bytes value;
};
bool nl_attr_next(struct bytes *in, struct nl_attr *a);
/* The fixed header at the front of a body; false where it is not there. in is left at the attributes. */
bool nl_fixed(struct bytes *in, void *out, size_t n);
bool nl_u32(struct bytes value, uint32_t *v);

/* ---- Requests. */
#define NL_REQUEST_MAX 512
struct nl_request {
    uint8_t bytes[NL_REQUEST_MAX];
    size_t n;
    bool bad; /* did not fit */
};
void nl_request_begin(struct nl_request *q, uint16_t type, uint16_t flags, const void *fixed, size_t n);
void nl_request_attr(struct nl_request *q, uint16_t type, const void *value, size_t n);

/* A route socket: the descriptor or a negative errno. groups: RTMGRP_*. */
int nl_open(uint32_t groups, bool nonblocking);
/* Sends and waits for the kernel's acknowledgement: 0 or a negative errno. */
int nl_do(int fd, struct nl_request *q);
/* Sends a dump and calls each for every message of it. 0, a negative errno, -EINTR: the dump was cut by a change, ask again. */
int nl_dump(int fd, struct nl_request *q, void (*each)(void *ctx, const struct nl_message *m), void *ctx);
/* One datagram of the kernel's: its length, or a negative errno. Those of other senders are skipped. */
ssize_t nl_receive(int fd, void *buf, size_t cap);

#endif
