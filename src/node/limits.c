#include "node/engine.h"

#include <string.h>

#include "base/limits.h"
#include "pump/plane.h"

#define ROW(...) LIMIT(struct node_limits, __VA_ARGS__)

static const struct limit table[] = {
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
    ROW(mtu, "mtu", 1380, 1280, 9000, "of the devices, bytes of IP"),
    ROW(direct, "direct", 1, 0, 1, "1: direct paths are looked for; 0: all stays on the hub's relays"),
    ROW(search, "search", 1, 0, 1,
        "1: searches through hard NATs, with many sockets and probes, are allowed"),
    ROW(search_sockets, "search-sockets", 128, 0, 100000,
        "opened by searches in a minute, at first four times as many; 0: no limit"),
    ROW(port_mapping, "port-mapping", 1, 0, 1, "1: the router is asked for a port (PCP, NAT-PMP, UPnP)"),
    ROW(lan_discovery, "lan-discovery", 1, 0, 1, "1: members on one LAN find each other without the hub"),
    ROW(relay_for_members, "relay-for-members", 0, 0, 1,
        "1: members of our parties may send through this node"),
    ROW(relay_kib_per_s, "relay-kib-per-s", 1024, 0, 10485760,
        "for one circuit through this node; 0: no limit"),
    ROW(pump, "pump", 1, 0, 1, "1: worker threads move packets; 0: the thread that does everything else, too"),
    ROW(pump_threads, "pump-threads", 0, 0, PLANE_USERS_MAX, "of them; 0: half as many as there are cores, 2 to 8"),
    ROW(port, "port", 0, 0, 65535, "UDP and TCP port of this node; 0: a random one"),
};
#define ROWS (sizeof table / sizeof table[0])

void node_limits_default(struct node_limits *l)
{
    memset(l, 0, sizeof *l);
    limits_standard(table, ROWS, l);
}

int node_limit_set(struct node_limits *l, const char *name, const char *value)
{
    return limits_set(table, ROWS, l, name, value);
}

const char *node_limit_at(size_t i, const struct node_limits *l, uint32_t *value, const char **what)
{
    return limits_at(table, ROWS, l, i, value, what);
}
