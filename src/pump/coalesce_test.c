#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pump/offload_kit_int.h"

/* ---- A device that remembers. */

enum { WRITES_MAX = 200 };

struct device {
    struct {
        struct vnet_hdr h;
        uint8_t *p;
        size_t n, pieces;
    } writes[WRITES_MAX];
    size_t n;
};

static void device_write(void *arg, const struct vnet_hdr *h, const struct iovec *pieces, size_t count,
                         size_t bytes)
{
    struct device *d = arg;
    size_t n = 0;
    assert_true(d->n < WRITES_MAX && count > 0 && count <= COALESCE_SEGMENTS);
    uint8_t *p = malloc(bytes ? bytes : 1);
    assert_non_null(p);
    for (size_t i = 0; i < count; i++) {
        assert_true(n + pieces[i].iov_len <= bytes);
        memcpy(p + n, pieces[i].iov_base, pieces[i].iov_len);
        n += pieces[i].iov_len;
    }
    assert_int_equal(n, bytes);
    d->writes[d->n].h = *h;
    d->writes[d->n].p = p;
    d->writes[d->n].n = n;
    d->writes[d->n++].pieces = count;
}

static void device_clear(struct device *d)
{
    while (d->n > 0)
        free(d->writes[--d->n].p);
}

static const struct coalesce_ops ops = {.write = device_write};

static void assert_written(const struct device *d, size_t i, const struct recipe *r)
{
    size_t n;
    uint8_t *p = recipe_make(r, &n);
    assert_true(i < d->n);
    assert_int_equal(d->writes[i].n, n);
    assert_memory_equal(d->writes[i].p, p, n);
    assert_int_equal(d->writes[i].h.gso, OFFLOAD_NONE);
    assert_int_equal(d->writes[i].h.partial, r->partial);
    assert_int_equal(d->writes[i].h.gso_size, 0);
    free(p);
}

/* Links, versions and protocols: 12 kinds. */
static struct recipe recipe_kind(unsigned kind)
{
    struct recipe r = recipe_of(kind & 1 ? 6 : 4, kind & 2 ? IP_UDP : IP_TCP, kind >= 4);
    r.tagged = kind >= 8;
    return r;
}

/* ---- What comes back is what was taken apart. */

static void round_trip(struct recipe r, uint16_t size, bool whole)
{
    static struct coalesce c;
    static struct device d;
    struct frames all = {0};
    struct segments s;
    size_t n, segment, count, made;
    r.partial = true;
    struct vnet_hdr h = recipe_hdr(&r, size);
    uint8_t *p = recipe_make(&r, &n);
    coalesce_init(&c, r.tap, true, true, &ops, &d);
    assert_int_equal(segments_begin(&s, &h, p, n, r.tap, &segment, &count), 0);
    for (size_t k = 0; k < count; k++) {
        uint8_t *out = malloc(segment);
        assert_non_null(out);
        made = segments_next(&s, out, whole);
        push_bytes(&c, &all, out, made, !whole);
    }
    coalesce_flush(&c);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.writes[0].pieces, count);
    assert_int_equal(d.writes[0].n, n);
    assert_memory_equal(d.writes[0].p, p, n);
    const struct vnet_hdr *got = &d.writes[0].h;
    assert_true(got->partial && got->gso == h.gso && got->ecn == h.ecn);
    assert_true(got->gso_size == size && got->hdr_len == h.hdr_len);
    assert_true(got->csum_start == h.csum_start && got->csum_offset == h.csum_offset);
    assert_int_equal(c.frames, count);
    assert_int_equal(c.writes, 1);
    device_clear(&d);
    frames_free(&all);
    free(p);
}

static void test_round_trip(void **state)
{
    for (unsigned kind = 0; kind < 12; kind++)
        for (unsigned i = 0; i < 8; i++) {
            struct recipe r = recipe_kind(kind);
            r.flags |= (uint8_t)((i & 1 ? KIT_PSH : 0) | (i & 2 ? KIT_FIN : 0) | (i & 4 ? KIT_CWR : 0));
            r.df = i & 1;
            r.tos = 0x2a;
            r.label = 0xfffff;
            r.payload = 1368 * 46 + (i & 2 ? 1 : 1368);
            round_trip(r, 1368, i & 4);
            r.payload = 2 * (size_t)(1 + i);
            round_trip(r, (uint16_t)(1 + i), i & 1);
            r.payload = COALESCE_SEGMENTS * 100;
            round_trip(r, 100, i & 1);
        }
}

/* ---- What joins a run, and what does not. */

static size_t two(struct recipe a, struct recipe b, struct device *d)
{
    static struct coalesce c;
    struct frames all = {0};
    device_clear(d);
    coalesce_init(&c, a.tap, true, true, &ops, d);
    push(&c, &all, &a);
    push(&c, &all, &b);
    coalesce_flush(&c);
    frames_free(&all);
    size_t n = d->n;
    if (n == 2) { /* unchanged, and in order */
        assert_written(d, 0, &a);
        assert_written(d, 1, &b);
    }
    return n;
}

#define CHANGE(name) static void name(struct recipe *a, struct recipe *b)

CHANGE(nothing)
{
    (void)a, (void)b;
}
CHANGE(tos)
{
    b->tos = 1;
}
CHANGE(ttl)
{
    b->ttl--;
}
CHANGE(label)
{
    b->label = 1;
}
CHANGE(df)
{
    b->df = false;
}
CHANGE(id_gap)
{
    b->id++;
}
CHANGE(id_back)
{
    b->id -= 2;
}
CHANGE(id_same)
{
    b->id = a->id;
}
CHANGE(id_same_no_df)
{
    b->id = a->id;
    a->df = b->df = false;
}
CHANGE(no_df)
{
    a->df = b->df = false;
}
CHANGE(other_port)
{
    b->sport++;
}
CHANGE(other_host)
{
    b->host++;
}
CHANGE(gap)
{
    b->seq++;
}
CHANGE(again)
{
    b->seq = a->seq;
}
CHANGE(ack)
{
    b->ack++;
}
CHANGE(window)
{
    b->window--;
}
CHANGE(urgent)
{
    b->urgent++;
}
CHANGE(urgent_flag)
{
    b->flags |= KIT_URG;
}
CHANGE(both_urgent)
{
    a->flags = b->flags |= KIT_URG;
}
CHANGE(both_syn)
{
    a->flags = b->flags |= KIT_SYN;
}
CHANGE(rst)
{
    b->flags |= 4;
}
CHANGE(no_ack)
{
    a->flags = b->flags = 0;
}
CHANGE(echo)
{
    b->flags |= 64;
}
CHANGE(both_echo)
{
    a->flags |= 64;
    b->flags |= 64;
}
CHANGE(push_last)
{
    b->flags |= KIT_PSH;
}
CHANGE(fin_last)
{
    b->flags |= KIT_FIN;
}
CHANGE(push_first)
{
    a->flags |= KIT_PSH;
}
CHANGE(fin_first)
{
    a->flags |= KIT_FIN;
}
CHANGE(cwr_first)
{
    a->flags |= KIT_CWR;
}
CHANGE(cwr_second)
{
    b->flags |= KIT_CWR;
}
CHANGE(cwr_both)
{
    a->flags |= KIT_CWR;
    b->flags |= KIT_CWR;
}
CHANGE(no_options)
{
    b->options.n = 0;
}
CHANGE(other_options)
{
    static const uint8_t later[12] = {1, 1, 8, 10, 0, 0, 1, 3, 0, 0, 3, 4};
    b->options = bytes_of(later, 12);
}
CHANGE(ip_options)
{
    a->ip_options = b->ip_options = bytes_of("\1\1\1\1", 4);
}
CHANGE(ip_options_empty)
{
    a->ip_options = b->ip_options = bytes_of("\0\0\0\0", 4); /* the sum of the fixed part holds, too */
}
CHANGE(larger)
{
    b->payload++;
}
CHANGE(smaller)
{
    b->payload = 1;
}
CHANGE(second_empty)
{
    b->payload = 0;
}
CHANGE(first_empty)
{
    a->payload = 0;
    b->seq = a->seq;
}
CHANGE(no_sum)
{
    b->no_sum = true;
}
CHANGE(neither_sum)
{
    a->no_sum = b->no_sum = true;
}
CHANGE(tagged)
{
    b->tagged = true;
    b->tap = a->tap = true;
}
CHANGE(partial)
{
    a->partial = b->partial = true;
}
CHANGE(one_partial)
{
    b->partial = true;
}

#undef CHANGE
enum { V4 = 1, V6 = 2, BOTH = 3, NEVER = 0, TCP = 1, UDP = 2 };
static const struct {
    const char *what;
    unsigned versions, protos;
    void (*change)(struct recipe *a, struct recipe *b);
} apart[] = {
    {"nothing", NEVER, NEVER, nothing},
    {"type of service", BOTH, BOTH, tos},
    {"hop limit", BOTH, BOTH, ttl},
    {"flow label", V6, BOTH, label},
    {"DF of one", V4, BOTH, df},
    {"a gap in ids", V4, BOTH, id_gap},
    {"ids that go back", V4, BOTH, id_back},
    {"one id, with DF", NEVER, NEVER, id_same},
    {"one id, without DF", V4, BOTH, id_same_no_df},
    {"no DF", NEVER, NEVER, no_df},
    {"another port", BOTH, BOTH, other_port},
    {"another host", BOTH, BOTH, other_host},
    {"a gap", BOTH, TCP, gap},
    {"the same again", BOTH, TCP, again},
    {"ack", BOTH, TCP, ack},
    {"window", BOTH, TCP, window},
    {"urgent pointer", BOTH, TCP, urgent},
    {"URG", BOTH, TCP, urgent_flag},
    {"URG of both", BOTH, TCP, both_urgent},
    {"SYN of both", BOTH, TCP, both_syn},
    {"RST", BOTH, TCP, rst},
    {"no ACK", BOTH, TCP, no_ack},
    {"ECE", BOTH, TCP, echo},
    {"ECE of both", NEVER, NEVER, both_echo},
    {"PSH at last", NEVER, NEVER, push_last},
    {"FIN at last", NEVER, NEVER, fin_last},
    {"PSH at first", BOTH, TCP, push_first},
    {"FIN at first", BOTH, TCP, fin_first},
    {"CWR at first", NEVER, NEVER, cwr_first},
    {"CWR later", BOTH, TCP, cwr_second},
    {"CWR of both", BOTH, TCP, cwr_both},
    {"no options", BOTH, TCP, no_options},
    {"another timestamp", BOTH, TCP, other_options},
    {"IPv4 options", V4, BOTH, ip_options},
    {"IPv4 options that are 0", V4, BOTH, ip_options_empty},
    {"larger", BOTH, BOTH, larger},
    {"smaller", NEVER, NEVER, smaller},
    {"second empty", BOTH, BOTH, second_empty},
    {"first empty", BOTH, BOTH, first_empty},
    {"one without checksum", BOTH, UDP, no_sum},
    {"both without checksum", BOTH, UDP, neither_sum},
    {"one with a tag", BOTH, BOTH, tagged},
    {"both partial", NEVER, NEVER, partial},
    {"one partial", NEVER, NEVER, one_partial},
};

static void test_joins(void **state)
{
    static struct device d;
    for (size_t i = 0; i < sizeof apart / sizeof *apart; i++)
        for (unsigned kind = 0; kind < 8; kind++) {
            struct recipe a = recipe_kind(kind), b = following(a);
            bool of_tcp = a.proto == IP_TCP;
            if (!of_tcp && (apart[i].change == no_options || apart[i].change == other_options))
                continue; /* no place for them */
            if (of_tcp && (apart[i].change == no_sum || apart[i].change == neither_sum))
                continue;
            apart[i].change(&a, &b);
            bool joined =
                !(apart[i].versions & (a.version == 4 ? V4 : V6) && apart[i].protos & (of_tcp ? TCP : UDP));
            size_t n = two(a, b, &d);
            if (n != (joined ? 1 : 2))
                fail_msg("%s, kind %u: %zu writes", apart[i].what, kind, n);
            if (!joined)
                continue;
            struct vnet_hdr h = recipe_hdr(&a, (uint16_t)a.payload);
            assert_int_equal(d.writes[0].h.gso, h.gso);
            assert_int_equal(d.writes[0].h.ecn, h.ecn);
        }
    device_clear(&d);
}

/* The device's answer to TUNSETOFFLOAD. */
static void test_device_without(void **state)
{
    static struct coalesce c;
    static struct device d;
    for (unsigned takes = 0; takes < 4; takes++)
        for (unsigned kind = 0; kind < 4; kind++) {
            struct recipe a = recipe_kind(kind), b = following(a);
            struct frames all = {0};
            coalesce_init(&c, false, takes & 1, takes & 2, &ops, &d);
            push(&c, &all, &a);
            push(&c, &all, &b);
            coalesce_flush(&c);
            assert_int_equal(d.n, takes & (a.proto == IP_TCP ? 1 : 2) ? 1 : 2);
            device_clear(&d);
            frames_free(&all);
        }
}

/* ---- Damage: such a frame goes alone, as it came, at its place. */

static void damaged(unsigned kind, size_t which, size_t at, uint8_t x, bool partial)
{
    static struct coalesce c;
    static struct device d;
    struct frames all = {0};
    struct recipe r = recipe_kind(kind);
    uint8_t *copy = NULL;
    size_t n, total = 0;
    r.partial = partial;
    r.payload = 100;
    coalesce_init(&c, r.tap, true, true, &ops, &d);
    for (size_t i = 0; i < 6; i++, r = following(r)) {
        uint8_t *p = recipe_make(&r, &n);
        total += n;
        if (i == which) {
            p[at] ^= x;
            copy = malloc(n);
            assert_non_null(copy);
            memcpy(copy, p, n);
        }
        push_bytes(&c, &all, p, n, partial);
    }
    coalesce_flush(&c);
    size_t place = which == 0 ? 0 : 1;
    assert_int_equal(d.n, which == 0 || which == 5 ? 2 : 3);
    assert_int_equal(d.writes[place].n, n);
    assert_memory_equal(d.writes[place].p, copy, n);
    assert_int_equal(d.writes[place].h.gso, OFFLOAD_NONE);
    assert_int_equal(d.writes[place].h.partial, partial);
    if (place > 0)
        assert_int_equal(d.writes[0].pieces, which);
    device_clear(&d);
    frames_free(&all);
    free(copy);
    assert_true(total > 0);
}

static void test_wrong_sums(void **state)
{
    for (unsigned kind = 0; kind < 12; kind++)
        for (size_t which = 0; which < 6; which++) {
            struct recipe r = recipe_kind(kind);
            size_t n;
            uint8_t *p = recipe_make(&r, &n);
            struct naive_frame f = naive_find(p, n, r.tap);
            free(p);
            damaged(kind, which, f.headers + 50, 1, false);                            /* payload */
            damaged(kind, which, f.upper + (r.proto == IP_TCP ? 17 : 7), 0x40, false); /* the field */
            damaged(kind, which, f.upper + (r.proto == IP_TCP ? 17 : 7), 0x40, true);
            if (r.version == 4)
                damaged(kind, which, f.ip + 11, 0x40, which & 1);
        }
}

static void test_zero_of_two_kinds(void **state)
{
    static struct device d;
    static struct coalesce c;
    struct recipe a = recipe_of(4, IP_TCP, false);
    size_t n;
    for (unsigned port = 0; port < 65536; port++) { /* one of them gives a checksum of 0 */
        a.sport = (uint16_t)port;
        a.payload = 1;
        uint8_t *p = recipe_make(&a, &n);
        struct frames all = {0};
        if (p[36] == 0 && p[37] == 0) {
            assert_int_equal(two(a, following(a), &d), 1);
            device_clear(&d);
            struct recipe b = following(a);
            struct inner_frame f;
            p[36] = p[37] = 0xff; /* as right, but not what the kernel would write */
            assert_int_equal(inner_frame_read(&f, p, n, false, false), 0);
            assert_true(checksum_right(p, &f));
            coalesce_init(&c, false, true, true, &ops, &d);
            push_bytes(&c, &all, p, n, false);
            push(&c, &all, &b);
            coalesce_flush(&c);
            assert_int_equal(d.n, 2);
            assert_memory_equal(d.writes[0].p + 36, "\xff\xff", 2);
            device_clear(&d);
            frames_free(&all);
            return;
        }
        free(p);
    }
    fail();
}

static void test_zero_of_ip(void **state)
{
    static struct device d;
    static struct coalesce c;
    struct recipe a = recipe_of(4, IP_UDP, false);
    size_t n, found = 0;
    for (unsigned id = 0; id < 65535; id++) {
        a.id = (uint16_t)id;
        a.payload = 1;
        uint8_t *p = recipe_make(&a, &n);
        if (p[10] != 0 || p[11] != 0) {
            free(p);
            continue;
        }
        for (int other = 0; other < 2; other++) {
            struct recipe b = following(a);
            struct frames all = {0};
            uint8_t *copy = recipe_make(&a, &n);
            memset(copy + 10, other ? 0xff : 0, 2);
            coalesce_init(&c, false, true, true, &ops, &d);
            push_bytes(&c, &all, copy, n, false);
            push(&c, &all, &b);
            coalesce_flush(&c);
            assert_int_equal(d.n, 1 + other);
            device_clear(&d);
            frames_free(&all);
        }
        found++;
        free(p);
    }
    assert_int_equal(found, 1);
}

/* Ethernet's own bytes are of no sum: any of them keeps frames apart. */
static void test_ethernet(void **state)
{
    static struct device d;
    static struct coalesce c;
    for (unsigned kind = 4; kind < 12; kind++) {
        struct recipe a = recipe_kind(kind), b = following(a);
        size_t n, end = a.tagged ? 18 : 14;
        for (size_t at = 0; at <= end; at++) {
            struct frames all = {0};
            coalesce_init(&c, true, true, true, &ops, &d);
            push(&c, &all, &a);
            uint8_t *p = recipe_make(&b, &n);
            if (at < end)
                p[at] ^= 4;
            push_bytes(&c, &all, p, n, false);
            coalesce_flush(&c);
            assert_int_equal(d.n, at == end ? 1 : 2);
            device_clear(&d);
            frames_free(&all);
        }
    }
}

/* Padding behind a short frame: alone, as it came; without it where the kernel would take it into the sum. */
static void test_padding(void **state)
{
    static struct coalesce c;
    static struct device d;
    for (int partial = 0; partial < 2; partial++) {
        struct recipe r = recipe_of(4, IP_UDP, true), first;
        struct frames all = {0};
        size_t n;
        r.partial = partial;
        r.payload = 10;
        first = r;
        coalesce_init(&c, true, true, true, &ops, &d);
        push(&c, &all, &r);
        r = following(r);
        uint8_t *p = recipe_make(&r, &n);
        p = realloc(p, 60);
        assert_non_null(p);
        memset(p + n, 0xee, 60 - n);
        push_bytes(&c, &all, p, 60, partial);
        coalesce_flush(&c);
        assert_int_equal(d.n, 2);
        assert_written(&d, 0, &first);
        assert_int_equal(d.writes[1].n, partial ? n : 60);
        d.writes[1].n = n;
        assert_written(&d, 1, &r);
        device_clear(&d);
        frames_free(&all);
    }
}

/* ---- Limits. */

static void stream(struct recipe r, size_t frames, struct device *d)
{
    static struct coalesce c;
    struct frames all = {0};
    coalesce_init(&c, r.tap, true, true, &ops, d);
    for (size_t i = 0; i < frames; i++, r = following(r))
        push(&c, &all, &r);
    coalesce_flush(&c);
    frames_free(&all);
}

static void test_limits(void **state)
{
    static struct device d;
    for (unsigned kind = 0; kind < 12; kind++) {
        struct recipe r = recipe_kind(kind);
        r.payload = 100;
        stream(r, 2 * COALESCE_SEGMENTS + 1, &d);
        assert_int_equal(d.n, 3);
        assert_int_equal(d.writes[0].pieces, COALESCE_SEGMENTS);
        assert_int_equal(d.writes[1].pieces, COALESCE_SEGMENTS);
        assert_int_equal(d.writes[2].pieces, 1);
        device_clear(&d);
        /* 65535 bytes of IP and not one more. */
        size_t n;
        uint8_t *p = recipe_make(&r, &n);
        struct naive_frame f = naive_find(p, n, r.tap);
        free(p);
        size_t room = 65535 - (f.headers - f.ip);
        for (size_t of = 2; of < 60; of++) {
            r.payload = room / of;
            stream(r, of + 1, &d);
            assert_int_equal(d.n, 2);
            assert_int_equal(d.writes[0].pieces, of);
            assert_true(d.writes[0].n - f.ip <= 65535);
            device_clear(&d);
            r.payload = room / of + 1;
            stream(r, of, &d);
            assert_int_equal(d.n, room % of == of - 1 && room / of + 1 == (room + 1) / of ? 2 : d.n);
            assert_true(d.n == 2 || (d.n == 1 && of * r.payload <= room));
            device_clear(&d);
        }
    }
}

static void test_short_ends_a_run(void **state)
{
    static struct device d;
    static struct coalesce c;
    for (unsigned kind = 0; kind < 4; kind++) {
        struct recipe r = recipe_kind(kind);
        struct frames all = {0};
        coalesce_init(&c, false, true, true, &ops, &d);
        push(&c, &all, &r);
        r = following(r);
        assert_int_equal(d.n, 0);
        r.payload = 999;
        push(&c, &all, &r);
        assert_int_equal(d.n, 1); /* at once: nothing can follow */
        r = following(r);
        push(&c, &all, &r);
        coalesce_flush(&c);
        assert_int_equal(d.n, 2);
        assert_written(&d, 1, &r);
        device_clear(&d);
        frames_free(&all);
    }
}

static void test_more_flows(void **state)
{
    static struct coalesce c;
    static struct device d;
    struct frames all = {0};
    enum { FLOWS = COALESCE_FLOWS + 3 };
    struct recipe r[FLOWS];
    coalesce_init(&c, true, true, true, &ops, &d);
    for (uint16_t i = 0; i < FLOWS; i++) {
        r[i] = recipe_kind(4 + i % 4);
        r[i].sport = i;
        push(&c, &all, &r[i]);
        assert_int_equal(d.n, i < COALESCE_FLOWS ? 0 : i - COALESCE_FLOWS + 1);
    }
    for (size_t i = 0; i < 3; i++) /* the oldest first */
        assert_written(&d, i, &r[i]);
    for (size_t i = 3; i < FLOWS; i++) {
        struct recipe next = following(r[i]);
        push(&c, &all, &next);
    }
    assert_int_equal(d.n, 3);
    coalesce_flush(&c);
    assert_int_equal(d.n, FLOWS);
    for (size_t i = 3; i < FLOWS; i++) {
        assert_int_equal(d.writes[i].pieces, 2);
        size_t port = d.writes[i].p[d.writes[i].h.csum_start + 1];
        assert_int_equal(port, i); /* in the order in which they began */
    }
    device_clear(&d);
    frames_free(&all);
}

/* A frame that cannot join does not wait for others, others do not wait for it; one that is not understood
 * waits for all. */
static void test_order(void **state)
{
    static struct coalesce c;
    static struct device d;
    struct frames all = {0};
    struct recipe a = recipe_of(4, IP_TCP, true), b = a, ping = recipe_of(4, IP_ICMP, true);
    b.sport = 7;
    coalesce_init(&c, true, true, true, &ops, &d);
    push(&c, &all, &a);
    push(&c, &all, &b);
    push(&c, &all, &ping);
    assert_int_equal(d.n, 1);
    assert_written(&d, 0, &ping);
    struct recipe bare = following(b);
    bare.payload = 0;
    push(&c, &all, &bare);
    assert_int_equal(d.n, 3);
    assert_written(&d, 1, &b);
    assert_written(&d, 2, &bare);
    uint8_t *arp = calloc(1, 42);
    assert_non_null(arp);
    arp[12] = 8;
    arp[13] = 6;
    push_bytes(&c, &all, arp, 42, true);
    assert_int_equal(d.n, 5);
    assert_written(&d, 3, &a);
    assert_int_equal(d.writes[4].n, 42);
    assert_memory_equal(d.writes[4].p, arp, 42);
    assert_false(d.writes[4].h.partial);
    coalesce_flush(&c);
    assert_int_equal(d.n, 5);
    device_clear(&d);
    frames_free(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_joins),
        cmocka_unit_test(test_device_without),
        cmocka_unit_test(test_wrong_sums),
        cmocka_unit_test(test_zero_of_two_kinds),
        cmocka_unit_test(test_zero_of_ip),
        cmocka_unit_test(test_ethernet),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_short_ends_a_run),
        cmocka_unit_test(test_more_flows),
        cmocka_unit_test(test_order),

    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
