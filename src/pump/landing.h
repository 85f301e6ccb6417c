/* Where opened packets lie until they are written to a device. The next packet of a run of segments is opened
 * so that its payload continues the one before: its headers come to lie over the end of that, which is put
 * back as soon as they have been read. So a super-frame is one piece, which the kernel copies faster than
 * many. Pure: it moves bytes and judges none. doc/protocol/pump.md section 4. */
#ifndef WARREN_PUMP_LANDING_H
#define WARREN_PUMP_LANDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LANDING_BYTES    (10 * 65536) /* a batch of the pump, and what alignment costs; one packet at least */
#define LANDING_OVER_MAX 192          /* longer headers lie over nothing */

struct landing {
    uint8_t *bytes; /* LANDING_BYTES */
    size_t used;    /* of them */
    size_t lead;    /* before the payload of a packet with a place of its own, which begins a cache line */
    uint8_t *at;    /* the packet under way, */
    size_t n;       /* its bytes, */
    size_t over;    /* and how many at its begin are another's, kept in `saved` */
    uint8_t saved[LANDING_OVER_MAX];
};

int landing_init(struct landing *l); /* 0 or -ENOMEM; then and after zeroing, landing_free is fine */
void landing_free(struct landing *l);

/* Where a packet of n bytes may be opened to, until one of the three below. end: where the payload of its
 * predecessor ends, which it continues if it can; `headers`: how long its own are then; `before`: how many
 * bytes before `end` they may cover for now. end NULL: a place of its own. NULL: it is full; what it holds
 * should be written, landing_clear called, and then there is room for one packet of 65535 bytes at least. */
uint8_t *landing_place(struct landing *l, size_t n, uint8_t *end, size_t headers, size_t before);
/* Whether that place covers the end of another packet. */
bool landing_covers(const struct landing *l);
/* Its headers have been read, or were nobody's before: what follows them stays, what they cover is put back.
 */
void landing_keep(struct landing *l);
/* The packet under way does not continue the one before: it moves to a place of its own, where it now begins.
 */
uint8_t *landing_move(struct landing *l);
/* Nothing of it stays. */
void landing_drop(struct landing *l);
/* Nothing of all packets is needed any more. */
void landing_clear(struct landing *l);

#endif
