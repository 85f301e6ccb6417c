#include "session/lane.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cache.h"
#include "crypto/secret.h"

struct lane {
    _Atomic unsigned holders;
    enum aead_alg alg;
    uint8_t epoch;
    uint32_t index, peer_index;
    uint8_t tx_key[AEAD_KEY_LEN], rx_key[AEAD_KEY_LEN];
    /* Each made by its user at the first packet: OpenSSL's contexts serve one thread at a time. */
    struct aead *tx[LANE_USERS_MAX], *rx[LANE_USERS_MAX];

    /* One thread mostly seals and another opens: neither should fetch what the other has just written. */
    _Alignas(CACHE_LINE) _Atomic uint64_t counter;
    _Atomic uint64_t sealed_bytes, tx_packets, tx_bytes;
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    struct replay window; /* under lock */
    _Atomic uint64_t opened, opened_bytes, rx_packets, rx_bytes;
};

struct lane *lane_new(const struct lane_config *c)
{
    struct lane *l = cache_calloc(sizeof *l);
    if (!l)
        return NULL;
    if (pthread_mutex_init(&l->lock, NULL) != 0) {
        free(l);
        return NULL;
    }
    l->holders = 1;
    l->alg = c->alg;
    l->epoch = c->epoch;
    l->index = c->index;
    l->peer_index = c->peer_index;
    memcpy(l->tx_key, c->tx_key, sizeof l->tx_key);
    memcpy(l->rx_key, c->rx_key, sizeof l->rx_key);
    replay_init(&l->window);
    return l;
}

struct lane *lane_hold(struct lane *l)
{
    atomic_fetch_add_explicit(&l->holders, 1, memory_order_relaxed);
    return l;
}

void lane_drop(struct lane *l)
{
    if (!l || atomic_fetch_sub_explicit(&l->holders, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < LANE_USERS_MAX; i++) {
        aead_free(l->tx[i]);
        aead_free(l->rx[i]);
    }
    pthread_mutex_destroy(&l->lock);
    wipe(l, sizeof *l);
    free(l);
}

static void nonce_of(uint8_t nonce[AEAD_NONCE_LEN], uint64_t counter)
{
    struct wr w = wr_of(nonce, AEAD_NONCE_LEN);
    wr_u32(&w, 0);
    wr_u64(&w, counter);
}

static struct aead *context(struct lane *l, struct aead **slot, const uint8_t key[AEAD_KEY_LEN])
{
    if (!*slot)
        *slot = aead_new(l->alg, key);
    return *slot;
}

int lane_take(struct lane *l, uint64_t n, uint64_t most, uint64_t *first)
{
    /* Not fetch-and-add: a long run that is refused near the end would eat the counters that are kept for
     * control messages, and with them the rekey that saves the session. */
    uint64_t at = atomic_load_explicit(&l->counter, memory_order_relaxed);
    do {
        if (at > most || n > most - at)
            return -EKEYEXPIRED;
    } while (!atomic_compare_exchange_weak_explicit(&l->counter, &at, at + n, memory_order_relaxed,
                                                    memory_order_relaxed));
    *first = at;
    return 0;
}

int lane_seal_to(struct lane *l, unsigned user, uint64_t counter, const struct inner_header *inner,
                 uint8_t *frame, size_t n, uint8_t *out)
{
    struct aead *a = context(l, &l->tx[user], l->tx_key);
    if (!a)
        return -ENOMEM;
    const struct data_header h = {.epoch = l->epoch,
                                  .own = !inner_is_payload(inner->kind),
                                  .receiver = l->peer_index,
                                  .counter = counter};
    uint8_t nonce[AEAD_NONCE_LEN], *in = frame - INNER_HEADER_LEN, *text = out + DATA_HEADER_LEN;
    nonce_of(nonce, counter);
    data_header_write(&h, out);
    inner_header_write(inner, in);
    n += INNER_HEADER_LEN;
    return aead_seal_to(a, nonce, bytes_of(out, DATA_HEADER_LEN), in, n, text, text + n);
}

int lane_seal(struct lane *l, unsigned user, uint64_t counter, const struct inner_header *inner, uint8_t *buf,
              size_t n)
{
    return lane_seal_to(l, user, counter, inner, buf + DATA_HEADROOM, n, buf);
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

void lane_sealed(struct lane *l, uint64_t packets, uint64_t bytes, bool data)
{
    add(&l->sealed_bytes, bytes + packets * INNER_HEADER_LEN);
    if (!data)
        return;
    add(&l->tx_packets, packets);
    add(&l->tx_bytes, bytes);
}

void lane_lock(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
}

void lane_unlock(struct lane *l)
{
    pthread_mutex_unlock(&l->lock);
}

enum lane_verdict lane_open(struct lane *l, unsigned user, const struct data_header *h, uint8_t *p, size_t n)
{
    return lane_open_to(l, user, h, p, n, p + DATA_HEADER_LEN);
}

enum lane_verdict lane_open_to(struct lane *l, unsigned user, const struct data_header *h, const uint8_t *p,
                               size_t n, uint8_t *out)
{
    enum replay_verdict v = replay_check(&l->window, h->counter);
    if (v != REPLAY_FRESH)
        return v == REPLAY_SEEN ? LANE_SEEN : LANE_OLD;
    struct aead *a = context(l, &l->rx[user], l->rx_key);
    if (!a)
        return LANE_NO_MEMORY;
    uint8_t nonce[AEAD_NONCE_LEN];
    nonce_of(nonce, h->counter);
    size_t text = n - DATA_HEADER_LEN - DATA_TAG_LEN;
    int err = aead_open_to(a, nonce, bytes_of(p, DATA_HEADER_LEN), p + DATA_HEADER_LEN, text, out,
                           p + n - DATA_TAG_LEN);
    return err < 0 ? LANE_BAD_TAG : LANE_OPEN;
}

void lane_mark(struct lane *l, uint64_t counter)
{
    replay_mark(&l->window, counter);
}

void lane_opened(struct lane *l, uint64_t packets, uint64_t bytes, bool data)
{
    add(&l->opened, packets);
    add(&l->opened_bytes, bytes + packets * INNER_HEADER_LEN);
    if (!data)
        return;
    add(&l->rx_packets, packets);
    add(&l->rx_bytes, bytes);
}

static uint64_t get(const _Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

void lane_totals(const struct lane *l, struct lane_totals *t)
{
    *t = (struct lane_totals){.counter = get(&l->counter),
                              .sealed_bytes = get(&l->sealed_bytes),
                              .opened = get(&l->opened),
                              .opened_bytes = get(&l->opened_bytes),
                              .tx_packets = get(&l->tx_packets),
                              .tx_bytes = get(&l->tx_bytes),
                              .rx_packets = get(&l->rx_packets),
                              .rx_bytes = get(&l->rx_bytes)};
}

uint8_t lane_epoch(const struct lane *l)
{
    return l->epoch;
}

uint32_t lane_index(const struct lane *l)
{
    return l->index;
}

size_t lane_memory(void)
{
    return sizeof(struct lane);
}

void lane_start_at(struct lane *l, uint64_t counter)
{
    atomic_store_explicit(&l->counter, counter, memory_order_relaxed);
}
