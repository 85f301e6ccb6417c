/* What a home router is asked for a port with: PCP (RFC 6887: MAP and ANNOUNCE, no options) and its ancestor
 * NAT-PMP (RFC 6886). Bytes to structs and back, both directions. Both use UDP port 5351 of the router; the
 * first byte is the version: 2 or 0. */
#ifndef WARREN_WIRE_PORTMAP_H
#define WARREN_WIRE_PORTMAP_H

#include "base/addr.h"
#include "base/bytes.h"

#define PORTMAP_SERVER_PORT 5351
/* Routers announce themselves to 224.0.0.1 (PCP also ff02::1) at this port. */
#define PORTMAP_CLIENT_PORT 5350
#define PCP_VERSION         2
#define NATPMP_VERSION      0
#define PCP_MESSAGE_MAX     1100 /* RFC 6887 section 7 */
#define PCP_HEADER_LEN      24
#define PCP_MAP_LEN         60
#define PCP_NONCE_LEN       12
#define NATPMP_MESSAGE_MAX  16
#define PORTMAP_TCP         6 /* protocol numbers */
#define PORTMAP_UDP         17

enum pcp_opcode { PCP_ANNOUNCE = 0, PCP_MAP = 1 };
enum pcp_result {
    PCP_SUCCESS,
    PCP_UNSUPP_VERSION,
    PCP_NOT_AUTHORIZED,
    PCP_MALFORMED_REQUEST,
    PCP_UNSUPP_OPCODE,
    PCP_UNSUPP_OPTION,
    PCP_MALFORMED_OPTION,
    PCP_NETWORK_FAILURE,
    PCP_NO_RESOURCES,
    PCP_UNSUPP_PROTOCOL,
    PCP_USER_EX_QUOTA,
    PCP_CANNOT_PROVIDE_EXTERNAL,
    PCP_ADDRESS_MISMATCH,
    PCP_EXCESSIVE_REMOTE_PEERS,
    PCP_RESULT_COUNT
};
/* For people: "the router refuses (not authorized)". Constant; others: "an error that has no name". */
const char *pcp_result_text(unsigned code);

struct pcp_message {
    uint8_t version; /* PCP_VERSION, but in an answer with PCP_UNSUPP_VERSION: what the router speaks; written
                        as PCP_VERSION */
    bool response;
    uint8_t opcode; /* pcp_opcode; a request of another opcode is not read, a response of another is, for its
                       result */
    uint8_t result; /* responses */
    uint32_t lifetime;      /* s; 0 in a request: delete */
    uint32_t epoch;         /* responses */
    struct net_addr client; /* requests; port 0 */
    bool has_map;           /* the fields below are there */
    uint8_t nonce[PCP_NONCE_LEN];
    uint8_t protocol; /* PORTMAP_UDP, PORTMAP_TCP, others */
    uint16_t internal_port;
    struct net_addr external; /* suggested or given, with its port; family 4 with 0.0.0.0 for ::ffff:0.0.0.0,
                                 6 with zeros for :: */
};
/* 0 or -EBADMSG: another version, length not a multiple of 4, over PCP_MESSAGE_MAX, too short for its opcode.
 * Options and reserved bits are ignored (sections 7.2, 7.3). An error is read without the fields of its
 * opcode where they are not there. */
int pcp_read(struct pcp_message *m, struct bytes in);
/* The number of bytes; 0 when it does not fit. A response writes result, lifetime and epoch, a request the
 * client's address. */
size_t pcp_write(uint8_t *out, size_t cap, const struct pcp_message *m);

enum natpmp_opcode { NATPMP_ADDRESS = 0, NATPMP_MAP_UDP = 1, NATPMP_MAP_TCP = 2 };
enum natpmp_result {
    NATPMP_SUCCESS,
    NATPMP_UNSUPP_VERSION,
    NATPMP_NOT_AUTHORIZED,
    NATPMP_NETWORK_FAILURE,
    NATPMP_NO_RESOURCES,
    NATPMP_UNSUPP_OPCODE,
    NATPMP_RESULT_COUNT
};
const char *natpmp_result_text(unsigned code);

struct natpmp_message {
    bool response;
    uint8_t opcode;  /* natpmp_opcode; a response to another opcode is read as far as its epoch, where its
                        result is an error */
    uint16_t result; /* responses, as epoch */
    uint32_t epoch;
    bool
        has_body; /* the fields below are there: not in errors that were cut short, nor in address requests */
    uint32_t ip;  /* NATPMP_ADDRESS responses; host order */
    uint16_t internal_port, external_port;
    uint32_t lifetime; /* s; 0 in a request: delete */
};
/* 0 or -EBADMSG: another version, another opcode with a success, a length that is not its opcode's. */
int natpmp_read(struct natpmp_message *m, struct bytes in);
size_t natpmp_write(uint8_t *out, size_t cap, const struct natpmp_message *m);

#endif
