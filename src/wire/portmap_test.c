#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "wire/portmap.h"

#define FF4(a, b, c, d) 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d

/* RFC 6887 figures 2, 9: a MAP request of 10.0.0.2 for UDP 41641, two hours. */
static const uint8_t map_request[] = {
    2,  1, 0, 0, 0,    0,    0x1c, 0x20, FF4(10, 0, 0, 2), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    17, 0, 0, 0, 0xa2, 0xa9, 0xa2, 0xa9, FF4(0, 0, 0, 0)};
/* Figures 3, 10: the answer, 203.0.113.5 port 50000, one hour, 1000 s after the router's start. */
static const uint8_t map_response[] = {
    2, 0x81, 0, 0,  0,  0,  0x0e, 0x10, 0, 0, 3,    0xe8, 0,    0,    0,
    0, 0,    0, 0,  0,  0,  0,    0,    0, 1, 2,    3,    4,    5,    6,
    7, 8,    9, 10, 11, 12, 17,   0,    0, 0, 0xa2, 0xa9, 0xc3, 0x50, FF4(203, 0, 113, 5)};
static const uint8_t announce[] = {2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
/* RFC 6886 sections 3.2, 3.3. */
static const uint8_t address_request[] = {0, 0};
static const uint8_t address_response[] = {0, 0x80, 0, 0, 0, 0, 3, 0xe8, 203, 0, 113, 5};
static const uint8_t udp_request[] = {0, 1, 0, 0, 0xa2, 0xa9, 0xa2, 0xa9, 0, 0, 0x1c, 0x20};
static const uint8_t tcp_response[] = {0,    0x82, 0,    0,    0, 0, 3,    0xe8,
                                       0xa2, 0xa9, 0xc3, 0x50, 0, 0, 0x0e, 0x10};

static const struct {
    struct bytes bytes;
    bool pcp;
} samples[] = {{{map_request, sizeof map_request}, true},
               {{map_response, sizeof map_response}, true},
               {{announce, sizeof announce}, true},
               {{address_request, sizeof address_request}, false},
               {{address_response, sizeof address_response}, false},
               {{udp_request, sizeof udp_request}, false},
               {{tcp_response, sizeof tcp_response}, false}};
#define SAMPLES (sizeof samples / sizeof *samples)

static int read_any(bool pcp, struct bytes in, uint8_t *out, size_t *n)
{
    struct pcp_message p;
    struct natpmp_message q;
    int r = pcp ? pcp_read(&p, in) : natpmp_read(&q, in);
    if (r == 0)
        *n = pcp ? pcp_write(out, PCP_MESSAGE_MAX, &p) : natpmp_write(out, PCP_MESSAGE_MAX, &q);
    return r;
}

static void samples_come_back(void **state)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        uint8_t out[PCP_MESSAGE_MAX];
        size_t n = 0;
        assert_int_equal(read_any(samples[i].pcp, samples[i].bytes, out, &n), 0);
        assert_int_equal(n, samples[i].bytes.n);
        assert_memory_equal(out, samples[i].bytes.p, n);
        assert_int_equal(read_any(!samples[i].pcp, samples[i].bytes, out, &n), -EBADMSG);
    }
}

static void what_the_fields_are(void **state)
{
    struct pcp_message p;
    assert_int_equal(pcp_read(&p, bytes_of(map_request, sizeof map_request)), 0);
    assert_false(p.response);
    assert_int_equal(p.opcode, PCP_MAP);
    assert_int_equal(p.lifetime, 7200);
    assert_int_equal(net_addr_ip4(&p.client), 0x0a000002);
    assert_true(p.has_map);
    assert_int_equal(p.nonce[11], 12);
    assert_int_equal(p.protocol, PORTMAP_UDP);
    assert_int_equal(p.internal_port, 41641);
    assert_int_equal(p.external.port, 41641);
    assert_int_equal(p.external.family, 4);
    assert_int_equal(pcp_read(&p, bytes_of(map_response, sizeof map_response)), 0);
    assert_true(p.response);
    assert_int_equal(p.version, PCP_VERSION);
    assert_int_equal(p.result, PCP_SUCCESS);
    assert_int_equal(p.lifetime, 3600);
    assert_int_equal(p.epoch, 1000);
    assert_int_equal(net_addr_ip4(&p.external), 0xcb007105);
    assert_int_equal(p.external.port, 50000);
    struct natpmp_message q;
    assert_int_equal(natpmp_read(&q, bytes_of(address_response, sizeof address_response)), 0);
    assert_int_equal(q.ip, 0xcb007105);
    assert_int_equal(q.epoch, 1000);
    assert_int_equal(natpmp_read(&q, bytes_of(tcp_response, sizeof tcp_response)), 0);
    assert_int_equal(q.opcode, NATPMP_MAP_TCP);
    assert_int_equal(q.internal_port, 41641);
    assert_int_equal(q.external_port, 50000);
    assert_int_equal(q.lifetime, 3600);
}

static void cut_anywhere_is_refused(void **state)
{
    for (size_t i = 0; i < SAMPLES; i++)
        for (size_t n = 0; n < samples[i].bytes.n; n++) {
            uint8_t out[PCP_MESSAGE_MAX];
            size_t m;
            assert_int_equal(read_any(samples[i].pcp, bytes_of(samples[i].bytes.p, n), out, &m), -EBADMSG);
        }
}

/* A flipped bit is refused, shows in what is written again, or was in a reserved place. */
static void flipped_bits(void **state)
{
    for (size_t i = 0; i < SAMPLES; i++)
        for (size_t bit = 0; bit < 8 * samples[i].bytes.n; bit++) {
            uint8_t in[64], out[PCP_MESSAGE_MAX];
            size_t n = 0, at = bit / 8;
            memcpy(in, samples[i].bytes.p, samples[i].bytes.n);
            in[at] ^= (uint8_t)(1 << bit % 8);
            if (read_any(samples[i].pcp, bytes_of(in, samples[i].bytes.n), out, &n))
                continue;
            bool response = in[1] & 0x80;
            bool reserved = samples[i].pcp ? at == 2 || (at == 3 && !response) ||
                                                 (at >= 12 && at < 24 && response) || (at > 36 && at < 40)
                                           : !response && (at == 2 || at == 3);
            /* Another opcode or direction: what was the body or the client is taken for options or zeros. */
            bool body_lost = at == 1 && samples[i].pcp;
            assert_true(reserved || body_lost || (n == samples[i].bytes.n && memcmp(in, out, n) == 0));
        }
}

static void options_are_skipped(void **state)
{
    uint8_t long_one[PCP_MESSAGE_MAX + 4] = {0};
    memcpy(long_one, map_response, sizeof map_response);
    struct pcp_message p;
    for (size_t n = sizeof map_response; n <= sizeof long_one; n++)
        assert_int_equal(pcp_read(&p, bytes_of(long_one, n)), n % 4 || n > PCP_MESSAGE_MAX ? -EBADMSG : 0);
}

static void errors_may_be_short(void **state)
{
    uint8_t e[64];
    memcpy(e, map_response, sizeof map_response);
    struct pcp_message p;
    e[3] = PCP_NOT_AUTHORIZED;
    assert_int_equal(pcp_read(&p, bytes_of(e, PCP_HEADER_LEN)), 0);
    assert_false(p.has_map);
    assert_int_equal(p.result, PCP_NOT_AUTHORIZED);
    assert_int_equal(pcp_read(&p, bytes_of(e, sizeof map_response)), 0);
    assert_true(p.has_map);
    e[0] = 1; /* another version only to say so */
    assert_int_equal(pcp_read(&p, bytes_of(e, PCP_HEADER_LEN)), -EBADMSG);
    e[3] = PCP_UNSUPP_VERSION;
    assert_int_equal(pcp_read(&p, bytes_of(e, PCP_HEADER_LEN)), 0);
    assert_int_equal(p.version, 1);
    struct natpmp_message q;
    static const uint8_t old[] = {0, 0x81, 0, 1, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    for (size_t n = 4; n <= sizeof old; n++) {
        int want = n > 4 && n < 8 ? -EBADMSG : 0;
        assert_int_equal(natpmp_read(&q, bytes_of(old, n)), want);
        if (want == 0) {
            assert_int_equal(q.result, NATPMP_UNSUPP_VERSION);
            assert_int_equal(q.has_body, n == 16);
            assert_int_equal(q.epoch, n == 4 ? 0 : 1000);
        }
    }
}

static void ipv6(void **state)
{
    uint8_t ip[16] = {0x20, 1, 0xd, 0xb8, [15] = 5}, out[PCP_MAP_LEN];
    struct pcp_message p = {.opcode = PCP_MAP,
                            .has_map = true,
                            .protocol = PORTMAP_TCP,
                            .internal_port = 443,
                            .client = net_addr6(ip, 0),
                            .external = {.family = 6}},
                       q;
    assert_int_equal(pcp_write(out, sizeof out, &p), PCP_MAP_LEN);
    assert_int_equal(pcp_read(&q, bytes_of(out, sizeof out)), 0);
    assert_true(net_addr_equal(&q.client, &p.client));
    assert_int_equal(q.external.family, 6);
    assert_int_equal(pcp_write(out, sizeof out - 1, &p), 0);
}

static void every_result_has_words(void **state)
{
    for (unsigned i = 0; i < 256; i++) {
        assert_true(strlen(pcp_result_text(i)) > 3);
        assert_true(strlen(natpmp_result_text(i)) > 3);
    }
    assert_non_null(strstr(pcp_result_text(PCP_ADDRESS_MISMATCH), "another router"));
    assert_non_null(strstr(pcp_result_text(PCP_NOT_AUTHORIZED), "refuses"));
    assert_string_equal(pcp_result_text(PCP_RESULT_COUNT), "an error that has no name");
    assert_non_null(strstr(natpmp_result_text(NATPMP_NO_RESOURCES), "ports"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_come_back),
        cmocka_unit_test(what_the_fields_are),
        cmocka_unit_test(cut_anywhere_is_refused),
        cmocka_unit_test(flipped_bits),
        cmocka_unit_test(options_are_skipped),
        cmocka_unit_test(errors_may_be_short),
        cmocka_unit_test(ipv6),
        cmocka_unit_test(every_result_has_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
