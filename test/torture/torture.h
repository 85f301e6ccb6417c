/* Fault torture: a story runs again and again, and each time the k-th call that can fail does, for k = 1, 2,
 * 3 ..., until the story runs through. What can fail is what our own objects call: the linker's --wrap sends
 * their malloc, calloc, realloc, write, fsync, rename ... here (TORTURE_WRAPPED in meson.build). The shared
 * libraries, OpenSSL and jansson among them, keep theirs.
 *
 * Only calls between torture_on and torture_off count, so that the story's own arrangements do not fail. A
 * story that is long is sampled: `stride` above 1 takes steps of 1 to 2 * stride - 1 by a seeded generator;
 * the seed is printed, and WARREN_SEED=n repeats it; WARREN_K=n runs with that call only.
 * doc/notes/torture.md. */
#ifndef WARREN_TEST_TORTURE_TORTURE_H
#define WARREN_TEST_TORTURE_TORTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

/* Which calls can fail. */
enum torture_class {
    TORTURE_MEMORY = 1, /* malloc, calloc, realloc, strdup, strndup: ENOMEM */
    TORTURE_FILE =
        2, /* open, mkostemp, write (also half of it), fsync, fchmod, close, rename: ENOSPC or EIO */
    TORTURE_OWN = 4,  /* torture_fails, from a story's own doubles (a store, SQLite's file system) */
    TORTURE_OTHER = 8 /* a second kind of those (SQLite's memory) */
};

enum torture_mode {
    TORTURE_ONCE,
    TORTURE_FROM,
    TORTURE_MODES
}; /* the k-th alone; the k-th and all after it */

void torture_on(void);
void torture_off(void);
/* Between the two nothing fails and nothing counts: for a part of a story that only arranges the next. */
void torture_pause(void);
void torture_resume(void);
/* For doubles: whether this call must fail. */
bool torture_fails(enum torture_class c);
/* Whether a call has failed in this run of the story. */
bool torture_hit(void);
/* The mode of this run; what a story may demand depends on it. */
enum torture_mode torture_mode(void);
uint64_t torture_k(void);
/* From now to the end of this run nothing fails any more: it has recovered. */
void torture_heal(void);

/* Runs the story in both modes. Fails the test where no call of it could fail. */
void torture(const char *name, unsigned classes, unsigned stride, void (*story)(void));

/* Under which k and mode a story failed is said by torture() when cmocka jumps out of it. Use as a group's
 * teardown. */
int torture_report(void **state);

#endif
