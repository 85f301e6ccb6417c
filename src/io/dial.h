/* Which address of a host answers: resolves it and tries the addresses in RFC 8305's manner (families in
 * turn, a new one every 250 ms or as soon as one fails), because libwebsockets resolves in the loop's thread
 * and waits for each address in turn. The winner is named, not kept: the library opens its own connection. */
#ifndef WARREN_IO_DIAL_H
#define WARREN_IO_DIAL_H

#include "base/addr.h"

struct sockaddr;
struct uv_loop_s;
struct dial;

/* Once: the address that answered, or NULL and why not in words. Never from inside dial_start. */
typedef void dial_cb(void *arg, const struct sockaddr *addr, const char *why);

/* host: a name or an IPv4 or IPv6 literal without brackets. No deadline of its own. NULL when memory fails.
 */
struct dial *dial_start(struct uv_loop_s *loop, const char *host, uint16_t port, dial_cb *cb, void *arg);
/* The addresses that the name resolved to, in the order of trying; from inside the callback, too. Number
 * written. */
#define DIAL_ADDRESSES_MAX 8
size_t dial_addresses(const struct dial *d, struct net_addr *out, size_t cap);
/* Ends it without a callback. Allowed until the callback came, also from inside it; NULL is fine. */
void dial_cancel(struct dial *d);

#endif
