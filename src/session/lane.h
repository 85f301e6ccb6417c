/* The keys of one epoch as payload needs them: what seals and opens data packets, with their counters and the replay window. The only part of
 * a session that several threads may use at once, each under a user number of its own (0: the thread that the session belongs to).
 *
 * A lane outlives its session for as long as somebody holds it (lane_hold, lane_drop). Its counter only rises, so no nonce is ever used twice,
 * whoever seals. doc/protocol/session.md section 4, doc/protocol/pump.md. */
#ifndef WARREN_SESSION_LANE_H
#define WARREN_SESSION_LANE_H

#include "crypto/aead.h"
#include "session/replay.h"
#include "wire/data.h"

#define LANE_USERS_MAX 17 /* the session's thread and the workers of the pump */

struct lane;

struct lane_config {
    enum aead_alg alg;
    const uint8_t *tx_key, *rx_key; /* AEAD_KEY_LEN each; copied */
    uint8_t epoch;                  /* as in the header */
    uint32_t index, peer_index;     /* ours (what the peer writes) and the peer's */
};
struct lane *lane_new(const struct lane_config *c); /* held once; NULL when memory fails */
struct lane *lane_hold(struct lane *l);
void lane_drop(struct lane *l); /* the last one wipes; NULL is fine */

/* Takes n counters in a row, the first into *first: 0, or -EKEYEXPIRED where that would pass `most`: none is taken then. */
int lane_take(struct lane *l, uint64_t n, uint64_t most, uint64_t *first);
/* Seals in place under a counter that was taken: payload of n bytes at buf + DATA_HEADROOM, DATA_TAILROOM behind. 0, -EIO, -ENOMEM. Does not count:
 * lane_sealed does, once for many. */
int lane_seal(struct lane *l, unsigned user, uint64_t counter, const struct inner_header *inner, uint8_t *buf, size_t n);
/* The same from another place: the payload at frame, with INNER_HEADER_LEN bytes before it that are overwritten, to a datagram at out. */
int lane_seal_to(struct lane *l, unsigned user, uint64_t counter, const struct inner_header *inner, uint8_t *frame, size_t n, uint8_t *out);
/* packets of `bytes` of payload together; data: they were the owner's, not the session's own. */
void lane_sealed(struct lane *l, uint64_t packets, uint64_t bytes, bool data);

/* Opening judges and changes the replay window, so it happens between these two: once for a run of packets, never waited for while anything else is
 * waited for. */
void lane_lock(struct lane *l);
void lane_unlock(struct lane *l);
enum lane_verdict { LANE_OPEN, LANE_BAD_TAG, LANE_SEEN, LANE_OLD, LANE_NO_MEMORY };
/* A whole data packet whose header h names this lane: decrypted in place (inner header and payload from p + DATA_HEADER_LEN on). Marks nothing. */
enum lane_verdict lane_open(struct lane *l, unsigned user, const struct data_header *h, uint8_t *p, size_t n);
/* The same to another place, n - DATA_HEADER_LEN - DATA_TAG_LEN bytes of it; where it fails, they are wiped or as they were. */
enum lane_verdict lane_open_to(struct lane *l, unsigned user, const struct data_header *h, const uint8_t *p, size_t n, uint8_t *out);
/* The opened packet is good: its counter is used up. */
void lane_mark(struct lane *l, uint64_t counter);
void lane_opened(struct lane *l, uint64_t packets, uint64_t bytes, bool data);

struct lane_totals {
    uint64_t counter;                                    /* the next one to be taken */
    uint64_t sealed_bytes, opened, opened_bytes;         /* all packets, inner headers included */
    uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes; /* the owner's data, payload alone */
};
void lane_totals(const struct lane *l, struct lane_totals *t);
uint8_t lane_epoch(const struct lane *l);
uint32_t lane_index(const struct lane *l);
size_t lane_memory(void);

/* Tests begin near an end of the counter's range. */
void lane_start_at(struct lane *l, uint64_t counter);

#endif
