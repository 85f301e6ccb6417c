#include <stdlib.h>
#include <string.h>

#include "nat/hard.h"

/* First byte: which side, which NAT; then messages of the peer, answers of the owner and time, in a row. */

static void codec(struct bytes in)
{
    struct search_message m;
    struct hard_memory memory;
    uint8_t again[HARD_MEMORY_BYTES];
    if (search_read(&m, in) == 0 &&
        (search_write(again, HARD_MESSAGE_MAX, &m) != in.n || memcmp(again, in.p, in.n) != 0))
        abort();
    if (hard_memory_load(&memory, in) == 0 &&
        (hard_memory_save(&memory, again, sizeof again) != in.n || memcmp(again, in.p, in.n) != 0))
        abort();
    if ((hard_refuse(again, in, SEARCH_BUSY) > 0) != hard_message_begins(in))
        abort();
}

struct seen {
    uint32_t opened, probes;
    bool closed;
};

static void pulled(struct hard *h, struct seen *s, usec_t now)
{
    struct hard_out o;
    struct search_message m;
    unsigned outs = 0;
    while (hard_output(h, now, &o)) {
        if (++outs > 4 * HARD_PROBES_MAX || s->closed)
            abort();
        if (o.action == HARD_OPEN_SOCKETS) {
            if (o.socket != s->opened + 1)
                abort();
            s->opened += o.count;
        }
        s->probes += o.action == HARD_PROBE;
        if ((o.action == HARD_PROBE || o.action == HARD_OBSERVE) && o.socket > s->opened)
            abort();
        if (o.action == HARD_PROBE && (o.to.family != 4 || o.to.port == 0))
            abort();
        if (o.action == HARD_TELL_PEER && search_read(&m, o.data) != 0)
            abort();
        s->closed = o.action == HARD_CLOSE_SOCKETS;
    }
    if (s->opened > HARD_SOCKETS_MAX || s->probes > HARD_PROBES_MAX + 6 * HARD_SOCKETS_MAX)
        abort();
}

static void over(struct hard *h)
{
    struct hard_event ev;
    unsigned events = 0;
    while (hard_event(h, &ev)) {
        if (!ev.why || ++events > 1)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct rng_seeded state;
    struct rd r = rd_of(bytes_of(p, n));
    struct seen seen = {0};
    usec_t now = 1000 * SEC;
    codec(bytes_of(p, n));
    uint8_t first = rd_u8(&r);
    struct hard_config c = {
        .rng = rng_seeded(&state, 1), .initiator = first & 1, .seconds = first & 2 ? 60 : 0};
    c.ours = (struct hard_nat){(enum hard_mapping)((first >> 2) % HARD_MAPPING_COUNT), 1,
                               net_addr4(0xCB007101, 4000)};
    struct hard *h = hard_new(&c, now);
    if (!h)
        return 0;
    pulled(h, &seen, now);
    while (rd_left(&r) > 0) {
        uint8_t what = rd_u8(&r);
        struct net_addr addr = net_addr4(0xCB007101, rd_u16(&r));
        if (what % 6 < 2)
            hard_message(h, rd_bytes(&r, rd_u8(&r)), now);
        else if (what % 6 == 2)
            hard_socket_opened(h, addr.port, what, now);
        else if (what % 6 == 3)
            hard_observed(h, what, &addr, now);
        else if (what % 6 == 4)
            now += addr.port * MSEC;
        else if (what & 128)
            hard_found(h, what & 15, &addr, now);
        else
            for (uint32_t s = 1; s <= seen.opened; s++)
                hard_socket_opened(h, s, (uint16_t)(20000 + s), now);
        hard_tick(h, now);
        pulled(h, &seen, now);
        over(h);
        if (hard_wake(h) < 1000 * SEC)
            abort();
    }
    hard_cancel(h, now);
    pulled(h, &seen, now);
    if (hard_wake(h) != USEC_NEVER || seen.closed != (seen.opened > 0))
        abort();
    hard_free(h);
    return 0;
}
