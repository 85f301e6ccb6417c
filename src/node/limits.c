#include "node/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct row {
    const char *name;
    size_t at;
    bool wide; /* 32 bits */
    uint32_t value, min, max;
    const char *what;
};

#define ROW(field, text, value, min, max, what)                                                              \
    {                                                                                                        \
        text, offsetof(struct node_limits, field), true, value, min, max, what                               \
    }

static const struct row rows[] = {
    ROW(backoff_min_ms, "backoff-min-ms", 1000, 10, 3600000,
        "first wait before the hub is tried again, doubled each time"),
    ROW(backoff_max_ms, "backoff-max-ms", 30000, 10, 3600000, "longest wait before the hub is tried again"),
    ROW(hub_silent_s, "hub-silent-s", 60, 2, 86400,
        "a hub that is silent for so long is given up and tried anew"),
    ROW(hub_ping_s, "hub-ping-s", 25, 1, 86400, "between pings to the hub"),
    ROW(parties, "parties", 16, 1, 64, "parties at once"),
    ROW(handshakes, "handshakes", 16, 1, 4096, "handshakes begun by this node at once"),
    ROW(half_open, "half-open", 64, 1, 4096, "handshakes begun by others at once"),
    ROW(hellos_per_s, "hellos-per-s", 50, 1, 100000, "handshake requests judged per second"),
    ROW(eager_peers, "eager-peers", 64, 0, 1024, "parties up to this size connect every pair at once"),
    ROW(relay_queue_bytes, "relay-queue-bytes", 1048576, 32768, 268435456,
        "data waiting for the hub; then the oldest goes"),
    ROW(request_s, "request-s", 30, 1, 3600, "a command gives up after so long"),
    {"mtu", offsetof(struct node_limits, mtu), false, 1380, 1280, 9000, "of the devices, bytes of IP"},
};
#define ROWS (sizeof rows / sizeof rows[0])

static uint32_t row_get(const struct row *r, const struct node_limits *l)
{
    const char *p = (const char *)l + r->at;
    return r->wide ? *(const uint32_t *)(const void *)p : *(const uint16_t *)(const void *)p;
}

static void row_set(const struct row *r, struct node_limits *l, uint32_t value)
{
    char *p = (char *)l + r->at;
    if (r->wide)
        *(uint32_t *)(void *)p = value;
    else
        *(uint16_t *)(void *)p = (uint16_t)value;
}

void node_limits_default(struct node_limits *l)
{
    memset(l, 0, sizeof *l);
    for (size_t i = 0; i < ROWS; i++)
        row_set(&rows[i], l, rows[i].value);
}

int node_limit_set(struct node_limits *l, const char *name, const char *value)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        size_t len = strlen(value);
        if (len == 0 || len > 10 || strspn(value, "0123456789") != len)
            return -EINVAL;
        unsigned long long v = strtoull(value, NULL, 10);
        if (v < rows[i].min || v > rows[i].max)
            return -EINVAL;
        row_set(&rows[i], l, (uint32_t)v);
        return 0;
    }
    return -ENOENT;
}

const char *node_limit_at(size_t i, const struct node_limits *l, uint32_t *value, const char **what)
{
    if (i >= ROWS)
        return NULL;
    *value = row_get(&rows[i], l);
    *what = rows[i].what;
    return rows[i].name;
}
