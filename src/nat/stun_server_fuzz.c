#include <stdlib.h>
#include <string.h>

#include "nat/stun_server.h"
#include "wire/stun.h"

/* The first byte says which endpoints there are and which is asked; then requests, each behind its length in
 * one byte. What goes out is readable, comes from an endpoint that is there, goes to who asked, and is no
 * larger than what came, or the smallest there is. */

static void check(const struct stun_server_config *c, const struct stun_asked *q, struct bytes in,
                  const struct stun_answer *a)
{
    struct stun_message m;
    size_t least = q->from.family == 6 ? 52 : 40; /* with FINGERPRINT */
    size_t error = 36 + 2 * STUN_UNKNOWN_MAX + 8;
    if (stun_read(&m, a->data) != 0 || a->endpoint >= STUN_ENDPOINTS || !c->endpoints[a->endpoint].family ||
        !net_ip_equal(&a->to, &q->from) || (m.class != STUN_SUCCESS && m.class != STUN_ERROR))
        abort();
    if (a->data.n > in.n && a->data.n > (m.class == STUN_ERROR ? error : least))
        abort();
    if (memcmp(m.txid, in.p + 8, STUN_TXID_LEN) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct rd r = rd_of(bytes_of(p, n));
    uint8_t choice = rd_u8(&r);
    static const uint8_t six[16] = {0x20, 1, 0xd, 0xb8, [15] = 9};
    static uint8_t out[STUN_SERVER_OUT_MAX];
    struct stun_server_config c = {.software = "fuzz", .seed = 1};
    struct stun_asked q = {.endpoint = choice & 4};
    for (unsigned e = 0; e < STUN_ENDPOINTS; e++)
        if ((e & 3) == 0 || choice >> (e & 3) & 8)
            c.endpoints[e] =
                e & 4 ? net_addr6(six, 1 + (uint16_t)e) : net_addr4(0xcb007101 + e, 1 + (uint16_t)e);
    q.from = choice & 4 ? net_addr6(six, 7) : net_addr4(0xc6336401, 7);
    struct stun_server *s = stun_server_new(&c, SEC);
    if (!s)
        return 0;
    usec_t now = SEC;
    for (int i = 0; i < 32 && rd_left(&r) > 0; i++, now += SEC / 100) {
        struct stun_answer a;
        struct bytes in = rd_bytes(&r, rd_u8(&r));
        enum stun_verdict v = stun_server_answer(s, &q, in, out, &a, now);
        if (v == STUN_SERVED || v == STUN_SERVED_ERROR)
            check(&c, &q, in, &a);
    }
    stun_server_free(s);
    return 0;
}
