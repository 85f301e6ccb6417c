/* A table of limits and intervals: rows that say where a value stands in its owner's struct, what people call it, its standard, its
 * range and what it means. Each owner has one table, from which flags, the environment, files, help and documents speak. Every
 * value is a uint32_t. */
#ifndef WARREN_BASE_LIMITS_H
#define WARREN_BASE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

struct limit {
    const char *name; /* "ping-s" */
    size_t at;        /* offset in the owner's struct */
    uint32_t standard, min, max;
    const char *what; /* unit and meaning, for people */
};
#define LIMIT(owner, field, name, standard, min, max, what)                                                  \
    {                                                                                                        \
        name, offsetof(owner, field), standard, min, max, what                                               \
    }

void limits_standard(const struct limit *table, size_t count, void *owner);
/* Sets one by its name to plain digits within its range. 0; -ENOENT, -EINVAL: nothing changed. */
int limits_set(const struct limit *table, size_t count, void *owner, const char *name, const char *value);
/* The name of row i, its value in owner and its meaning; NULL behind the last. */
const char *limits_at(const struct limit *table, size_t count, const void *owner, size_t i, uint32_t *value,
                      const char **what);

#endif
