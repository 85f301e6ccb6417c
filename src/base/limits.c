#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 10 /* of UINT32_MAX */

static void put(const struct limit *l, void *owner, uint32_t value)
{
    memcpy((char *)owner + l->at, &value, sizeof value);
}

void limits_standard(const struct limit *table, size_t count, void *owner)
{
    for (size_t i = 0; i < count; i++)
        put(&table[i], owner, table[i].standard);
}

int limits_set(const struct limit *table, size_t count, void *owner, const char *name, const char *value)
{
    size_t i = 0, len = strlen(value);
    while (i < count && strcmp(table[i].name, name) != 0)
        i++;
    if (i == count)
        return -ENOENT;
    if (len == 0 || len > DIGITS_MAX || strspn(value, "0123456789") != len)
        return -EINVAL;
    unsigned long long v = strtoull(value, NULL, 10);
    if (v < table[i].min || v > table[i].max)
        return -EINVAL;
    put(&table[i], owner, (uint32_t)v);
    return 0;
}

const char *limits_at(const struct limit *table, size_t count, const void *owner, size_t i, uint32_t *value,
                      const char **what)
{
    if (i >= count)
        return NULL;
    memcpy(value, (const char *)owner + table[i].at, sizeof *value);
    *what = table[i].what;
    return table[i].name;
}
