/* For the tests of the engine: up to six nodes and two real hubs (hub/core.h on memory stores) on one virtual
 * clock. What a hub sends arrives `delay` later; what a node sends arrives at once. Devices are lists of
 * frames, disks are lists of files. */
#ifndef WARREN_NODE_ENGINE_HARNESS_H
#define WARREN_NODE_ENGINE_HARNESS_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log.h"
#include "hub/core.h"
#include "node/engine_int.h"
#include "wire/eth.h"

#define LAB_HOSTS   6
#define LAB_HUBS    2
#define LAB_DEVICES 8
#define LAB_FRAMES  256
#define LAB_FILES   8
#define LAB_UNIX    1800000000ull

struct lab_message {
    struct lab_message *next;
    usec_t due;
    bool binary;
    struct buf bytes;
};

struct lab_device {
    uint32_t party_ref; /* 0: free */
    struct node_device config;
};

struct lab_frame {
    uint32_t party_ref;
    size_t n;
    uint8_t p[2048];
};

struct lab_file {
    char name[80];
    struct buf bytes;
};

struct host {
    struct node *n;
    struct sign_seed seed;
    char name[NAME_CAP];
    struct rng_seeded seeded;
    int hub;    /* index in the lab of the one that answers its connections */
    bool cut;   /* its connections fail */
    bool wants; /* asked for a connection while the edge holds it back */
    hub_conn conn;
    struct lab_message *in, **in_tail;
    struct lab_device devices[LAB_DEVICES];
    unsigned opened, closed; /* devices, ever */
    const char *device_error;
    bool save_fails;
    struct lab_frame frames[LAB_FRAMES];
    size_t frame_count;
    struct lab_file files[LAB_FILES];
    unsigned saves, connects;
    uint32_t request; /* the last number given */
    json_t *replies;  /* of this request, in order */
    uint32_t awaited;
    bool final;
};

struct lab {
    struct rng_seeded seeded;
    struct rng rng;
    usec_t now, delay;
    struct store store[LAB_HUBS];
    struct hub *hub[LAB_HUBS];
    hub_conn next_conn;
    struct node_limits limits;
    struct hub_limits hub_limits;
    struct session_limits session_limits;
    struct host hosts[LAB_HOSTS];
    /* May change, drop (false) or only look at what a hub sends to a node. */
    bool (*tamper)(struct lab *l, int host, struct buf *m, bool binary);
    /* The same for what nodes send. */
    bool (*tamper_up)(struct lab *l, int host, struct buf *m, bool binary);
    int counted;             /* for the test's own use */
    struct aead_speed speed; /* of hosts that are started from now on */
};

static inline struct hub_address lab_hub_address(int hub)
{
    struct hub_address a = {.port = 443, .pinned = true};
    snprintf(a.host, sizeof a.host, "hub%d.example", hub);
    memset(a.fingerprint, 0x40 + hub, sizeof a.fingerprint);
    return a;
}

static inline void lab_hub_start(struct lab *l, int i)
{
    struct hub_config c = {
        .limits = l->hub_limits, .store = l->store[i], .rng = l->rng, .unix_s = LAB_UNIX + l->now / SEC};
    l->hub[i] = hub_new(&c, l->now);
    assert_non_null(l->hub[i]);
}

static inline struct lab *lab_new(uint64_t seed)
{
    struct lab *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->rng = rng_seeded(&l->seeded, seed);
    l->now = 1000 * SEC;
    l->delay = 5 * MSEC;
    node_limits_default(&l->limits);
    hub_limits_default(&l->hub_limits);
    l->session_limits = session_limits_default;
    for (int i = 0; i < LAB_HUBS; i++) {
        assert_int_equal(store_memory_open(&l->store[i]), 0);
        lab_hub_start(l, i);
    }
    for (int i = 0; i < LAB_HOSTS; i++) {
        struct host *h = &l->hosts[i];
        memset(&h->seed, i + 1, sizeof h->seed);
        snprintf(h->name, sizeof h->name, "%s",
                 (const char *[]){"anna", "ben", "cleo", "dora", "emil", "fred"}[i]);
        h->in_tail = &h->in;
        for (int f = 0; f < LAB_FILES; f++)
            buf_init(&h->files[f].bytes, PARTY_FILE_MAX);
    }
    return l;
}

static inline void host_in_clear(struct host *h)
{
    while (h->in) {
        struct lab_message *m = h->in;
        h->in = m->next;
        buf_done(&m->bytes);
        free(m);
    }
    h->in_tail = &h->in;
}

static inline void lab_free(struct lab *l)
{
    for (int i = 0; i < LAB_HOSTS; i++) {
        struct host *h = &l->hosts[i];
        node_free(h->n);
        host_in_clear(h);
        json_decref(h->replies);
        for (int f = 0; f < LAB_FILES; f++)
            buf_done(&h->files[f].bytes);
    }
    for (int i = 0; i < LAB_HUBS; i++) {
        hub_free(l->hub[i]);
        store_close(&l->store[i]);
    }
    free(l);
}

/* ---- A host's life. */

static inline struct lab_file *host_file(struct host *h, const char *name)
{
    for (int f = 0; f < LAB_FILES; f++)
        if (strcmp(h->files[f].name, name) == 0)
            return &h->files[f];
    return NULL;
}

static inline ssize_t host_read_back(void *arg, const char *name, uint64_t at, uint8_t *p, size_t n)
{
    const struct lab_file *f = host_file(arg, name);
    if (!f)
        return -ENOENT;
    size_t left = at < f->bytes.n ? f->bytes.n - at : 0;
    n = n < left ? n : left;
    if (n > 0)
        memcpy(p, f->bytes.p + at, n);
    return (ssize_t)n;
}

static inline struct node_config host_config(struct lab *l, int i)
{
    struct host *h = &l->hosts[i];
    struct node_config c = {.seed = &h->seed, .limits = l->limits, .session_limits = &l->session_limits};
    snprintf(c.name, sizeof c.name, "%s", h->name);
    c.rng = rng_seeded(&h->seeded, 0x1234 + (uint64_t)i + l->now);
    c.unix_s = LAB_UNIX + l->now / SEC;
    c.disk = (struct node_disk){.read = host_read_back, .arg = h};
    c.speed = l->speed;
    c.prefer_aes =
        l->speed.ns[AEAD_AES256GCM] > 0 && aead_prefers_aes(&l->speed); /* not this machine's word */
    return c;
}

static inline void host_boot(struct lab *l, int i, const struct node_config *c)
{
    struct host *h = &l->hosts[i];
    const char *why = "";
    h->n = node_new(c, l->now);
    assert_non_null(h->n);
    for (int f = 0; f < LAB_FILES; f++)
        if (strncmp(h->files[f].name, "party-", 6) == 0)
            if (node_load_party(h->n, h->files[f].name, l->now, &why) != 0)
                fail_msg("%s: %s", h->files[f].name, why);
    node_start(h->n, l->now);
}

/* hub -1: it has no hub yet. */
static inline void host_up(struct lab *l, int i, int hub)
{
    struct node_config c = host_config(l, i);
    l->hosts[i].hub = hub < 0 ? 0 : hub;
    c.have_hub = hub >= 0;
    if (c.have_hub)
        c.hub = lab_hub_address(hub);
    host_boot(l, i, &c);
}

static inline void host_disconnect(struct lab *l, int i, const char *why)
{
    struct host *h = &l->hosts[i];
    if (h->conn && l->hub[h->hub])
        hub_closed(l->hub[h->hub], h->conn, l->now);
    h->conn = 0;
    host_in_clear(h);
    if (h->n && why)
        node_hub_down(h->n, why, l->now);
}

/* As a power cut. */
static inline void host_kill(struct lab *l, int i)
{
    struct host *h = &l->hosts[i];
    host_disconnect(l, i, NULL);
    node_free(h->n);
    h->n = NULL;
    memset(h->devices, 0, sizeof h->devices);
}

static inline void lab_hub_stop(struct lab *l, int hub)
{
    for (int i = 0; i < LAB_HOSTS; i++)
        if (l->hosts[i].hub == hub && l->hosts[i].conn)
            host_disconnect(l, i, "connection reset");
    hub_free(l->hub[hub]);
    l->hub[hub] = NULL;
}

/* ---- The edge of a host. */

static inline void host_connect(struct lab *l, struct host *h)
{
    struct net_addr remote = {.family = 4, .port = 1000};
    uint8_t binding[32];
    remote.ip[0] = 192;
    remote.ip[3] = (uint8_t)(h - l->hosts + 1);
    h->connects++;
    if (h->cut || !l->hub[h->hub]) {
        node_hub_down(h->n, "connection refused", l->now);
        return;
    }
    rng_fill(&l->rng, binding, sizeof binding);
    h->conn = ++l->next_conn;
    assert_int_equal(hub_open(l->hub[h->hub], h->conn, &remote, binding, l->now), 0);
    node_hub_up(h->n, binding, l->now);
}

static inline void host_device_open(struct lab *l, struct host *h, const struct node_out *out)
{
    char name[16];
    struct node_out o = *out;
    if (h->device_error) {
        node_device_opened(h->n, o.party_ref, NULL, h->device_error, l->now);
        return;
    }
    for (int i = 0; i < LAB_DEVICES; i++) {
        if (h->devices[i].party_ref)
            continue;
        h->devices[i] = (struct lab_device){o.party_ref, o.device};
        h->opened++;
        snprintf(name, sizeof name, "warren%d", i);
        node_device_opened(h->n, o.party_ref, name, NULL, l->now);
        return;
    }
    fail_msg("too many devices");
}

static inline void host_save(struct lab *l, struct host *h, const struct node_out *out)
{
    char name[80];
    memcpy(name, out->name, sizeof name);
    if (h->save_fails) {
        node_save_failed(h->n, name, "no space left on device", l->now);
        return;
    }
    struct lab_file *f = host_file(h, name);
    if (!f)
        f = host_file(h, "");
    assert_non_null(f);
    memcpy(f->name, name, sizeof f->name);
    assert_true(out->kind == NODE_SAVE || f->bytes.n >= out->at);
    f->bytes.n = out->kind == NODE_SAVE ? 0 : out->at;
    assert_int_equal(buf_add(&f->bytes, out->data), 0);
    h->saves++;
}

static inline void host_reply(struct host *h, const struct node_out *out)
{
    json_t *r = json_loadb((const char *)out->data.p, out->data.n, 0, NULL);
    assert_non_null(r);
    if (out->request != h->awaited) {
        json_decref(r);
        return;
    }
    json_array_append_new(h->replies, r);
    assert_false(h->final);
    h->final = out->final;
}

static inline void host_do(struct lab *l, struct host *h, const struct node_out *out)
{
    struct lab_frame *f;
    switch (out->kind) {
    case NODE_HUB_CONNECT:
        h->wants = true;
        break;
    case NODE_HUB_CLOSE:
        if (h->conn && l->hub[h->hub])
            hub_closed(l->hub[h->hub], h->conn, l->now);
        h->conn = 0;
        h->wants = false;
        host_in_clear(h);
        break;
    case NODE_HUB_WAITING:
        break;
    case NODE_DEVICE_OPEN:
        host_device_open(l, h, out);
        break;
    case NODE_DEVICE_CLOSE:
        h->closed++;
        for (int i = 0; i < LAB_DEVICES; i++)
            if (h->devices[i].party_ref == out->party_ref)
                h->devices[i].party_ref = 0;
        break;
    case NODE_DEVICE_FRAME:
        assert_true(h->frame_count < LAB_FRAMES && out->data.n <= sizeof f->p);
        f = &h->frames[h->frame_count++];
        f->party_ref = out->party_ref;
        f->n = out->data.n;
        memcpy(f->p, out->data.p, out->data.n);
        break;
    case NODE_SAVE:
    case NODE_APPEND:
        host_save(l, h, out);
        break;
    case NODE_DELETE:
        if (host_file(h, out->name))
            host_file(h, out->name)->name[0] = '\0';
        break;
    case NODE_REPLY:
        host_reply(h, out);
        break;
    case NODE_LOG:
        if (getenv("WARREN_TEST_LOG"))
            fprintf(stderr, "# %llu %s: %s %.*s\n", (unsigned long long)(l->now / MSEC), h->name, out->name,
                    (int)out->data.n, (const char *)out->data.p);
        break;
    default: /* this lab has no network below */
        break;
    }
}

static inline bool host_pump(struct lab *l, int i)
{
    struct host *h = &l->hosts[i];
    struct node_out out;
    bool any = false;
    if (!h->n)
        return false;
    while (node_output(h->n, l->now, &out)) {
        host_do(l, h, &out);
        any = true;
    }
    if (h->wants) {
        h->wants = false;
        host_connect(l, h);
        return true;
    }
    while (h->conn) {
        struct buf m;
        bool binary = false;
        buf_init(&m, SIGNAL_MAX + RELAY_MESSAGE_MAX);
        bool got = node_hub_take(h->n, &m, &binary, l->now);
        if (got && (!l->tamper_up || l->tamper_up(l, i, &m, binary))) {
            if (binary)
                hub_binary(l->hub[h->hub], h->conn, buf_bytes(&m), l->now);
            else
                hub_text(l->hub[h->hub], h->conn, buf_bytes(&m), l->now);
        }
        buf_done(&m);
        if (!got)
            break;
        any = true;
    }
    while (h->in && h->in->due <= l->now) {
        struct lab_message *m = h->in;
        h->in = m->next;
        if (!h->in)
            h->in_tail = &h->in;
        if (m->binary)
            node_hub_binary(h->n, m->bytes.p, m->bytes.n, l->now);
        else
            node_hub_text(h->n, buf_bytes(&m->bytes), l->now);
        buf_done(&m->bytes);
        free(m);
        while (node_output(h->n, l->now, &out))
            host_do(l, h, &out);
        any = true;
    }
    return any;
}

/* ---- The edge of a hub. */

static inline int lab_host_of(const struct lab *l, int hub, hub_conn c)
{
    for (int i = 0; i < LAB_HOSTS; i++)
        if (l->hosts[i].conn == c && l->hosts[i].hub == hub)
            return i;
    return -1;
}

static inline void lab_deliver(struct lab *l, int i, struct buf *bytes, bool binary)
{
    struct host *h = &l->hosts[i];
    struct lab_message *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->due = l->now + l->delay;
    m->binary = binary;
    m->bytes = *bytes;
    *h->in_tail = m;
    h->in_tail = &m->next;
}

static inline bool lab_hub_pump(struct lab *l, int k)
{
    hub_conn c;
    uint16_t code;
    const char *why;
    bool any = false;
    struct hub_event ev;
    if (!l->hub[k])
        return false;
    while (hub_ready(l->hub[k], &c)) {
        int i = lab_host_of(l, k, c);
        for (;;) {
            struct buf m;
            bool binary;
            buf_init(&m, SIGNAL_MAX + RELAY_MESSAGE_MAX);
            if (!hub_take(l->hub[k], c, &m, &binary, l->now))
                break;
            if (i >= 0 && (!l->tamper || l->tamper(l, i, &m, binary)))
                lab_deliver(l, i, &m, binary);
            else
                buf_done(&m);
            any = true;
        }
    }
    while (hub_close_next(l->hub[k], &c, &code, &why)) {
        int i = lab_host_of(l, k, c);
        hub_closed(l->hub[k], c, l->now);
        if (i < 0)
            continue;
        /* What was on its way is read before the close. */
        l->hosts[i].conn = 0;
        while (l->hosts[i].in) {
            l->hosts[i].in->due = l->now;
            host_pump(l, i);
        }
        if (l->hosts[i].n)
            node_hub_down(l->hosts[i].n, why, l->now);
        any = true;
    }
    while (hub_event(l->hub[k], &ev)) {
        if (getenv("WARREN_TEST_LOG"))
            fprintf(stderr, "# %llu hub%d: %s %s\n", (unsigned long long)(l->now / MSEC), k, ev.event,
                    ev.text);
    }
    return any;
}

static inline void lab_settle(struct lab *l)
{
    bool any = true;
    while (any) {
        any = false;
        for (int i = 0; i < LAB_HOSTS; i++)
            any |= host_pump(l, i);
        for (int k = 0; k < LAB_HUBS; k++)
            any |= lab_hub_pump(l, k);
    }
}

static inline usec_t lab_wake(const struct lab *l)
{
    usec_t wake = USEC_NEVER;
    for (int i = 0; i < LAB_HOSTS; i++) {
        const struct host *h = &l->hosts[i];
        if (h->n)
            wake = usec_min(wake, node_wake(h->n));
        if (h->in)
            wake = usec_min(wake, h->in->due);
    }
    for (int k = 0; k < LAB_HUBS; k++)
        if (l->hub[k])
            wake = usec_min(wake, hub_wake(l->hub[k]));
    return wake;
}

/* One step of time, not past `until`. */
static inline void lab_step(struct lab *l, usec_t until)
{
    lab_settle(l);
    usec_t wake = lab_wake(l);
    if (wake > until)
        wake = until;
    if (wake > l->now)
        l->now = wake;
    else
        l->now += 100; /* a timer that rings at once must not stop the clock */
    for (int i = 0; i < LAB_HOSTS; i++)
        if (l->hosts[i].n && node_wake(l->hosts[i].n) <= l->now)
            node_tick(l->hosts[i].n, l->now);
    for (int k = 0; k < LAB_HUBS; k++)
        if (l->hub[k] && hub_wake(l->hub[k]) <= l->now)
            hub_tick(l->hub[k], l->now);
    lab_settle(l);
}

static inline void lab_run(struct lab *l, usec_t time)
{
    usec_t until = l->now + time;
    while (l->now < until)
        lab_step(l, until);
}

/* ---- Requests. */

/* Asks and waits for the last answer, 90 virtual seconds at most. The answer stays the host's. */
static inline json_t *ask(struct lab *l, int i, const char *json)
{
    struct host *h = &l->hosts[i];
    usec_t until = l->now + 90 * SEC;
    json_decref(h->replies);
    h->replies = json_array();
    h->final = false;
    h->awaited = ++h->request;
    node_request(h->n, h->awaited, bytes_of_str(json), l->now);
    lab_settle(l);
    while (!h->final && l->now < until)
        lab_step(l, until);
    assert_true(h->final);
    return json_array_get(h->replies, json_array_size(h->replies) - 1);
}

static inline json_t *ask_ok(struct lab *l, int i, const char *json)
{
    json_t *r = ask(l, i, json);
    if (!json_is_true(json_object_get(r, "ok")))
        fail_msg("%s: %s: %s", l->hosts[i].name, json, json_string_value(json_object_get(r, "error")));
    return json_object_get(r, "result");
}

/* The error's text; its code must be this one. */
static inline const char *ask_fails(struct lab *l, int i, const char *code, const char *json)
{
    json_t *r = ask(l, i, json);
    assert_true(json_is_false(json_object_get(r, "ok")));
    const char *text = json_string_value(json_object_get(r, "error"));
    assert_non_null(text);
    assert_null(strchr(text, '\n'));
    if (strcmp(json_string_value(json_object_get(r, "code")), code) != 0)
        fail_msg("%s: %s: code %s: %s", l->hosts[i].name, json, json_string_value(json_object_get(r, "code")),
                 text);
    return text;
}

static inline const char *field(const json_t *o, const char *key)
{
    const char *v = json_string_value(json_object_get(o, key));
    if (!v)
        fail_msg("no text field %s", key);
    return v ? v : "";
}

/* An invite into the buffer. */
static inline void lab_invite(struct lab *l, int i, const char *args, char out[INVITE_TEXT_MAX + 1])
{
    char rq[256];
    snprintf(rq, sizeof rq, "{\"cmd\":\"invite\"%s}", args);
    snprintf(out, INVITE_TEXT_MAX + 1, "%s", field(ask_ok(l, i, rq), "invite"));
}

static inline const char *join_request(char out[INVITE_TEXT_MAX + 64], const char *invite)
{
    snprintf(out, INVITE_TEXT_MAX + 64, "{\"cmd\":\"join\",\"invite\":\"%s\"}", invite);
    return out;
}

/* Hosts 0..count-1 at hub 0, in one party "lan", connected with each other. */
static inline void lab_party(struct lab *l, int count)
{
    char invite[INVITE_TEXT_MAX + 1], rq[INVITE_TEXT_MAX + 64];
    host_up(l, 0, 0);
    ask_ok(l, 0, "{\"cmd\":\"party-create\",\"name\":\"lan\"}");
    lab_invite(l, 0, ",\"uses\":100", invite);
    for (int i = 1; i < count; i++) {
        host_up(l, i, -1);
        ask_ok(l, i, join_request(rq, invite));
    }
    lab_run(l, 4 * SEC);
}

/* ---- Status. */

static inline json_t *status_peer(struct lab *l, int i, const char *name)
{
    size_t a, b;
    json_t *party, *peer;
    json_t *parties = json_object_get(ask_ok(l, i, "{\"cmd\":\"status\"}"), "parties");
    json_array_foreach(parties, a, party) json_array_foreach(
        json_object_get(party, "peers"), b, peer) if (strcmp(field(peer, "name"), name) == 0) return peer;
    return NULL;
}

static inline bool peer_is(struct lab *l, int i, const char *name, const char *state)
{
    json_t *p = status_peer(l, i, name);
    return p && strcmp(field(p, "state"), state) == 0;
}

static inline bool has_alert(struct lab *l, int i, const char *code)
{
    size_t at;
    json_t *a;
    json_array_foreach(json_object_get(ask_ok(l, i, "{\"cmd\":\"status\"}"), "alerts"), at,
                       a) if (strcmp(field(a, "code"), code) == 0) return true;
    return false;
}

static inline uint64_t counted(const struct lab *l, int i, enum node_counter c)
{
    return l->hosts[i].n->counts[c];
}

/* ---- Frames. */

static inline struct lab_device *device_at(struct host *h, int nth)
{
    for (int i = 0; i < LAB_DEVICES; i++)
        if (h->devices[i].party_ref && nth-- == 0)
            return &h->devices[i];
    fail_msg("%s has no such device", h->name);
    return NULL;
}

/* An Ethernet frame with an IPv4/UDP packet of `size` bytes of payload, all `fill`. dst NULL: broadcast. */
static inline size_t frame_make(uint8_t *p, const struct node_device *src, const struct node_device *dst,
                                uint8_t fill, size_t size)
{
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
    uint8_t udp[8];
    size_t ip_len = 20 + 8 + size;
    struct wr w = wr_of(p, 2048);
    wr_copy(&w, dst ? dst->mac : all, 6);
    wr_copy(&w, src->mac, 6);
    wr_u16(&w, 0x0800);
    uint8_t *ip = p + w.n;
    wr_u8(&w, 0x45);
    wr_u8(&w, 0);
    wr_u16(&w, (uint16_t)ip_len);
    wr_u32(&w, 0);
    wr_u8(&w, 64);
    wr_u8(&w, 17);
    wr_u16(&w, 0);
    wr_u32(&w, src->ip4);
    wr_u32(&w, dst ? dst->ip4 : (src->net4 | 0xffff));
    uint16_t sum = sum_finish(sum_add(0, bytes_of(ip, 20)));
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
    struct wr u = wr_of(udp, sizeof udp);
    wr_u16(&u, 5000);
    wr_u16(&u, 5001);
    wr_u16(&u, (uint16_t)(8 + size));
    wr_u16(&u, 0);
    wr_copy(&w, udp, 8);
    memset(wr_take(&w, size), fill, size);
    assert_true(wr_ok(&w));
    return w.n;
}

/* Host i's program sends; to -1: everybody. nth: which device (party) on both. */
static inline void send_frame(struct lab *l, int i, int to, int nth, uint8_t fill, size_t size)
{
    uint8_t room[DATA_HEADROOM + 2048 + DATA_TAILROOM];
    struct lab_device *src = device_at(&l->hosts[i], nth);
    const struct node_device *dst = to < 0 ? NULL : &device_at(&l->hosts[to], nth)->config;
    size_t n = frame_make(room + DATA_HEADROOM, &src->config, dst, fill, size);
    node_device_frame(l->hosts[i].n, src->party_ref, room + DATA_HEADROOM, n, l->now);
}

static inline size_t frames_of(const struct host *h, uint8_t fill)
{
    size_t found = 0;
    for (size_t i = 0; i < h->frame_count; i++)
        found += h->frames[i].n > 42 && h->frames[i].p[h->frames[i].n - 1] == fill;
    return found;
}

#endif
