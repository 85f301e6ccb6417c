/* A TURN server for tests and the fuzz target: it checks what a client sends and answers as RFC 8656 says,
 * with knobs for what goes wrong. One client, no sockets. */
#ifndef WARREN_NAT_TURN_MODEL_INT_H
#define WARREN_NAT_TURN_MODEL_INT_H

#include <string.h>

#include "wire/stun.h"

#define MODEL_PEERS 64

struct turn_model {
    const char *username, *password, *realm;
    char nonce[64];
    unsigned nonce_number;
    bool offer_sha256, strip_algorithms, unsigned_errors, stream;
    uint32_t lifetime;
    uint16_t fail_code;   /* the answer to requests of fail_method, fail_times times */
    uint16_t fail_method; /* 0: all */
    unsigned fail_times;
    struct net_addr alternate; /* with fail_code 300 */
    struct net_addr relayed, mapped;
    /* what it knows */
    bool allocated;
    struct net_addr permitted[MODEL_PEERS];
    size_t permission_count;
    struct net_addr channel_peer[MODEL_PEERS];
    uint16_t channel[MODEL_PEERS];
    size_t channel_count;
    /* what it saw */
    unsigned requests[16], indications, bindings, channel_frames, bad;
    unsigned proven;  /* requests with a right integrity */
    bool used_sha256; /* the last one */
    uint32_t asked_lifetime;
    uint8_t asked_family;
    struct net_addr to; /* the last datagram to a peer */
    uint8_t data[2048];
    size_t data_len;
    uint8_t reply[2048];
    size_t reply_len;
};

static inline void model_new_nonce(struct turn_model *s)
{
    s->nonce_number++;
    memset(s->nonce, 0, sizeof s->nonce);
    /* "gAAA": bit 0 of the features, "password algorithms" */
    memcpy(s->nonce, s->offer_sha256 ? "obMatJos2gAAAnonce0" : "nonce0", s->offer_sha256 ? 19 : 6);
    s->nonce[strlen(s->nonce) - 1] = (char)('0' + s->nonce_number % 10);
}

static inline void model_init(struct turn_model *s, const char *username, const char *password)
{
    *s = (struct turn_model){.username = username,
                             .password = password,
                             .realm = "example.net",
                             .lifetime = 600,
                             .relayed = net_addr4(0xc6336414, 50000),
                             .mapped = net_addr4(0xc6336401, 1234)};
    model_new_nonce(s);
}

static inline struct bytes model_key(const struct turn_model *s, uint8_t key[32])
{
    size_t n;
    stun_long_term_key(key, &n, s->offer_sha256, bytes_of_str(s->username), bytes_of_str(s->realm),
                       bytes_of_str(s->password));
    return bytes_of(key, n);
}

static inline void model_finish(struct turn_model *s, struct stun_writer *w, bool sign)
{
    uint8_t key[32];
    struct bytes k = model_key(s, key);
    if (sign && s->offer_sha256)
        stun_put_integrity256(w, k);
    else if (sign)
        stun_put_integrity(w, k);
    stun_put_fingerprint(w);
    s->reply_len = stun_end(w).n;
}

static inline void model_error(struct turn_model *s, const struct stun_message *m, uint16_t code, bool sign)
{
    static const uint8_t algorithms[] = {0, 2, 0, 0, 0, 1, 0, 0};
    struct stun_writer w;
    stun_begin(&w, s->reply, sizeof s->reply, STUN_ERROR, m->method, m->txid);
    stun_put_error(&w, code, "because");
    if (code == 401 || code == 438) {
        stun_put(&w, STUN_ATTR_REALM, bytes_of_str(s->realm));
        stun_put(&w, STUN_ATTR_NONCE, bytes_of_str(s->nonce));
        if (s->offer_sha256 && !s->strip_algorithms)
            stun_put(&w, STUN_ATTR_PASSWORD_ALGORITHMS, bytes_of(algorithms, sizeof algorithms));
    }
    if (code == 300 && s->alternate.family)
        stun_put_addr(&w, STUN_ATTR_ALTERNATE_SERVER, &s->alternate);
    model_finish(s, &w, sign && !s->unsigned_errors);
}

/* 0, or the error that the request deserves. */
static inline uint16_t model_judge(struct turn_model *s, const struct stun_message *m)
{
    uint8_t key[32];
    if (!m->username.p)
        return 401;
    if (!bytes_equal(m->nonce, bytes_of_str(s->nonce)))
        return 438;
    s->used_sha256 = m->has_integrity256 && m->password_sha256;
    if (!bytes_equal(m->username, bytes_of_str(s->username)) ||
        !bytes_equal(m->realm, bytes_of_str(s->realm)) || (s->offer_sha256 && m->has_integrity) ||
        !stun_verify(m, model_key(s, key), s->offer_sha256))
        return 401;
    s->proven++;
    if (m->method == STUN_ALLOCATE ? s->allocated : !s->allocated)
        return 437;
    return 0;
}

static inline void model_remember(struct turn_model *s, const struct stun_message *m)
{
    if (m->peer_count == 0)
        return;
    bool known = false;
    for (size_t i = 0; i < s->permission_count; i++)
        known |= net_ip_equal(&s->permitted[i], &m->peers[0]);
    if (!known && s->permission_count < MODEL_PEERS)
        s->permitted[s->permission_count++] = m->peers[0];
    if (m->method != STUN_CHANNEL_BIND || s->channel_count == MODEL_PEERS)
        return;
    s->channel[s->channel_count] = m->channel;
    s->channel_peer[s->channel_count++] = m->peers[0];
}

static inline void model_success(struct turn_model *s, const struct stun_message *m)
{
    struct stun_writer w;
    stun_begin(&w, s->reply, sizeof s->reply, STUN_SUCCESS, m->method, m->txid);
    if (m->method == STUN_ALLOCATE) {
        s->allocated = true;
        s->asked_family = m->family;
        stun_put_xor_addr(&w, STUN_ATTR_XOR_RELAYED_ADDRESS, &s->relayed);
        stun_put_xor_addr(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, &s->mapped);
    }
    if (m->method == STUN_ALLOCATE || m->method == STUN_REFRESH) {
        s->asked_lifetime = m->lifetime;
        bool ends = m->has_lifetime && m->lifetime == 0;
        if (ends) {
            s->allocated = false;
            s->permission_count = s->channel_count = 0;
        }
        stun_put_u32(&w, STUN_ATTR_LIFETIME, ends ? 0 : s->lifetime);
    } else {
        model_remember(s, m);
    }
    model_finish(s, &w, true);
}

static inline void model_to_peer(struct turn_model *s, const struct net_addr *to, struct bytes data)
{
    s->to = *to;
    s->data_len = data.n < sizeof s->data ? data.n : 0;
    if (s->data_len)
        memcpy(s->data, data.p, s->data_len);
}

/* What the client sent; the answer is in reply, reply_len 0: none. */
static inline void model_input(struct turn_model *s, struct bytes in)
{
    struct stun_message m;
    s->reply_len = 0;
    if (in.n >= 4 && in.p[0] >> 6 == 1) {
        s->channel_frames++;
        size_t n = (size_t)in.p[2] << 8 | in.p[3];
        s->bad += in.n != (s->stream ? 4 + ((n + 3) & ~(size_t)3) : 4 + n);
        for (size_t i = 0; i < s->channel_count; i++)
            if (s->channel[i] == (in.p[0] << 8 | in.p[1]))
                model_to_peer(s, &s->channel_peer[i], bytes_of(in.p + 4, n));
        return;
    }
    if (stun_read(&m, in) || m.unknown_count) {
        s->bad++;
        return;
    }
    if (m.class == STUN_INDICATION) {
        s->bindings += m.method == STUN_BINDING;
        s->indications += m.method == STUN_SEND;
        bool permitted = false;
        for (size_t i = 0; i < s->permission_count && m.peer_count; i++)
            permitted |= net_ip_equal(&s->permitted[i], &m.peers[0]);
        if (m.method == STUN_SEND && permitted)
            model_to_peer(s, &m.peers[0], m.data);
        return;
    }
    s->requests[m.method & 15]++;
    uint16_t code = model_judge(s, &m);
    if (s->fail_times > 0 && (code == 0 || s->fail_code == 300) &&
        (s->fail_method == 0 || s->fail_method == m.method)) {
        s->fail_times--;
        code = s->fail_code;
    }
    if (code)
        model_error(s, &m, code, code != 401 && code != 438);
    else
        model_success(s, &m);
}

/* What the server would send to the client for a datagram of a peer: in reply; false: not permitted. */
static inline bool model_from_peer(struct turn_model *s, const struct net_addr *peer, struct bytes data)
{
    for (size_t i = s->channel_count; i-- > 0;) {
        if (!net_addr_equal(&s->channel_peer[i], peer))
            continue;
        struct wr w = wr_of(s->reply, sizeof s->reply);
        wr_u16(&w, s->channel[i]);
        wr_block16(&w, data);
        while (s->stream && w.n % 4)
            wr_u8(&w, 0);
        s->reply_len = w.n;
        return true;
    }
    for (size_t i = 0; i < s->permission_count; i++) {
        if (!net_ip_equal(&s->permitted[i], peer))
            continue;
        static const uint8_t txid[STUN_TXID_LEN] = {9, 9};
        struct stun_writer w;
        stun_begin(&w, s->reply, sizeof s->reply, STUN_INDICATION, STUN_DATA, txid);
        stun_put_xor_addr(&w, STUN_ATTR_XOR_PEER_ADDRESS, peer);
        stun_put(&w, STUN_ATTR_DATA, data);
        s->reply_len = stun_end(&w).n;
        return true;
    }
    return false;
}

#endif
