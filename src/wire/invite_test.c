#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/invite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "crypto/hash.h"

static struct invite sample(const char *host, uint16_t port, bool pinned)
{
    struct invite inv = {.hub = {.port = port, .pinned = pinned}};
    strcpy(inv.hub.host, host);
    for (unsigned i = 0; i < 32; i++) {
        inv.hub.fingerprint[i] = pinned ? (uint8_t)(0xf0 + i) : 0;
        inv.party[i] = (uint8_t)(i * 7);
        inv.secret[i] = (uint8_t)(255 - i);
    }
    return inv;
}

static void assert_same(const struct invite *a, const struct invite *b)
{
    assert_true(hub_address_equal(&a->hub, &b->hub));
    assert_memory_equal(a->party, b->party, sizeof a->party);
    assert_memory_equal(a->secret, b->secret, sizeof a->secret);
}

/* Puts the right check behind a text that has none. */
static void with_check(char *out, const char *text)
{
    uint8_t hash[SHA256_LEN];
    size_t n = strlen(text);
    memcpy(out, text, n);
    out[n++] = '.';
    struct bytes part = bytes_of(out, n);
    sha256(hash, &part, 1);
    base64url_put(out + n, bytes_of(hash, 4));
}

static void round_trip(void **state)
{
    static const struct {
        const char *host;
        uint16_t port;
        const char *begins;
    } rows[] = {
        {"hub.example.org", 443, "warren://hub.example.org:443"},
        {"localhost", 1, "warren://localhost:1"},
        {"192.0.2.7", 65535, "warren://192.0.2.7:65535"},
        {"2001:db8::1", 8443, "warren://[2001:db8::1]:8443"},
        {"::1", 443, "warren://[::1]:443"},
        {"xn--bcher-kva.example", 443, "warren://xn--bcher-kva.example:443"},
        {"3com.example", 443, "warren://3com.example:443"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int pinned = 0; pinned < 2; pinned++) {
            char text[INVITE_TEXT_MAX + 1], spaced[INVITE_TEXT_MAX + 16];
            struct invite inv = sample(rows[i].host, rows[i].port, pinned), back;
            assert_int_equal(invite_write(text, &inv), 0);
            assert_memory_equal(text, rows[i].begins, strlen(rows[i].begins));
            assert_int_equal(text[strlen(rows[i].begins)], pinned ? ',' : '/');
            assert_int_equal(invite_read(&back, text), INVITE_OK);
            assert_same(&back, &inv);
            snprintf(spaced, sizeof spaced, " \t\r\n%s\r\n ", text);
            memset(&back, 0, sizeof back);
            assert_int_equal(invite_read(&back, spaced), INVITE_OK);
            assert_same(&back, &inv);
        }
}

static void longest(void **state)
{
    char text[INVITE_TEXT_MAX + 1], label[64], host[HUB_HOST_MAX + 1];
    memset(label, 'a', 63);
    label[63] = 0;
    snprintf(host, sizeof host, "%s.%s.%s.%.61s", label, label, label, label);
    struct invite inv = sample(host, 65535, true), back;
    assert_int_equal(strlen(host), 253);
    assert_int_equal(invite_write(text, &inv), 0);
    assert_int_equal(strlen(text), 9 + 253 + 6 + 3 * 44 + 7);
    assert_int_equal(invite_read(&back, text), INVITE_OK);
    assert_same(&back, &inv);
}

/* The text is all printable ASCII without the characters that shells, chats and QR readers change. */
static void every_change_is_noticed(void **state)
{
    char text[INVITE_TEXT_MAX + 1], changed[INVITE_TEXT_MAX + 2];
    struct invite inv = sample("hub.example.org", 443, true), back = {.hub.port = 77};
    assert_int_equal(invite_write(text, &inv), 0);
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        strcpy(changed, text);
        changed[i] = 0;
        assert_int_not_equal(invite_read(&back, changed), INVITE_OK);
        /* One letter for another, one left out, one doubled. */
        strcpy(changed, text);
        changed[i] = text[i] == 'k' ? 'm' : 'k';
        assert_int_equal(invite_read(&back, changed), i < 9 ? INVITE_NOT_ONE : INVITE_MISTYPED);
        memmove(changed + i, text + i + 1, n - i);
        assert_int_not_equal(invite_read(&back, changed), INVITE_OK);
        memcpy(changed, text, i + 1);
        strcpy(changed + i + 1, text + i);
        assert_int_not_equal(invite_read(&back, changed), INVITE_OK);
    }
    assert_int_equal(back.hub.port, 77);
}

static void refusals(void **state)
{
#define ID "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    static const struct {
        const char *text;
        enum invite_error want;
    } rows[] = {
        {"warren://h:1/" ID "#" ID, INVITE_OK},
        {"warren://h:1," ID "/" ID "#" ID, INVITE_OK},
        {"warren://[::1]:1/" ID "#" ID, INVITE_OK},
        {"", INVITE_NOT_ONE},
        {"https://h:1/" ID "#" ID, INVITE_NOT_ONE},
        {"Warren://h:1/" ID "#" ID, INVITE_NOT_ONE},
        {"warren:/h:1/" ID "#" ID, INVITE_NOT_ONE},
        {"warren://h/" ID "#" ID, INVITE_MISTYPED},
        {"warren://:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h:/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h:0/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h:01/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h:65536/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h:+1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h:1 /" ID "#" ID, INVITE_MISTYPED},
        {"warren://u@h:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h_x:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://-h:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h..x:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h.:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://1.2.3:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://1.2.3.256:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://0x7f.1:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://::1:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://[::1:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://[h]:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://[fe80::1%eth0]:1/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h:1,/" ID "#" ID, INVITE_MISTYPED},
        {"warren://h:1/" ID ID "#" ID, INVITE_MISTYPED},
        {"warren://h:1/" ID "#" ID "A", INVITE_MISTYPED},
        {"warren://h:1/" ID "=#" ID, INVITE_MISTYPED},
        {"warren://h:1/" ID "?" ID, INVITE_MISTYPED},
        /* Stray bits behind the last byte. */
        {"warren://h:1/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB#" ID, INVITE_MISTYPED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[INVITE_TEXT_MAX];
        struct invite inv;
        with_check(text, rows[i].text);
        if (invite_read(&inv, text) != rows[i].want)
            fail_msg("%s", rows[i].text);
    }
    char text[INVITE_TEXT_MAX + 32] = "warren://";
    struct invite inv;
    memset(text + 9, 'a', INVITE_TEXT_MAX);
    assert_int_equal(invite_read(&inv, text), INVITE_TOO_LONG);
    text[INVITE_TEXT_MAX] = 0;
    assert_int_equal(invite_read(&inv, text), INVITE_MISTYPED);
}

static void texts(void **state)
{
    for (int e = INVITE_OK; e <= INVITE_TOO_LONG; e++) {
        size_t n = strlen(invite_error_text(e));
        assert_int_equal(invite_error_text(e)[n - 1], '.');
        for (int other = INVITE_OK; other < e; other++)
            assert_string_not_equal(invite_error_text(e), invite_error_text(other));
    }
}

static void writer_refuses(void **state)
{
    static const char *const hosts[] = {"", "a b", "HUB", "::0001", "1.2.3", "a/b", "a#b", "a,b"};
    char text[INVITE_TEXT_MAX + 1];
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct invite inv = sample(hosts[i], 443, false);
        assert_int_equal(invite_write(text, &inv), -EMSGSIZE);
    }
    struct invite inv = sample("h", 0, false);
    assert_int_equal(invite_write(text, &inv), -EMSGSIZE);
    memset(inv.hub.host, 'a', sizeof inv.hub.host);
    inv.hub.port = 1;
    assert_int_equal(invite_write(text, &inv), -EMSGSIZE);
}

#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void addresses(void **state)
{
    static const struct {
        const char *in, *out; /* out NULL: refused */
    } rows[] = {
        {"https://hub.example.org", "https://hub.example.org:443"},
        {"https://hub.example.org/", "https://hub.example.org:443"},
        {"https://HUB.Example.org:8443", "https://hub.example.org:8443"},
        {"hub.example.org:8443", "https://hub.example.org:8443"},
        {"hub", "https://hub:443"},
        {" hub\n", "https://hub:443"},
        {"https://192.0.2.1:1", "https://192.0.2.1:1"},
        {"https://[2001:DB8:0::1]", "https://[2001:db8::1]:443"},
        {"[::1]:99", "https://[::1]:99"},
        {"https://h#sha256:" HEX64, "https://h:443#sha256:" HEX64},
        {"https://h:5/#sha256:" HEX64, "https://h:5#sha256:" HEX64},
        {"h:5#sha256:00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF",
         "https://h:5#sha256:" HEX64},
        {"", NULL},
        {"https://", NULL},
        {"http://h", NULL},
        {"wss://h", NULL},
        {"https://h:0", NULL},
        {"https://h:70000", NULL},
        {"https://h:", NULL},
        {"https://h/x", NULL},
        {"https://h//", NULL},
        {"https://h#", NULL},
        {"https://h#sha256:", NULL},
        {"https://h#sha256:00", NULL},
        {"https://h#sha256:" HEX64 "00", NULL},
        {"https://h#sha1:" HEX64, NULL},
        {"https://h,x", NULL},
        {"https://u@h", NULL},
        {"https://::1", NULL},
        {"https://[::1", NULL},
        {"https://999.1.1.1", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hub_address a = {.port = 7}, back;
        char out[HUB_ADDRESS_MAX + 1];
        int rc = hub_address_read(&a, rows[i].in);
        if (rc != (rows[i].out ? 0 : -EINVAL))
            fail_msg("%s: %d", rows[i].in, rc);
        if (rc < 0) {
            assert_int_equal(a.port, 7);
            continue;
        }
        hub_address_write(out, sizeof out, &a);
        assert_string_equal(out, rows[i].out);
        assert_int_equal(hub_address_read(&back, out), 0);
        assert_true(hub_address_equal(&a, &back));
    }
}

/* RFC 5952 section 4, and RFC 4291 section 2.2. */
static void ip6_literals(void **state)
{
    static const struct {
        const char *in, *out; /* out NULL: refused */
    } rows[] = {
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"0:0:0:0:0:0:0:0", "::"},
        {"0:0:0:0:0:0:0:1", "::1"},
        {"2001:0db8:0000:0000:0000:ff00:0042:8329", "2001:db8::ff00:42:8329"},
        {"2001:DB8::AbCd", "2001:db8::abcd"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6::", "1:2:3:4:5:6::"},
        {"::ffff:c000:207", "::ffff:c000:207"},
        {"", NULL},
        {":", NULL},
        {":::", NULL},
        {"1", NULL},
        {"1:", NULL},
        {":1", NULL},
        {"1:2:3:4:5:6:7", NULL},
        {"1:2:3:4:5:6:7:", NULL},
        {"1:2:3:4:5:6:7:8:", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"1:2:3:4:5:6:7:8::", NULL},
        {"1:2:3:4::5:6:7:8", NULL},
        {"1::2::3", NULL},
        {"::1:", NULL},
        {"12345::", NULL},
        {"g::", NULL},
        {"::1.2.3.4", NULL},
        {"fe80::1%1", NULL},
        {" ::1", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hub_address a;
        char url[128];
        snprintf(url, sizeof url, "https://[%s]:1", rows[i].in);
        int rc = hub_address_read(&a, url);
        if (rc != (rows[i].out ? 0 : -EINVAL))
            fail_msg("%s: %d", url, rc);
        if (rc == 0)
            assert_string_equal(a.host, rows[i].out);
    }
}

static void ip4_literals(void **state)
{
    static const struct {
        const char *in;
        int rc;
    } rows[] = {
        {"0.0.0.0", 0},
        {"255.255.255.255", 0},
        {"1.2.3.4", 0},
        {"10.20.30.40", 0},
        {"256.1.1.1", -EINVAL},
        {"1.2.3", -EINVAL},
        {"1.2.3.4.5", -EINVAL},
        {"01.2.3.4", -EINVAL},
        {"1.2.3.04", -EINVAL},
        {"1..3.4", -EINVAL},
        {"1.2.3.", -EINVAL},
        {".1.2.3", -EINVAL},
        {"1", -EINVAL},
        {"4294967296", -EINVAL},
        {"1.2.3.1000", -EINVAL},
        {"a.1", -EINVAL},
        {"1.a", 0}, /* a name */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hub_address a;
        if (hub_address_read(&a, rows[i].in) != rows[i].rc)
            fail_msg("%s", rows[i].in);
    }
}

static void address_equality(void **state)
{
    struct invite a = sample("h", 443, true), b = a;
    assert_true(hub_address_equal(&a.hub, &b.hub));
    b.hub.port = 444;
    assert_false(hub_address_equal(&a.hub, &b.hub));
    b = a;
    b.hub.host[0] = 'i';
    assert_false(hub_address_equal(&a.hub, &b.hub));
    b = a;
    b.hub.fingerprint[31] ^= 1;
    assert_false(hub_address_equal(&a.hub, &b.hub));
    b.hub.pinned = false;
    assert_false(hub_address_equal(&a.hub, &b.hub));
    /* A fingerprint that nobody asked for does not count. */
    a.hub.pinned = false;
    assert_true(hub_address_equal(&a.hub, &b.hub));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(longest),
        cmocka_unit_test(every_change_is_noticed),
        cmocka_unit_test(refusals),
        cmocka_unit_test(texts),
        cmocka_unit_test(writer_refuses),
        cmocka_unit_test(addresses),
        cmocka_unit_test(ip6_literals),
        cmocka_unit_test(ip4_literals),
        cmocka_unit_test(address_equality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
