#include "wire/dns.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TOP_BIT 0x8000u /* of a class: flush in records, unicast in questions */

/* ---- Names. */

int dns_name_set(struct dns_name *name, const char *text)
{
    struct dns_name made = {0};
    while (*text) {
        size_t len = strcspn(text, ".");
        if (len == 0 || len > DNS_LABEL_MAX || made.n + 1 + len + 1 > DNS_NAME_MAX)
            return -EINVAL;
        made.wire[made.n] = (uint8_t)len;
        memcpy(made.wire + made.n + 1, text, len);
        made.n = (uint8_t)(made.n + 1 + len);
        text += len;
        if (*text == '.' && *++text == 0)
            return -EINVAL;
    }
    made.wire[made.n++] = 0;
    *name = made;
    return 0;
}

int dns_name_prefix(struct dns_name *out, struct bytes label, const struct dns_name *rest)
{
    struct dns_name made = {0};
    if (label.n == 0 || label.n > DNS_LABEL_MAX || rest->n == 0 || label.n + 1 + rest->n > DNS_NAME_MAX)
        return -EINVAL;
    made.wire[0] = (uint8_t)label.n;
    memcpy(made.wire + 1, label.p, label.n);
    memcpy(made.wire + 1 + label.n, rest->wire, rest->n);
    made.n = (uint8_t)(1 + label.n + rest->n);
    *out = made;
    return 0;
}

bool dns_name_first(const struct dns_name *name, struct bytes *label, struct dns_name *rest)
{
    if (name->n < 2 || name->wire[0] == 0)
        return false;
    size_t len = name->wire[0];
    *label = bytes_of(name->wire + 1, len);
    if (rest) {
        struct dns_name made = {.n = (uint8_t)(name->n - 1 - len)};
        memcpy(made.wire, name->wire + 1 + len, made.n);
        *rest = made;
    }
    return true;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

/* A length byte is at most 63 and so below 'A': one loop compares lengths and letters. */
bool dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (lower(a->wire[i]) != lower(b->wire[i]))
            return false;
    }
    return true;
}

static bool plain(uint8_t c)
{
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

void dns_name_text(char out[DNS_NAME_TEXT], const struct dns_name *name)
{
    size_t n = 0;
    for (size_t at = 0; at < name->n && name->wire[at]; at += 1u + name->wire[at]) {
        if (at > 0)
            out[n++] = '.';
        for (size_t i = 1; i <= name->wire[at] && at + i < name->n; i++) {
            uint8_t c = name->wire[at + i];
            if (plain(c))
                out[n++] = (char)c;
            else
                n += (size_t)snprintf(out + n, DNS_NAME_TEXT - n, "\\%03u", c);
        }
    }
    if (n == 0)
        out[n++] = '.';
    out[n] = 0;
}

/* ---- Reader. */

/* A name at the cursor; what a pointer leads to must lie before everything read of the name so far, so a loop
 * is impossible, and the number of pointers is bounded besides. The cursor ends behind the first pointer. */
static void name_read(struct dns_name *out, struct rd *r, struct bytes whole)
{
    struct rd cur = *r;
    size_t lowest = (size_t)(r->p - whole.p), pointers = 0;
    out->n = 0;
    for (;;) {
        uint8_t len = rd_u8(&cur);
        if ((len & 0xc0) == 0xc0) {
            size_t to = (size_t)(len & 0x3f) << 8 | rd_u8(&cur);
            if (!rd_ok(&cur) || to >= lowest || ++pointers > DNS_POINTERS_MAX) {
                rd_fail(r);
                return;
            }
            if (pointers == 1)
                *r = cur;
            lowest = to;
            cur = rd_of(bytes_of(whole.p + to, whole.n - to));
            continue;
        }
        if (!rd_ok(&cur) || len > DNS_LABEL_MAX || out->n + 1u + len > DNS_NAME_MAX || rd_left(&cur) < len) {
            rd_fail(r);
            return;
        }
        out->wire[out->n] = len;
        rd_copy(&cur, out->wire + out->n + 1, len);
        out->n = (uint8_t)(out->n + 1 + len);
        if (len == 0)
            break;
    }
    if (pointers == 0)
        *r = cur;
}

static void question_read(struct dns_question *q, struct rd *r, struct bytes whole)
{
    name_read(&q->name, r, whole);
    q->type = rd_u16(r);
    uint16_t class = rd_u16(r);
    q->class = class & (uint16_t)~TOP_BIT;
    q->unicast = class & TOP_BIT;
}

static bool txt_valid(struct bytes data)
{
    struct rd r = rd_of(data);
    struct bytes text;
    while (dns_txt_next(&r, &text))
        ;
    return rd_done(&r);
}

/* Data of the types that we know, of class IN; others stay bytes. */
static bool data_read(struct dns_record *rec, struct bytes whole)
{
    struct rd r = rd_of(rec->data);
    if (rec->class != DNS_IN)
        return true;
    switch (rec->type) {
    case DNS_A:
        return rec->data.n == 4;
    case DNS_AAAA:
        return rec->data.n == 16;
    case DNS_TXT:
        return txt_valid(rec->data);
    case DNS_SRV:
        rec->priority = rd_u16(&r);
        rec->weight = rd_u16(&r);
        rec->port = rd_u16(&r);
        break;
    case DNS_PTR:
        break;
    default:
        return true;
    }
    if (!rd_ok(&r))
        return false;
    name_read(&rec->target, &r, whole);
    return rd_done(&r);
}

static bool record_read(struct dns_record *rec, enum dns_section section, struct rd *r, struct bytes whole)
{
    *rec = (struct dns_record){.section = section};
    name_read(&rec->name, r, whole);
    rec->type = rd_u16(r);
    uint16_t class = rd_u16(r);
    rec->class = class & (uint16_t)~TOP_BIT;
    rec->flush = class & TOP_BIT;
    rec->ttl = rd_u32(r);
    rec->data = rd_block16(r, UINT16_MAX);
    return rd_ok(r) && data_read(rec, whole);
}

int dns_read(struct dns_message *m, struct bytes in)
{
    struct rd r = rd_of(in);
    uint16_t counts[4];
    m->question_count = m->record_count = 0;
    m->id = rd_u16(&r);
    m->flags = rd_u16(&r);
    for (size_t i = 0; i < 4; i++)
        counts[i] = rd_u16(&r);
    if (!rd_ok(&r) || counts[0] > DNS_QUESTIONS_MAX ||
        (size_t)counts[1] + counts[2] + counts[3] > DNS_RECORDS_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < counts[0] && rd_ok(&r); i++)
        question_read(&m->questions[i], &r, in);
    size_t n = 0;
    for (size_t s = 0; s < 3; s++) {
        for (size_t i = 0; i < counts[s + 1]; i++) {
            if (!record_read(&m->records[n++], (enum dns_section)s, &r, in))
                return -EBADMSG;
        }
    }
    if (!rd_done(&r))
        return -EBADMSG;
    m->question_count = counts[0];
    m->record_count = n;
    return 0;
}

bool dns_txt_next(struct rd *r, struct bytes *text)
{
    if (!rd_ok(r) || rd_left(r) == 0)
        return false;
    *text = rd_bytes(r, rd_u8(r));
    return rd_ok(r);
}

/* ---- Writer. */

void dns_begin(struct dns_writer *d, void *out, size_t cap, uint16_t id, uint16_t flags)
{
    *d = (struct dns_writer){.w = wr_of(out, cap)};
    wr_u16(&d->w, id);
    wr_u16(&d->w, flags);
    wr_u64(&d->w, 0); /* the counts come at the end */
}

/* Counts one more of section i; false where something of a later one stands already. */
static bool counted(struct dns_writer *d, size_t i)
{
    for (size_t later = i + 1; later < 4; later++) {
        if (d->counts[later])
            d->failed = true;
    }
    if (d->counts[i] == UINT16_MAX)
        d->failed = true;
    if (!d->failed)
        d->counts[i]++;
    return !d->failed;
}

static void name_write(struct dns_writer *d, const struct dns_name *name)
{
    if (name->n == 0)
        d->failed = true;
    wr_copy(&d->w, name->wire, name->n);
}

void dns_put_question(struct dns_writer *d, const struct dns_question *q)
{
    if (!counted(d, 0))
        return;
    name_write(d, &q->name);
    wr_u16(&d->w, q->type);
    wr_u16(&d->w, (uint16_t)(q->class | (q->unicast ? TOP_BIT : 0)));
}

void dns_put_record(struct dns_writer *d, const struct dns_record *r)
{
    bool srv = r->type == DNS_SRV && r->class == DNS_IN, ptr = r->type == DNS_PTR && r->class == DNS_IN;
    size_t len = srv ? 6u + r->target.n : ptr ? r->target.n : r->data.n;
    if (len > UINT16_MAX)
        d->failed = true;
    if (!counted(d, 1 + (size_t)r->section))
        return;
    name_write(d, &r->name);
    wr_u16(&d->w, r->type);
    wr_u16(&d->w, (uint16_t)(r->class | (r->flush ? TOP_BIT : 0)));
    wr_u32(&d->w, r->ttl);
    wr_u16(&d->w, (uint16_t)len);
    if (srv) {
        wr_u16(&d->w, r->priority);
        wr_u16(&d->w, r->weight);
        wr_u16(&d->w, r->port);
    }
    if (srv || ptr)
        name_write(d, &r->target);
    else
        wr_bytes(&d->w, r->data);
}

struct bytes dns_end(struct dns_writer *d)
{
    if (d->failed || !wr_ok(&d->w))
        return bytes_of(NULL, 0);
    for (size_t i = 0; i < 4; i++) {
        d->w.p[4 + 2 * i] = (uint8_t)(d->counts[i] >> 8);
        d->w.p[5 + 2 * i] = (uint8_t)d->counts[i];
    }
    return wr_done(&d->w);
}
