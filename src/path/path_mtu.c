#include "path/path_mtu_int.h"

#include <string.h>

/* What Internet links leave for a UDP payload: Ethernet (IPv4, IPv6), PPPoE, tunnels over them, IPv6's least,
 * and a tunnel within that. The sizes that a path without overhead of its own is asked about first. */
static const uint16_t common[] = {1472, 1464, 1452, 1444, 1424, 1252, 1232, 1096, 1076};

static usec_t later(usec_t a, usec_t b)
{
    return a > b ? a : b;
}

/* ---- What is known. */

/* Thought to pass until refuted: the base, below it the least that is of use. */
static uint16_t value_of(const struct path_mtu *m)
{
    if (m->known || m->proven >= PATH_MTU_BASE)
        return m->proven;
    if (m->refuted > PATH_MTU_BASE)
        return PATH_MTU_BASE;
    if (m->proven)
        return m->proven;
    return m->refuted > PATH_MTU_MIN ? PATH_MTU_MIN : 0;
}

static bool is_settled(const struct path_mtu *m)
{
    return m->refuted - m->proven <= MTU_GRAIN || (m->proven == 0 && m->refuted <= PATH_MTU_MIN);
}

/* ---- Sets and rounds. */

static void set_add(struct path_mtu *m, unsigned size)
{
    size_t i = 0;
    if (size <= m->proven || size >= m->refuted || m->count == MTU_SET_MAX)
        return;
    while (i < m->count && m->size[i] > size)
        i++;
    if (i < m->count && m->size[i] == size)
        return;
    memmove(m->size + i + 1, m->size + i, (m->count++ - i) * sizeof *m->size);
    m->size[i] = (uint16_t)size;
}

/* Nothing is fenced in yet: the sizes of the world. Then the gap in eighths, and first of all whether it is
 * none: most links have one of the common sizes exactly. */
static void set_fill(struct path_mtu *m)
{
    unsigned gap = m->refuted - m->proven;
    if (m->proven == 0 || m->refuted > m->max) {
        for (size_t i = 0; i < sizeof common / sizeof *common; i++)
            set_add(m, common[i] - (PATH_MTU_MAX - m->max));
        set_add(m, PATH_MTU_BASE);
        set_add(m, PATH_MTU_MIN);
        return;
    }
    unsigned step = gap / 8 > MTU_GRAIN ? gap / 8 : MTU_GRAIN;
    set_add(m, m->proven + MTU_GRAIN);
    for (unsigned k = 1; k < 8; k++)
        set_add(m, m->proven + k * step);
}

static bool is_sent(const struct path_mtu *m)
{
    return m->next > m->count + 1;
}

static void round_again(struct path_mtu *m, usec_t now)
{
    m->began = 0;
    m->next = 0;
    m->due = now;
}

static void rest(struct path_mtu *m, usec_t now)
{
    m->work = MTU_IDLE;
    m->count = 0;
    m->check_at = now + MTU_CHECK;
}

/* All of the set is judged, or what is known changed: the next set, or the end. */
static void settle(struct path_mtu *m, usec_t now)
{
    m->count = 0;
    m->tries = 0;
    m->mute = 0;
    if (is_settled(m)) {
        m->known = true;
        m->again_at = now + (m->proven ? PATH_MTU_AGAIN : MTU_CHECK);
        rest(m, now);
    } else {
        m->work = MTU_SEARCH;
        set_fill(m);
        round_again(m, now);
    }
    m->value = value_of(m);
}

static void search(struct path_mtu *m, uint16_t proven, uint16_t refuted, usec_t now)
{
    m->known = false;
    m->proven = proven;
    m->refuted = refuted;
    settle(m, now);
}

void mtu_init(struct path_mtu *m, uint16_t max, usec_t now)
{
    *m = (struct path_mtu){.max = max};
    if (max) {
        search(m, 0, (uint16_t)(max + 1), now);
    } else {
        m->known = true;
        m->value = PATH_STREAM_MTU;
    }
}

bool mtu_output(struct path_mtu *m, usec_t now, usec_t srtt, const struct rng *rng, uint64_t *nonce,
                uint16_t *size)
{
    if (m->work == MTU_IDLE)
        return false;
    if (!m->began) {
        m->began = now;
        m->due = now + (later(MTU_WAIT_MIN, 2 * srtt) << m->mute);
    }
    if (is_sent(m))
        return false;
    *size = m->next == 0 || m->next > m->count ? MTU_SMALL : m->size[m->next - 1];
    m->next++;
    *nonce = rng_u64(rng);
    m->ring[m->ring_next] = (struct mtu_probe){.nonce = *nonce, .sent = now, .size = *size};
    m->ring_next = (m->ring_next + 1) % MTU_RING;
    return true;
}

/* ---- What comes. */

void mtu_proof(struct path_mtu *m, usec_t sent)
{
    m->proof = later(m->proof, sent);
}

void mtu_used(struct path_mtu *m)
{
    m->used = true;
}

static void passed(struct path_mtu *m, uint16_t size, usec_t now)
{
    /* One that comes after its size was given up, or named too big, may have gone another way. */
    if (size == MTU_SMALL || size >= m->refuted)
        return;
    if (size > m->proven)
        m->proven = size;
    if (m->work == MTU_CHECKING && size >= m->size[0])
        rest(m, now);
    while (m->work == MTU_SEARCH && m->count && m->size[m->count - 1] <= m->proven)
        m->count--;
    if (m->work == MTU_SEARCH && m->count == 0)
        settle(m, now);
    m->value = value_of(m);
}

bool mtu_answer(struct path_mtu *m, uint64_t nonce, usec_t now, usec_t *sent)
{
    for (size_t i = 0; i < MTU_RING; i++) {
        struct mtu_probe *q = &m->ring[i];
        if (!q->sent || q->nonce != nonce)
            continue;
        *sent = q->sent;
        q->sent = 0;
        passed(m, q->size, now);
        return true;
    }
    return false;
}

/* Those that were named too big leave the set. */
static void set_cut(struct path_mtu *m, usec_t now)
{
    size_t gone = 0;
    while (gone < m->count && m->size[gone] >= m->refuted)
        gone++;
    m->count -= gone;
    memmove(m->size, m->size + gone, m->count * sizeof *m->size);
    if (m->next > 1)
        m->next = m->next > gone + 1 ? m->next - gone : 1;
    if (m->count == 0)
        settle(m, now);
}

void mtu_too_big(struct path_mtu *m, size_t size, usec_t now)
{
    /* Nobody is believed that the least does not pass (RFC 8899 section 4.6.1): it is asked. */
    size = size > PATH_MTU_MIN ? size : PATH_MTU_MIN + 1;
    if (!m->max || size >= m->refuted)
        return;
    if (size <= m->value) {
        search(m, m->proven < size ? m->proven : 0, (uint16_t)size, now);
        return;
    }
    m->refuted = (uint16_t)size;
    if (m->work == MTU_SEARCH)
        set_cut(m, now);
}

void mtu_doubt(struct path_mtu *m, usec_t now)
{
    if (!m->max)
        return;
    if (!m->known) {
        search(m, 0, (uint16_t)(m->max + 1), now);
        return;
    }
    if (m->work == MTU_SEARCH) /* for more: later */
        m->refuted = m->proven + MTU_GRAIN < m->max ? (uint16_t)(m->proven + MTU_GRAIN) : m->max;
    rest(m, now);
    m->used = true;
    m->check_at = m->again_at = now;
}

/* ---- Time. */

static usec_t check_due(const struct path_mtu *m)
{
    return m->used && m->value ? m->check_at : USEC_NEVER;
}

static usec_t again_due(const struct path_mtu *m)
{
    return m->refuted <= m->max && (m->used || m->value == 0) ? m->again_at : USEC_NEVER;
}

static void round_over(struct path_mtu *m, usec_t now)
{
    if (m->proof < m->began) {
        m->mute += m->mute < MTU_MUTE_MAX;
        round_again(m, now);
        return;
    }
    m->mute = 0;
    if (++m->tries < MTU_TRIES) {
        round_again(m, now);
    } else if (m->work == MTU_CHECKING) {
        search(m, 0, m->value, now);
    } else {
        m->refuted = m->size[m->count - 1];
        settle(m, now);
    }
}

static void begin_due(struct path_mtu *m, usec_t now)
{
    if (now >= check_due(m)) {
        m->used = false;
        m->work = MTU_CHECKING;
        m->size[0] = m->value;
        m->count = 1;
        m->tries = m->mute = 0;
        round_again(m, now);
    } else if (now >= again_due(m)) {
        m->refuted = (uint16_t)(m->max + 1); /* what is known stays so until more is */
        settle(m, now);
    }
}

void mtu_tick(struct path_mtu *m, usec_t now)
{
    if (!m->max)
        return;
    if (m->work == MTU_IDLE)
        begin_due(m, now);
    else if (m->began && is_sent(m) && now >= m->due)
        round_over(m, now);
}

usec_t mtu_wake(const struct path_mtu *m)
{
    if (!m->max)
        return USEC_NEVER;
    return m->work == MTU_IDLE ? usec_min(check_due(m), again_due(m)) : m->due;
}
