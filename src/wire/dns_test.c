#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "wire/dns.h"

static struct dns_message m;
static uint8_t buf[4096];

static struct dns_name name(const char *text)
{
    struct dns_name n;
    assert_int_equal(dns_name_set(&n, text), 0);
    return n;
}

/* ---- Names. */

static void names_from_text_and_back(void **state)
{
    static const struct {
        const char *text;
        size_t n;
    } good[] = {{"local", 7}, {"_warren._udp.local", 20}, {"a.b.c", 7}, {"", 1}};
    static const char *bad[] = {".", "a.", ".a", "a..b",
                                "0123456789012345678901234567890123456789012345678901234567890123"};
    char text[DNS_NAME_TEXT];
    struct dns_name n = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        n = name(good[i].text);
        assert_int_equal(n.n, good[i].n);
        dns_name_text(text, &n);
        assert_string_equal(text, good[i].text[0] ? good[i].text : ".");
    }
    n = name("kept");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(dns_name_set(&n, bad[i]), -EINVAL);
        struct dns_name kept = name("kept");
        assert_true(dns_name_equal(&n, &kept));
    }
}

static void a_name_has_255_bytes_at_most(void **state)
{
    char text[300];
    struct dns_name n;
    /* 126 labels of one letter: 252 bytes and the root; then one with two letters more. */
    for (size_t i = 0; i < 126; i++)
        memcpy(text + 2 * i, "x.", 2);
    text[251] = 0;
    assert_int_equal(dns_name_set(&n, text), 0);
    assert_int_equal(n.n, 253);
    strcpy(text + 251, "yy");
    assert_int_equal(dns_name_set(&n, text), 0);
    assert_int_equal(n.n, 255);
    strcpy(text + 251, "yyy");
    assert_int_equal(dns_name_set(&n, text), -EINVAL);
    struct dns_name longer;
    assert_int_equal(dns_name_prefix(&longer, bytes_of_str("a"), &n), -EINVAL);
}

static void labels_in_front(void **state)
{
    struct dns_name service = name("_warren._udp.local"), n, rest;
    struct bytes label;
    assert_int_equal(dns_name_prefix(&n, bytes_of_str("abc"), &service), 0);
    struct dns_name expect = name("abc._warren._udp.local");
    assert_true(dns_name_equal(&n, &expect));
    assert_true(dns_name_first(&n, &label, &rest));
    assert_true(bytes_equal(label, bytes_of_str("abc")));
    assert_true(dns_name_equal(&rest, &service));
    struct dns_name root = name("");
    assert_false(dns_name_first(&root, &label, &rest));
    assert_int_equal(dns_name_prefix(&n, bytes_of_str(""), &service), -EINVAL);
    char long_label[64];
    memset(long_label, 'q', 64);
    assert_int_equal(dns_name_prefix(&n, bytes_of(long_label, 64), &service), -EINVAL);
    assert_int_equal(dns_name_prefix(&n, bytes_of(long_label, 63), &service), 0);
}

static void names_have_no_case(void **state)
{
    struct dns_name a = name("_Warren._UDP.local"), b = name("_warren._udp.LOCAL"),
                    c = name("_warren._udp.locaL2");
    assert_true(dns_name_equal(&a, &b));
    assert_false(dns_name_equal(&a, &c));
    struct dns_name d = name("a[b.c"), e = name("a{b.c"); /* '[' and '{' differ by the bit that cases do */
    assert_false(dns_name_equal(&d, &e));
}

static void strange_bytes_are_escaped(void **state)
{
    char text[DNS_NAME_TEXT];
    struct dns_name root = name("x"), n;
    assert_int_equal(dns_name_prefix(&n, bytes_of("a.\033\xff", 4), &root), 0);
    dns_name_text(text, &n);
    assert_string_equal(text, "a\\046\\027\\255.x");
}

/* ---- Messages. */

/* One of everything that we know, and one that we do not. */
static struct bytes sample(void)
{
    struct dns_writer d;
    struct dns_question q = {
        .name = name("_warren._udp.local"), .type = DNS_PTR, .class = DNS_IN, .unicast = true};
    struct dns_record ptr = {.section = DNS_ANSWER,
                             .name = q.name,
                             .type = DNS_PTR,
                             .class = DNS_IN,
                             .ttl = 900,
                             .target = name("x._warren._udp.local")};
    struct dns_record srv = {.section = DNS_ADDITIONAL,
                             .name = ptr.target,
                             .type = DNS_SRV,
                             .class = DNS_IN,
                             .flush = true,
                             .ttl = 120,
                             .priority = 1,
                             .weight = 2,
                             .port = 40000,
                             .target = name("x.local")};
    struct dns_record txt = {.section = DNS_ADDITIONAL,
                             .name = ptr.target,
                             .type = DNS_TXT,
                             .class = DNS_IN,
                             .ttl = 0xffffffff,
                             .data = bytes_of("\003a=b\000", 5)};
    struct dns_record a = {.section = DNS_ADDITIONAL,
                           .name = srv.target,
                           .type = DNS_A,
                           .class = DNS_IN,
                           .data = bytes_of("\300\000\002\001", 4)};
    struct dns_record aaaa = {.section = DNS_ADDITIONAL,
                              .name = srv.target,
                              .type = DNS_AAAA,
                              .class = DNS_IN,
                              .data = bytes_of("0123456789abcdef", 16)};
    struct dns_record opt = {
        .section = DNS_ADDITIONAL, .name = name(""), .type = 41, .class = 1440, .data = bytes_of("zz", 2)};
    dns_begin(&d, buf, sizeof buf, 0x1234, DNS_FLAG_RESPONSE | DNS_FLAG_AUTHORITATIVE);
    dns_put_question(&d, &q);
    const struct dns_record *all[] = {&ptr, &srv, &txt, &a, &aaaa, &opt};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        dns_put_record(&d, all[i]);
    return dns_end(&d);
}

static void everything_comes_back(void **state)
{
    struct bytes made = sample(), text;
    assert_true(made.n > 0);
    assert_int_equal(dns_read(&m, made), 0);
    assert_int_equal(m.id, 0x1234);
    assert_int_equal(m.flags, 0x8400);
    assert_int_equal(m.question_count, 1);
    assert_int_equal(m.record_count, 6);
    struct dns_name service = name("_warren._udp.local"), instance = name("x._warren._udp.local"),
                    host = name("x.local");
    assert_true(dns_name_equal(&m.questions[0].name, &service));
    assert_true(m.questions[0].unicast);
    assert_int_equal(m.questions[0].class, DNS_IN);
    assert_int_equal(m.questions[0].type, DNS_PTR);
    assert_int_equal(m.records[0].section, DNS_ANSWER);
    assert_true(dns_name_equal(&m.records[0].target, &instance));
    assert_int_equal(m.records[0].ttl, 900);
    assert_false(m.records[0].flush);
    assert_int_equal(m.records[1].section, DNS_ADDITIONAL);
    assert_true(m.records[1].flush);
    assert_int_equal(m.records[1].priority, 1);
    assert_int_equal(m.records[1].weight, 2);
    assert_int_equal(m.records[1].port, 40000);
    assert_true(dns_name_equal(&m.records[1].target, &host));
    assert_int_equal(m.records[2].ttl, 0xffffffff);
    struct rd r = rd_of(m.records[2].data);
    assert_true(dns_txt_next(&r, &text));
    assert_true(bytes_equal(text, bytes_of_str("a=b")));
    assert_true(dns_txt_next(&r, &text));
    assert_int_equal(text.n, 0);
    assert_false(dns_txt_next(&r, &text));
    assert_true(bytes_equal(m.records[3].data, bytes_of("\300\000\002\001", 4)));
    assert_true(bytes_equal(m.records[4].data, bytes_of_str("0123456789abcdef")));
    assert_int_equal(m.records[5].type, 41);
    assert_int_equal(m.records[5].class, 1440);
    assert_true(bytes_equal(m.records[5].data, bytes_of_str("zz")));
}

static void every_truncation_is_refused(void **state)
{
    struct bytes made = sample();
    for (size_t n = 0; n < made.n; n++)
        assert_int_equal(dns_read(&m, bytes_of(buf, n)), -EBADMSG);
    buf[made.n] = 0;
    assert_int_equal(dns_read(&m, bytes_of(buf, made.n + 1)), -EBADMSG);
}

static void every_flipped_bit_is_survived(void **state)
{
    struct bytes made = sample();
    size_t taken = 0;
    for (size_t i = 0; i < made.n * 8; i++) {
        buf[i / 8] ^= (uint8_t)(1 << i % 8);
        if (dns_read(&m, made) == 0) {
            taken++;
            assert_true(m.record_count <= DNS_RECORDS_MAX);
        }
        buf[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_in_range(taken, made.n, made.n * 8 - 1);
}

/* The bytes of RFC 1035 section 4.1.4's example of compression, as a question and an answer. */
static void compressed_names_are_read(void **state)
{
    static const uint8_t in[] = {0, 0, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0,
                                 /* 12 */ 1, 'F', 3, 'I', 'S', 'I', 4, 'A', 'R', 'P', 'A', 0, 0, 12, 0, 1,
                                 /* 28: FOO.F.ISI.ARPA PTR, rdata "g" and a pointer to ARPA */
                                 3, 'F', 'O', 'O', 0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 9, 0, 4, 1, 'g', 0xc0, 18};
    struct dns_name whole = name("foo.f.isi.arpa"), target = name("g.arpa");
    assert_int_equal(dns_read(&m, bytes_of(in, sizeof in)), 0);
    assert_true(dns_name_equal(&m.records[0].name, &whole));
    assert_true(dns_name_equal(&m.records[0].target, &target));
    assert_int_equal(m.records[0].ttl, 9);
}

static void bad_names_are_refused(void **state)
{
    static const struct {
        const char *what;
        uint8_t name[8];
        size_t n;
    } cases[] = {
        {"a pointer to itself", {0xc0, 12}, 2},  {"a loop through a label", {1, 'a', 0xc0, 12}, 4},
        {"a pointer forward", {0xc0, 14, 0}, 3}, {"a pointer into nothing", {0xff, 0xff}, 2},
        {"half a pointer", {0xc0}, 1},           {"a reserved label type", {0x40, 'a', 0}, 3},
        {"another", {0x80, 'a', 0}, 3},          {"a label past the end", {63, 'a', 0}, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t in[64] = {0, 0, 0, 0, 0, 1};
        memcpy(in + 12, cases[i].name, cases[i].n);
        memcpy(in + 12 + cases[i].n, "\0\014\0\001", 4);
        if (dns_read(&m, bytes_of(in, 12 + cases[i].n + 4)) != -EBADMSG)
            fail_msg("%s was taken", cases[i].what);
    }
}

/* A chain of pointers, each to the one before: as many as allowed, and one more. */
static void pointers_are_counted(void **state)
{
    for (size_t pointers = DNS_POINTERS_MAX; pointers <= DNS_POINTERS_MAX + 1; pointers++) {
        uint8_t in[128] = {0, 0, 0, 0, 0, 1, 0, 1};
        struct wr w = wr_of(in, sizeof in);
        wr_take(&w, 12);
        wr_copy(&w, "\0\0\014\0\001", 5); /* the question: the root */
        wr_copy(&w, "\0\0\377\0\002", 5); /* a record whose bytes are the chain */
        wr_u32(&w, 0);
        in[7] = 2;
        size_t chain = w.n + 2;
        wr_u16(&w, (uint16_t)(2 * (pointers - 1)));
        wr_u16(&w, 0xc000 | 12);
        for (size_t i = 1; i < pointers - 1; i++)
            wr_u16(&w, (uint16_t)(0xc000 | (chain + 2 * (i - 1))));
        wr_u16(&w, (uint16_t)(0xc000 | (chain + 2 * (pointers - 2)))); /* the name of the second record */
        wr_copy(&w, "\0\020\0\002", 4);
        wr_u32(&w, 0);
        wr_u16(&w, 0);
        assert_true(wr_ok(&w));
        assert_int_equal(dns_read(&m, wr_done(&w)), pointers > DNS_POINTERS_MAX ? -EBADMSG : 0);
    }
}

static void known_data_is_judged(void **state)
{
    static const struct {
        uint16_t type;
        const char *data;
        size_t n;
        int rc;
    } cases[] = {
        {DNS_A, "abcd", 4, 0},         {DNS_A, "abc", 3, -EBADMSG},          {DNS_AAAA, "abcd", 4, -EBADMSG},
        {DNS_TXT, "", 0, 0},           {DNS_TXT, "\002a", 2, -EBADMSG},      {DNS_TXT, "\001a\000", 3, 0},
        {DNS_PTR, "\001a\000", 3, 0},  {DNS_PTR, "\001a\000x", 4, -EBADMSG}, {DNS_PTR, "", 0, -EBADMSG},
        {DNS_SRV, "123456\000", 7, 0}, {DNS_SRV, "12345", 5, -EBADMSG},      {DNS_SRV, "123456", 6, -EBADMSG},
        {47, "anything", 8, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t in[64] = {0, 0, 0, 0, 0, 0, 0, 1};
        struct wr w = wr_of(in, sizeof in);
        wr_take(&w, 12);
        in[7] = 1;
        wr_u8(&w, 0);
        wr_u16(&w, cases[i].type);
        wr_u16(&w, DNS_IN);
        wr_u32(&w, 1);
        wr_block16(&w, bytes_of(cases[i].data, cases[i].n));
        assert_int_equal(dns_read(&m, wr_done(&w)), cases[i].rc);
        in[16] = 3; /* class Chaos: its data is not judged */
        assert_int_equal(dns_read(&m, wr_done(&w)), 0);
    }
}

static void counts_are_bounded(void **state)
{
    static const struct {
        uint16_t questions, answers, additional;
        int rc;
    } cases[] = {{DNS_QUESTIONS_MAX, 0, 0, 0},
                 {DNS_QUESTIONS_MAX + 1, 0, 0, -EBADMSG},
                 {0, DNS_RECORDS_MAX, 0, 0},
                 {0, DNS_RECORDS_MAX, 1, -EBADMSG},
                 {0, 1, DNS_RECORDS_MAX - 1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dns_writer d;
        struct dns_question q = {.name = name("a"), .type = DNS_ANY, .class = DNS_IN};
        struct dns_record r = {.name = name("a"), .type = 99, .class = DNS_IN};
        dns_begin(&d, buf, sizeof buf, 0, 0);
        for (size_t k = 0; k < cases[i].questions; k++)
            dns_put_question(&d, &q);
        for (size_t k = 0; k < cases[i].answers; k++)
            dns_put_record(&d, &r);
        r.section = DNS_ADDITIONAL;
        for (size_t k = 0; k < cases[i].additional; k++)
            dns_put_record(&d, &r);
        struct bytes made = dns_end(&d);
        assert_true(made.n > 0);
        assert_int_equal(dns_read(&m, made), cases[i].rc);
    }
}

static void the_writer_refuses(void **state)
{
    struct dns_writer d;
    struct dns_question q = {.name = name("a"), .type = DNS_ANY, .class = DNS_IN};
    struct dns_record r = {.section = DNS_ADDITIONAL,
                           .name = name("a"),
                           .type = DNS_A,
                           .class = DNS_IN,
                           .data = bytes_of_str("abcd")};
    dns_begin(&d, buf, sizeof buf, 0, 0);
    dns_put_record(&d, &r);
    dns_put_question(&d, &q); /* too late */
    assert_int_equal(dns_end(&d).n, 0);
    dns_begin(&d, buf, sizeof buf, 0, 0);
    dns_put_record(&d, &r);
    r.section = DNS_ANSWER;
    dns_put_record(&d, &r);
    assert_int_equal(dns_end(&d).n, 0);
    for (size_t cap = 0; cap < 12 + 3 + 10 + 4; cap++) {
        dns_begin(&d, buf, cap, 0, 0);
        dns_put_record(&d, &r);
        assert_int_equal(dns_end(&d).n, 0);
    }
    r.name.n = 0;
    dns_begin(&d, buf, sizeof buf, 0, 0);
    dns_put_record(&d, &r);
    assert_int_equal(dns_end(&d).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_from_text_and_back),
        cmocka_unit_test(a_name_has_255_bytes_at_most),
        cmocka_unit_test(labels_in_front),
        cmocka_unit_test(names_have_no_case),
        cmocka_unit_test(strange_bytes_are_escaped),
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_flipped_bit_is_survived),
        cmocka_unit_test(compressed_names_are_read),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(pointers_are_counted),
        cmocka_unit_test(known_data_is_judged),
        cmocka_unit_test(counts_are_bounded),
        cmocka_unit_test(the_writer_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
