/* What the hub remembers of an address: IPv4 whole, IPv6 by its /64. Bounded: addresses without connections
 * are forgotten, the longest unused first. */
#ifndef WARREN_HUB_IPTABLE_INT_H
#define WARREN_HUB_IPTABLE_INT_H

#include "base/ratelimit.h"
#include "hub/list_int.h"
#include "wire/hs.h"

#define IP_KEY_LEN 16

struct ip_entry {
    uint8_t key[IP_KEY_LEN];
    uint32_t conns;
    struct ratelimit logins, http, changes;
    struct list idle; /* oldest first, while conns is 0 */
};

struct iptable;
struct ip_rates {
    uint32_t logins, http, changes; /* per minute */
};
/* idle_max: entries without connections. */
struct iptable *iptable_new(size_t idle_max, const struct ip_rates *rates, uint64_t seed);
void iptable_free(struct iptable *t);
/* NULL when memory fails. An entry without connections is valid until the next call. */
struct ip_entry *iptable_get(struct iptable *t, const struct net_addr *a, usec_t now);
void iptable_hold(struct iptable *t, struct ip_entry *e);
void iptable_release(struct iptable *t, struct ip_entry *e);
size_t iptable_count(const struct iptable *t);
/* One of so many per minute. */
bool ip_take(struct ratelimit *per_minute, usec_t now);
/* An IPv4 address inside an IPv6 one (::ffff:a.b.c.d) becomes what it is. */
void ip_canonical(struct net_addr *a);

#endif
