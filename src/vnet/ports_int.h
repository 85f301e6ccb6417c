/* The ports of the switch: one for the device, one for each member, and who is behind which. Shared inside vnet only. */
#ifndef WARREN_VNET_PORTS_INT_H
#define WARREN_VNET_PORTS_INT_H

#include "base/map.h"
#include "base/ratelimit.h"
#include "vnet/vnet.h"

struct port {
    struct vnet_member m; /* ref 0: the device's */
    struct ratelimit storm;
    uint16_t mtu; /* of the way to it, bytes of IP; 0: the device's */
    size_t learned;
    usec_t swept; /* when its learned addresses were last looked through for old ones */
};

struct learned {
    uint8_t mac[6];
    struct port *port; /* NULL: this slot is free */
    usec_t seen;
};

struct ports {
    struct port self;
    struct map *by_ref, *by_mac, *by_ip4, *by_ip6; /* struct port; self is in all but by_ref */
    struct map *learned;                           /* MAC -> struct learned in slots */
    struct learned slots[VNET_LEARNED_MAX];
    uint64_t pps;
};

int ports_init(struct ports *t, const struct vnet_config *c, usec_t now);
void ports_done(struct ports *t);
/* 0, -EINVAL for ref 0, -EEXIST where an address is another port's, -ENOSPC, -ENOMEM. */
int ports_set(struct ports *t, const struct vnet_member *m, usec_t now);
void ports_del(struct ports *t, uint32_t ref);
void ports_set_storm(struct ports *t, uint64_t pps, usec_t now);

struct port *port_by_ref(const struct ports *t, uint32_t ref);
struct port *port_by_mac(const struct ports *t, const uint8_t mac[6]); /* the log's, not learned ones */
struct port *port_by_ip4(const struct ports *t, uint32_t ip4);
struct port *port_by_ip6(const struct ports *t, const uint8_t ip6[16]);

/* Whether a MAC that is no member's may speak at this port: not while it was heard at another one within VNET_MOVE_QUIET. */
bool ports_may_speak(const struct ports *t, const struct port *p, const uint8_t mac[6], usec_t now);
/* It spoke. Where there is no room for another address it stays unknown. */
void ports_learn(struct ports *t, struct port *p, const uint8_t mac[6], usec_t now);
/* The port behind which a learned MAC is, or NULL. */
struct port *ports_find(const struct ports *t, const uint8_t mac[6], usec_t now);

#endif
