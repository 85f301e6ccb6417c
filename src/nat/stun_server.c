#include "nat/stun_server.h"

#include <stdlib.h>
#include <string.h>

#include "base/ratelimit.h"
#include "wire/stun.h"

#define WAYS         8
#define SETS         (STUN_SERVER_PREFIXES / WAYS)
#define KEY_LEN      7 /* family, then 24 or 48 bits */
#define SOFTWARE_MAX 64
#define IN_MAX       (STUN_SERVER_OUT_MAX - 64)
#define PADDING_MIN  4 /* a PADDING attribute without a value */

struct prefix {
    uint8_t key[KEY_LEN];
    bool used;
    usec_t last;
    struct ratelimit answers, spare;
    uint32_t credit; /* bytes that came and were not answered with as many */
};

struct stun_server {
    struct net_addr endpoints[STUN_ENDPOINTS];
    char software[SOFTWARE_MAX];
    uint32_t rate, burst;
    uint64_t seed;
    struct ratelimit all, spare_all;
    uint64_t counts[STUN_VERDICT_COUNT];
    struct prefix prefixes[SETS][WAYS];
};

const char *stun_verdict_name(enum stun_verdict v)
{
    static const char *const names[STUN_VERDICT_COUNT] = {"served", "served_error", "foreign", "classic",
                                                          "broken", "kind",         "source",  "prefix",
                                                          "rate",   "small"};
    return v < STUN_VERDICT_COUNT ? names[v] : "unknown";
}

struct stun_server *stun_server_new(const struct stun_server_config *c, usec_t now)
{
    struct stun_server *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    stun_server_endpoints(s, c->endpoints);
    if (c->software)
        strncpy(s->software, c->software, SOFTWARE_MAX - 1);
    s->rate = c->rate ? c->rate : STUN_SERVER_RATE;
    s->burst = c->burst ? c->burst : STUN_SERVER_BURST;
    s->seed = c->seed;
    uint32_t all = c->rate_all ? c->rate_all : STUN_SERVER_RATE_ALL;
    ratelimit_init(&s->all, all, all, now);
    ratelimit_init(&s->spare_all, STUN_SERVER_SPARE_ALL, STUN_SERVER_SPARE_ALL, now);
    return s;
}

void stun_server_free(struct stun_server *s)
{
    free(s);
}

void stun_server_endpoints(struct stun_server *s, const struct net_addr endpoints[STUN_ENDPOINTS])
{
    memcpy(s->endpoints, endpoints, sizeof s->endpoints);
}

uint64_t stun_server_count(const struct stun_server *s, enum stun_verdict v)
{
    return v < STUN_VERDICT_COUNT ? s->counts[v] : 0;
}

/* Keyed, so that strangers cannot aim at one set. */
static size_t set_of(const struct stun_server *s, const uint8_t key[KEY_LEN])
{
    uint64_t h = s->seed;
    for (size_t i = 0; i < KEY_LEN; i++) {
        h = (h ^ key[i]) * 0x9e3779b97f4a7c15;
        h ^= h >> 29;
    }
    return h * (s->seed | 1) >> 40 & (SETS - 1);
}

static struct prefix *prefix_get(struct stun_server *s, const struct net_addr *from, usec_t now)
{
    uint8_t key[KEY_LEN] = {from->family};
    memcpy(key + 1, from->ip, from->family == 4 ? 3 : 6);
    struct prefix *set = s->prefixes[set_of(s, key)], *oldest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].used && !memcmp(set[i].key, key, KEY_LEN)) {
            set[i].last = now;
            return &set[i];
        }
        if (!set[i].used || (oldest->used && set[i].last < oldest->last))
            oldest = &set[i];
    }
    *oldest = (struct prefix){.used = true, .last = now};
    memcpy(oldest->key, key, KEY_LEN);
    ratelimit_init(&oldest->answers, s->rate, s->burst, now);
    ratelimit_init(&oldest->spare, STUN_SERVER_SPARE_RATE, STUN_SERVER_SPARE, now);
    return oldest;
}

/* One request under way. */
struct asking {
    struct stun_server *s;
    const struct stun_asked *q;
    struct stun_message m;
    struct stun_writer w;
    struct net_addr origin, other; /* family 0: not to be told */
    unsigned endpoint;             /* to answer from */
    struct net_addr to;
    bool other_address; /* a second address is there, not only a second port */
};

static bool there(const struct stun_server *s, unsigned endpoint)
{
    return s->endpoints[endpoint].family != 0;
}

static bool unspecified(const struct net_addr *a)
{
    static const uint8_t zeros[16];
    return !memcmp(a->ip, zeros, sizeof zeros);
}

/* What the client may be told about an endpoint of the address it asked (`same`) or of the other one. */
static struct net_addr told(const struct asking *a, unsigned endpoint, bool same)
{
    struct net_addr e = a->s->endpoints[endpoint];
    if (same && e.family && e.family == a->q->local.family)
        memcpy(e.ip, a->q->local.ip, sizeof e.ip);
    return e.family && !unspecified(&e) ? e : (struct net_addr){0};
}

/* RFC 5780 section 7.4: the other address and port, where there is a full set of four; else the other port.
 */
static void find_other(struct asking *a)
{
    unsigned e = a->q->endpoint, both = e ^ STUN_ENDPOINT_ADDR2 ^ STUN_ENDPOINT_PORT2;
    a->other_address =
        there(a->s, e ^ STUN_ENDPOINT_ADDR2) && there(a->s, e ^ STUN_ENDPOINT_PORT2) && there(a->s, both);
    a->other = a->other_address ? told(a, both, false) : told(a, e ^ STUN_ENDPOINT_PORT2, true);
}

static size_t tail(const struct asking *a, bool padding)
{
    return (a->m.has_fingerprint ? 8 : 0) + (padding ? PADDING_MIN : 0);
}

/* Whether n more bytes leave the answer no larger than the request, with what must still follow. */
static bool has_room(const struct asking *a, size_t n)
{
    return a->w.n + n + tail(a, a->m.has_padding) <= a->m.whole.n;
}

static void put_addr_if_room(struct asking *a, uint16_t type, const struct net_addr *addr)
{
    if (addr->family && has_room(a, addr->family == 6 ? 24 : 12))
        stun_put_addr(&a->w, type, addr);
}

static void put_software_if_room(struct asking *a)
{
    struct bytes text = bytes_of_str(a->s->software);
    if (text.n > 0 && has_room(a, 4 + (text.n + 3) / 4 * 4))
        stun_put(&a->w, STUN_ATTR_SOFTWARE, text);
}

/* RFC 5780 section 7.6 wants PADDING answered with PADDING of the MTU. As much as came is what a stranger
 * gets. */
static void put_padding_if_asked(struct asking *a)
{
    static const uint8_t zeros[STUN_SERVER_OUT_MAX];
    if (a->m.has_padding && has_room(a, 0))
        stun_put(&a->w, STUN_ATTR_PADDING, bytes_of(zeros, a->m.whole.n - a->w.n - tail(a, true)));
}

static void finish(struct asking *a)
{
    if (a->m.has_fingerprint)
        stun_put_fingerprint(&a->w);
}

static void write_success(struct asking *a, uint8_t *out)
{
    stun_begin(&a->w, out, STUN_SERVER_OUT_MAX, STUN_SUCCESS, STUN_BINDING, a->m.txid);
    stun_put_xor_addr(&a->w, STUN_ATTR_XOR_MAPPED_ADDRESS, &a->q->from);
    put_addr_if_room(a, STUN_ATTR_OTHER_ADDRESS, &a->other);
    put_addr_if_room(a, STUN_ATTR_RESPONSE_ORIGIN, &a->origin);
    put_addr_if_room(a, STUN_ATTR_MAPPED_ADDRESS, &a->q->from);
    put_software_if_room(a);
    put_padding_if_asked(a);
    finish(a);
}

static void write_error(struct asking *a, uint8_t *out, uint16_t code, const char *reason)
{
    uint8_t list[2 * STUN_UNKNOWN_MAX];
    struct wr unknown = wr_of(list, sizeof list);
    for (size_t i = 0; code == 420 && i < a->m.unknown_count; i++)
        wr_u16(&unknown, a->m.unknown[i]);
    size_t need = code == 420 ? 4 + (wr_done(&unknown).n + 3) / 4 * 4 : 0;
    stun_begin(&a->w, out, STUN_SERVER_OUT_MAX, STUN_ERROR, STUN_BINDING, a->m.txid);
    stun_put_error(&a->w, code, has_room(a, 8 + (strlen(reason) + 3) / 4 * 4 + need) ? reason : "");
    if (code == 420)
        stun_put(&a->w, STUN_ATTR_UNKNOWN_ATTRIBUTES, wr_done(&unknown));
    put_software_if_room(a);
    finish(a);
    a->endpoint = a->q->endpoint;
    a->to = a->q->from;
}

/* Which endpoint answers, and where to. false: an error was written. */
static bool choose(struct asking *a, uint8_t *out)
{
    struct stun_message *m = &a->m;
    a->endpoint = a->q->endpoint;
    a->to = a->q->from;
    find_other(a);
    if (m->unknown_count > 0) {
        write_error(a, out, 420, "Unknown Attribute");
        return false;
    }
    if (m->has_change && m->change & STUN_CHANGE_IP)
        a->endpoint ^= STUN_ENDPOINT_ADDR2;
    if (m->has_change && m->change & STUN_CHANGE_PORT)
        a->endpoint ^= STUN_ENDPOINT_PORT2;
    /* Without a second address CHANGE-REQUEST is what RFC 5780 section 6 has a server without one not
     * understand. */
    if (!there(a->s, a->endpoint) ||
        (!a->other_address && (a->endpoint ^ a->q->endpoint) & STUN_ENDPOINT_ADDR2)) {
        m->unknown[0] = STUN_ATTR_CHANGE_REQUEST;
        m->unknown_count = 1;
        write_error(a, out, 420, "Unknown Attribute");
        return false;
    }
    /* RFC 5780 section 6.1: not together. */
    if (m->has_response_port && (m->has_padding || m->response_port == 0)) {
        write_error(a, out, 400, "Bad Request");
        return false;
    }
    if (m->has_response_port)
        a->to.port = m->response_port;
    a->origin = told(a, a->endpoint, !((a->endpoint ^ a->q->endpoint) & STUN_ENDPOINT_ADDR2));
    return true;
}

static void credit(struct prefix *p, size_t bytes)
{
    p->credit += (uint32_t)bytes;
    if (p->credit > STUN_SERVER_CREDIT_MAX)
        p->credit = STUN_SERVER_CREDIT_MAX;
}

/* Settles what came and what would go; false: the difference cannot be paid, and the request counts as
 * unanswered. */
static bool pay(struct stun_server *s, struct prefix *p, const struct asking *a, usec_t now)
{
    size_t came = a->m.whole.n, goes = a->w.n, head = a->q->from.family == 6 ? 48 : 28;
    if (goes <= came) {
        credit(p, came - goes);
        return true;
    }
    if (p->credit >= goes - came) {
        p->credit -= (uint32_t)(goes - came);
        return true;
    }
    if (ratelimit_take(&p->spare, goes - came, now) && ratelimit_take(&s->spare_all, goes - came, now))
        return true;
    credit(p, came + head);
    return false;
}

static enum stun_verdict judge(struct asking *a, struct bytes in)
{
    const struct net_addr *from = &a->q->from;
    if (!stun_is(in)) {
        struct rd r = rd_of(in);
        uint16_t type = rd_u16(&r), length = rd_u16(&r);
        rd_bytes(&r, 16);
        return rd_ok(&r) && type == 1 && length == rd_left(&r) ? STUN_DROP_CLASSIC : STUN_DROP_FOREIGN;
    }
    if (in.n > IN_MAX || stun_read(&a->m, in) != 0)
        return STUN_DROP_BROKEN;
    if (a->m.class != STUN_REQUEST || a->m.method != STUN_BINDING)
        return STUN_DROP_KIND;
    if (from->port == 0 || net_addr_scope(from) == NET_NONE || a->q->endpoint >= STUN_ENDPOINTS ||
        (from->family == 6) != !!(a->q->endpoint & STUN_ENDPOINT_IP6))
        return STUN_DROP_SOURCE;
    return STUN_SERVED;
}

static enum stun_verdict answer(struct asking *a, struct bytes in, uint8_t *out, usec_t now)
{
    struct stun_server *s = a->s;
    enum stun_verdict v = judge(a, in);
    if (v != STUN_SERVED)
        return v;
    struct prefix *p = prefix_get(s, &a->q->from, now);
    if (!ratelimit_take(&p->answers, 1, now))
        return STUN_DROP_PREFIX;
    if (!ratelimit_take(&s->all, 1, now))
        return STUN_DROP_RATE;
    if (choose(a, out))
        write_success(a, out);
    else
        v = STUN_SERVED_ERROR;
    return pay(s, p, a, now) ? v : STUN_DROP_SMALL;
}

enum stun_verdict stun_server_answer(struct stun_server *s, const struct stun_asked *q, struct bytes in,
                                     uint8_t out[STUN_SERVER_OUT_MAX], struct stun_answer *a, usec_t now)
{
    struct asking asking = {.s = s, .q = q};
    enum stun_verdict v = answer(&asking, in, out, now);
    s->counts[v]++;
    if (v == STUN_SERVED || v == STUN_SERVED_ERROR)
        *a = (struct stun_answer){asking.endpoint, asking.to, stun_end(&asking.w)};
    return v;
}
