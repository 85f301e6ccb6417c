#include "wire/circuit.h"

#include <errno.h>
#include <string.h>

const char *circuit_reason_text(enum circuit_reason r)
{
    static const char *const text[CIRCUIT_REASON_COUNT] = {
        "closed by the other end",          "a member on the way does not know the circuit",
        "nothing came for too long",        "a member on the way cannot reach the next one",
        "a member does not relay",          "not a member of the party",
        "a member relays too much already", "a member speaks another version"};
    return (size_t)r < CIRCUIT_REASON_COUNT ? text[r] : "unknown";
}

static void zeros_to_end(struct rd *r)
{
    struct bytes pad = rd_rest(r);
    for (size_t i = 0; i < pad.n; i++)
        if (pad.p[i] != 0)
            rd_fail(r);
}

static enum circuit_reason reason_read(struct rd *r)
{
    uint8_t reason = rd_u8(r);
    if (reason >= CIRCUIT_REASON_COUNT)
        rd_fail(r);
    return reason;
}

/* Sets *version to false where the offer is one of another version: the rest is then nothing that we could
 * judge. */
static void offer_read(struct rd *r, struct circuit_offer *o, bool *version)
{
    struct rd whole = *r;
    *version = rd_u8(r) == CIRCUIT_VERSION;
    o->cipher = rd_u8(r);
    o->dh = rd_bytes(r, X25519_LEN).p;
    o->kem = rd_bytes(r, KEM_PUBLIC_LEN).p;
    o->all = rd_bytes(&whole, CIRCUIT_OFFER_LEN);
    if (!*version)
        rd_rest(r);
    else if (o->cipher >= AEAD_ALG_COUNT)
        rd_fail(r);
}

void circuit_offer_write(struct wr *w, const struct circuit_offer *o)
{
    wr_u8(w, CIRCUIT_VERSION);
    wr_u8(w, o->cipher);
    wr_copy(w, o->dh, X25519_LEN);
    wr_copy(w, o->kem, KEM_PUBLIC_LEN);
}

static void answer_read(struct rd *r, struct circuit_answer *a)
{
    struct rd whole = *r;
    a->dh = rd_bytes(r, X25519_LEN).p;
    a->ct = rd_bytes(r, KEM_CT_LEN).p;
    a->sig = rd_bytes(r, SIGN_SIG_LEN).p;
    a->all = rd_bytes(&whole, CIRCUIT_ANSWER_LEN);
}

static void answer_write(struct wr *w, const struct circuit_answer *a)
{
    wr_copy(w, a->dh, X25519_LEN);
    wr_copy(w, a->ct, KEM_CT_LEN);
    wr_copy(w, a->sig, SIGN_SIG_LEN);
}

/* Every layer ends up at header + whole layers, for each text is padded so: another length is a mistake. */
static void layer_read(struct rd *r, struct bytes *layer)
{
    *layer = rd_rest(r);
    if (layer->n < CIRCUIT_LAYER_LEN || layer->n % CIRCUIT_LAYER_LEN != 0)
        rd_fail(r);
}

int circuit_cell_read(struct circuit_cell *c, struct bytes in)
{
    struct rd r = rd_of(in);
    bool version = true;
    struct circuit_cell got = {.kind = rd_u8(&r)};
    got.circuit = rd_u32(&r);
    switch (got.kind) {
    case CIRCUIT_CREATE:
        got.party = rd_u32(&r);
        offer_read(&r, &got.offer, &version);
        if (in.n != CIRCUIT_CREATE_LEN)
            rd_fail(&r);
        zeros_to_end(&r);
        break;
    case CIRCUIT_CREATED:
        answer_read(&r, &got.answer);
        break;
    case CIRCUIT_FORTH:
    case CIRCUIT_BACK:
        layer_read(&r, &got.layer);
        break;
    case CIRCUIT_DESTROY_FORTH:
    case CIRCUIT_DESTROY_BACK:
        got.reason = reason_read(&r);
        break;
    default:
        rd_fail(&r);
    }
    if (!rd_done(&r) || got.circuit == 0)
        return -EBADMSG;
    *c = got;
    return version ? 0 : -EPROTONOSUPPORT;
}

void circuit_header_write(struct wr *w, enum circuit_kind kind, uint32_t circuit)
{
    wr_u8(w, (uint8_t)kind);
    wr_u32(w, circuit);
}

static void zeros(struct wr *w, size_t n)
{
    uint8_t *p = wr_take(w, n);
    if (p)
        memset(p, 0, n);
}

void circuit_cell_write(struct wr *w, const struct circuit_cell *c)
{
    circuit_header_write(w, c->kind, c->circuit);
    switch (c->kind) {
    case CIRCUIT_CREATE:
        wr_u32(w, c->party);
        circuit_offer_write(w, &c->offer);
        zeros(w, CIRCUIT_CREATE_LEN - CIRCUIT_HEADER_LEN - 4 - CIRCUIT_OFFER_LEN);
        break;
    case CIRCUIT_CREATED:
        answer_write(w, &c->answer);
        break;
    case CIRCUIT_FORTH:
    case CIRCUIT_BACK:
        wr_bytes(w, c->layer);
        break;
    case CIRCUIT_DESTROY_FORTH:
    case CIRCUIT_DESTROY_BACK:
        wr_u8(w, (uint8_t)c->reason);
        break;
    }
}

static void data_read(struct rd *r, struct circuit_text *t)
{
    uint16_t n = rd_u16(r);
    t->data = rd_bytes(r, n);
    zeros_to_end(r);
}

int circuit_text_read(struct circuit_text *t, struct bytes in)
{
    struct rd r = rd_of(in);
    bool version = true;
    struct circuit_text got = {.command = rd_u8(&r)};
    if (rd_left(&r) % CIRCUIT_LAYER_LEN != 0)
        rd_fail(&r);
    switch (got.command) {
    case CIRCUIT_PASS:
        layer_read(&r, &got.data);
        break;
    case CIRCUIT_DATA:
        data_read(&r, &got);
        break;
    case CIRCUIT_EXTEND:
        got.node = rd_bytes(&r, NODE_ID_LEN).p;
        offer_read(&r, &got.offer, &version);
        zeros_to_end(&r);
        break;
    case CIRCUIT_EXTENDED:
        answer_read(&r, &got.answer);
        zeros_to_end(&r);
        break;
    case CIRCUIT_REFUSE:
        got.reason = reason_read(&r);
        zeros_to_end(&r);
        break;
    case CIRCUIT_KEEP:
    case CIRCUIT_KEPT:
        zeros_to_end(&r);
        break;
    default:
        rd_fail(&r);
    }
    if (!rd_done(&r))
        return -EBADMSG;
    *t = got;
    return version ? 0 : -EPROTONOSUPPORT;
}

void circuit_text_write(struct wr *w, const struct circuit_text *t)
{
    wr_u8(w, (uint8_t)t->command);
    switch (t->command) {
    case CIRCUIT_DATA:
        wr_block16(w, t->data);
        break;
    case CIRCUIT_EXTEND:
        wr_copy(w, t->node, NODE_ID_LEN);
        circuit_offer_write(w, &t->offer);
        break;
    case CIRCUIT_EXTENDED:
        answer_write(w, &t->answer);
        break;
    case CIRCUIT_REFUSE:
        wr_u8(w, (uint8_t)t->reason);
        break;
    default:
        break;
    }
}

void circuit_text_pad(struct wr *w, size_t from, size_t least)
{
    size_t have = w->n - from - 1, want = have > least ? have : least;
    want = (want + CIRCUIT_LAYER_LEN - 1) / CIRCUIT_LAYER_LEN * CIRCUIT_LAYER_LEN;
    zeros(w, want - have);
}

uint64_t circuit_counter_read(struct rd *r)
{
    uint64_t high = rd_u16(r);
    return high << 32 | rd_u32(r);
}

void circuit_counter_write(struct wr *w, uint64_t counter)
{
    wr_u16(w, (uint16_t)(counter >> 32));
    wr_u32(w, (uint32_t)counter);
}
