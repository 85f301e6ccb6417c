/* What two nodes tell each other, sealed inside their session, so that they find direct ways
 * (doc/protocol/direct.md section 2): all candidates of one end at once, so that a message says everything
 * and may be lost, doubled or overtaken.
 *
 *   generation u32 | revision u16 | flags u8 | mapping u8 | ports u8 | step i8 | tcp port u16 | tcp mapped
 * address | count u8 | candidates candidate: type u8 (bit 7: by a port mapping) | priority u32 | address
 *   address: family u8 (0, 4, 6) | port u16 | ip (0, 4, 16 bytes); family 0 has neither port nor ip */
#ifndef WARREN_WIRE_DIRECT_H
#define WARREN_WIRE_DIRECT_H

#include "base/addr.h"
#include "base/bytes.h"

#define DIRECT_CANDIDATES_MAX 32
#define DIRECT_MESSAGE_MAX    (40 + DIRECT_CANDIDATES_MAX * 24)

#define DIRECT_DONE        1 /* no more candidates will come */
#define DIRECT_UDP_BLOCKED 2 /* this end gets no UDP out */
#define DIRECT_OFF         4 /* this end wants no direct paths */
#define DIRECT_FLAGS       7

enum direct_mapping {
    DIRECT_MAPPING_UNKNOWN,
    DIRECT_MAPPING_ENDPOINT,
    DIRECT_MAPPING_ADDRESS,
    DIRECT_MAPPING_ADDRESS_PORT,
    DIRECT_MAPPING_COUNT
};
enum direct_ports {
    DIRECT_PORTS_UNKNOWN,
    DIRECT_PORTS_KEPT,
    DIRECT_PORTS_SEQUENTIAL,
    DIRECT_PORTS_RANDOM,
    DIRECT_PORTS_COUNT
};

struct direct_candidate {
    uint8_t type; /* 0 host, 1 peer-reflexive, 2 server-reflexive, 3 relayed: as enum ice_type */
    bool mapped;
    uint32_t priority;
    struct net_addr addr;
};
struct direct_message {
    uint32_t generation; /* of the ICE credentials: both ends derive them from the session and this number */
    uint16_t revision;   /* of this end's list within the generation: rises */
    uint8_t flags;
    uint8_t mapping, ports;     /* what this end knows of its NAT (RFC 4787), for people and for searches */
    int8_t step;                /* of sequential ports */
    uint16_t tcp_port;          /* of its TLS listener; 0: none */
    struct net_addr tcp_mapped; /* where a port mapping leads to it; family 0: nowhere */
    size_t count;
    struct direct_candidate candidates[DIRECT_CANDIDATES_MAX];
};
/* 0 or -EBADMSG: anything unknown, out of range, or behind the end. */
int direct_read(struct direct_message *m, struct bytes in);
void direct_write(struct wr *w, const struct direct_message *m);

/* The answer: generation u32 | revision u16. */
int direct_ack_read(uint32_t *generation, uint16_t *revision, struct bytes in);
void direct_ack_write(struct wr *w, uint32_t generation, uint16_t revision);

#endif
