#include <stdlib.h>
#include <string.h>

#include "nat/ice.h"

/* A script against one agent. First byte: role and consent. Then operations {what, which, value u16}; some
 * are followed by the bytes of a datagram. Messages are given as they are, or made from the bytes and signed,
 * so that what lies behind the integrity is reached, too. */

#define ASKED 16

static const struct ice_credentials OURS[2] = {{"ours0", "0123456789012345678901"},
                                               {"ours1", "1123456789012345678901"}};
static const struct ice_credentials THEIRS[2] = {{"their0", "2123456789012345678901"},
                                                 {"their1", "3123456789012345678901"}};

static void need(bool ok)
{
    if (!ok)
        abort();
}

struct world {
    struct ice *a;
    usec_t now;
    unsigned generation;
    uint8_t asked[ASKED][STUN_TXID_LEN]; /* the last transactions of the agent */
    struct net_addr asked_to[ASKED];
    uint32_t asked_base[ASKED];
    size_t asked_count;
    bool told;
};

static struct net_addr addr_of(uint16_t v)
{
    static const uint8_t six[16] = {0x20, 1, 0x0d, 0xb8};
    struct net_addr a =
        v & 1 ? net_addr6(six, (uint16_t)(v >> 4)) : net_addr4(0xcb007100u, (uint16_t)(v >> 4));
    a.ip[v & 1 ? 15 : 3] = (uint8_t)(v >> 1 & 7) + 1;
    if ((v & 15) == 14)
        a.ip[0] = 127;
    return a;
}

static struct ice_candidate candidate_of(uint8_t which, uint16_t v)
{
    return (struct ice_candidate){.type = which >> 6,
                                  .mapped = which & 8,
                                  .addr = addr_of(v),
                                  .base = which & 7,
                                  .preference = v,
                                  .priority = which & 16 ? v : 0};
}

static void drain(struct world *w)
{
    struct ice_out o;
    struct ice_event e;
    struct ice_pair p;
    while (ice_output(w->a, w->now, &o)) {
        struct stun_message m;
        need(stun_is(o.data) && stun_read(&m, o.data) == 0 && m.has_fingerprint && m.has_integrity);
        need(o.to.port != 0 && net_addr_scope(&o.to) != NET_NONE);
        if (m.class != STUN_REQUEST)
            continue;
        need(w->told || w->generation > 0);
        need(m.has_controlling != m.has_controlled && m.has_priority &&
             (!m.use_candidate || m.has_controlling));
        size_t i = w->asked_count++ % ASKED;
        memcpy(w->asked[i], m.txid, STUN_TXID_LEN);
        w->asked_to[i] = o.to;
        w->asked_base[i] = o.base;
    }
    while (ice_event(w->a, &e))
        need(e.kind != ICE_EVENT_SELECTED || e.pair.remote.port != 0);
    need(ice_state(w->a) != ICE_COMPLETED || ice_selected(w->a, &p));
}

static void signed_request(struct world *w, uint8_t which, uint16_t v, uint16_t from)
{
    uint8_t out[300], txid[STUN_TXID_LEN] = {which};
    char user[2 * ICE_UFRAG_MAX];
    struct stun_writer s;
    unsigned g = which & 1 ? w->generation ^ 1 : w->generation;
    stun_begin(&s, out, sizeof out, STUN_REQUEST, STUN_BINDING, txid);
    size_t n = strlen(OURS[g & 1].ufrag), m = strlen(THEIRS[g & 1].ufrag);
    memcpy(user, OURS[g & 1].ufrag, n);
    user[n] = ':';
    memcpy(user + n + 1, THEIRS[g & 1].ufrag, m);
    stun_put(&s, STUN_ATTR_USERNAME, bytes_of(user, n + 1 + m));
    if (v & 1)
        stun_put_u32(&s, STUN_ATTR_PRIORITY, (uint32_t)v << 8);
    if (v & 2)
        stun_put_u64(&s, STUN_ATTR_ICE_CONTROLLING, v & 8 ? UINT64_MAX : 0);
    if (v & 4)
        stun_put_u64(&s, STUN_ATTR_ICE_CONTROLLED, v & 8 ? UINT64_MAX : 0);
    if (v & 16)
        stun_put(&s, STUN_ATTR_USE_CANDIDATE, bytes_of(NULL, 0));
    if (v & 32)
        stun_put_u32(&s, (uint16_t)(v >> 1), v);
    stun_put_integrity(&s, bytes_of_str(OURS[g & 1].pwd));
    struct net_addr a = addr_of(from);
    ice_input(w->a, which >> 5, &a, stun_end(&s), w->now);
}

static void signed_response(struct world *w, uint8_t which, uint16_t v)
{
    uint8_t out[300];
    struct stun_writer s;
    size_t i = which % ASKED;
    struct net_addr from = v & 1 ? addr_of(v) : w->asked_to[i], mapped = addr_of((uint16_t)(v >> 3));
    stun_begin(&s, out, sizeof out, v & 2 ? STUN_ERROR : STUN_SUCCESS, STUN_BINDING, w->asked[i]);
    if (v & 2)
        stun_put_error(&s, v & 4 ? 487 : 400, "");
    else
        stun_put_xor_addr(&s, STUN_ATTR_XOR_MAPPED_ADDRESS, &mapped);
    stun_put_integrity(&s, bytes_of_str(THEIRS[(w->generation ^ which >> 7) & 1].pwd));
    ice_input(w->a, w->asked_base[i] ^ (which >> 6 & 1), &from, stun_end(&s), w->now);
}

static void change(struct world *w, uint8_t what, uint8_t which, uint16_t v)
{
    struct ice_candidate c = candidate_of(which, v);
    switch (what) {
    case 0:
        ice_add_local(w->a, &c, w->now);
        break;
    case 1:
        ice_add_remote(w->a, &c, w->now);
        break;
    case 2:
        w->told = ice_remote_credentials(w->a, &THEIRS[w->generation & 1], w->now) == 0 || w->told;
        break;
    case 3:
        ice_remove_base(w->a, which & 7, w->now);
        break;
    case 4:
        w->generation++;
        w->told = false;
        ice_restart(w->a, &OURS[w->generation & 1], w->now);
        break;
    case 5:
        ice_probe(w->a, which & 7, &c.addr, w->now);
        break;
    default:
        if (which & 1)
            ice_local_done(w->a, w->now);
        else
            ice_remote_done(w->a, w->now);
    }
}

static void step(struct world *w, struct rd *r)
{
    uint8_t what = rd_u8(r) % 12, which = rd_u8(r);
    uint16_t v = rd_u16(r);
    struct net_addr from = addr_of(v);
    switch (what) {
    case 7:
        w->now += (usec_t)v * (which & 1 ? MSEC : 16);
        ice_tick(w->a, w->now);
        drain(w);
        ice_tick(w->a, w->now); /* what found no room in the queue */
        drain(w);
        need(ice_wake(w->a) > w->now);
        break;
    case 8:
        signed_request(w, which, v, rd_u16(r));
        break;
    case 9:
        signed_response(w, which, v);
        break;
    case 10: {
        struct bytes in = rd_bytes(r, rd_left(r) < which ? rd_left(r) : which);
        char ufrag[ICE_UFRAG_MAX + 1];
        ice_request_ufrag(in, ufrag);
        ice_input(w->a, which & 7, &from, in, w->now);
        break;
    }
    case 11:
        drain(w);
        break;
    default:
        change(w, what, which, v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct rd r = rd_of(bytes_of(p, n));
    struct rng_seeded seed;
    uint8_t first = rd_u8(&r);
    struct ice_config c = {.controlling = first & 1,
                           .consent = first & 2,
                           .lite_peer = (first & 12) == 12,
                           .local = OURS[0],
                           .rng = rng_seeded(&seed, first)};
    struct world w = {.now = SEC};
    w.a = ice_new(&c, w.now);
    need(w.a);
    while (rd_ok(&r) && rd_left(&r) > 0)
        step(&w, &r);
    drain(&w);
    struct ice_counts counts;
    ice_counts(w.a, &counts);
    need(counts.local <= ICE_LOCAL_MAX && counts.remote <= ICE_REMOTE_MAX && counts.pairs <= ICE_PAIRS_MAX);
    for (size_t i = 0; i < counts.pairs; i++) {
        char text[200];
        need(ice_pair_text(w.a, i, text, sizeof text) && strlen(text) > 10);
    }
    ice_free(w.a);
    return 0;
}
