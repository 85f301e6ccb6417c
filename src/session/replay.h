/* Which counters of one receive key were seen: a sliding bitmap of REPLAY_WINDOW counters behind the highest
 * (RFC 6479's way: whole words are cleared as the window moves, nothing is shifted). */
#ifndef WARREN_SESSION_REPLAY_H
#define WARREN_SESSION_REPLAY_H

#include <stdint.h>

#define REPLAY_WINDOW 8192
/* One word more than the window needs, because the window's ends need not stand at a word's edge. */
#define REPLAY_WORDS (REPLAY_WINDOW / 64 + 1)

struct replay {
    uint64_t next; /* the highest counter seen and one; 0: none yet */
    uint64_t words[REPLAY_WORDS];
};

enum replay_verdict { REPLAY_FRESH, REPLAY_SEEN, REPLAY_OLD };

void replay_init(struct replay *r);
/* Judges without changing anything: the packet is not authenticated yet. Counter UINT64_MAX is always OLD. */
enum replay_verdict replay_check(const struct replay *r, uint64_t counter);
/* Remembers a counter that replay_check called FRESH. */
void replay_mark(struct replay *r, uint64_t counter);

#endif
