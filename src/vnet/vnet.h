/* The virtual LAN of one party on one node, as pure logic on frames: a switch port for the device, one for each member.
 *
 * vnet_from_device says where a frame (TAP) or packet (TUN) of ours goes; vnet_from_peer judges what a member sent and whether
 * the device gets it. Addresses come from the party log: ARP requests and ND solicitations for members are answered here and
 * cross no network; a frame whose source is another member's address is dropped (nobody may speak for somebody else); DHCP and
 * router advertisements stop here unless the policy allows them; broadcast and multicast go to every connected member under a
 * storm cap. MACs that are no member's (a bridge or a virtual machine behind one) are learned, bounded per member. TCP SYNs have
 * their MSS clamped to what the device's MTU carries. doc/protocol/lan.md. */
#ifndef WARREN_VNET_VNET_H
#define WARREN_VNET_VNET_H

#include "base/bytes.h"
#include "base/time.h"

#define VNET_MEMBERS_MAX      1024
#define VNET_LEARNED_MAX      1024          /* MACs behind members, per party */
#define VNET_LEARNED_PER_PEER 64
#define VNET_LEARN_LIFE       (300 * SEC)   /* as IEEE 802.1D's ageing time */
#define VNET_MOVE_QUIET       (5 * SEC)     /* a learned MAC may turn up behind somebody else after this silence */
#define VNET_MTU_MIN          68            /* RFC 791: what every link of IPv4 carries */
#define VNET_FRAME_MAX        (9216 + 14)

struct vnet_member {
    uint32_t ref;     /* the owner's number for this member, never 0 */
    uint32_t ip4;     /* host order */
    uint8_t ip6[16];
    uint8_t mac[6];
};

struct vnet_config {
    bool tap;         /* frames; else IP packets (TUN) */
    struct vnet_member self;
    uint32_t net4;    /* host order, /16 */
    uint8_t net6[8];  /* /64 */
    uint16_t mtu;     /* of the device, bytes of IP */
    bool allow_dhcp;
    uint32_t broadcast_pps; /* per member; burst is twice that */
    uint64_t seed;    /* of hash tables */
};

enum vnet_drop {
    VNET_OK, VNET_RUNT, VNET_OVERSIZE, VNET_SPOOFED_MAC, VNET_SPOOFED_IP, VNET_DHCP, VNET_RA, VNET_STORM, VNET_NO_SUCH_HOST,
    VNET_NOT_IP, VNET_MALFORMED, VNET_UNKNOWN_MEMBER, VNET_NOT_OURS, VNET_DROP_COUNT
};
const char *vnet_drop_name(enum vnet_drop d);

enum vnet_action {
    VNET_DROP,      /* reason in drop */
    VNET_TO_PEER,   /* ref */
    VNET_TO_ALL,    /* every connected member */
    VNET_TO_DEVICE, /* (vnet_from_peer) hand it to the device; (vnet_from_device) `reply` goes back to the device */
};

struct vnet_verdict {
    enum vnet_action action;
    enum vnet_drop drop;
    uint32_t ref;
    struct bytes reply; /* an answer that the switch made itself (ARP, ND, ICMP too big); valid until the next call */
};

struct vnet;
struct vnet *vnet_new(const struct vnet_config *c, usec_t now); /* NULL when memory fails or mtu < VNET_MTU_MIN */
void vnet_free(struct vnet *v);
/* Follows the party log. A known ref is replaced. An address of zeros is none. 0, -ENOSPC, -ENOMEM, -EINVAL (ref 0), -EEXIST (an
 * address is another member's or our own: the log does not allow it). */
int vnet_member_set(struct vnet *v, const struct vnet_member *m, usec_t now);
/* What the way to this member carries now, bytes of IP (0: as the device): TCP SYNs to and from it are clamped to that, and larger
 * packets are answered with "too big" where their sender asked for that (DF, IPv6 down to 1280); others go as they are, and are the
 * owner's to bring over another way. */
void vnet_member_mtu(struct vnet *v, uint32_t ref, uint16_t mtu);
void vnet_member_del(struct vnet *v, uint32_t ref);
void vnet_policy_set(struct vnet *v, bool allow_dhcp, uint32_t broadcast_pps, usec_t now);

/* frame may be changed in place (MSS, checksum) but keeps its length. */
struct vnet_verdict vnet_from_device(struct vnet *v, uint8_t *frame, size_t n, usec_t now);
struct vnet_verdict vnet_from_peer(struct vnet *v, uint32_t ref, uint8_t *frame, size_t n, usec_t now);

struct vnet_stats {
    uint64_t from_device, from_peer, to_device, flooded, answered; /* frames */
    uint64_t drops[VNET_DROP_COUNT]; /* VNET_OVERSIZE also counts packets that were answered with "too big" */
    size_t learned;
};
void vnet_stats(const struct vnet *v, struct vnet_stats *s);

/* The MTU of a device so that a sealed frame fits an outer packet of outer_mtu over IPv6/UDP (tap: with its Ethernet header).
 * 0 where less than VNET_MTU_MIN would be left. */
uint16_t vnet_mtu_for(uint16_t outer_mtu, bool tap);

#endif
