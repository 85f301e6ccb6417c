/* Members that relay, and a hand on the wires between each pair of machines: what the scenarios about
 * circuits share. */
#ifndef WARREN_SCENARIO_RELAYING_H
#define WARREN_SCENARIO_RELAYING_H

#include "sim/scenario.h"

/* UDP and streams between these two machines vanish. */
static bool apart[WORLD_NODES_MAX][WORLD_NODES_MAX];
static bool hub_mute[WORLD_NODES_MAX]; /* nothing goes to the hub, but nobody is told */

static inline struct node_host *whose(const struct host *h)
{
    for (size_t i = 0; i < world->node_count; i++)
        if (world->nodes[i]->host == h)
            return world->nodes[i];
    return NULL;
}

static inline struct node_host *whose_address(const struct net_addr *a)
{
    for (size_t i = 0; i < world->node_count; i++) {
        const struct host *h = world->nodes[i]->host;
        if (net_ip_equal(a, a->family == 4 ? &h->ip4 : &h->ip6))
            return world->nodes[i];
    }
    return NULL;
}

static inline bool keep_apart(void *arg, struct host *h, struct packet *p)
{
    const struct node_host *from = whose(h), *to = whose_address(&p->to);
    (void)arg;
    if (from && !to && hub_mute[from->number])
        return false;
    return !from || !to || !apart[from->number][to->number];
}

static inline void between(struct node_host *a, struct node_host *b, bool passes)
{
    apart[a->number][b->number] = apart[b->number][a->number] = !passes;
}

static inline struct node_host *relaying(const char *name)
{
    struct node_host_config c;
    node_host_config_default(&c);
    c.limits.relay_for_members = 1;
    return machine_at(NULL, name, &c);
}

/* Everybody looks for direct paths from now on, and nobody has any but what `between` leaves. */
static inline void wires_in_hand(void)
{
    memset(apart, 0, sizeof apart);
    memset(hub_mute, 0, sizeof hub_mute);
    world->direct = world->reordering_allowed = true;
    world->net->tap = keep_apart;
    world->net->tap_arg = NULL;
}

static inline enum path_kind on(struct node_host *a, struct node_host *b)
{
    return path_kind(a, b);
}

static inline bool both_on(struct node_host *a, struct node_host *b, enum path_kind k)
{
    return on(a, b) == k && on(b, a) == k;
}

static inline bool both_see(struct node_host *a, struct node_host *b)
{
    bool there = sees(a, b), back = sees(b, a); /* both are asked: asking begins the pings */
    return there && back;
}

static inline bool is_direct(struct node_host *a, struct node_host *b)
{
    enum path_kind k = on(a, b);
    return k == PATH_LAN || k == PATH_UDP || k == PATH_TLS;
}

/* What is true now stays so; asking for it begins the pings that some of it is about. */
#define KEEPS(t, condition)                                                                                  \
    do {                                                                                                     \
        WITHIN(1 * SEC, condition);                                                                          \
        STAYS(t, condition);                                                                                 \
    } while (0)

/* A number of the dump's part about circuits. */
static inline int64_t circuits_number(struct node_host *n, const char *field)
{
    json_t *dump = NULL;
    EXPECT(!ask(n, json_pack("{s:s}", "cmd", "debug-dump"), &dump));
    json_t *value = json_object_get(json_object_get(dump, "circuits"), field);
    int64_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    json_decref(dump);
    return number;
}

/* The hops of n's first circuit: "NAME > NAME"; "" where there is none. */
static inline const char *circuit_hops(struct node_host *n)
{
    static char text[256];
    json_t *dump = NULL, *hops, *hop;
    size_t i;
    text[0] = 0;
    EXPECT(!ask(n, json_pack("{s:s}", "cmd", "debug-dump"), &dump));
    hops = json_object_get(json_array_get(json_object_get(json_object_get(dump, "circuits"), "list"), 0),
                           "hops");
    json_array_foreach(hops, i, hop) snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s",
                                              i ? " > " : "", json_string_value(hop));
    json_decref(dump);
    return text;
}

static inline const char *route(struct node_host *n, struct node_host *to, json_t *via)
{
    return ask(n, json_pack("{s:s, s:s, s:o}", "cmd", "route", "peer", to->name, "via", via), NULL);
}

#endif
