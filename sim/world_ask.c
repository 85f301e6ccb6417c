/* What people do and look at in a world: the control protocol's requests (doc/protocol/control.md) and what
 * status says. */
#include "sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (60 * SEC)
#define DEVICE_MAX (5 * SEC)

/* The answer as JSON, owned by the caller; fails the scenario where none comes. */
static json_t *answer(struct node_host *n, json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    uint32_t id = node_host_ask(n, text);
    usec_t until = world_age() + ANSWER_MAX;
    char *reply;
    while (!(reply = node_host_answer(n, id))) {
        if (world_age() >= until)
            world_fail(__FILE__, __LINE__, "%s gives no answer to %s", n->name, text);
        world_run(WORLD_STEP, __FILE__, __LINE__);
    }
    json_t *root = json_loads(reply, 0, NULL);
    if (!root)
        world_fail(__FILE__, __LINE__, "%s answers what is no JSON: %s", n->name, reply);
    free(reply);
    free(text);
    return root;
}

const char *ask(struct node_host *n, json_t *request, json_t **result)
{
    static char code[64];
    json_t *root = answer(n, request);
    bool ok = json_is_true(json_object_get(root, "ok"));
    const char *word = json_string_value(json_object_get(root, "code"));
    const char *text = json_string_value(json_object_get(root, "error"));
    snprintf(code, sizeof code, "%s", word ? word : "?");
    world->refusal[0] = 0;
    if (!ok)
        snprintf(world->refusal, sizeof world->refusal, "%s: %s", code, text ? text : "?");
    if (result)
        *result = json_incref(json_object_get(root, "result"));
    json_decref(root);
    return ok ? NULL : code;
}

static void must(const char *refused, struct node_host *n, const char *what)
{
    if (refused)
        world_fail(__FILE__, __LINE__, "%s cannot %s: %s", n->name, what, world->refusal);
}

/* ---- Status. */

static json_t *status_of(struct node_host *n)
{
    json_t *result = NULL;
    must(ask(n, json_pack("{s:s}", "cmd", "status"), &result), n, "tell its status");
    return result;
}

/* Borrowed from status. */
static json_t *party_in(json_t *status, const char *id)
{
    json_t *parties = json_object_get(status, "parties");
    for (size_t i = 0; i < json_array_size(parties); i++) {
        json_t *p = json_array_get(parties, i);
        const char *its = json_string_value(json_object_get(p, "id"));
        if (its && strcmp(its, id) == 0)
            return p;
    }
    return NULL;
}

static json_t *peer_in(json_t *party, const char *name)
{
    json_t *peers = json_object_get(party, "peers");
    for (size_t i = 0; i < json_array_size(peers); i++) {
        json_t *p = json_array_get(peers, i);
        const char *its = json_string_value(json_object_get(p, "name"));
        if (its && strcmp(its, name) == 0)
            return p;
    }
    return NULL;
}

const char *peer_text(struct node_host *a, struct node_host *b, const char *field)
{
    static char text[128];
    text[0] = 0;
    if (!a->node || a->asleep || !world->party)
        return text;
    json_t *status = status_of(a);
    json_t *value = json_object_get(peer_in(party_in(status, world->party->id), b->name), field);
    if (json_is_string(value))
        snprintf(text, sizeof text, "%s", json_string_value(value));
    json_decref(status);
    return text;
}

int64_t peer_number(struct node_host *a, struct node_host *b, const char *field)
{
    json_t *status = status_of(a);
    json_t *value = json_object_get(peer_in(party_in(status, world->party->id), b->name), field);
    int64_t number = json_is_number(value) ? (int64_t)json_number_value(value) : -1;
    json_decref(status);
    return number;
}

enum path_kind path_kind(struct node_host *a, struct node_host *b)
{
    const char *path = peer_text(a, b, "path");
    for (int k = 0; k < PATH_KIND_COUNT; k++)
        if (strcmp(path, path_kind_name((enum path_kind)k)) == 0)
            return (enum path_kind)k;
    return PATH_NONE;
}

bool connected(struct node_host *a, struct node_host *b)
{
    return strcmp(peer_text(a, b, "state"), "connected") == 0;
}

static bool connected_to_all(struct node_host *n)
{
    json_t *status = status_of(n);
    json_t *party = party_in(status, world->party->id);
    bool all = party != NULL;
    for (size_t i = 0; i < world->node_count; i++) {
        struct node_host *other = world->nodes[i];
        if (other == n || !world->party->member[i] || !other->node || other->asleep)
            continue;
        const char *state = json_string_value(json_object_get(peer_in(party, other->name), "state"));
        all &= state && strcmp(state, "connected") == 0;
    }
    json_decref(status);
    return all;
}

#define LOOK_EVERY (100 * MSEC)

bool everybody_connected(void)
{
    if (world->looked_at != 0 && usec_since(world->sim.now, world->looked_at) < LOOK_EVERY)
        return world->all_connected;
    world->looked_at = world->sim.now;
    world->all_connected = true;
    for (size_t i = 0; i < world->node_count && world->all_connected; i++) {
        struct node_host *n = world->nodes[i];
        if (world->party->member[i] && n->node && !n->asleep)
            world->all_connected = connected_to_all(n);
    }
    return world->all_connected;
}

static const char *text_of(json_t *o, const char *field)
{
    const char *text = json_string_value(json_object_get(o, field));
    return text ? text : "?";
}

void world_explain(void)
{
    for (size_t i = 0; i < world->node_count; i++) {
        struct node_host *n = world->nodes[i];
        if (!world->party->member[i] || !n->node || n->asleep)
            continue;
        json_t *status = status_of(n);
        json_t *party = party_in(status, world->party->id);
        if (!at_hub(n) || !party)
            fprintf(stderr, "# %s:%s%s\n", n->name, at_hub(n) ? "" : " not at the hub",
                    party ? "" : " no such party");
        for (size_t k = 0; k < world->node_count; k++) {
            json_t *peer = peer_in(party, world->nodes[k]->name);
            if (k != i && world->party->member[k] && party &&
                strcmp(text_of(peer, "state"), "connected") != 0)
                fprintf(stderr, "# %s -> %s: %s (%s)\n", n->name, world->nodes[k]->name,
                        text_of(peer, "state"), text_of(peer, "why"));
        }
        json_decref(status);
    }
}

size_t member_count(struct node_host *n)
{
    json_t *status = status_of(n);
    json_t *party = party_in(status, world->party->id);
    size_t count = party ? json_array_size(json_object_get(party, "peers")) + 1 : 0;
    json_decref(status);
    return count;
}

bool alerted(struct node_host *n, const char *code)
{
    json_t *status = status_of(n);
    json_t *alerts = json_object_get(status, "alerts");
    bool found = false;
    for (size_t i = 0; i < json_array_size(alerts); i++) {
        const char *its = json_string_value(json_object_get(json_array_get(alerts, i), "code"));
        found |= its && strcmp(its, code) == 0;
    }
    json_decref(status);
    return found;
}

/* Metrics are Prometheus text: "name{labels} value" a line. */
int64_t metric(struct node_host *n, const char *name)
{
    json_t *result = NULL;
    must(ask(n, json_pack("{s:s}", "cmd", "metrics"), &result), n, "tell its metrics");
    const char *text = json_string_value(json_object_get(result, "text"));
    size_t len = strlen(name);
    int64_t sum = -1;
    for (const char *at = text ? text : ""; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        if (strncmp(at, name, len) != 0 || (at[len] != ' ' && at[len] != '{'))
            continue;
        const char *value = at + strcspn(at, " \n");
        sum = (sum < 0 ? 0 : sum) + strtoll(value, NULL, 10);
    }
    json_decref(result);
    return sum;
}

/* ---- What people do. */

static bool has_device(struct node_host *n, uint32_t net4)
{
    struct device *d = node_host_device(n, net4);
    return d && d->open;
}

/* Learns the network of a party from the address that its creator has in it. */
static void learn_party(struct node_host *n, struct world_party *p)
{
    json_t *status = status_of(n);
    json_t *parties = json_object_get(status, "parties");
    for (size_t i = 0; i < json_array_size(parties); i++) {
        json_t *each = json_array_get(parties, i);
        if (strcmp(json_string_value(json_object_get(each, "name")), p->name) != 0)
            continue;
        unsigned a = 0, b = 0;
        snprintf(p->id, sizeof p->id, "%s", json_string_value(json_object_get(each, "id")));
        if (sscanf(json_string_value(json_object_get(each, "ip")), "%u.%u.", &a, &b) == 2)
            p->net4 = a << 24 | b << 16;
    }
    json_decref(status);
}

const char *create_as(struct node_host *n, const char *name, const char *mode)
{
    const char *refused =
        ask(n, json_pack("{s:s,s:s,s:s}", "cmd", "party-create", "name", name, "mode", mode), NULL);
    if (refused || world->party_count == WORLD_PARTIES_MAX)
        return refused;
    struct world_party *p = &world->parties[world->party_count++];
    snprintf(p->name, sizeof p->name, "%s", name);
    learn_party(n, p);
    p->member[n->number] = true;
    world->party = p;
    if (!n->config.no_device)
        WITHIN(DEVICE_MAX, has_device(n, p->net4));
    return NULL;
}

void create(struct node_host *n, const char *name)
{
    must(create_as(n, name, "tap"), n, "create a party");
}

const char *try_invite(struct node_host *n, unsigned uses, const char *expires, char out[INVITE_CAP])
{
    json_t *result = NULL;
    uint64_t seconds = 0;
    if (duration_get(&seconds, expires) != 0)
        world_fail(__FILE__, __LINE__, "no duration: %s", expires);
    const char *refused = ask(n,
                              json_pack("{s:s,s:s,s:i,s:I}", "cmd", "invite", "party", world->party->name,
                                        "uses", (int)uses, "expires_s", (json_int_t)seconds),
                              &result);
    const char *text = json_string_value(json_object_get(result, "invite"));
    snprintf(out, INVITE_CAP, "%s", text ? text : "");
    json_decref(result);
    return refused;
}

void invite(struct node_host *n, unsigned uses, char out[INVITE_CAP])
{
    must(try_invite(n, uses, "24h", out), n, "invite");
}

const char *try_join(struct node_host *n, const char *text)
{
    const char *refused = ask(n, json_pack("{s:s,s:s}", "cmd", "join", "invite", text), NULL);
    if (!refused) {
        world->party->member[n->number] = true;
        world->party->removed_at[n->number] = 0;
    }
    return refused;
}

void join(struct node_host *n, const char *text)
{
    must(try_join(n, text), n, "join");
}

void everybody_joins(struct node_host *n)
{
    char text[INVITE_CAP];
    invite(n, 100, text);
    for (size_t i = 0; i < world->node_count; i++)
        if (!world->party->member[i] && world->nodes[i]->node)
            join(world->nodes[i], text);
}

static void removed(const char *name)
{
    for (size_t i = 0; i < world->node_count; i++) {
        if (strcmp(world->nodes[i]->name, name) != 0)
            continue;
        world->party->member[i] = false;
        world->party->removed_at[i] = world->sim.now;
    }
}

const char *try_kick(struct node_host *n, const char *whom)
{
    const char *refused =
        ask(n, json_pack("{s:s,s:s,s:s}", "cmd", "kick", "party", world->party->name, "peer", whom), NULL);
    if (!refused)
        removed(whom);
    return refused;
}

void kick(struct node_host *n, const char *whom)
{
    must(try_kick(n, whom), n, "kick");
}

const char *try_role(struct node_host *n, const char *whom, const char *role)
{
    return ask(n,
               json_pack("{s:s,s:s,s:s,s:s}", "cmd", "role", "party", world->party->name, "peer", whom,
                         "role", role),
               NULL);
}

const char *try_leave(struct node_host *n)
{
    const char *refused =
        ask(n, json_pack("{s:s,s:s}", "cmd", "party-leave", "party", world->party->name), NULL);
    if (!refused)
        removed(n->name);
    return refused;
}

void speak_of(const char *party)
{
    for (size_t i = 0; i < world->party_count; i++)
        if (strcmp(world->parties[i].name, party) == 0)
            world->party = &world->parties[i];
}
