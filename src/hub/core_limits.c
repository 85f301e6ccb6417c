#include "hub/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct limit {
    const char *name;
    size_t at;
    uint32_t standard, min, max;
    const char *what;
} table[] = {
#define LIMIT(field, flag, standard, min, max, what)                                                         \
    {                                                                                                        \
        flag, offsetof(struct hub_limits, field), standard, min, max, what                                   \
    }
    LIMIT(connections, "connections", 20000, 1, 1000000, "connections at once"),
    LIMIT(connections_per_ip, "connections-per-ip", 256, 1, 1000000,
          "connections at once from one address (IPv6: /64)"),
    LIMIT(login_timeout_s, "login-timeout-s", 10, 1, 120, "seconds from connection to login"),
    LIMIT(ping_s, "ping-s", 30, 1, 3600, "seconds between two pings"),
    LIMIT(silent_s, "silent-s", 60, 2, 7200, "seconds of silence after which a connection is gone"),
    LIMIT(token_s, "token-s", 900, 10, 86400, "seconds that an access token is good for"),
    LIMIT(logins_per_minute_ip, "logins-per-minute-ip", 60, 1, 100000,
          "logins per minute from one address (IPv6: /64)"),
    LIMIT(messages_per_s, "messages-per-s", 50, 1, 100000,
          "text messages per second and connection; twice that at once"),
    LIMIT(parties_per_device, "parties-per-device", 32, 1, 1024,
          "parties that a device creates, and joins at once"),
    LIMIT(party_members, "party-members", 1024, 1, 1024, "members of a party"),
    LIMIT(entries_per_minute, "entries-per-minute", 60, 1, 100000,
          "changes of party logs per minute and device"),
    LIMIT(entries_per_minute_ip, "entries-per-minute-ip", 600, 1, 1000000,
          "changes of party logs per minute from one address (IPv6: /64)"),
    LIMIT(text_queue_bytes, "text-queue-bytes", 1048576, 131072, 1073741824,
          "bytes of text that wait for a slow connection before it is closed"),
    LIMIT(relay_queue_bytes, "relay-queue-bytes", 524288, 16384, 1073741824,
          "bytes of relay frames that wait for a slow connection before the oldest are dropped"),
    LIMIT(relay_bytes_per_s, "relay-bytes-per-s", 0, 0, UINT32_MAX,
          "bytes per second that a device relays; 0: no limit"),
    LIMIT(parties_cached, "parties-cached", 1024, 1, 1000000,
          "party logs kept in memory while nobody is subscribed"),
    LIMIT(queue_memory_mib, "queue-memory-mib", 512, 8, 1048576,
          "mebibytes that wait for all slow connections together"),
    LIMIT(http_per_minute_ip, "http-per-minute-ip", 600, 1, 1000000,
          "HTTP requests per minute from one address (IPv6: /64)"),
#undef LIMIT
};
#define LIMIT_COUNT (sizeof table / sizeof *table)

static uint32_t *field(struct hub_limits *l, const struct limit *t)
{
    return (uint32_t *)(void *)((char *)l + t->at);
}

void hub_limits_default(struct hub_limits *l)
{
    memset(l, 0, sizeof *l);
    for (size_t i = 0; i < LIMIT_COUNT; i++)
        *field(l, &table[i]) = table[i].standard;
}

int hub_limit_set(struct hub_limits *l, const char *name, const char *value)
{
    size_t i = 0;
    char *end;
    while (i < LIMIT_COUNT && strcmp(table[i].name, name) != 0)
        i++;
    if (i == LIMIT_COUNT)
        return -ENOENT;
    if (value[0] < '0' || value[0] > '9')
        return -EINVAL;
    errno = 0;
    unsigned long long v = strtoull(value, &end, 10);
    if (errno || *end || v < table[i].min || v > table[i].max)
        return -EINVAL;
    *field(l, &table[i]) = (uint32_t)v;
    return 0;
}

const char *hub_limit_at(size_t i, const struct hub_limits *l, uint32_t *value, const char **what)
{
    if (i >= LIMIT_COUNT)
        return NULL;
    memcpy(value, (const char *)l + table[i].at, sizeof *value);
    *what = table[i].what;
    return table[i].name;
}
