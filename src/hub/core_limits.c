#include "hub/core.h"

#include <string.h>

#include "base/limits.h"

#define ROW(...) LIMIT(struct hub_limits, __VA_ARGS__)

static const struct limit table[] = {
    ROW(connections, "connections", 20000, 1, 1000000, "connections at once"),
    ROW(connections_per_ip, "connections-per-ip", 256, 1, 1000000,
        "connections at once from one address (IPv6: /64)"),
    ROW(login_timeout_s, "login-timeout-s", 10, 1, 120, "seconds from connection to login"),
    ROW(ping_s, "ping-s", 30, 1, 3600, "seconds between two pings"),
    ROW(silent_s, "silent-s", 60, 2, 7200, "seconds of silence after which a connection is gone"),
    ROW(token_s, "token-s", 900, 10, 86400, "seconds that an access token is good for"),
    ROW(logins_per_minute_ip, "logins-per-minute-ip", 60, 1, 100000,
        "logins per minute from one address (IPv6: /64)"),
    ROW(messages_per_s, "messages-per-s", 50, 1, 100000,
        "text messages per second and connection; twice that at once"),
    ROW(parties_per_device, "parties-per-device", 32, 1, 1024,
        "parties that a device creates, and joins at once"),
    ROW(party_members, "party-members", 1024, 1, 1024, "members of a party"),
    ROW(entries_per_minute, "entries-per-minute", 60, 1, 100000,
        "changes of party logs per minute and device"),
    ROW(entries_per_minute_ip, "entries-per-minute-ip", 600, 1, 1000000,
        "changes of party logs per minute from one address (IPv6: /64)"),
    ROW(text_queue_bytes, "text-queue-bytes", 1048576, 131072, 1073741824,
        "bytes of text that wait for a slow connection before it is closed"),
    ROW(relay_queue_bytes, "relay-queue-bytes", 524288, 16384, 1073741824,
        "bytes of relay frames that wait for a slow connection before the oldest are dropped"),
    ROW(relay_bytes_per_s, "relay-bytes-per-s", 0, 0, UINT32_MAX,
        "bytes per second that a device relays; 0: no limit"),
    ROW(parties_cached, "parties-cached", 1024, 1, 1000000,
        "party logs kept in memory while nobody is subscribed"),
    ROW(queue_memory_mib, "queue-memory-mib", 512, 8, 1048576,
        "mebibytes that wait for all slow connections together"),
    ROW(http_per_minute_ip, "http-per-minute-ip", 600, 1, 1000000,
        "HTTP requests per minute from one address (IPv6: /64)"),
    ROW(udp_lifetime_s, "udp-lifetime-s", 120, 10, 3600, "seconds that a silent UDP binding lives"),
    ROW(udp_binds_per_s, "udp-binds-per-s", 5, 1, 1000, "UDP bindings that a device asks for per second"),
    ROW(stun_per_s, "stun-per-s", 50, 1, 1000000,
        "STUN requests per second from one network (/24, IPv6: /48); four times that at once"),
};
#define ROWS (sizeof table / sizeof table[0])

void hub_limits_default(struct hub_limits *l)
{
    memset(l, 0, sizeof *l);
    limits_standard(table, ROWS, l);
}

int hub_limit_set(struct hub_limits *l, const char *name, const char *value)
{
    return limits_set(table, ROWS, l, name, value);
}

const char *hub_limit_at(size_t i, const struct hub_limits *l, uint32_t *value, const char **what)
{
    return limits_at(table, ROWS, l, i, value, what);
}
