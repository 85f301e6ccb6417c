#include <errno.h>
#include <string.h>

#include "crypto/hash.h"
#include "nat/discover.h"
#include "nat/hard.h"

/* ---- Kinds of NAT and what follows from a pair of them. */

const char *hard_mapping_name(enum hard_mapping m)
{
    static const char *const names[HARD_MAPPING_COUNT] = {"unknown", "easy", "sequential", "preserving",
                                                          "random"};
    return (unsigned)m < HARD_MAPPING_COUNT ? names[m] : "?";
}

const char *hard_kind_name(enum hard_kind k)
{
    static const char *const names[HARD_KIND_COUNT] = {"not needed", "impossible", "predict",
                                                       "kept ports", "birthday",   "both"};
    return (unsigned)k < HARD_KIND_COUNT ? names[k] : "?";
}

static void per_destination(struct hard_nat *n, enum nat_port_choice ports, int delta)
{
    bool step = delta != 0 && delta >= -HARD_DELTA_MAX && delta <= HARD_DELTA_MAX;
    n->mapping = HARD_RANDOM;
    if (ports == NAT_CHOICE_KEPT)
        n->mapping = HARD_PRESERVING;
    if (ports == NAT_CHOICE_SEQUENTIAL && step) {
        n->mapping = HARD_SEQUENTIAL;
        n->delta = (int16_t)delta;
    }
}

struct hard_nat hard_nat_of(const struct nat_behaviour *b)
{
    struct hard_nat n = {.mapping = HARD_UNKNOWN};
    if (b->family != 4 || b->mapped.family != 4)
        return n;
    n.mapped = b->mapped;
    if (b->translated == NAT_ANSWER_NO || b->mapping == NAT_DEPENDS_NOT)
        n.mapping = HARD_EASY;
    else if (b->mapping == NAT_DEPENDS_ADDRESS || b->mapping == NAT_DEPENDS_PORT)
        per_destination(&n, b->ports, b->port_delta);
    return n;
}

static bool easy(enum hard_mapping m)
{
    return m == HARD_EASY;
}

/* The unknown side is what leaves something to be tried. */
static enum hard_mapping taken_for(enum hard_mapping m, enum hard_mapping other)
{
    return m != HARD_UNKNOWN ? m : easy(other) ? HARD_RANDOM : HARD_EASY;
}

/* IPv4 and nothing that a check must not go to: a peer that lies could aim two thousand packets. */
static bool reachable(const struct hard_nat *n, bool with_port)
{
    enum net_scope scope = net_addr_scope(&n->mapped);
    return n->mapped.family == 4 && (!with_port || n->mapped.port) &&
           (scope == NET_PUBLIC || scope == NET_SHARED || scope == NET_PRIVATE);
}

static struct hard_plan no_plan(enum hard_kind kind, const char *words)
{
    return (struct hard_plan){.kind = kind, .words = words};
}

static struct hard_plan one_hard(enum hard_mapping hard, bool here)
{
    struct hard_plan p = {.hard_here = here, .hard_there = !here};
    switch (hard) {
    case HARD_SEQUENTIAL:
        p.kind = HARD_PREDICT;
        p.words = "one NAT counts its ports up or down: the other side probes those that come next";
        break;
    case HARD_PRESERVING:
        p.kind = HARD_KEPT_PORTS;
        p.words = "one NAT keeps local ports where it can: the other side probes those of fresh sockets";
        break;
    default:
        p.kind = HARD_BIRTHDAY;
        p.words = "one NAT chooses ports by chance: many sockets there, many probes from the other side";
    }
    return p;
}

struct hard_plan hard_plan(const struct hard_nat *ours, const struct hard_nat *theirs)
{
    if (ours->mapping == HARD_UNKNOWN && theirs->mapping == HARD_UNKNOWN)
        return no_plan(HARD_IMPOSSIBLE, "neither side knows yet how its NAT maps");
    enum hard_mapping a = taken_for(ours->mapping, theirs->mapping);
    enum hard_mapping b = taken_for(theirs->mapping, ours->mapping);
    if (easy(a) && easy(b))
        return no_plan(HARD_NOT_NEEDED, "neither NAT maps per destination: ordinary checks are all there is");
    if (!easy(a) && !easy(b) && (a == HARD_RANDOM || b == HARD_RANDOM))
        return no_plan(HARD_IMPOSSIBLE, "both NATs map per destination and at least one chooses ports by "
                                        "chance: no search is likely to meet");
    if (!reachable(ours, easy(a)) || !reachable(theirs, easy(b)))
        return no_plan(HARD_IMPOSSIBLE, "the public IPv4 address of one side is not known");
    if (easy(a) || easy(b))
        return one_hard(easy(a) ? b : a, !easy(a));
    return (struct hard_plan){HARD_BOTH, true, true,
                              "both NATs map per destination in ways that can be predicted: both sides do"};
}

/* ---- What came of earlier searches. */

/* In the order of their bytes, so that both ends have one key for a pair. */
void hard_memory_key(uint8_t out[HARD_MEMORY_KEY], const struct hard_nat *ours, const struct hard_nat *theirs)
{
    uint8_t sides[2][18], hash[SHA256_LEN];
    const struct hard_nat *nats[2] = {ours, theirs};
    for (size_t i = 0; i < 2; i++) {
        sides[i][0] = nats[i]->mapped.family;
        memcpy(sides[i] + 1, nats[i]->mapped.ip, 16);
        sides[i][17] = (uint8_t)nats[i]->mapping;
    }
    size_t first = memcmp(sides[0], sides[1], sizeof sides[0]) > 0;
    sha256(hash,
           (struct bytes[]){bytes_of_str("warren hard nats v1"), bytes_of(sides[first], sizeof sides[0]),
                            bytes_of(sides[!first], sizeof sides[0])},
           3);
    memcpy(out, hash, HARD_MEMORY_KEY);
}

void hard_memory_init(struct hard_memory *m)
{
    memset(m, 0, sizeof *m);
}

static struct hard_result *result_of(struct hard_memory *m, const uint8_t *key)
{
    for (size_t i = 0; i < m->count; i++) {
        if (!memcmp(m->results[i].key, key, HARD_MEMORY_KEY))
            return &m->results[i];
    }
    return NULL;
}

static struct hard_result *result_made(struct hard_memory *m, const uint8_t *key)
{
    struct hard_result *r = result_of(m, key);
    if (r)
        return r;
    if (m->count < HARD_MEMORY_MAX) {
        r = &m->results[m->count++];
    } else {
        r = &m->results[0];
        for (size_t i = 1; i < m->count; i++) {
            if (m->results[i].at < r->at)
                r = &m->results[i];
        }
    }
    memset(r, 0, sizeof *r);
    memcpy(r->key, key, HARD_MEMORY_KEY);
    return r;
}

void hard_memory_success(struct hard_memory *m, const uint8_t key[HARD_MEMORY_KEY], enum hard_kind kind,
                         uint64_t unix_s)
{
    struct hard_result *r = result_made(m, key);
    r->kind = kind;
    r->failures = 0;
    r->at = r->again = unix_s;
}

void hard_memory_failure(struct hard_memory *m, const uint8_t key[HARD_MEMORY_KEY], enum hard_kind kind,
                         uint64_t unix_s)
{
    struct hard_result *r = result_made(m, key);
    uint64_t wait = HARD_AGAIN_FIRST_S;
    for (unsigned i = 0; i < r->failures && wait < HARD_AGAIN_LONGEST_S; i++)
        wait *= 2;
    if (wait > HARD_AGAIN_LONGEST_S)
        wait = HARD_AGAIN_LONGEST_S;
    r->kind = kind;
    r->failures = r->failures < UINT8_MAX ? (uint8_t)(r->failures + 1) : UINT8_MAX;
    r->at = unix_s;
    r->again = unix_s > UINT64_MAX - wait ? UINT64_MAX : unix_s + wait;
}

const struct hard_result *hard_memory_find(const struct hard_memory *m, const uint8_t key[HARD_MEMORY_KEY])
{
    for (size_t i = 0; i < m->count; i++) {
        if (!memcmp(m->results[i].key, key, HARD_MEMORY_KEY))
            return &m->results[i];
    }
    return NULL;
}

/* A result from the future was written by a clock that ran ahead: it says nothing about now. */
bool hard_memory_may_try(const struct hard_memory *m, const uint8_t key[HARD_MEMORY_KEY], uint64_t unix_s,
                         uint64_t *wait_s)
{
    const struct hard_result *r = hard_memory_find(m, key);
    uint64_t wait = r && r->at <= unix_s && r->again > unix_s ? r->again - unix_s : 0;
    if (wait > HARD_AGAIN_LONGEST_S)
        wait = HARD_AGAIN_LONGEST_S;
    if (wait_s)
        *wait_s = wait;
    return wait == 0;
}

#define MEMORY_VERSION 1

size_t hard_memory_save(const struct hard_memory *m, uint8_t *out, size_t cap)
{
    struct wr w = wr_of(out, cap);
    wr_u16(&w, MEMORY_VERSION);
    wr_u16(&w, (uint16_t)m->count);
    for (size_t i = 0; i < m->count; i++) {
        const struct hard_result *r = &m->results[i];
        wr_copy(&w, r->key, HARD_MEMORY_KEY);
        wr_u8(&w, (uint8_t)r->kind);
        wr_u8(&w, r->failures);
        wr_u64(&w, r->at);
        wr_u64(&w, r->again);
    }
    return wr_ok(&w) ? wr_done(&w).n : 0;
}

int hard_memory_load(struct hard_memory *m, struct bytes saved)
{
    struct rd r = rd_of(saved);
    struct hard_memory made;
    hard_memory_init(m);
    hard_memory_init(&made);
    uint16_t version = rd_u16(&r), count = rd_u16(&r);
    if (version != MEMORY_VERSION || count > HARD_MEMORY_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < count; i++) {
        struct hard_result *one = &made.results[i];
        rd_copy(&r, one->key, HARD_MEMORY_KEY);
        uint8_t kind = rd_u8(&r);
        one->failures = rd_u8(&r);
        one->at = rd_u64(&r);
        one->again = rd_u64(&r);
        if (kind >= HARD_KIND_COUNT || !rd_ok(&r) || hard_memory_find(&made, one->key))
            return -EBADMSG;
        one->kind = (enum hard_kind)kind;
        made.count++;
    }
    if (!rd_done(&r))
        return -EBADMSG;
    *m = made;
    return 0;
}
