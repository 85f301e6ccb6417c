/* A network device with a small host behind it, as a node sees one: it resolves by ARP, answers pings, counts
 * what arrives, and can be made to send anything. Works on Ethernet frames (TAP) or on IP packets (TUN).
 * Frames that it wants to send wait in a bounded outbox which the owner empties. The frames are built here by
 * hand, not with wire/eth.h: two opinions are better than one. */
#ifndef WARREN_SIM_DEVICE_H
#define WARREN_SIM_DEVICE_H

#include "base/bytes.h"
#include "sim/clock.h"

#define DEVICE_FRAME_MAX 1600
#define DEVICE_PEERS_MAX 64 /* sources of test traffic told apart, by number */
#define DEVICE_OUTBOX    2048
#define DEVICE_ARP_MAX   64
#define DEVICE_PORT      7777 /* test traffic: UDP to this port */

struct device_frame {
    size_t n;
    uint8_t data[DEVICE_FRAME_MAX];
};

/* What was heard of one source's test traffic. */
#define DEVICE_WINDOW                                                                                        \
    4096 /* sequence numbers below the highest that are told apart; older ones count as repeated */
struct device_heard {
    uint64_t count, last_seq; /* last_seq: the highest */
    uint64_t repeated, reordered;
    uint64_t window[DEVICE_WINDOW / 64];
    usec_t last_at, pong_at;
    uint64_t broadcasts, pongs;
};

struct device {
    bool open, tap;
    uint8_t mac[6];
    uint32_t ip4, net4;
    uint8_t ip6[16];
    uint16_t mtu;
    uint32_t number; /* ours, in test traffic */
    usec_t *now;
    struct device_frame **outbox;
    size_t out_first, out_count;
    struct {
        uint32_t ip;
        uint8_t mac[6];
    } arp[DEVICE_ARP_MAX];
    size_t arp_count;
    struct device_heard heard[DEVICE_PEERS_MAX];
    uint64_t frames_in, frames_out, arp_requests_in, arp_replies_in, dhcp_in, multicast_in, other_in,
        overflowed;
    /* Path MTUs that ICMP told, as a kernel keeps them: test traffic obeys. */
    bool dont_fragment;
    struct {
        uint32_t ip;
        uint16_t mtu;
    } pmtu[DEVICE_ARP_MAX];
    size_t pmtu_count;
    uint64_t too_big_in;
    uint16_t last_mss; /* of the last TCP SYN that arrived */
    uint8_t last_src_mac[6];
    struct device_frame last; /* the last frame that arrived, whole */
    /* Judges each piece of test traffic as it arrives. */
    void (*on_heard)(void *arg, struct device *d, uint32_t from, uint64_t seq);
    void *arg;
};

struct device_config {
    bool tap;
    uint8_t mac[6];
    uint32_t ip4, net4;
    uint8_t ip6[16];
    uint16_t mtu;
    uint32_t number;
};
void device_open(struct device *d, const struct device_config *c, usec_t *now);
void device_close(struct device *d);
/* A frame from the network side. */
void device_input(struct device *d, struct bytes frame);
/* The next frame that the host behind wants to send; the caller frees it. NULL: none. */
struct device_frame *device_output(struct device *d);

/* Test traffic: UDP with our number and a sequence number of the caller's, `size` bytes of payload at least.
 * Without an ARP entry it asks first and loses the frame, as a kernel would after its queue: false. */
bool device_say(struct device *d, uint32_t ip, uint64_t seq, size_t size);
/* The same over IPv6, to the host of which `ip` is the IPv4 address. */
bool device_say6(struct device *d, uint32_t ip, const uint8_t ip6[16], uint64_t seq, size_t size);
/* What ICMP told of the way to ip, else the device's. */
uint16_t device_pmtu(const struct device *d, uint32_t ip);
/* seq modulo DEVICE_PEERS_MAX is the number of the one asked: its answer counts there. */
bool device_ping(struct device *d, uint32_t ip, uint64_t seq);
void device_broadcast(struct device *d, uint64_t seq);
void device_multicast(struct device *d, uint64_t seq); /* mDNS: 224.0.0.251 */
void device_arp(struct device *d, uint32_t ip);
bool device_knows(const struct device *d, uint32_t ip);
bool device_tcp_syn(struct device *d, uint32_t ip, uint16_t mss);
void device_dhcp_discover(struct device *d);
/* As test traffic to `ip`, but with another's addresses as its source. */
void device_spoof(struct device *d, uint32_t ip, const uint8_t src_mac[6], uint32_t src_ip, uint64_t seq);
/* A claim, by unasked ARP reply, that ip lives at our MAC. */
void device_claim(struct device *d, uint32_t ip);
/* Bytes as they are. */
void device_raw(struct device *d, struct bytes frame);
void device_forget_arp(struct device *d);

#endif
