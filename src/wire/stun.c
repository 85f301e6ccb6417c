#include "wire/stun.h"

#include <errno.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/secret.h"

#define ATTRIBUTE_HEAD 4
#define TEXT_MAX                                                                                             \
    763 /* REALM, NONCE, SOFTWARE and a reason: 127 characters (RFC 8489 section 14.8 and others) */
#define FINGERPRINT_XOR  0x5354554eu
#define REQUIRED(type)   ((type) < 0x8000) /* comprehension-required (RFC 8489 section 14) */
#define ALGORITHM_SHA256 2                 /* RFC 8489 section 18.5.1 */

static uint16_t type_of(enum stun_class class, uint16_t method)
{
    return (uint16_t)((method & 0xf) | (method & 0x70) << 1 | (method & 0xf80) << 2 | (class & 1) << 4 |
                      (class & 2) << 7);
}

static uint32_t crc32(struct bytes in)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t c = 0xffffffff;
    for (size_t i = 0; i < in.n; i++) {
        c = c >> 4 ^ nibble[(c ^ in.p[i]) & 15];
        c = c >> 4 ^ nibble[(c ^ in.p[i] >> 4) & 15];
    }
    return ~c;
}

bool stun_is(struct bytes in)
{
    struct rd r = rd_of(in);
    uint16_t type = rd_u16(&r), length = rd_u16(&r);
    uint32_t cookie = rd_u32(&r);
    rd_bytes(&r, STUN_TXID_LEN);
    return rd_ok(&r) && type < 0x4000 && cookie == STUN_COOKIE && length % 4 == 0 && length == rd_left(&r);
}

/* Port and address are XORed with the cookie and, for IPv6, with the transaction id behind it. */
static void xor_addr(struct net_addr *a, const uint8_t txid[STUN_TXID_LEN])
{
    uint8_t pad[16] = {STUN_COOKIE >> 24, STUN_COOKIE >> 16 & 255, STUN_COOKIE >> 8 & 255, STUN_COOKIE & 255};
    memcpy(pad + 4, txid, STUN_TXID_LEN);
    a->port ^= STUN_COOKIE >> 16;
    for (int i = 0; i < (a->family == 4 ? 4 : 16); i++)
        a->ip[i] ^= pad[i];
}

/* One attribute under way: its value, and the message that it goes to. */
struct reading {
    struct stun_message *m;
    struct rd v;
    bool xor_mapped;
};

static void get_addr(struct reading *g, struct net_addr *out, bool xored)
{
    struct net_addr a = {0};
    rd_u8(&g->v);
    uint8_t family = rd_u8(&g->v);
    a.family = family == 1 ? 4 : family == 2 ? 6 : 0;
    a.port = rd_u16(&g->v);
    rd_copy(&g->v, a.ip, a.family == 4 ? 4 : 16);
    if (a.family == 0)
        rd_fail(&g->v);
    if (xored)
        xor_addr(&a, g->m->txid);
    if (rd_done(&g->v) && out->family == 0)
        *out = a;
}

static void get_text(struct reading *g, struct bytes *out, size_t max)
{
    struct bytes text = rd_rest(&g->v);
    if (text.n > max)
        rd_fail(&g->v);
    else if (!out->p)
        *out = text;
}

static void get_u32(struct reading *g, uint32_t *out, bool *has)
{
    uint32_t v = rd_u32(&g->v);
    if (!*has)
        *out = v;
    *has = true;
}

/* A value in the first byte or the first two, and reserved ones behind, which are ignored. */
static uint16_t get_front(struct reading *g, size_t len)
{
    uint16_t v = len == 1 ? rd_u8(&g->v) : rd_u16(&g->v);
    rd_bytes(&g->v, 4 - len);
    return v;
}

static void get_error(struct reading *g)
{
    rd_u16(&g->v);
    unsigned class = rd_u8(&g->v) & 7, number = rd_u8(&g->v);
    struct bytes reason = rd_rest(&g->v);
    if (class < 3 || class > 6 || number > 99 || reason.n > TEXT_MAX)
        rd_fail(&g->v);
    else if (!g->m->error)
        g->m->error = (uint16_t)(class * 100 + number);
}

/* Also PASSWORD-ALGORITHM, which is a list of one. */
static void get_algorithms(struct reading *g, bool one)
{
    do {
        uint16_t algorithm = rd_u16(&g->v), length = rd_u16(&g->v);
        rd_bytes(&g->v, length);
        /* What fills the parameters up to four bytes may be missing at the end of the attribute. */
        size_t fill = (4 - length % 4) % 4;
        rd_bytes(&g->v, fill < rd_left(&g->v) ? fill : rd_left(&g->v));
        g->m->password_sha256 |= algorithm == ALGORITHM_SHA256 && rd_ok(&g->v);
    } while (!one && rd_left(&g->v) > 0);
}

static void get_peer(struct reading *g)
{
    struct stun_message *m = g->m;
    struct net_addr a = {0};
    get_addr(g, &a, true);
    if (m->peer_count == STUN_ADDRS_MAX)
        rd_fail(&g->v);
    else
        m->peers[m->peer_count++] = a;
}

static void get_mapped(struct reading *g, bool xored)
{
    struct net_addr a = {0};
    get_addr(g, &a, xored);
    if (g->m->mapped.family == 0 || (xored && !g->xor_mapped))
        g->m->mapped = a;
    g->xor_mapped |= xored;
}

static void get_integrity(struct reading *g, size_t at, bool sha256_kind)
{
    struct stun_message *m = g->m;
    size_t n = rd_rest(&g->v).n;
    if (sha256_kind ? n < 16 || n > SHA256_LEN || n % 4 : n != SHA1_LEN)
        rd_fail(&g->v);
    *(sha256_kind ? &m->has_integrity256 : &m->has_integrity) = true;
    *(sha256_kind ? &m->integrity256_at : &m->integrity_at) = at;
}

static void get_fingerprint(struct reading *g, size_t at)
{
    struct stun_message *m = g->m;
    uint32_t want = crc32(bytes_of(m->whole.p, at)) ^ FINGERPRINT_XOR;
    if (rd_u32(&g->v) != want || at + ATTRIBUTE_HEAD + 4 != m->whole.n)
        rd_fail(&g->v);
    m->has_fingerprint = true;
}

static void get_flag(bool *flag)
{
    *flag = true;
}

/* false: an attribute of another group. */
static bool get_session(struct reading *g, uint16_t type)
{
    struct stun_message *m = g->m;
    switch (type) {
    case STUN_ATTR_USERNAME:
        get_text(g, &m->username, STUN_TEXT_MAX);
        return true;
    case STUN_ATTR_REALM:
        get_text(g, &m->realm, STUN_REALM_MAX);
        return true;
    case STUN_ATTR_NONCE:
        get_text(g, &m->nonce, TEXT_MAX);
        return true;
    case STUN_ATTR_SOFTWARE:
        get_text(g, &m->software, TEXT_MAX);
        return true;
    case STUN_ATTR_ALTERNATE_DOMAIN:
        rd_rest(&g->v);
        return true;
    case STUN_ATTR_USERHASH:
        if (rd_left(&g->v) != SHA256_LEN)
            rd_fail(&g->v);
        get_text(g, &m->userhash, SHA256_LEN);
        return true;
    case STUN_ATTR_PASSWORD_ALGORITHM:
    case STUN_ATTR_PASSWORD_ALGORITHMS:
        get_algorithms(g, type == STUN_ATTR_PASSWORD_ALGORITHM);
        return true;
    case STUN_ATTR_ERROR_CODE:
        get_error(g);
        return true;
    case STUN_ATTR_UNKNOWN_ATTRIBUTES:
        if (rd_rest(&g->v).n % 2)
            rd_fail(&g->v);
        return true;
    default:
        return false;
    }
}

static bool get_addresses(struct reading *g, uint16_t type)
{
    struct stun_message *m = g->m;
    switch (type) {
    case STUN_ATTR_MAPPED_ADDRESS:
    case STUN_ATTR_XOR_MAPPED_ADDRESS:
        get_mapped(g, type == STUN_ATTR_XOR_MAPPED_ADDRESS);
        return true;
    case STUN_ATTR_XOR_RELAYED_ADDRESS:
        get_addr(g, &m->relayed, true);
        return true;
    case STUN_ATTR_XOR_PEER_ADDRESS:
        get_peer(g);
        return true;
    case STUN_ATTR_RESPONSE_ORIGIN:
        get_addr(g, &m->origin, false);
        return true;
    case STUN_ATTR_OTHER_ADDRESS:
        get_addr(g, &m->other, false);
        return true;
    case STUN_ATTR_ALTERNATE_SERVER:
        get_addr(g, &m->alternate, false);
        return true;
    default:
        return false;
    }
}

/* RFC 5780 and RFC 8445. */
static bool get_discovery_and_ice(struct reading *g, uint16_t type)
{
    struct stun_message *m = g->m;
    switch (type) {
    case STUN_ATTR_CHANGE_REQUEST:
        get_u32(g, &m->change, &m->has_change);
        return true;
    case STUN_ATTR_RESPONSE_PORT:
        /* RFC 5780 section 7.5 can be read as two bytes and padding, or as four; both are about. */
        m->response_port = rd_left(&g->v) == 2 ? rd_u16(&g->v) : get_front(g, 2);
        get_flag(&m->has_response_port);
        return true;
    case STUN_ATTR_PADDING:
        rd_rest(&g->v);
        get_flag(&m->has_padding);
        return true;
    case STUN_ATTR_PRIORITY:
        get_u32(g, &m->priority, &m->has_priority);
        return true;
    case STUN_ATTR_USE_CANDIDATE:
        get_flag(&m->use_candidate);
        return true;
    case STUN_ATTR_ICE_CONTROLLED:
    case STUN_ATTR_ICE_CONTROLLING:
        m->tie_breaker = rd_u64(&g->v);
        get_flag(type == STUN_ATTR_ICE_CONTROLLED ? &m->has_controlled : &m->has_controlling);
        return true;
    default:
        return false;
    }
}

/* RFC 8656. */
static bool get_turn(struct reading *g, uint16_t type)
{
    struct stun_message *m = g->m;
    switch (type) {
    case STUN_ATTR_DATA:
        get_text(g, &m->data, SIZE_MAX);
        return true;
    case STUN_ATTR_LIFETIME:
        get_u32(g, &m->lifetime, &m->has_lifetime);
        return true;
    case STUN_ATTR_CHANNEL_NUMBER:
        m->channel = get_front(g, 2);
        get_flag(&m->has_channel);
        return true;
    case STUN_ATTR_REQUESTED_ADDRESS_FAMILY:
        m->family = (uint8_t)get_front(g, 1);
        get_flag(&m->has_family);
        return true;
    case STUN_ATTR_REQUESTED_TRANSPORT:
        m->transport = (uint8_t)get_front(g, 1);
        get_flag(&m->has_transport);
        return true;
    case STUN_ATTR_EVEN_PORT:
        rd_u8(&g->v);
        return true;
    case STUN_ATTR_DONT_FRAGMENT:
        return true;
    default:
        return false;
    }
}

static void get_attribute(struct reading *g, uint16_t type)
{
    struct stun_message *m = g->m;
    if (get_session(g, type) || get_addresses(g, type) || get_discovery_and_ice(g, type) || get_turn(g, type))
        return;
    rd_rest(&g->v);
    if (REQUIRED(type) && m->unknown_count < STUN_UNKNOWN_MAX)
        m->unknown[m->unknown_count++] = type;
}

/* Behind an integrity attribute only the next one of this order counts (RFC 8489 section 14.5). */
static bool get_seal(struct reading *g, uint16_t type, size_t at)
{
    struct stun_message *m = g->m;
    if (type == STUN_ATTR_FINGERPRINT) {
        get_fingerprint(g, at);
        return true;
    }
    if (type == STUN_ATTR_MESSAGE_INTEGRITY_SHA256 && !m->has_integrity256) {
        get_integrity(g, at, true);
        return true;
    }
    if (type == STUN_ATTR_MESSAGE_INTEGRITY && !m->has_integrity && !m->has_integrity256) {
        get_integrity(g, at, false);
        return true;
    }
    if (!m->has_integrity && !m->has_integrity256)
        return false;
    rd_rest(&g->v);
    return true;
}

int stun_read(struct stun_message *m, struct bytes in)
{
    if (!stun_is(in))
        return -EBADMSG;
    struct stun_message got = {.whole = in};
    struct reading g = {.m = &got};
    struct rd r = rd_of(in);
    uint16_t type = rd_u16(&r);
    got.class = (type >> 4 & 1) | (type >> 7 & 2);
    got.method = (uint16_t)((type & 0xf) | (type >> 1 & 0x70) | (type >> 2 & 0xf80));
    rd_bytes(&r, 6);
    rd_copy(&r, got.txid, STUN_TXID_LEN);
    while (rd_left(&r) > 0) {
        size_t at = in.n - rd_left(&r);
        type = rd_u16(&r);
        size_t n = rd_u16(&r);
        struct bytes value = rd_bytes(&r, n);
        rd_bytes(&r, (4 - n % 4) % 4);
        if (!rd_ok(&r))
            return -EBADMSG;
        g.v = rd_of(value);
        if (!get_seal(&g, type, at))
            get_attribute(&g, type);
        if (!rd_done(&g.v))
            return -EBADMSG;
    }
    *m = got;
    return 0;
}

/* The HMAC covers what stands before its attribute, with a length as if the message ended behind it. */
static void integrity(uint8_t *out, struct bytes before, struct bytes key, bool sha256_kind)
{
    uint8_t head[STUN_HEADER_LEN];
    memcpy(head, before.p, sizeof head);
    size_t length = before.n - sizeof head + ATTRIBUTE_HEAD + (sha256_kind ? SHA256_LEN : SHA1_LEN);
    head[2] = (uint8_t)(length >> 8);
    head[3] = (uint8_t)length;
    struct bytes parts[] = {bytes_of(head, sizeof head),
                            bytes_of(before.p + sizeof head, before.n - sizeof head)};
    (sha256_kind ? hmac_sha256 : hmac_sha1)(out, key, parts, 2);
}

bool stun_verify(const struct stun_message *m, struct bytes key, bool sha256_kind)
{
    if (!(sha256_kind ? m->has_integrity256 : m->has_integrity))
        return false;
    size_t at = sha256_kind ? m->integrity256_at : m->integrity_at,
           want = sha256_kind ? SHA256_LEN : SHA1_LEN;
    const uint8_t *attribute = m->whole.p + at;
    /* No usage here allows a truncated SHA-256 (RFC 8489 section 14.6). */
    if ((size_t)(attribute[2] << 8 | attribute[3]) != want)
        return false;
    uint8_t mac[SHA256_LEN];
    integrity(mac, bytes_of(m->whole.p, at), key, sha256_kind);
    return secret_equal(mac, attribute + ATTRIBUTE_HEAD, want);
}

static void put_length(struct stun_writer *w, size_t length)
{
    w->p[2] = (uint8_t)(length >> 8);
    w->p[3] = (uint8_t)length;
}

void stun_begin(struct stun_writer *w, uint8_t *out, size_t cap, enum stun_class class, uint16_t method,
                const uint8_t txid[STUN_TXID_LEN])
{
    *w = (struct stun_writer){.p = out, .cap = cap};
    struct wr head = wr_of(out, cap);
    wr_u16(&head, type_of(class, method));
    wr_u16(&head, 0);
    wr_u32(&head, STUN_COOKIE);
    wr_copy(&head, txid, STUN_TXID_LEN);
    w->failed = !wr_ok(&head);
    w->n = w->failed ? 0 : STUN_HEADER_LEN;
}

void stun_put(struct stun_writer *w, uint16_t attribute, struct bytes value)
{
    size_t padding = (4 - value.n % 4) % 4;
    if (w->failed || value.n > UINT16_MAX || w->cap - w->n < ATTRIBUTE_HEAD + value.n + padding ||
        w->n + ATTRIBUTE_HEAD + value.n + padding > UINT16_MAX) {
        w->failed = true;
        return;
    }
    struct wr at = wr_of(w->p + w->n, w->cap - w->n);
    wr_u16(&at, attribute);
    wr_block16(&at, value);
    wr_bytes(&at, bytes_of("\0\0\0", padding));
    w->n += wr_done(&at).n;
    put_length(w, w->n - STUN_HEADER_LEN);
}

void stun_put_u32(struct stun_writer *w, uint16_t attribute, uint32_t value)
{
    uint8_t v[4];
    struct wr at = wr_of(v, sizeof v);
    wr_u32(&at, value);
    stun_put(w, attribute, wr_done(&at));
}

void stun_put_u64(struct stun_writer *w, uint16_t attribute, uint64_t value)
{
    uint8_t v[8];
    struct wr at = wr_of(v, sizeof v);
    wr_u64(&at, value);
    stun_put(w, attribute, wr_done(&at));
}

void stun_put_addr(struct stun_writer *w, uint16_t attribute, const struct net_addr *a)
{
    uint8_t v[20];
    struct wr at = wr_of(v, sizeof v);
    wr_u8(&at, 0);
    wr_u8(&at, a->family == 6 ? 2 : 1);
    wr_u16(&at, a->port);
    wr_copy(&at, a->ip, a->family == 6 ? 16 : 4);
    if (a->family == 0)
        w->failed = true;
    stun_put(w, attribute, wr_done(&at));
}

void stun_put_xor_addr(struct stun_writer *w, uint16_t attribute, const struct net_addr *a)
{
    struct net_addr masked = *a;
    if (!w->failed)
        xor_addr(&masked, w->p + STUN_HEADER_LEN - STUN_TXID_LEN);
    stun_put_addr(w, attribute, &masked);
}

void stun_put_error(struct stun_writer *w, uint16_t code, const char *reason)
{
    uint8_t v[4 + TEXT_MAX];
    struct wr at = wr_of(v, sizeof v);
    wr_u16(&at, 0);
    wr_u8(&at, (uint8_t)(code / 100));
    wr_u8(&at, (uint8_t)(code % 100));
    wr_bytes(&at, bytes_of_str(reason));
    if (!wr_ok(&at))
        w->failed = true;
    stun_put(w, STUN_ATTR_ERROR_CODE, wr_done(&at));
}

static void put_integrity(struct stun_writer *w, struct bytes key, bool sha256_kind)
{
    uint8_t mac[SHA256_LEN];
    if (w->failed)
        return;
    integrity(mac, bytes_of(w->p, w->n), key, sha256_kind);
    stun_put(w, sha256_kind ? STUN_ATTR_MESSAGE_INTEGRITY_SHA256 : STUN_ATTR_MESSAGE_INTEGRITY,
             bytes_of(mac, sha256_kind ? SHA256_LEN : SHA1_LEN));
}

void stun_put_integrity(struct stun_writer *w, struct bytes key)
{
    put_integrity(w, key, false);
}

void stun_put_integrity256(struct stun_writer *w, struct bytes key)
{
    put_integrity(w, key, true);
}

void stun_put_fingerprint(struct stun_writer *w)
{
    if (w->failed)
        return;
    put_length(w, w->n - STUN_HEADER_LEN + ATTRIBUTE_HEAD + 4);
    stun_put_u32(w, STUN_ATTR_FINGERPRINT, crc32(bytes_of(w->p, w->n)) ^ FINGERPRINT_XOR);
}

struct bytes stun_end(const struct stun_writer *w)
{
    return w->failed ? bytes_of(NULL, 0) : bytes_of(w->p, w->n);
}

void stun_long_term_key(uint8_t key[32], size_t *n, bool sha256_kind, struct bytes username,
                        struct bytes realm, struct bytes password)
{
    struct bytes colon = bytes_of_str(":"), parts[] = {username, colon, realm, colon, password};
    (sha256_kind ? sha256 : md5)(key, parts, 5);
    *n = sha256_kind ? SHA256_LEN : MD5_LEN;
}
