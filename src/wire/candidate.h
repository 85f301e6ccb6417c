/* ICE in SDP (RFC 8839 section 5, RFC 8840): the text of a candidate, and the lines of the credentials. For
 * browsers and other people's agents; Warren's nodes tell each other candidates in their own form. */
#ifndef WARREN_WIRE_CANDIDATE_H
#define WARREN_WIRE_CANDIDATE_H

#include "base/addr.h"
#include "base/bytes.h"

#define CANDIDATE_FOUNDATION_MAX 32
#define CANDIDATE_NAME_MAX       253  /* a DNS name; browsers' are UUID.local */
#define CANDIDATE_TEXT_MAX       1024 /* longer ones are refused */
#define CANDIDATE_TEXT           512  /* what candidate_write needs at most */
#define CANDIDATE_UFRAG_MAX      256
#define CANDIDATE_PWD_MAX        256

enum candidate_type { CANDIDATE_HOST, CANDIDATE_SRFLX, CANDIDATE_PRFLX, CANDIDATE_RELAY };
enum candidate_transport { CANDIDATE_UDP, CANDIDATE_TCP };

struct candidate {
    char foundation[CANDIDATE_FOUNDATION_MAX + 1];
    uint16_t component; /* 1..256 */
    enum candidate_transport transport;
    uint32_t priority;                 /* never 0 */
    struct net_addr addr;              /* family 0 where name is one: only the port counts then */
    char name[CANDIDATE_NAME_MAX + 1]; /* "": addr is the address; else to be resolved (mDNS) */
    enum candidate_type type;
    struct net_addr related; /* family 0: not told */
};

/* "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host", with or without "a=" before and line end behind.
 * Extensions (tcptype, generation, ufrag, network-id ...) are skipped in pairs. 0; -EBADMSG; -ENOTSUP for a
 * transport or a type that is none of the above. */
int candidate_read(struct candidate *c, struct bytes text);
/* Without "a=" and line end, as JavaScript's RTCIceCandidate has it. 0; -EINVAL for a candidate that
 * candidate_read would refuse; -ENOBUFS. */
int candidate_write(char *out, size_t cap, const struct candidate *c);

struct candidate_credentials {
    char ufrag[CANDIDATE_UFRAG_MAX + 1], pwd[CANDIDATE_PWD_MAX + 1];
};
/* One line of SDP. 0: it was "a=ice-ufrag:" or "a=ice-pwd:" and its value is set; -ENOENT: another line;
 * -EBADMSG: a bad value. */
int candidate_credentials_read(struct candidate_credentials *c, struct bytes line);
/* Both lines, each with CR LF. 0, -EINVAL, -ENOBUFS. */
int candidate_credentials_write(char *out, size_t cap, const struct candidate_credentials *c);

#endif
