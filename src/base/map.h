/* A hash table from keys of one fixed length to pointers, with a limit. Keys are copied; the values belong to
 * the caller. The hash is keyed by a seed so that strangers cannot choose collisions. */
#ifndef WARREN_BASE_MAP_H
#define WARREN_BASE_MAP_H

#include "base/bytes.h"

struct map;

/* key_len 1..64. NULL when memory fails. */
struct map *map_new(size_t key_len, size_t limit, uint64_t seed);
void map_free(struct map *m);
/* Puts or replaces. 0, -ENOSPC at the limit, -ENOMEM. value must not be NULL. */
int map_put(struct map *m, const void *key, void *value);
void *map_get(const struct map *m, const void *key);
/* The value that was there, or NULL. */
void *map_del(struct map *m, const void *key);
size_t map_count(const struct map *m);
/* Walks all: start with *pos = 0, returns NULL at the end. Deleting the entry just returned is allowed. */
void *map_next(const struct map *m, size_t *pos);

#endif
