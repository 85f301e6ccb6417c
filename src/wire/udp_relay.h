/* Datagrams between a node and the UDP relay of the hub (doc/protocol/udp-relay.md). Type 7, so that STUN, our data packets and these
 * share the port.
 *
 * The hub gives each logged-in device a key over the WebSocket (welcome). The device proves that it holds the key, and the hub that the
 * device receives at the address it writes from, before a byte is relayed; then each relays only between members of one party, as
 * the WebSocket relay does, by the same relay indices.
 *
 *   BIND      7 1 zero16 | index u32 | time u64 (ms, the device's, rises) | nonce 16 | zeros to 96 | mac 16       node -> hub
 *   CHALLENGE 7 2 zero16 | index u32 | nonce 16 (theirs) | cookie 16 | mac 16                                      hub -> node
 *   CONFIRM   7 3 zero16 | index u32 | nonce 16 | cookie 16 | zeros to 96 | mac 16                                 node -> hub
 *   BOUND     7 4 zero16 | index u32 | nonce 16 | token u32 | lifetime_s u16 | family u8, zero u8 | ip 16 | port u16 | mac 16   hub -> node
 *   DATA      7 5 zero16 | peer index u32 | token u32 | datagram                                                   node -> hub
 *   DATA      7 5 zero16 | sender's index u32 | zero u32 | datagram                                               hub -> node
 *   UNBOUND   7 6 zero16 | peer index u32 | code u32                                                              hub -> node, 12 bytes
 *   KEEP      7 7 zero16 | index u32 | token u32                                                                   node -> hub, renews the binding; answered by KEPT (7 8), same bytes
 *
 * A BIND's time is later than that of every BIND before it under this key; a CONFIRM belongs to the last BIND (its nonce).
 * mac: the first 16 bytes of HMAC-SHA-256 under the device's key over everything before it. Every answer is shorter than its request. */
#ifndef WARREN_WIRE_UDP_RELAY_H
#define WARREN_WIRE_UDP_RELAY_H

#include "base/addr.h"
#include "base/bytes.h"

#define WIRE_UDP_RELAY          7
#define UDP_RELAY_KEY_LEN       32
#define UDP_RELAY_HEADER_LEN    12 /* before a relayed datagram, in both directions */
#define UDP_RELAY_NONCE_LEN     16
#define UDP_RELAY_MAC_LEN       16
#define UDP_RELAY_BIND_LEN      112
#define UDP_RELAY_CHALLENGE_LEN 56
#define UDP_RELAY_CONFIRM_LEN   112
#define UDP_RELAY_BOUND_LEN     66
#define UDP_RELAY_SMALL_LEN     12 /* UNBOUND, KEEP, KEPT */
#define UDP_RELAY_DATAGRAM_MAX  1500

enum udp_relay_kind {
    UDP_RELAY_BIND = 1, UDP_RELAY_CHALLENGE, UDP_RELAY_CONFIRM, UDP_RELAY_BOUND, UDP_RELAY_DATA, UDP_RELAY_UNBOUND, UDP_RELAY_KEEP,
    UDP_RELAY_KEPT, UDP_RELAY_KIND_COUNT
};
enum udp_relay_code { /* of UNBOUND */
    UDP_RELAY_PEER_UNBOUND = 1, /* the peer has no UDP binding: use the WebSocket */
    UDP_RELAY_PEER_GONE = 2,    /* nobody has that index, or it shares no party with you */
    UDP_RELAY_REBIND = 3        /* your own binding is not known (any more): bind again; peer index 0 */
};
struct udp_relay {
    enum udp_relay_kind kind;
    uint32_t index; /* own, peer's or sender's */
    uint32_t token, code;
    uint64_t time_ms;
    uint8_t nonce[UDP_RELAY_NONCE_LEN], cookie[16], mac[UDP_RELAY_MAC_LEN];
    uint16_t lifetime_s;
    struct net_addr seen;
    struct bytes signed_part; /* what the mac covers */
    struct bytes datagram;    /* of DATA */
};
/* 0 or -EBADMSG: another length, reserved bits, an unknown kind. */
int udp_relay_read(struct udp_relay *m, struct bytes in);
/* Whole message with its mac, where the kind has one (key otherwise unused). The number of bytes; 0 when it does not fit. */
size_t udp_relay_write(uint8_t *out, size_t cap, const struct udp_relay *m, const uint8_t key[UDP_RELAY_KEY_LEN]);
/* Constant time. */
bool udp_relay_verify(const struct udp_relay *m, const uint8_t key[UDP_RELAY_KEY_LEN]);
/* The 12 bytes before a datagram that is already in place behind them. */
void udp_relay_header(uint8_t out[UDP_RELAY_HEADER_LEN], uint32_t index, uint32_t token);

#endif
