/* How large a datagram passes on one path: Datagram Packetization Layer Path MTU Discovery (RFC 8899), fitted
 * to paths on which many sizes can be asked at once (doc/protocol/paths.md section 6). A part of path.c: one
 * struct a path, pulled and driven by it.
 *
 * Sizes are tried in sets, all of a set in one round. A round begins and ends with a small probe: silence of
 * the large ones tells something only while small ones pass, so a round in which nothing came back is
 * repeated and judges nothing. */
#ifndef WARREN_PATH_PATH_MTU_INT_H
#define WARREN_PATH_PATH_MTU_INT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/rng.h"
#include "path/path.h"

#define MTU_SET_MAX 12 /* sizes in one round */
#define MTU_RING    48 /* probes that an answer is still known to: three rounds and some */
#define MTU_TRIES   3  /* rounds without an answer: the size does not pass (RFC 8899 MAX_PROBES) */
#define MTU_GRAIN   8  /* the search ends when it is known this exactly */
#define MTU_SMALL                                                                                            \
    128 /* the small probe of each round: larger than an unpadded one, so that it can be told from it */
#define MTU_WAIT_MIN (200 * MSEC) /* a round lasts max(this, 2 srtt) */
#define MTU_CHECK    (30 * SEC)   /* a path in use is asked so often whether its size still passes */
#define MTU_MUTE_MAX 4            /* rounds of a path that answers nothing last up to 2^this times as long */

enum mtu_work { MTU_IDLE, MTU_SEARCH, MTU_CHECKING };

struct mtu_probe {
    uint64_t nonce;
    usec_t sent; /* 0: none, or answered */
    uint16_t size;
};

struct path_mtu {
    uint16_t max;     /* 0: a stream; nothing is looked for */
    uint16_t value;   /* what to send at most; 0: not even PATH_MTU_MIN passes */
    uint16_t proven;  /* the largest that passed; 0: none */
    uint16_t refuted; /* the smallest that did not; max + 1: none */
    bool known;
    bool used; /* since the last check */
    enum mtu_work work;
    uint16_t size[MTU_SET_MAX]; /* still unanswered ones of this set, falling */
    size_t count;
    size_t next; /* the next of the round to be sent: 0 a small one, then size[next - 1], then a small one */
    unsigned tries; /* rounds that were judged */
    unsigned mute;  /* rounds in a row in which nothing came back */
    usec_t began;   /* the round; 0: it has not */
    usec_t due;     /* when it ends, or may begin */
    usec_t proof;   /* when the youngest of the answered probes of the path was sent */
    usec_t check_at, again_at;
    struct mtu_probe ring[MTU_RING];
    size_t ring_next;
};

/* max: PATH_MTU_MAX less what the owner's transport adds; 0 for a stream. */
void mtu_init(struct path_mtu *m, uint16_t max, usec_t now);
/* The path is alive and has a measured srtt. The next probe of the round, if one is to be sent. */
bool mtu_output(struct path_mtu *m, usec_t now, usec_t srtt, const struct rng *rng, uint64_t *nonce,
                uint16_t *size);
/* true: the answer to one of these probes; *sent as it was. */
bool mtu_answer(struct path_mtu *m, uint64_t nonce, usec_t now, usec_t *sent);
/* Some probe of this path, sent then, was answered. */
void mtu_proof(struct path_mtu *m, usec_t sent);
void mtu_used(struct path_mtu *m);
void mtu_too_big(struct path_mtu *m, size_t size, usec_t now);
/* The way may be another one now (the path came back, the address changed): everything is to be asked again.
 */
void mtu_doubt(struct path_mtu *m, usec_t now);
void mtu_tick(struct path_mtu *m, usec_t now);
usec_t mtu_wake(const struct path_mtu *m);

#endif
