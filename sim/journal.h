/* The hub's store as the simulator keeps it: store_memory behind a journal of every change, so that a
 * scenario can let a hub lose its newest changes (a restored backup, or malice) and fail writes on demand. */
#ifndef WARREN_SIM_JOURNAL_H
#define WARREN_SIM_JOURNAL_H

#include "hub/store.h"

struct journal;
struct journal *journal_new(void);
void journal_free(struct journal *j);
/* What a hub is given; stays valid over rollbacks. Its close does nothing. */
struct store journal_store(struct journal *j);
size_t journal_mark(const struct journal *j);
/* Forgets every change after the mark. The hub that used it must be gone. */
void journal_rollback(struct journal *j, size_t mark);
/* The next n changes fail with -EIO. */
void journal_fail(struct journal *j, unsigned n);

#endif
