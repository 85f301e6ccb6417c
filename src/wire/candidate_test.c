#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/candidate.h"

static int read_text(struct candidate *c, const char *text)
{
    return candidate_read(c, bytes_of_str(text));
}

/* What people's agents write, and what we would. */
static const struct {
    const char *text, *ours;
} good[] = {
    {"candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host", NULL},
    {"a=candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host\r\n",
     "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"},
    {"candidate:842163049 1 udp 1677729535 203.0.113.9 46154 typ srflx raddr 10.0.0.2 rport 5000 generation "
     "0 ufrag EEtu network-id 3 "
     "network-cost 10",
     "candidate:842163049 1 udp 1677729535 203.0.113.9 46154 typ srflx raddr 10.0.0.2 rport 5000"},
    {"candidate:1 1 udp 2113937151 5b8bb1f4-4b4a-4b0c-8c8e-0a6f3a3b4c5d.local 49203 typ host generation 0",
     "candidate:1 1 udp 2113937151 5b8bb1f4-4b4a-4b0c-8c8e-0a6f3a3b4c5d.local 49203 typ host"},
    {"candidate:a+/Z 1 udp 1 2001:db8::1 65535 typ relay raddr 2001:db8::2 rport 0", NULL},
    {"candidate:4 1 tcp 2105458943 192.0.2.1 9 typ host tcptype active",
     "candidate:4 1 tcp 2105458943 192.0.2.1 9 typ host"},
    {"candidate:7 256 udp 4294967295 10.0.0.1 1 typ prflx raddr 10.0.0.1 rport 2", NULL},
    {"candidate:1 1 udp 5 192.0.2.1 5000 typ srflx raddr 0.0.0.0 rport 0",
     "candidate:1 1 udp 5 192.0.2.1 5000 typ srflx"},
    {"candidate:0 1 UDP 2122252543 fe80::1 40000 TYP HOST",
     "candidate:0 1 udp 2122252543 fe80::1 40000 typ host"},
};

static void test_good(void **state)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct candidate c;
        char out[CANDIDATE_TEXT];
        if (read_text(&c, good[i].text) != 0)
            fail_msg("refused: %s", good[i].text);
        assert_int_equal(candidate_write(out, sizeof out, &c), 0);
        assert_string_equal(out, good[i].ours ? good[i].ours : good[i].text);
        assert_int_equal(candidate_write(out, strlen(out), &c), -ENOBUFS);
        assert_int_equal(candidate_write(out, strlen(out) + 1, &c), 0);
    }
}

static void test_fields(void **state)
{
    struct candidate c;
    assert_int_equal(read_text(&c, good[2].text), 0);
    assert_string_equal(c.foundation, "842163049");
    assert_int_equal(c.component, 1);
    assert_int_equal(c.transport, CANDIDATE_UDP);
    assert_int_equal(c.priority, 1677729535);
    assert_int_equal(c.type, CANDIDATE_SRFLX);
    assert_int_equal(net_addr_ip4(&c.addr), 0xcb007109u);
    assert_int_equal(c.addr.port, 46154);
    assert_int_equal(net_addr_ip4(&c.related), 0x0a000002u);
    assert_int_equal(c.related.port, 5000);
    assert_string_equal(c.name, "");
    assert_int_equal(read_text(&c, good[3].text), 0);
    assert_string_equal(c.name, "5b8bb1f4-4b4a-4b0c-8c8e-0a6f3a3b4c5d.local");
    assert_int_equal(c.addr.family, 0);
    assert_int_equal(c.addr.port, 49203);
    assert_int_equal(read_text(&c, good[5].text), 0);
    assert_int_equal(c.transport, CANDIDATE_TCP);
}

static void test_bad(void **state)
{
    static const struct {
        const char *text;
        int r;
    } rows[] = {
        {"", -EBADMSG},
        {"candidate:", -EBADMSG},
        {"candidat:1 1 udp 5 192.0.2.1 5000 typ host", -EBADMSG},
        {"candidate: 1 udp 5 192.0.2.1 5000 typ host", -EBADMSG},
        {"candidate:1  1 udp 5 192.0.2.1 5000 typ host", -EBADMSG},
        {"candidate:1! 1 udp 5 192.0.2.1 5000 typ host", -EBADMSG},
        {"candidate:123456789012345678901234567890123 1 udp 5 192.0.2.1 5000 typ host", -EBADMSG},
        {"candidate:1 0 udp 5 192.0.2.1 5000 typ host", -EBADMSG},
        {"candidate:1 257 udp 5 192.0.2.1 5000 typ host", -EBADMSG},
        {"candidate:1 1 udp 0 192.0.2.1 5000 typ host", -EBADMSG},
        {"candidate:1 1 udp 4294967296 192.0.2.1 5000 typ host", -EBADMSG},
        {"candidate:1 1 udp -5 192.0.2.1 5000 typ host", -EBADMSG},
        {"candidate:1 1 udp 5 192.0.2.1 65536 typ host", -EBADMSG},
        {"candidate:1 1 udp 5 192.0.2.1 005000 typ host", -EBADMSG},
        {"candidate:1 1 udp 5 192.0.2.256 5000 typ host", -EBADMSG},
        {"candidate:1 1 udp 5 192.0.2.1:7 5000 typ host", -EBADMSG},
        {"candidate:1 1 udp 5 [2001:db8::1] 5000 typ host", -EBADMSG},
        {"candidate:1 1 udp 5 name 5000 typ host", -EBADMSG},
        {"candidate:1 1 udp 5 na_me.local 5000 typ host", -EBADMSG},
        {"candidate:1 1 udp 5 192.0.2.1 5000 tip host", -EBADMSG},
        {"candidate:1 1 udp 5 192.0.2.1 5000 typ", -EBADMSG},
        {"candidate:1 1 udp 5 192.0.2.1 5000 typ host raddr", -EBADMSG},
        {"candidate:1 1 udp 5 192.0.2.1 5000 typ host raddr ! rport 5", -EBADMSG},
        {"candidate:1 1 udp 5 192.0.2.1 5000 typ srflx raddr 10.0.0.1 rport x", -EBADMSG},
        {"candidate:1 1 udp 5 192.0.2.1 5000 typ host a\tb c", -EBADMSG},
        {"candidate:1 1 sctp 5 192.0.2.1 5000 typ host", -ENOTSUP},
        {"candidate:1 1 udp 5 192.0.2.1 5000 typ other", -ENOTSUP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct candidate c = {.priority = 77};
        int r = read_text(&c, rows[i].text);
        if (r != rows[i].r)
            fail_msg("%d: %s", r, rows[i].text);
        assert_int_equal(c.priority, 77);
    }
    char longer[CANDIDATE_TEXT_MAX + 100];
    memset(longer, 'a', sizeof longer);
    memcpy(longer, good[0].text, strlen(good[0].text));
    struct candidate c;
    assert_int_equal(candidate_read(&c, bytes_of(longer, sizeof longer)), -EBADMSG);
}

/* Any cut of any good text reads or does not, but never reads past its end (each is a heap block of its own).
 */
static void test_cuts_and_flips(void **state)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t n = strlen(good[i].text);
        for (size_t cut = 0; cut <= n; cut++) {
            uint8_t *copy = malloc(cut ? cut : 1);
            struct candidate c;
            char out[CANDIDATE_TEXT];
            assert_non_null(copy);
            memcpy(copy, good[i].text, cut);
            if (candidate_read(&c, bytes_of(copy, cut)) == 0)
                assert_int_equal(candidate_write(out, sizeof out, &c), 0);
            for (unsigned bit = 0; bit < 8 && cut > 0; bit++) {
                copy[cut - 1] ^= (uint8_t)(1u << bit);
                if (candidate_read(&c, bytes_of(copy, cut)) == 0)
                    assert_int_equal(candidate_write(out, sizeof out, &c), 0);
                copy[cut - 1] ^= (uint8_t)(1u << bit);
            }
            free(copy);
        }
    }
}

static void test_write_refuses(void **state)
{
    struct candidate ok, c;
    char out[CANDIDATE_TEXT];
    assert_int_equal(read_text(&ok, good[0].text), 0);
    c = ok;
    c.priority = 0;
    assert_int_equal(candidate_write(out, sizeof out, &c), -EINVAL);
    c = ok;
    c.addr.family = 0;
    assert_int_equal(candidate_write(out, sizeof out, &c), -EINVAL);
    c = ok;
    strcpy(c.foundation, "a b");
    assert_int_equal(candidate_write(out, sizeof out, &c), -EINVAL);
    c = ok;
    strcpy(c.name, "x.local 5 typ host\r\na=evil");
    assert_int_equal(candidate_write(out, sizeof out, &c), -EINVAL);
    c = ok;
    c.type = (enum candidate_type)9;
    assert_int_equal(candidate_write(out, sizeof out, &c), -EINVAL);
}

static void test_credentials(void **state)
{
    struct candidate_credentials k = {{0}, {0}}, again = {{0}, {0}};
    char out[64];
    assert_int_equal(candidate_credentials_read(&k, bytes_of_str("a=ice-ufrag:EEtu\r\n")), 0);
    assert_int_equal(candidate_credentials_read(&k, bytes_of_str("a=ice-pwd:0123456789+/abcdefghij")), 0);
    assert_string_equal(k.ufrag, "EEtu");
    assert_string_equal(k.pwd, "0123456789+/abcdefghij");
    assert_int_equal(candidate_credentials_read(&k, bytes_of_str("a=ice-options:trickle")), -ENOENT);
    assert_int_equal(candidate_credentials_read(&k, bytes_of_str("a=ice-ufrag:EEt")), -EBADMSG);
    assert_int_equal(candidate_credentials_read(&k, bytes_of_str("a=ice-ufrag:EEt:")), -EBADMSG);
    assert_int_equal(candidate_credentials_read(&k, bytes_of_str("a=ice-pwd:0123456789+/abcdefghi")),
                     -EBADMSG);
    char longer[400] = "a=ice-ufrag:";
    memset(longer + 12, 'u', 257);
    assert_int_equal(candidate_credentials_read(&k, bytes_of_str(longer)), -EBADMSG);
    assert_string_equal(k.ufrag, "EEtu");
    assert_int_equal(candidate_credentials_write(out, sizeof out, &k), 0);
    assert_string_equal(out, "a=ice-ufrag:EEtu\r\na=ice-pwd:0123456789+/abcdefghij\r\n");
    assert_int_equal(candidate_credentials_write(out, strlen(out), &k), -ENOBUFS);
    assert_int_equal(candidate_credentials_write(out, sizeof out, &again), -EINVAL);
    longer[12 + 256] = 0;
    assert_int_equal(candidate_credentials_read(&again, bytes_of_str(longer)), 0);
    assert_int_equal(strlen(again.ufrag), 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),          cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bad),           cmocka_unit_test(test_cuts_and_flips),
        cmocka_unit_test(test_write_refuses), cmocka_unit_test(test_credentials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
