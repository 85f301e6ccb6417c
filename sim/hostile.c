#include "sim/hostile.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGE_ROOM (256 * 1024)
#define RELEASE      0.2 /* how likely the next message that passes takes along what was held back */

static bool is_victim(const struct hostile *h, const uint8_t *node)
{
    return node && (h->all || memcmp(node, h->victim, NODE_ID_LEN) == 0);
}

static void sign_as_hub(struct hostile *h, struct entry *e)
{
    uint8_t hash[ENTRY_HASH_LEN];
    entry_hash(hash, e);
    sign_make(h->key, "warren party entry v1", bytes_of(hash, sizeof hash), &h->hub->sim->rng, e->sig);
}

/* An entry as bytes of its own. */
static struct bytes entry_bytes(const struct entry *e)
{
    uint8_t *p = sim_alloc(ENTRY_MAX);
    struct wr w = wr_of(p, ENTRY_MAX);
    entry_write(&w, e);
    return wr_done(&w);
}

static struct bytes add_entry(struct hostile *h, struct bytes last)
{
    struct entry e;
    struct bytes made = {0};
    if (entry_read(&e, last) != 0)
        return made;
    struct entry forged = {.type = ENTRY_ADMIT, .seq = e.seq + 1, .time = e.time};
    memcpy(forged.party, e.party, PARTY_ID_LEN);
    if (e.type == ENTRY_GENESIS)
        entry_hash(forged.party, &e);
    entry_hash(forged.prev, &e);
    memcpy(forged.author, h->id, NODE_ID_LEN);
    forged.u.admit.key = *sign_key_public(h->key);
    strcpy(forged.u.admit.name, "a friend");
    forged.u.admit.role = ROLE_MEMBER;
    forged.u.admit.host = 4242;
    sign_as_hub(h, &forged);
    h->added++;
    return entry_bytes(&forged);
}

static struct bytes swap_entry(struct hostile *h, struct bytes original)
{
    struct entry e;
    if (entry_read(&e, original) != 0 || e.type != ENTRY_ADMIT)
        return (struct bytes){0};
    e.u.admit.key = *sign_key_public(h->key);
    sign_as_hub(h, &e);
    h->swapped++;
    return entry_bytes(&e);
}

static uint64_t seq_of(struct bytes entry)
{
    struct entry e;
    return entry_read(&e, entry) == 0 ? e.seq : UINT64_MAX;
}

/* What the victim is shown of the log. Everything that is made here is freed through made[]. */
static bool twist_log(struct hostile *h, struct signal *s, struct bytes made[SIGNAL_ENTRIES_MAX + 1])
{
    size_t n = 0;
    bool changed = false;
    for (size_t i = 0; i < s->u.log.count; i++) {
        struct bytes e = s->u.log.entries[i];
        uint64_t seq = seq_of(e);
        if (h->hide && seq > h->hide_from) {
            h->hidden++;
            changed = true;
            continue;
        }
        if (h->swap)
            made[n] = swap_entry(h, e);
        if (h->fork && h->secret.n > 0 && seq == h->secret_seq) {
            made[n].p = memcpy(sim_alloc(h->secret.n), h->secret.p, h->secret.n);
            made[n].n = h->secret.n;
            h->forked++;
        }
        changed |= made[n].n > 0;
        s->u.log.entries[n] = made[n].n > 0 ? made[n] : e;
        n++;
    }
    s->u.log.count = n;
    if (h->add && n > 0 && n < SIGNAL_ENTRIES_MAX && !s->u.log.more) {
        made[n] = add_entry(h, s->u.log.entries[n - 1]);
        s->u.log.entries[n] = made[n];
        s->u.log.count += made[n].n > 0;
        changed = true;
    }
    return changed;
}

/* Heads that would give the game away are made smaller, or the message is swallowed. */
static bool hush_heads(struct hostile *h, struct signal *s, bool *changed)
{
    if (s->type == SIGNAL_PRESENCE)
        return false;
    if (s->type == SIGNAL_PEER_JOINED) {
        memset(s->u.peer_joined.peer.head, 0, ENTRY_HASH_LEN);
        s->u.peer_joined.peer.seq = 0;
        *changed = true;
    }
    for (size_t i = 0; s->type == SIGNAL_PEER_LIST && i < s->u.peer_list.count; i++) {
        memset(s->u.peer_list.peers[i].head, 0, ENTRY_HASH_LEN);
        s->u.peer_list.peers[i].seq = 0;
        *changed = true;
    }
    return true;
}

static bool say_text(struct hostile *h, struct buf *message)
{
    struct signal s;
    struct bytes made[SIGNAL_ENTRIES_MAX + 1] = {0};
    bool changed = false, pass = true;
    if (signal_read(&s, buf_bytes(message)) == 0) {
        if (s.type == SIGNAL_LOG && s.u.log.op == LOG_OP_ENTRIES)
            changed = twist_log(h, &s, made);
        else if (h->hide || (h->fork && h->secret.n > 0))
            pass = hush_heads(h, &s, &changed);
        if (changed) {
            buf_clear(message);
            pass = pass && signal_write(message, &s) == 0;
        }
    }
    signal_done(&s);
    for (size_t i = 0; i <= SIGNAL_ENTRIES_MAX; i++)
        free((void *)(uintptr_t)made[i].p);
    return pass;
}

/* ---- Relay frames. */

static void keep(struct hostile *h, struct bytes frame)
{
    struct buf *b = &h->kept[h->kept_count++ % HOSTILE_KEPT].message;
    buf_clear(b);
    buf_add(b, frame);
}

static void put_frame(struct buf *out, const struct relay_frame *f)
{
    uint8_t *room = buf_room(out, RELAY_HEADER_LEN + f->payload.n);
    if (!room)
        return;
    struct wr w = wr_of(room, RELAY_HEADER_LEN + f->payload.n);
    relay_frame_write(&w, f);
    buf_grow(out, w.n);
}

static void twist_frame(struct hostile *h, struct relay_frame f, struct buf *out)
{
    const struct rng *rng = &h->hub->sim->rng;
    uint8_t copy[RELAY_PAYLOAD_MAX];
    if (f.kind != RELAY_DATA && f.kind != RELAY_CONTROL) {
        put_frame(out, &f);
        return;
    }
    if (sim_chance(rng, h->drop)) {
        h->dropped++;
        return;
    }
    size_t before = out->n;
    if (sim_chance(rng, h->change) && f.payload.n > 0) {
        memcpy(copy, f.payload.p, f.payload.n);
        copy[rng_below(rng, f.payload.n)] ^= (uint8_t)(1u << rng_below(rng, 8));
        f.payload.p = copy;
        h->changed++;
    }
    if (h->wrong_sender) {
        f.peer = h->other_sender;
        h->misnamed++;
    }
    put_frame(out, &f);
    struct bytes put = bytes_of(out->p + before, out->n - before);
    if (f.kind == RELAY_DATA)
        keep(h, put);
    if (sim_chance(rng, h->repeat)) {
        h->repeated++;
        put_frame(out, &f);
    }
}

static bool say_binary(struct hostile *h, struct buf *message)
{
    struct buf out;
    struct relay_frame f;
    struct rd r = rd_of(buf_bytes(message));
    buf_init(&out, MESSAGE_ROOM);
    while (relay_frame_read(&f, &r) == 1)
        twist_frame(h, f, &out);
    buf_clear(message);
    if (sim_chance(&h->hub->sim->rng, h->hold)) {
        h->held_back++;
        buf_add(&h->held.message, buf_bytes(&out));
    } else {
        buf_add(message, buf_bytes(&out));
    }
    if (message->n > 0 && (h->hold == 0 || sim_chance(&h->hub->sim->rng, RELEASE))) {
        buf_add(message, buf_bytes(&h->held.message)); /* what was held back comes behind what came later */
        buf_clear(&h->held.message);
    }
    buf_done(&out);
    return message->n > 0;
}

static bool says(void *arg, struct hub_host *hub, const uint8_t *node, bool binary, struct buf *message)
{
    struct hostile *h = arg;
    if (!is_victim(h, node))
        return true;
    return binary ? say_binary(h, message) : say_text(h, message);
}

/* For a fork: the first append disappears, and its author is told that the head has moved. */
static bool hears(void *arg, struct hub_host *hub, const uint8_t *node, bool binary, struct buf *message)
{
    struct hostile *h = arg;
    struct signal s;
    if (binary || !node || !h->fork || h->secret.n > 0)
        return true;
    bool ours =
        signal_read(&s, buf_bytes(message)) == 0 && s.type == SIGNAL_LOG && s.u.log.op == LOG_OP_APPEND;
    if (ours) {
        buf_add(&h->secret, s.u.log.entries[0]);
        h->secret_seq = seq_of(s.u.log.entries[0]);
        struct signal no = {.type = SIGNAL_ERROR};
        strcpy(no.u.error.code, signal_error_code(SIGERR_STALE_HEAD));
        strcpy(no.u.error.message, signal_error_text(SIGERR_STALE_HEAD));
        no.u.error.ref = s.u.log.ref;
        no.u.error.has_party = true;
        memcpy(no.u.error.party, s.u.log.party, PARTY_ID_LEN);
        struct buf text;
        buf_init(&text, SIGNAL_MAX);
        if (signal_write(&text, &no) == 0)
            hub_host_say(hub, node, false, buf_bytes(&text));
        buf_done(&text);
    }
    signal_done(&s);
    return !ours;
}

struct hostile *hostile_new(struct hub_host *hub)
{
    struct hostile *h = sim_alloc(sizeof *h);
    struct sign_seed seed;
    h->hub = hub;
    sign_seed_new(&seed, &hub->sim->rng);
    h->key = sign_key_new(&seed);
    node_id_of(h->id, sign_key_public(h->key));
    buf_init(&h->secret, ENTRY_MAX);
    buf_init(&h->held.message, MESSAGE_ROOM / 2);
    for (size_t i = 0; i < HOSTILE_KEPT; i++)
        buf_init(&h->kept[i].message, RELAY_MESSAGE_MAX);
    hub->hooks = (struct hub_hooks){h, hears, says};
    return h;
}

void hostile_free(struct hostile *h)
{
    h->hub->hooks = (struct hub_hooks){0};
    sign_key_free(h->key);
    buf_done(&h->secret);
    buf_done(&h->held.message);
    for (size_t i = 0; i < HOSTILE_KEPT; i++)
        buf_done(&h->kept[i].message);
    free(h);
}

size_t hostile_replay(struct hostile *h)
{
    size_t n = h->kept_count < HOSTILE_KEPT ? h->kept_count : HOSTILE_KEPT;
    size_t said = 0;
    for (size_t i = 0; i < n; i++)
        said += hub_host_say(h->hub, h->victim, true, buf_bytes(&h->kept[i].message));
    return said;
}
