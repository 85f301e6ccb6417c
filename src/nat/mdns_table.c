#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "nat/mdns_int.h"

/* ---- Labels. */

static void label_id(uint8_t out[MDNS_LABEL_BYTES], const uint8_t *party, const uint8_t *node, uint64_t day)
{
    uint8_t when[8], hash[SHA256_LEN];
    struct wr w = wr_of(when, sizeof when);
    wr_u64(&w, day);
    sha256(hash,
           (struct bytes[]){bytes_of_str("warren mdns v1"), bytes_of(party, MDNS_ID_LEN),
                            bytes_of(node, MDNS_ID_LEN), bytes_of(when, sizeof when)},
           4);
    memcpy(out, hash, MDNS_LABEL_BYTES);
}

void mdns_label(char out[MDNS_LABEL_CAP], const uint8_t party[MDNS_ID_LEN], const uint8_t node[MDNS_ID_LEN],
                uint64_t day)
{
    uint8_t id[MDNS_LABEL_BYTES];
    label_id(id, party, node, day);
    base32_put(out, bytes_of(id, sizeof id));
}

static int label_order(const void *a, const void *b)
{
    const struct label *x = a, *y = b;
    return memcmp(x->id, y->id, sizeof x->id);
}

static void own_name(struct mdns *m, struct own *o)
{
    char label[MDNS_LABEL_CAP];
    struct dns_name local;
    mdns_label(label, o->party, o->node, m->day);
    /* These fit: 16 letters before 20 and 7 bytes. */
    (void)dns_name_set(&local, "local");
    (void)dns_name_prefix(&o->instance, bytes_of_str(label), &m->service);
    (void)dns_name_prefix(&o->host, bytes_of_str(label), &local);
}

void mdns_relabel(struct mdns *m)
{
    m->label_count = 0;
    for (size_t i = 0; i < m->member_count; i++) {
        for (uint64_t d = 0; d < DAYS; d++) {
            struct label *l = &m->labels[m->label_count++];
            label_id(l->id, m->members[i].party, m->members[i].node, m->day + d - 1);
            l->member = (uint16_t)i;
        }
    }
    if (m->label_count > 0)
        qsort(m->labels, m->label_count, sizeof *m->labels, label_order);
    for (size_t i = 0; i < m->own_count; i++)
        own_name(m, &m->own[i]);
}

const struct mdns_member *mdns_member_of(const struct mdns *m, struct bytes label)
{
    char text[LABEL_LETTERS];
    struct label key, *hit;
    size_t n;
    if (label.n != LABEL_LETTERS || m->label_count == 0)
        return NULL;
    for (size_t i = 0; i < LABEL_LETTERS; i++)
        text[i] = (char)(label.p[i] >= 'A' && label.p[i] <= 'Z' ? label.p[i] + ('a' - 'A') : label.p[i]);
    if (base32_get(key.id, sizeof key.id, &n, text, LABEL_LETTERS) != 0 || n != MDNS_LABEL_BYTES)
        return NULL;
    hit = bsearch(&key, m->labels, m->label_count, sizeof *m->labels, label_order);
    return hit ? &m->members[hit->member] : NULL;
}

/* ---- What was found. */

static bool event_put(struct mdns *m, enum mdns_event_kind kind, const struct found *f)
{
    if (m->event_count == MDNS_EVENTS_MAX) {
        m->counts.limited++;
        return false;
    }
    struct mdns_event *ev = &m->events[(m->event_head + m->event_count++) % MDNS_EVENTS_MAX];
    *ev = (struct mdns_event){.kind = kind, .addr = f->addr, .tls_port = f->tls_port};
    memcpy(ev->party, f->party, MDNS_ID_LEN);
    memcpy(ev->node, f->node, MDNS_ID_LEN);
    return true;
}

bool mdns_event(struct mdns *m, struct mdns_event *ev)
{
    if (m->event_count == 0)
        return false;
    *ev = m->events[m->event_head];
    m->event_head = (m->event_head + 1) % MDNS_EVENTS_MAX;
    m->event_count--;
    return true;
}

static void found_drop(struct mdns *m, struct found *f, bool event)
{
    if (event)
        event_put(m, MDNS_GONE, f);
    *f = m->found[--m->found_count];
}

static bool of_member(const struct found *f, const struct mdns_member *who)
{
    return !memcmp(f->party, who->party, MDNS_ID_LEN) && !memcmp(f->node, who->node, MDNS_ID_LEN);
}

void mdns_found_prune(struct mdns *m)
{
    for (size_t i = m->found_count; i-- > 0;) {
        bool member = false;
        for (size_t k = 0; k < m->member_count && !member; k++)
            member = of_member(&m->found[i], &m->members[k]);
        if (!member)
            found_drop(m, &m->found[i], false);
    }
}

/* Room for another address of this member: its oldest one goes where it has too many. */
static bool found_room(struct mdns *m, const struct mdns_member *who)
{
    struct found *oldest = NULL;
    size_t addrs = 0;
    for (size_t i = 0; i < m->found_count; i++) {
        struct found *f = &m->found[i];
        if (!of_member(f, who))
            continue;
        addrs++;
        if (!oldest || f->seen < oldest->seen)
            oldest = f;
    }
    if (addrs >= MDNS_ADDRS_MAX)
        found_drop(m, oldest, true);
    return m->found_count < MDNS_FOUND_MAX;
}

static struct found *found_at(struct mdns *m, const struct mdns_member *who, const struct net_addr *addr)
{
    for (size_t i = 0; i < m->found_count; i++) {
        if (net_ip_equal(&m->found[i].addr, addr) && of_member(&m->found[i], who))
            return &m->found[i];
    }
    return NULL;
}

void mdns_found_put(struct mdns *m, const struct mdns_member *who, const struct net_addr *addr,
                    uint16_t tls_port, uint32_t ttl_s, usec_t now)
{
    struct found *f = found_at(m, who, addr);
    uint32_t ttl = ttl_s < MDNS_TTL_MAX_S ? ttl_s : MDNS_TTL_MAX_S;
    if (ttl_s == 0) {
        if (f)
            found_drop(m, f, true);
        return;
    }
    if (!f || f->addr.port != addr->port || f->tls_port != tls_port) {
        if (m->event_count == MDNS_EVENTS_MAX || !ratelimit_take(&m->event_rate, 1, now) ||
            (!f && !found_room(m, who))) {
            m->counts.limited++;
            return;
        }
        if (!f)
            f = &m->found[m->found_count++];
        memcpy(f->party, who->party, MDNS_ID_LEN);
        memcpy(f->node, who->node, MDNS_ID_LEN);
        f->addr = *addr;
        f->tls_port = tls_port;
        event_put(m, MDNS_FOUND, f);
    }
    f->seen = now;
    f->expires = now + ttl * SEC;
}

usec_t mdns_found_wake(const struct mdns *m)
{
    usec_t at = USEC_NEVER;
    for (size_t i = 0; i < m->found_count; i++)
        at = usec_min(at, m->found[i].expires);
    return at;
}

void mdns_found_expire(struct mdns *m, usec_t now)
{
    for (size_t i = m->found_count; i-- > 0;) {
        if (now >= m->found[i].expires)
            found_drop(m, &m->found[i], true);
    }
}
