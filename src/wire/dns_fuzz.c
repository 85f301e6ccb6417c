#include <stdlib.h>
#include <string.h>

#include "wire/dns.h"

/* What was read, written without compression and read again is the same. */

static struct dns_message first, second;
static uint8_t out[1 << 18];

static void name_same(const struct dns_name *a, const struct dns_name *b)
{
    char text[DNS_NAME_TEXT];
    struct dns_name walk = *a;
    struct bytes label;
    if (a->n != b->n || memcmp(a->wire, b->wire, a->n) != 0 || !dns_name_equal(a, b))
        abort();
    dns_name_text(text, a);
    if (strlen(text) >= sizeof text)
        abort();
    while (dns_name_first(&walk, &label, &walk))
        ;
    if (a->n > 0 && (walk.n != 1 || walk.wire[0] != 0))
        abort();
}

static void record_same(const struct dns_record *a, const struct dns_record *b)
{
    bool named = a->class == DNS_IN && (a->type == DNS_PTR || a->type == DNS_SRV);
    name_same(&a->name, &b->name);
    if (a->type != b->type || a->class != b->class || a->flush != b->flush || a->ttl != b->ttl ||
        a->section != b->section || a->port != b->port || a->weight != b->weight ||
        a->priority != b->priority)
        abort();
    if (named)
        name_same(&a->target, &b->target);
    else if (!bytes_equal(a->data, b->data))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct dns_writer d;
    if (n > 65536 || dns_read(&first, bytes_of(p, n)) != 0)
        return 0;
    dns_begin(&d, out, sizeof out, first.id, first.flags);
    for (size_t i = 0; i < first.question_count; i++)
        dns_put_question(&d, &first.questions[i]);
    for (size_t i = 0; i < first.record_count; i++)
        dns_put_record(&d, &first.records[i]);
    struct bytes made = dns_end(&d);
    if (made.n == 0 || dns_read(&second, made) != 0 || second.question_count != first.question_count ||
        second.record_count != first.record_count || second.id != first.id || second.flags != first.flags)
        abort();
    for (size_t i = 0; i < first.question_count; i++) {
        const struct dns_question *a = &first.questions[i], *b = &second.questions[i];
        name_same(&a->name, &b->name);
        if (a->type != b->type || a->class != b->class || a->unicast != b->unicast)
            abort();
    }
    for (size_t i = 0; i < first.record_count; i++)
        record_same(&first.records[i], &second.records[i]);
    return 0;
}
