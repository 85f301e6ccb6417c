/* A network device with a small host behind it, as a node sees one: it resolves by ARP, answers pings, counts
 * what arrives, and can be made to send anything. Works on Ethernet frames (TAP) or on IP packets (TUN).
 * Frames that it wants to send wait in a bounded outbox which the owner empties. The frames are built here by
 * hand, not with wire/eth.h: two opinions are better than one. */
#ifndef WARREN_SIM_DEVICE_H
#define WARREN_SIM_DEVICE_H

#include "base/bytes.h"
#include "pump/offload.h"
#include "sim/clock.h"

#define DEVICE_FRAME_MAX 1600
#define DEVICE_PEERS_MAX 64 /* sources of test traffic told apart, by number */
#define DEVICE_OUTBOX    2048
#define DEVICE_ARP_MAX   64
#define DEVICE_PORT      7777 /* test traffic: UDP to this port */

struct device_frame {
    struct vnet_hdr h; /* of a device that offloads; else all 0 */
    size_t n;
    uint8_t data[];
};

/* What was heard of one TCP-like stream (device_pour). */
#define DEVICE_STREAMS_MAX 16
#define DEVICE_STREAM_MAX  (64u << 20) /* bytes of one */
struct device_stream {
    uint32_t from; /* number of the sender */
    uint16_t stream;
    uint64_t bytes, segments; /* new ones, and what brought them */
    uint64_t repeated, reordered,
        damaged;   /* segments: come before, come after a later one, with other bytes than were sent */
    uint64_t end;  /* offset behind the last segment of all */
    uint8_t *seen; /* a bit a byte */
    size_t seen_bytes;
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
    bool open, tap, offloads;
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
    struct {
        size_t n;
        uint8_t data[DEVICE_FRAME_MAX];
    } last; /* the last frame that arrived, whole */
    struct device_stream streams[DEVICE_STREAMS_MAX];
    size_t stream_count;
    uint64_t bad_sums_in;           /* TCP and UDP packets with a wrong checksum; they are dropped */
    uint64_t supers_in, refused_in; /* super-frames written to it, and what no kernel would take */
    void (*on_segment)(void *arg, struct device *d, const struct device_stream *s, uint64_t at);
    void *segment_arg;
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
    bool offloads; /* its host leaves checksums and segmentation to the device, as with IFF_VNET_HDR */
};
void device_open(struct device *d, const struct device_config *c, usec_t *now);
void device_close(struct device *d);
/* Closes, and frees what it heard. */
void device_done(struct device *d);
/* A frame from the network side. */
void device_input(struct device *d, struct bytes frame);
/* The next frame that the host behind wants to send; the caller frees it. NULL: none. */
struct device_frame *device_output(struct device *d);

/* Test traffic: UDP with our number and a sequence number of the caller's, `size` bytes of payload at least.
 * Without an ARP entry it asks first and loses the frame, as a kernel would after its queue: false. */
bool device_say(struct device *d, uint32_t ip, uint64_t seq, size_t size);
/* The same over IPv6, to the host of which `ip` is the IPv4 address. */
bool device_say6(struct device *d, uint32_t ip, const uint8_t ip6[16], uint64_t seq, size_t size);
/* n bytes (at most 60000) of a TCP-like stream from offset `at` on: one super-frame where the device
 * offloads, else its segments. Nothing is acknowledged or sent again: what arrives is checked byte by byte.
 * False as device_say. */
bool device_pour(struct device *d, uint32_t ip, uint16_t stream, uint32_t at, size_t n);
/* What was heard of it; NULL: nothing. */
const struct device_stream *device_stream(const struct device *d, uint32_t from, uint16_t stream);
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
/* The same from a device that offloads, with this header before them, be it true or not. */
void device_raw_super(struct device *d, const struct vnet_hdr *h, struct bytes frame);
void device_forget_arp(struct device *d);

#endif
