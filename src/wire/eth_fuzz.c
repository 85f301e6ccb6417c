#include <stdlib.h>
#include <string.h>

#include "wire/eth.h"

/* Every reader on the same bytes; what they yield must lie inside, and what the writers make of it must be
 * readable. */

static void inside(struct bytes view, struct bytes in)
{
    if (view.n > 0 && (view.p < in.p || view.n > in.n || view.p + view.n > in.p + in.n))
        abort();
}

/* A checksum that is right stays right when a value under it changes. */
static void patched(struct bytes in, const struct tcp *t)
{
    static uint8_t copy[65536];
    memcpy(copy, in.p, in.n);
    copy[TCP_SUM_AT] = copy[TCP_SUM_AT + 1] = 0;
    uint16_t sum = sum_finish(sum_add(0, bytes_of(copy, in.n)));
    copy[TCP_SUM_AT] = (uint8_t)(sum >> 8);
    copy[TCP_SUM_AT + 1] = (uint8_t)sum;
    sum_patch(copy, TCP_SUM_AT, t->mss_at, (uint16_t)(t->mss / 2));
    struct tcp again;
    if (sum_finish(sum_add(0, bytes_of(copy, in.n))) != 0 || tcp_read(&again, bytes_of(copy, in.n)) != 0 ||
        again.mss != t->mss / 2)
        abort();
}

/* What the switch says about a neighbour is what its own reader finds. */
static void advertised(const struct nd *n)
{
    uint8_t out[ND_ADVERT_LEN];
    struct nd_advert a = {.dst = {0xfd, 1}};
    struct wr w = wr_of(out, sizeof out);
    struct ip6 h;
    struct nd made;
    memcpy(a.target, n->target, sizeof a.target);
    memcpy(a.mac, n->mac, sizeof a.mac);
    nd_advert_write(&w, &a);
    if (!wr_ok(&w) || ip6_read(&h, wr_done(&w)) != 0 || nd_read(&made, h.payload) != 0 ||
        made.type != ND_ADVERT || !made.has_mac || memcmp(made.mac, n->mac, sizeof made.mac) != 0 ||
        memcmp(made.target, n->target, sizeof made.target) != 0)
        abort();
}

static void upper(struct bytes in)
{
    struct udp u;
    struct tcp t;
    struct nd n;
    struct icmp i;
    udp_read(&u, in);
    icmp_read(&i, in);
    if (nd_read(&n, in) == 0)
        advertised(&n);
    if (tcp_read(&t, in) != 0 || t.mss_at == 0)
        return;
    if (t.mss_at < 22 || t.mss_at + 2 > in.n || !(t.flags & TCP_SYN))
        abort();
    if (in.n <= 65536)
        patched(in, &t);
}

static void four(struct bytes in)
{
    struct ip4 h;
    uint8_t out[ICMP4_TOO_BIG_MAX];
    if (ip4_read(&h, in) != 0)
        return;
    inside(h.options, in);
    inside(h.payload, in);
    upper(h.payload);
    struct wr w = wr_of(out, sizeof out);
    icmp4_too_big_write(&w, in, 1280);
    struct ip4 made;
    if (!wr_ok(&w) || ip4_read(&made, wr_done(&w)) != 0 || made.dst != h.src)
        abort();
    if (sum_finish(sum_add(0, made.payload)) != 0 ||
        sum_finish(sum_add(0, bytes_of(out, IP4_HEADER_LEN))) != 0)
        abort();
}

static void six(struct bytes in)
{
    struct ip6 h, made;
    uint8_t out[ICMP6_TOO_BIG_MAX];
    if (ip6_read(&h, in) != 0)
        return;
    inside(h.payload, in);
    upper(h.payload);
    struct wr w = wr_of(out, sizeof out);
    icmp6_too_big_write(&w, in, 1280);
    if (!wr_ok(&w) || ip6_read(&made, wr_done(&w)) != 0 || memcmp(made.dst, h.src, IP6_ADDR_LEN) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct bytes in = bytes_of(p, n);
    struct eth_frame f;
    struct arp a;
    if (eth_read(&f, in) == 0) {
        uint8_t head[ETH_HEADER_LEN + ETH_TAG_LEN];
        struct wr w = wr_of(head, sizeof head);
        inside(f.payload, in);
        eth_write(&w, &f);
        if (!wr_ok(&w) || memcmp(head, p, wr_done(&w).n) != 0)
            abort();
        four(f.payload);
        six(f.payload);
        if (arp_read(&a, f.payload) == 0) {
            uint8_t again[28];
            struct wr wa = wr_of(again, sizeof again);
            arp_write(&wa, &a);
            if (!wr_ok(&wa) || memcmp(again, f.payload.p, sizeof again) != 0)
                abort();
        }
    }
    four(in);
    six(in);
    upper(in);
    return 0;
}
