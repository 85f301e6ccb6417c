#include "session/schedule.h"

#include <string.h>

#include "crypto/secret.h"

#define PARTS_MAX 4

void transcript_hash(uint8_t out[SHA384_LEN], const char *label, const struct bytes *parts, size_t count)
{
    uint8_t lengths[PARTS_MAX + 1][4];
    struct bytes list[2 * (PARTS_MAX + 1)];
    size_t n = 0;
    for (size_t i = 0; i <= count && i <= PARTS_MAX; i++) {
        struct bytes part = i == 0 ? bytes_of_str(label) : parts[i - 1];
        struct wr w = wr_of(lengths[i], 4);
        wr_u32(&w, (uint32_t)part.n);
        list[n++] = wr_done(&w);
        list[n++] = part;
    }
    sha384(out, list, n);
}

/* One output of a prk: info is the label, a zero byte and a hash (or nothing). */
static void derive(uint8_t *out, size_t n, const uint8_t prk[SHA384_LEN], const char *label,
                   struct bytes hash)
{
    uint8_t info[64 + SHA384_LEN];
    struct wr w = wr_of(info, sizeof info);
    wr_bytes(&w, bytes_of_str(label));
    wr_u8(&w, 0);
    wr_bytes(&w, hash);
    hkdf384_expand(out, n, prk, wr_done(&w));
}

static void extract(uint8_t prk[SHA384_LEN], struct bytes salt, const struct shared_secrets *shared)
{
    uint8_t ikm[X25519_LEN + KEM_SECRET_LEN];
    memcpy(ikm, shared->dh, X25519_LEN);
    memcpy(ikm + X25519_LEN, shared->kem, KEM_SECRET_LEN);
    hkdf384_extract(prk, salt, bytes_of(ikm, sizeof ikm));
    wipe(ikm, sizeof ikm);
}

void schedule_handshake(struct hs_keys *out, const struct shared_secrets *shared, struct bytes hello,
                        struct bytes challenge, struct bytes response_prefix)
{
    const struct bytes parts[] = {hello, challenge, response_prefix};
    transcript_hash(out->th, "warren transcript v1", parts, 3);
    extract(out->prk, bytes_of(out->th, sizeof out->th), shared);
    derive(out->initiator, sizeof out->initiator, out->prk, "warren handshake initiator v1",
           bytes_of(NULL, 0));
    derive(out->responder, sizeof out->responder, out->prk, "warren handshake responder v1",
           bytes_of(NULL, 0));
}

static void derive_traffic(struct traffic_keys *out, const uint8_t prk[SHA384_LEN], struct bytes hash)
{
    derive(out->to_responder, sizeof out->to_responder, prk, "warren traffic to responder v1", hash);
    derive(out->to_initiator, sizeof out->to_initiator, prk, "warren traffic to initiator v1", hash);
    derive(out->chain, sizeof out->chain, prk, "warren chain v1", hash);
}

void schedule_session(struct session_keys *out, const struct hs_keys *hs, struct bytes response)
{
    uint8_t th2[SHA384_LEN];
    const struct bytes parts[] = {bytes_of(hs->th, sizeof hs->th), response};
    transcript_hash(th2, "warren transcript 2 v1", parts, 2);
    struct bytes hash = bytes_of(th2, sizeof th2);
    derive_traffic(&out->traffic, hs->prk, hash);
    derive(out->resume, sizeof out->resume, hs->prk, "warren resume v1", hash);
    derive(out->id, sizeof out->id, hs->prk, "warren session id v1", hash);
}

void schedule_rekey(struct traffic_keys *out, const uint8_t chain[SHA384_LEN],
                    const struct shared_secrets *shared, struct bytes init, struct bytes reply)
{
    uint8_t hash[SHA384_LEN], prk[SHA384_LEN];
    const struct bytes parts[] = {init, reply};
    transcript_hash(hash, "warren rekey v1", parts, 2);
    extract(prk, bytes_of(chain, SHA384_LEN), shared);
    derive_traffic(out, prk, bytes_of(hash, sizeof hash));
    wipe(prk, sizeof prk);
}
