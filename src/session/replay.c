#include "session/replay.h"

#include <string.h>

void replay_init(struct replay *r)
{
    memset(r, 0, sizeof *r);
}

static uint64_t bit_of(uint64_t counter)
{
    return (uint64_t)1 << (counter % 64);
}

enum replay_verdict replay_check(const struct replay *r, uint64_t counter)
{
    if (counter == UINT64_MAX)
        return REPLAY_OLD;
    if (counter >= r->next)
        return REPLAY_FRESH;
    if (r->next - counter > REPLAY_WINDOW)
        return REPLAY_OLD;
    return r->words[counter / 64 % REPLAY_WORDS] & bit_of(counter) ? REPLAY_SEEN : REPLAY_FRESH;
}

/* Words that the window enters still hold counters from one turn of the ring ago. */
static void clear_between(struct replay *r, uint64_t old_word, uint64_t new_word)
{
    uint64_t n = new_word - old_word;
    if (n > REPLAY_WORDS)
        n = REPLAY_WORDS;
    for (uint64_t i = 0; i < n; i++)
        r->words[(new_word - i) % REPLAY_WORDS] = 0;
}

void replay_mark(struct replay *r, uint64_t counter)
{
    if (counter >= r->next) {
        if (r->next > 0)
            clear_between(r, (r->next - 1) / 64, counter / 64);
        r->next = counter + 1;
    }
    r->words[counter / 64 % REPLAY_WORDS] |= bit_of(counter);
}
