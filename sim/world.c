#include "sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HUB_NAME      "hub.test"
#define PING_EVERY    (20 * MSEC)
#define PONG_FRESH    (250 * MSEC)
#define REMOVED_SOON  (1 * SEC)
#define STEPS_AT_ONCE 100000 /* timers fired at one moment; more is a loop */

struct world *world;
void (*world_fails)(const char *file, int line);

void world_begin(void)
{
    world = sim_alloc(sizeof *world);
    sim_init(&world->sim, sim_seed(1));
    world->net = net_new(&world->sim);
    const char *pump = getenv("WARREN_SIM_PUMP");
    world->pump = !pump || strcmp(pump, "0") != 0;
    struct host *host = host_new(world->net->root, HUB_NAME);
    host_lines(host, &(struct link_config){.delay = 2 * MSEC});
    world->hub = hub_host_new(host, HUB_NAME, NULL);
    hub_host_start(world->hub);
}

void world_end(void)
{
    world->net->tap = NULL; /* what it looks at goes first */
    world->net->lost = NULL;
    for (size_t i = 0; i < world->node_count; i++)
        node_host_free(world->nodes[i]);
    if (world->hostile)
        hostile_free(world->hostile);
    hub_host_free(world->hub);
    net_free(world->net);
    sim_done(&world->sim);
    free(world);
    world = NULL;
}

void world_fail(const char *file, int line, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "# seed %llu, at %.3f s: %s (%s:%d)\n", (unsigned long long)world->sim.seed,
            (double)world_age() / SEC, text, file, line);
    static bool explaining;
    if (!explaining && world->party) {
        explaining = true;
        world_explain();
    }
    explaining = false;
    if (world_fails)
        world_fails(file, line);
    abort();
}

static void limit(size_t n, size_t most)
{
    if (n >= most)
        world_fail(__FILE__, __LINE__, "a limit of the simulator: %zu", most);
}

usec_t world_age(void)
{
    return world->sim.now - SIM_START;
}

void world_run(usec_t t, const char *file, int line)
{
    usec_t until = world->sim.now + t;
    usec_t at = 0;
    uint64_t steps = 0;
    while (sim_step(&world->sim, until) && !world->violation[0]) {
        if (world->sim.now != at)
            steps = 0;
        at = world->sim.now;
        if (++steps > STEPS_AT_ONCE)
            world_fail(file, line, "time stands still: somebody wakes again and again");
    }
    if (world->violation[0])
        world_fail(file, line, "%s", world->violation);
}

/* ---- The watch over every test frame that a device hears. */

static void violated(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void violated(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(world->violation, sizeof world->violation, fmt, ap);
    va_end(ap);
}

static struct world_party *party_of(const struct device *d)
{
    for (size_t i = 0; i < world->party_count; i++)
        if (world->parties[i].net4 == d->net4)
            return &world->parties[i];
    return NULL;
}

static void watch(void *arg, struct device *d, uint32_t from, uint64_t seq)
{
    struct node_host *n = arg;
    const struct device_heard *h = &d->heard[from];
    const char *name = from < world->node_count ? world->nodes[from]->name : "?";
    if (h->repeated > 0)
        violated("%s got frame %llu of %s twice", n->name, (unsigned long long)seq, name);
    if (!world->reordering_allowed && h->reordered > 0)
        violated("%s got frame %llu of %s after %llu", n->name, (unsigned long long)seq, name,
                 (unsigned long long)h->last_seq);
    struct world_party *p = party_of(d);
    if (!p || p->member[from] || p->removed_at[from] == 0 || !at_hub(n))
        return;
    if (world->sim.now > p->removed_at[from] + REMOVED_SOON)
        violated("%s still hears %s, who was removed", n->name, name);
}

/* ---- Which way it goes. */

struct world_path *path_of(struct node_host *a, struct node_host *b)
{
    return &world->path[a->number][b->number];
}

static struct node_host *node_named(const char *id)
{
    char text[NODE_ID_TEXT_CAP];
    for (size_t i = 0; i < world->node_count; i++) {
        node_id_text(text, world->nodes[i]->id);
        if (strncmp(id, text, strlen(text)) == 0)
            return world->nodes[i];
    }
    return NULL;
}

static enum path_kind kind_after(const char *line, const char *word)
{
    const char *at = strstr(line, word);
    for (int k = 0; at && k < PATH_KIND_COUNT; k++) {
        const char *name = path_kind_name((enum path_kind)k);
        if (strncmp(at + strlen(word), name, strlen(name)) == 0 && at[strlen(word) + strlen(name)] == ' ')
            return (enum path_kind)k;
    }
    return PATH_NONE;
}

static void log_line(void *arg, struct node_host *h, const char *line)
{
    const char *id = strstr(line, " peer=");
    struct node_host *peer = NULL;
    if (id && strncmp(line, "path-", 5) == 0)
        peer = node_named(id + 6);
    if (!peer)
        return;
    struct world_path *path = path_of(h, peer);
    if (strncmp(line, "path-up", 7) == 0)
        path->up_at = world->sim.now;
    const char *bytes = strstr(line, " bytes=");
    if (strncmp(line, "path-mtu", 8) == 0 && bytes) {
        path->mtu = (unsigned)strtoul(bytes + 7, NULL, 10);
        path->mtu_of = kind_after(line, " path=");
    }
    if (strncmp(line, "path-changed", 12) != 0)
        return;
    world->moves += kind_after(line, " from=") != PATH_NONE;
    path->kind = kind_after(line, " to=");
    path->since = world->sim.now;
    path->changes++;
}

/* ---- Machines. */

struct node_host *machine_at(struct site *where, const char *name, const struct node_host_config *c)
{
    limit(world->node_count, WORLD_NODES_MAX);
    struct node_host_config usual;
    node_host_config_default(&usual);
    struct host *host = host_new(where ? where : world->net->root, name);
    host_lines(host, &(struct link_config){.delay = 8 * MSEC});
    if (c)
        usual = *c;
    usual.limits.direct = world->direct;
    usual.limits.pump = usual.limits.pump && world->pump;
    if (world->searches_at_will)
        usual.limits.search_sockets = 0;
    struct node_host *n = node_host_new(host, (uint32_t)world->node_count, &usual);
    for (size_t i = 0; i < NODE_DEVICES_MAX; i++) {
        n->devices[i].on_heard = watch;
        n->devices[i].arg = n;
    }
    n->on_log = log_line;
    world->nodes[world->node_count++] = n;
    node_host_start(n);
    return n;
}

struct node_host *machine(const char *name)
{
    return machine_at(NULL, name, NULL);
}

struct node_host *founder_at(struct site *where, const char *name)
{
    struct node_host_config c;
    node_host_config_default(&c);
    c.have_hub = true;
    c.hub = world->hub->address;
    struct node_host *n = machine_at(where, name, &c);
    WITHIN(5 * SEC, at_hub(n));
    return n;
}

struct node_host *founder(const char *name)
{
    return founder_at(NULL, name);
}

void line(struct node_host *n, struct link_config both)
{
    host_lines(n->host, &both);
}

bool at_hub(const struct node_host *n)
{
    return world->hub->hub && n->stream_up && hub_host_has(world->hub, n->id);
}

struct hostile *turn_hostile(struct node_host *victim)
{
    if (!world->hostile)
        world->hostile = hostile_new(world->hub);
    world->hostile->all = victim == NULL;
    if (victim)
        memcpy(world->hostile->victim, victim->id, NODE_ID_LEN);
    return world->hostile;
}

/* ---- Devices and pings. */

static struct device *device_in(struct node_host *n, struct world_party *p)
{
    if (!p || !n->node)
        return NULL;
    struct device *d = node_host_device(n, p->net4);
    if (!d || !d->open)
        return NULL;
    p->ip4[n->number] = d->ip4;
    return d;
}

struct device *device_of(struct node_host *n)
{
    return device_in(n, world->party);
}

static size_t index_of(const struct world_party *p)
{
    return (size_t)(p - world->parties);
}

bool sees(struct node_host *a, struct node_host *b)
{
    struct world_party *p = world->party;
    struct device *d = device_of(a);
    device_of(b);
    usec_t now = world->sim.now, *last;
    if (!d || p->ip4[b->number] == 0)
        return false;
    last = &world->pinged[index_of(p)][a->number][b->number];
    if ((*last == 0 || now - *last >= PING_EVERY) && !a->asleep) {
        *last = now;
        device_ping(d, p->ip4[b->number], ++world->pings * DEVICE_PEERS_MAX + b->number);
        node_host_pump(a);
    }
    usec_t pong = d->heard[b->number].pong_at;
    return pong != 0 && now - pong <= PONG_FRESH;
}

bool everybody_sees_everybody(void)
{
    bool all = true;
    struct world_party *p = world->party;
    for (size_t i = 0; i < world->node_count; i++)
        for (size_t k = 0; k < world->node_count; k++)
            if (i != k && p->member[i] && p->member[k] && world->nodes[i]->node && world->nodes[k]->node)
                all &= sees(world->nodes[i], world->nodes[k]);
    return all;
}

/* ---- Test traffic. */

static uint64_t *sent_of(struct world_party *p, struct node_host *from, struct node_host *to)
{
    return &world->sent[index_of(p)][from->number][to->number];
}

static void say_in(struct world_party *p, struct node_host *from, struct node_host *to, size_t size)
{
    struct device *d = device_in(from, p);
    device_in(to, p);
    uint64_t *sent = sent_of(p, from, to);
    if (!d || from->asleep || p->ip4[to->number] == 0)
        return;
    if (device_say(d, p->ip4[to->number], *sent + 1, size))
        ++*sent;
    node_host_pump(from);
}

void say(struct node_host *from, struct node_host *to, size_t size)
{
    say_in(world->party, from, to, size);
}

void say6(struct node_host *from, struct node_host *to, size_t size)
{
    struct device *d = device_of(from), *there = device_of(to);
    uint64_t *sent = sent_of(world->party, from, to);
    if (!d || !there || from->asleep)
        return;
    if (device_say6(d, there->ip4, there->ip6, *sent + 1, size))
        ++*sent;
    node_host_pump(from);
}

static void flow_fires(void *arg)
{
    struct flow *f = arg;
    say_in(f->party, f->from, f->to, f->size);
    sim_arm(&world->sim, &f->timer, world->sim.now + f->every);
}

void talk(struct node_host *from, struct node_host *to, usec_t every, size_t size)
{
    limit(world->flow_count, WORLD_FLOWS_MAX);
    struct flow *f = &world->flows[world->flow_count++];
    *f = (struct flow){.timer = {.fire = flow_fires, .arg = f},
                       .party = world->party,
                       .from = from,
                       .to = to,
                       .every = every,
                       .size = size};
    sim_arm(&world->sim, &f->timer, world->sim.now);
}

void hush(void)
{
    for (size_t i = 0; i < world->flow_count; i++)
        sim_disarm(&world->sim, &world->flows[i].timer);
    world->flow_count = 0;
}

struct device_heard *heard(struct node_host *by, struct node_host *from)
{
    struct device *d = node_host_device(by, world->party->net4);
    static struct device_heard nothing;
    return d ? &d->heard[from->number] : &nothing;
}

uint64_t frames_sent(struct node_host *from, struct node_host *to)
{
    return *sent_of(world->party, from, to);
}

uint64_t frames_got(struct node_host *from, struct node_host *to)
{
    return heard(to, from)->count;
}

int64_t frames_lost(struct node_host *from, struct node_host *to)
{
    return (int64_t)(frames_sent(from, to) - frames_got(from, to));
}
