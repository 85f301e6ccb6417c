/* STUN messages (RFC 8489, with the attributes of RFC 5780, RFC 8445 and RFC 8656): bytes to a struct and back. Decoded whole and
 * bounded; integrity is judged with a key by stun_verify. Unknown attributes are skipped, comprehension-required ones are counted. */
#ifndef WARREN_WIRE_STUN_H
#define WARREN_WIRE_STUN_H

#include "base/addr.h"
#include "base/bytes.h"

#define STUN_HEADER_LEN  20
#define STUN_TXID_LEN    12
#define STUN_COOKIE      0x2112A442u
#define STUN_MESSAGE_MAX 1500
#define STUN_TEXT_MAX    513 /* USERNAME (RFC 8489 section 14.3); longer ones are refused */
#define STUN_UNKNOWN_MAX 8
#define STUN_REALM_MAX   763
#define STUN_ADDRS_MAX   4   /* XOR-PEER-ADDRESS in one message */

enum stun_class { STUN_REQUEST, STUN_INDICATION, STUN_SUCCESS, STUN_ERROR };
enum stun_method {
    STUN_BINDING = 0x001, STUN_ALLOCATE = 0x003, STUN_REFRESH = 0x004, STUN_SEND = 0x006, STUN_DATA = 0x007,
    STUN_CREATE_PERMISSION = 0x008, STUN_CHANNEL_BIND = 0x009
};
enum stun_attribute {
    STUN_ATTR_MAPPED_ADDRESS = 0x0001, STUN_ATTR_CHANGE_REQUEST = 0x0003, STUN_ATTR_USERNAME = 0x0006,
    STUN_ATTR_MESSAGE_INTEGRITY = 0x0008, STUN_ATTR_ERROR_CODE = 0x0009, STUN_ATTR_UNKNOWN_ATTRIBUTES = 0x000A,
    STUN_ATTR_CHANNEL_NUMBER = 0x000C, STUN_ATTR_LIFETIME = 0x000D, STUN_ATTR_XOR_PEER_ADDRESS = 0x0012, STUN_ATTR_DATA = 0x0013,
    STUN_ATTR_REALM = 0x0014, STUN_ATTR_NONCE = 0x0015, STUN_ATTR_XOR_RELAYED_ADDRESS = 0x0016,
    STUN_ATTR_REQUESTED_ADDRESS_FAMILY = 0x0017, STUN_ATTR_EVEN_PORT = 0x0018, STUN_ATTR_REQUESTED_TRANSPORT = 0x0019,
    STUN_ATTR_DONT_FRAGMENT = 0x001A, STUN_ATTR_MESSAGE_INTEGRITY_SHA256 = 0x001C, STUN_ATTR_PASSWORD_ALGORITHM = 0x001D,
    STUN_ATTR_USERHASH = 0x001E, STUN_ATTR_XOR_MAPPED_ADDRESS = 0x0020, STUN_ATTR_PRIORITY = 0x0024,
    STUN_ATTR_USE_CANDIDATE = 0x0025, STUN_ATTR_PADDING = 0x0026, STUN_ATTR_RESPONSE_PORT = 0x0027,
    STUN_ATTR_PASSWORD_ALGORITHMS = 0x8002, STUN_ATTR_ALTERNATE_DOMAIN = 0x8003, STUN_ATTR_SOFTWARE = 0x8022,
    STUN_ATTR_ALTERNATE_SERVER = 0x8023, STUN_ATTR_FINGERPRINT = 0x8028, STUN_ATTR_ICE_CONTROLLED = 0x8029,
    STUN_ATTR_ICE_CONTROLLING = 0x802A, STUN_ATTR_RESPONSE_ORIGIN = 0x802B, STUN_ATTR_OTHER_ADDRESS = 0x802C
};
#define STUN_CHANGE_IP   4u
#define STUN_CHANGE_PORT 2u

struct stun_message {
    enum stun_class class;
    uint16_t method;
    uint8_t txid[STUN_TXID_LEN];
    struct bytes username, realm, nonce, data, software, userhash; /* views into the message; p NULL: absent */
    struct net_addr mapped; /* XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS; family 0: absent (so below) */
    struct net_addr relayed, origin, other, alternate;
    struct net_addr peers[STUN_ADDRS_MAX];
    size_t peer_count;
    uint16_t error; /* code 300..699; 0: absent */
    bool has_priority, use_candidate, has_controlling, has_controlled, has_lifetime, has_change, has_fingerprint;
    bool has_integrity, has_integrity256, has_response_port, has_channel, has_family, has_transport, has_padding;
    uint32_t priority, lifetime, change;
    uint64_t tie_breaker;
    uint16_t channel, response_port;
    uint8_t family /* 1: IPv4, 2: IPv6 */, transport;
    bool password_sha256; /* PASSWORD-ALGORITHMS offers, or PASSWORD-ALGORITHM names, SHA-256 */
    uint16_t unknown[STUN_UNKNOWN_MAX]; /* comprehension-required attributes that this codec does not know */
    size_t unknown_count;
    struct bytes whole;         /* the message */
    size_t integrity_at, integrity256_at; /* offsets of the attributes */
};

/* Whether a datagram is STUN by its first byte, cookie and length (RFC 7983): cheap, for demultiplexing. */
bool stun_is(struct bytes in);
/* 0 or -EBADMSG: not STUN, an attribute of a wrong length or value, more than STUN_ADDRS_MAX peers, a FINGERPRINT that is wrong or not
 * last. Attributes behind the integrity that must not be there are ignored (RFC 8489 section 14.5). in outlives m. */
int stun_read(struct stun_message *m, struct bytes in);
/* Whether MESSAGE-INTEGRITY (or -SHA256 where sha256 is set, in full: truncated ones are refused) is there and right; constant time. */
bool stun_verify(const struct stun_message *m, struct bytes key, bool sha256);

/* A writer: begin, attributes, then integrity and fingerprint in this order; stun_end yields the message or an empty view when it did
 * not fit. */
struct stun_writer { uint8_t *p; size_t cap, n; bool failed; };
void stun_begin(struct stun_writer *w, uint8_t *out, size_t cap, enum stun_class class, uint16_t method, const uint8_t txid[STUN_TXID_LEN]);
void stun_put(struct stun_writer *w, uint16_t attribute, struct bytes value);
void stun_put_u32(struct stun_writer *w, uint16_t attribute, uint32_t value);
void stun_put_u64(struct stun_writer *w, uint16_t attribute, uint64_t value);
void stun_put_addr(struct stun_writer *w, uint16_t attribute, const struct net_addr *a); /* not XORed */
void stun_put_xor_addr(struct stun_writer *w, uint16_t attribute, const struct net_addr *a);
void stun_put_error(struct stun_writer *w, uint16_t code, const char *reason);
void stun_put_integrity(struct stun_writer *w, struct bytes key);     /* HMAC-SHA1 */
void stun_put_integrity256(struct stun_writer *w, struct bytes key);
void stun_put_fingerprint(struct stun_writer *w);
struct bytes stun_end(const struct stun_writer *w);

/* Long-term credential key (RFC 8489 section 9.2.2): MD5 or SHA-256 of username ":" realm ":" password, which the caller has as
 * prepared text. n: 16 or 32. */
void stun_long_term_key(uint8_t key[32], size_t *n, bool sha256, struct bytes username, struct bytes realm, struct bytes password);

#endif
