#include "wire/hs.h"

#include <errno.h>
#include <string.h>

#include "crypto/aead.h"

int hs_message_of(struct bytes in)
{
    struct rd r = rd_of(in);
    uint8_t type = rd_u8(&r), message = rd_u8(&r);
    uint16_t version = rd_u16(&r);
    if (!rd_ok(&r) || in.n > HS_MESSAGE_MAX || type != WIRE_HANDSHAKE)
        return -EBADMSG;
    if (version != HS_VERSION)
        return -EPROTONOSUPPORT;
    if (message < HS_HELLO || message > HS_REJECT)
        return -EBADMSG;
    return message;
}

/* The eight bytes that all messages begin with. */
static struct rd begin_read(struct bytes in, enum hs_message message, uint32_t *receiver)
{
    struct rd r = rd_of(in);
    if (hs_message_of(in) != (int)message)
        rd_fail(&r);
    rd_u32(&r);
    *receiver = rd_u32(&r);
    return r;
}

static void begin_write(struct wr *w, enum hs_message message, uint32_t receiver)
{
    wr_u8(w, WIRE_HANDSHAKE);
    wr_u8(w, (uint8_t)message);
    wr_u16(w, HS_VERSION);
    wr_u32(w, receiver);
}

uint8_t hs_heads_read(struct rd *r, struct hs_head heads[HS_HEADS_MAX])
{
    uint8_t count = rd_u8(r);
    if (count > HS_HEADS_MAX)
        rd_fail(r);
    for (size_t i = 0; rd_ok(r) && i < count; i++) {
        rd_copy(r, heads[i].party, sizeof heads[i].party);
        heads[i].seq = rd_u64(r);
        rd_copy(r, heads[i].hash, sizeof heads[i].hash);
    }
    return rd_ok(r) ? count : 0;
}

void hs_heads_write(struct wr *w, const struct hs_head *heads, uint8_t count)
{
    if (count > HS_HEADS_MAX) {
        w->bad = true;
        return;
    }
    wr_u8(w, count);
    for (size_t i = 0; i < count; i++) {
        wr_copy(w, heads[i].party, sizeof heads[i].party);
        wr_u64(w, heads[i].seq);
        wr_copy(w, heads[i].hash, sizeof heads[i].hash);
    }
}

int hs_hello_read(struct hs_hello *m, struct bytes in)
{
    struct hs_hello got = {0};
    uint32_t receiver;
    struct rd r = begin_read(in, HS_HELLO, &receiver);
    got.sender = rd_u32(&r);
    rd_copy(&r, got.from, sizeof got.from);
    rd_copy(&r, got.to, sizeof got.to);
    rd_copy(&r, got.nonce, sizeof got.nonce);
    rd_copy(&r, got.dh, sizeof got.dh);
    got.ciphers = rd_u8(&r);
    got.head_count = hs_heads_read(&r, got.heads);
    got.signed_part = bytes_of(in.p, in.n - rd_left(&r));
    got.sig = rd_bytes(&r, ED25519_SIG_LEN).p;
    if (!rd_done(&r) || receiver != 0 || got.sender == 0)
        return -EBADMSG;
    *m = got;
    return 0;
}

void hs_hello_write(struct wr *w, const struct hs_hello *m)
{
    begin_write(w, HS_HELLO, 0);
    wr_u32(w, m->sender);
    wr_copy(w, m->from, sizeof m->from);
    wr_copy(w, m->to, sizeof m->to);
    wr_copy(w, m->nonce, sizeof m->nonce);
    wr_copy(w, m->dh, sizeof m->dh);
    wr_u8(w, m->ciphers);
    hs_heads_write(w, m->heads, m->head_count);
}

int hs_challenge_read(struct hs_challenge *m, struct bytes in)
{
    struct hs_challenge got = {0};
    struct rd r = begin_read(in, HS_CHALLENGE, &got.receiver);
    got.sender = rd_u32(&r);
    rd_copy(&r, got.nonce, sizeof got.nonce);
    rd_copy(&r, got.dh, sizeof got.dh);
    got.kem = rd_bytes(&r, KEM_PUBLIC_LEN).p;
    got.ciphers = rd_u8(&r);
    got.cipher = rd_u8(&r);
    got.head_count = hs_heads_read(&r, got.heads);
    got.signed_part = bytes_of(in.p, in.n - rd_left(&r));
    got.sig = rd_bytes(&r, SIGN_SIG_LEN).p;
    if (!rd_done(&r) || got.sender == 0 || got.cipher >= AEAD_ALG_COUNT)
        return -EBADMSG;
    *m = got;
    return 0;
}

void hs_challenge_write(struct wr *w, const struct hs_challenge *m)
{
    begin_write(w, HS_CHALLENGE, m->receiver);
    wr_u32(w, m->sender);
    wr_copy(w, m->nonce, sizeof m->nonce);
    wr_copy(w, m->dh, sizeof m->dh);
    wr_copy(w, m->kem, KEM_PUBLIC_LEN);
    wr_u8(w, m->ciphers);
    wr_u8(w, m->cipher);
    hs_heads_write(w, m->heads, m->head_count);
}

int hs_response_read(struct hs_response *m, struct bytes in)
{
    struct hs_response got = {0};
    struct rd r = begin_read(in, HS_RESPONSE, &got.receiver);
    got.ct = rd_bytes(&r, KEM_CT_LEN).p;
    got.prefix = bytes_of(in.p, in.n - rd_left(&r));
    got.sealed = rd_rest(&r);
    if (!rd_ok(&r) || got.sealed.n < SIGN_SIG_LEN + 1 + AEAD_TAG_LEN ||
        got.sealed.n > HS_RESPONSE_PAYLOAD_MAX + AEAD_TAG_LEN)
        return -EBADMSG;
    *m = got;
    return 0;
}

void hs_response_write(struct wr *w, const struct hs_response *m)
{
    begin_write(w, HS_RESPONSE, m->receiver);
    wr_copy(w, m->ct, KEM_CT_LEN);
}

int hs_response_payload_read(struct hs_response_payload *m, struct bytes in)
{
    struct rd r = rd_of(in);
    struct hs_response_payload got = {0};
    rd_copy(&r, got.sig, sizeof got.sig);
    got.addr_count = rd_u8(&r);
    if (got.addr_count > HS_ADDR_MAX)
        rd_fail(&r);
    for (size_t i = 0; rd_ok(&r) && i < got.addr_count; i++) {
        rd_addr(&r, &got.addrs[i]);
        if (got.addrs[i].family == 0)
            rd_fail(&r);
    }
    if (!rd_done(&r))
        return -EBADMSG;
    *m = got;
    return 0;
}

void hs_response_payload_write(struct wr *w, const struct hs_response_payload *m)
{
    wr_copy(w, m->sig, sizeof m->sig);
    if (m->addr_count > HS_ADDR_MAX) {
        w->bad = true;
        return;
    }
    wr_u8(w, m->addr_count);
    for (size_t i = 0; i < m->addr_count; i++)
        wr_addr(w, &m->addrs[i]);
}

int hs_established_read(struct hs_established *m, struct bytes in)
{
    struct hs_established got = {0};
    struct rd r = begin_read(in, HS_ESTABLISHED, &got.receiver);
    got.prefix = bytes_of(in.p, in.n - rd_left(&r));
    got.sealed = rd_rest(&r);
    if (!rd_ok(&r) || got.sealed.n < AEAD_TAG_LEN || got.sealed.n > HS_ESTABLISHED_PAYLOAD_MAX + AEAD_TAG_LEN)
        return -EBADMSG;
    *m = got;
    return 0;
}

void hs_established_write(struct wr *w, const struct hs_established *m)
{
    begin_write(w, HS_ESTABLISHED, m->receiver);
}

int hs_established_payload_read(struct hs_established_payload *m, struct bytes in)
{
    struct rd r = rd_of(in);
    struct hs_established_payload got = {0};
    rd_copy(&r, got.session_id, sizeof got.session_id);
    got.mtu = rd_u16(&r);
    got.heartbeat_ms = rd_u32(&r);
    got.rekey_s = rd_u32(&r);
    rd_addr(&r, &got.seen);
    got.direct = rd_u8(&r);
    if (!rd_done(&r) || got.mtu < HS_MTU_MIN || got.rekey_s == 0 || got.direct > 1)
        return -EBADMSG;
    *m = got;
    return 0;
}

void hs_established_payload_write(struct wr *w, const struct hs_established_payload *m)
{
    wr_copy(w, m->session_id, sizeof m->session_id);
    wr_u16(w, m->mtu);
    wr_u32(w, m->heartbeat_ms);
    wr_u32(w, m->rekey_s);
    wr_addr(w, &m->seen);
    wr_u8(w, m->direct);
}

int hs_reject_read(struct hs_reject *m, struct bytes in)
{
    struct hs_reject got = {0};
    struct rd r = begin_read(in, HS_REJECT, &got.receiver);
    got.reason = rd_u8(&r);
    if (!rd_done(&r) || got.reason == 0)
        return -EBADMSG;
    *m = got;
    return 0;
}

void hs_reject_write(struct wr *w, const struct hs_reject *m)
{
    begin_write(w, HS_REJECT, m->receiver);
    wr_u8(w, m->reason);
}
