/* The relay frames that wait for one connection: control frames in one line, data frames in a line for each
 * sender, so that who sends much neither displaces nor delays who sends little. Senders share FRAMES_LINES
 * lines by their relay index, which is random; those of one line share its fortune.
 *
 * Lines take turns (deficit round robin, FRAMES_TURN bytes each). Where room is needed, the oldest frame of
 * the longest line goes. Frames stand in chunks as they go over the wire, one behind the other, so that many
 * are copied at once. Memory comes with the first frame and goes with the last. Nothing here limits: the
 * caller does, by `bytes` and `held`. */
#ifndef WARREN_HUB_FRAMES_INT_H
#define WARREN_HUB_FRAMES_INT_H

#include "base/buf.h"

#define FRAMES_LINES 8
#define FRAMES_TURN  2048
#define FRAMES_RUN_MAX                                                                                       \
    16392 /* bytes that are added at once: one frame of the largest size, or many small ones */

struct frames_chunk;

struct frames_line {
    struct frames_chunk *first, *last;
    size_t bytes;
};

struct frames {
    struct frames_line control, data[FRAMES_LINES];
    size_t bytes, held; /* of the frames; memory of the chunks */
    uint32_t credit[FRAMES_LINES];
    uint8_t turn[FRAMES_LINES], turns; /* the lines that are not empty, the next one first */
    bool begun;                        /* the next one has had its credit for this turn */
};

bool frames_empty(const struct frames *f);
bool frames_no_data(const struct frames *f);
bool frames_no_control(const struct frames *f);
/* Adds a row of whole frames (at most FRAMES_RUN_MAX bytes), each stamped with peer. `sender` chooses the
 * line of data frames. 0, or -ENOMEM and nothing was added. */
int frames_add(struct frames *f, bool control, uint32_t sender, uint32_t peer, struct bytes run);
/* Drops the oldest data frame of the longest line; without data the oldest control frame. */
void frames_drop(struct frames *f);
/* Moves frames to the end of out, as long as it has no more than `until` bytes then, but at least one if
 * there is one (and memory). */
void frames_take_control(struct frames *f, struct buf *out, size_t until);
void frames_take_data(struct frames *f, struct buf *out, size_t until);
/* Forgets the data frames and says how many they were. */
uint32_t frames_clear_data(struct frames *f);
void frames_clear(struct frames *f);

#endif
