/* What offload.c, segments.c and coalesce.c share: fields of headers whose place is known, and sums in the
 * order of memory (RFC 1071 section 2 B: a sum of words read in host order, stored in host order, is right on
 * every machine). */
#ifndef WARREN_PUMP_OFFLOAD_INT_H
#define WARREN_PUMP_OFFLOAD_INT_H

#include <endian.h>
#include <string.h>

#include "pump/offload.h"
#include "wire/eth.h"

#define IP4_LENGTH_AT   2
#define IP4_ID_AT       4
#define IP4_FRAGMENT_AT 6
#define IP4_TTL_AT      8
#define IP4_PROTO_AT    9
#define IP4_SUM_AT      10
#define IP4_SRC_AT      12
#define IP4_DF          0x4000
#define IP6_LENGTH_AT   4
#define IP6_NEXT_AT     6
#define IP6_HOPS_AT     7
#define IP6_SRC_AT      8
#define TCP_HEADER_LEN  20
#define TCP_SEQ_AT      4
#define TCP_ACK_AT      8
#define TCP_DATA_AT     12 /* the header's length, in the upper four bits */
#define TCP_FLAGS_AT    13
#define TCP_WINDOW_AT   14
#define TCP_URGENT_AT   18
#define UDP_HEADER_LEN  8
#define UDP_LENGTH_AT   4
#define UDP_SUM_AT      6
#define IP_LENGTH_MAX   65535 /* of IPv4; that of IPv6 in a super-frame is held to it, too */

enum { TCP_PSH = 8, TCP_URG = 32, TCP_CWR = 128 };

static inline uint16_t get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return be16toh(v);
}

static inline uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

static inline void put16(uint8_t *p, uint16_t v)
{
    v = htobe16(v);
    memcpy(p, &v, sizeof v);
}

static inline void put32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
}

/* A word, and two, as they lie in memory. */
static inline uint16_t raw16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t raw32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void sum_put(uint8_t *p, uint16_t sum)
{
    memcpy(p, &sum, sizeof sum);
}

/* To 16 bits, not inverted: 0 only where all was 0. */
static inline uint16_t sum_fold(uint64_t sum)
{
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)((sum >> 16) + (sum & 0xffff));
}

/* The pseudo-header of TCP and UDP (RFC 9293 section 3.1, 768, 8200 section 8.1) without its length. */
static inline uint64_t pseudo_sum(const uint8_t *p, const struct inner_frame *f)
{
    const uint8_t *a = p + f->ip + (f->version == 4 ? IP4_SRC_AT : IP6_SRC_AT);
    uint64_t sum = htobe16(f->proto) + (uint64_t)raw32(a) + raw32(a + 4);
    if (f->version == 6)
        sum += (uint64_t)raw32(a + 8) + raw32(a + 12) + raw32(a + 16) + raw32(a + 20) + raw32(a + 24) +
               raw32(a + 28);
    return sum;
}

/* The sum of an IPv4 header's fixed part, its checksum included. */
static inline uint64_t ip4_sum(const uint8_t *ip)
{
    return (uint64_t)raw32(ip) + raw32(ip + 4) + raw32(ip + 8) + raw32(ip + 12) + raw32(ip + 16);
}

static inline uint16_t upper_sum_at(const struct inner_frame *f)
{
    return f->proto == IP_TCP ? TCP_SUM_AT : UDP_SUM_AT;
}

static inline bool has_upper(const struct inner_frame *f)
{
    return f->proto == IP_TCP || f->proto == IP_UDP;
}

/* The upper checksum of a TCP or UDP frame of headers p, for all of its bytes up to f->n; the field's own
 * value does not count. */
void upper_sum_write(uint8_t *p, const struct inner_frame *f);

#endif
