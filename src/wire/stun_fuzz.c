#include <stdlib.h>
#include <string.h>

#include "wire/stun.h"

static void inside(struct bytes view, struct bytes in)
{
    if (view.n > 0 && (view.p < in.p || view.n > in.n || view.p + view.n > in.p + in.n))
        abort();
}

static void put_text(struct stun_writer *w, uint16_t type, struct bytes text)
{
    if (text.p)
        stun_put(w, type, text);
}

static void put_address(struct stun_writer *w, uint16_t type, const struct net_addr *a, bool xored)
{
    if (a->family)
        (xored ? stun_put_xor_addr : stun_put_addr)(w, type, a);
}

static bool same(const struct stun_message *a, const struct stun_message *b)
{
    return a->class == b->class && a->method == b->method && !memcmp(a->txid, b->txid, STUN_TXID_LEN) &&
           bytes_equal(a->username, b->username) && bytes_equal(a->realm, b->realm) &&
           bytes_equal(a->nonce, b->nonce) && bytes_equal(a->data, b->data) &&
           net_addr_equal(&a->mapped, &b->mapped) && net_addr_equal(&a->relayed, &b->relayed) &&
           net_addr_equal(&a->other, &b->other) && a->error == b->error && a->priority == b->priority &&
           a->peer_count == b->peer_count;
}

/* What was understood, written again, is understood as the same, and the seals put on it hold. */
static void again(const struct stun_message *m)
{
    static uint8_t out[70000];
    struct stun_writer w;
    struct stun_message got;
    struct bytes key = bytes_of_str("key");
    stun_begin(&w, out, sizeof out, m->class, m->method, m->txid);
    put_text(&w, STUN_ATTR_USERNAME, m->username);
    put_text(&w, STUN_ATTR_REALM, m->realm);
    put_text(&w, STUN_ATTR_NONCE, m->nonce);
    put_address(&w, STUN_ATTR_XOR_MAPPED_ADDRESS, &m->mapped, true);
    put_address(&w, STUN_ATTR_XOR_RELAYED_ADDRESS, &m->relayed, true);
    put_address(&w, STUN_ATTR_OTHER_ADDRESS, &m->other, false);
    for (size_t i = 0; i < m->peer_count; i++)
        put_address(&w, STUN_ATTR_XOR_PEER_ADDRESS, &m->peers[i], true);
    if (m->error)
        stun_put_error(&w, m->error, "reason");
    if (m->has_priority)
        stun_put_u32(&w, STUN_ATTR_PRIORITY, m->priority);
    if (m->data.n < 60000)
        put_text(&w, STUN_ATTR_DATA, m->data);
    stun_put_integrity(&w, key);
    stun_put_integrity256(&w, key);
    stun_put_fingerprint(&w);
    if (stun_end(&w).n == 0 && m->data.n < 60000)
        abort();
    if (stun_end(&w).n > 0 && m->data.n < 60000 &&
        (stun_read(&got, stun_end(&w)) != 0 || !same(m, &got) || !stun_verify(&got, key, false) ||
         !stun_verify(&got, key, true) || !got.has_fingerprint))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct bytes in = bytes_of(p, n);
    struct stun_message m;
    if (stun_read(&m, in) != 0)
        return 0;
    if (!stun_is(in))
        abort();
    struct bytes views[] = {m.username, m.realm, m.nonce, m.data, m.software, m.userhash, m.whole};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        inside(views[i], in);
    if (m.unknown_count > STUN_UNKNOWN_MAX || m.peer_count > STUN_ADDRS_MAX)
        abort();
    stun_verify(&m, bytes_of_str("key"), false);
    stun_verify(&m, bytes_of_str("key"), true);
    again(&m);
    return 0;
}
