#include "nat/stun_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "wire/stun.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NOW      (1000 * SEC)
#define A        0xcb007101u
#define B        0xcb00710au
#define CLIENT   0xc6336407u

static const uint8_t txid[STUN_TXID_LEN] = "abcdefghijkl";
static const uint8_t six_a[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
static const uint8_t six_client[16] = {0x20, 1, 0xd, 0xb8, 9, [15] = 7};

static uint8_t out[STUN_SERVER_OUT_MAX];
static struct stun_answer got;

static struct stun_server_config four(void)
{
    struct stun_server_config c = {.software = "warren test", .seed = 3};
    for (unsigned e = 0; e < 4; e++)
        c.endpoints[e] = net_addr4(e & STUN_ENDPOINT_ADDR2 ? B : A, e & STUN_ENDPOINT_PORT2 ? 3479 : 3478);
    c.endpoints[STUN_ENDPOINT_IP6] = net_addr6(six_a, 3478);
    c.endpoints[STUN_ENDPOINT_IP6 | STUN_ENDPOINT_PORT2] = net_addr6(six_a, 3479);
    return c;
}

static struct stun_server *server(const struct stun_server_config *c)
{
    struct stun_server *s = stun_server_new(c, NOW);
    assert_non_null(s);
    return s;
}

static struct stun_writer begin(uint8_t *buf, size_t cap)
{
    struct stun_writer w;
    stun_begin(&w, buf, cap, STUN_REQUEST, STUN_BINDING, txid);
    return w;
}

/* Fills up to n bytes in all with what nobody has to understand. */
static struct bytes padded(struct stun_writer *w, size_t n)
{
    static const uint8_t zeros[1500];
    if (w->n < n)
        stun_put(w, STUN_ATTR_SOFTWARE, bytes_of(zeros, n - w->n - 4));
    assert_int_equal(stun_end(w).n, n);
    return stun_end(w);
}

static enum stun_verdict asked(struct stun_server *s, unsigned endpoint, struct bytes in)
{
    struct stun_asked q = {.endpoint = endpoint};
    q.from = endpoint & STUN_ENDPOINT_IP6 ? net_addr6(six_client, 4242) : net_addr4(CLIENT, 4242);
    return stun_server_answer(s, &q, in, out, &got, NOW);
}

static struct stun_message answer_of(void)
{
    struct stun_message m;
    assert_int_equal(stun_read(&m, got.data), 0);
    assert_memory_equal(m.txid, txid, sizeof txid);
    assert_int_equal(m.method, STUN_BINDING);
    return m;
}

static void a_bare_request_is_answered(void **state)
{
    struct stun_server_config c = four();
    struct stun_server *s = server(&c);
    uint8_t buf[64];
    struct stun_writer w = begin(buf, sizeof buf);
    assert_int_equal(asked(s, 0, stun_end(&w)), STUN_SERVED);
    struct stun_message m = answer_of();
    assert_int_equal(got.data.n, 32);
    assert_int_equal(got.endpoint, 0);
    assert_true(m.class == STUN_SUCCESS && net_ip_equal(&m.mapped, &got.to));
    assert_int_equal(m.mapped.port, 4242);
    assert_int_equal(asked(s, STUN_ENDPOINT_IP6, stun_end(&w)), STUN_SERVED);
    m = answer_of();
    assert_int_equal(got.data.n, 44);
    assert_int_equal(m.mapped.family, 6);
    assert_memory_equal(m.mapped.ip, six_client, 16);
    stun_put_fingerprint(&w);
    assert_int_equal(asked(s, 0, stun_end(&w)), STUN_SERVED);
    assert_int_equal(got.data.n, 40);
    assert_true(answer_of().has_fingerprint);
    assert_int_equal(stun_server_count(s, STUN_SERVED), 3);
    stun_server_free(s);
}

static void no_answer_is_larger_but_the_smallest(void **state)
{
    struct stun_server_config c = four();
    c.rate = 1000000, c.burst = 1000000;
    for (unsigned e = 0; e <= STUN_ENDPOINT_IP6; e += STUN_ENDPOINT_IP6)
        for (size_t n = STUN_HEADER_LEN; n <= 400; n += n == 20 ? 8 : 4)
            for (int kind = 0; kind < 4; kind++) {
                struct stun_server *s = server(&c);
                uint8_t buf[512];
                static const uint8_t zeros[512];
                struct stun_writer w = begin(buf, sizeof buf);
                if (n > 24 && kind == 1) /* an unknown one */
                    stun_put(&w, 0x7001, bytes_of(NULL, 0));
                if (n > 28 && kind == 2)
                    stun_put_u32(&w, STUN_ATTR_CHANGE_REQUEST, STUN_CHANGE_PORT);
                if (n > 24 && kind == 3)
                    stun_put(&w, STUN_ATTR_PADDING, bytes_of(zeros, n - 24));
                if (w.n < n && n - w.n >= 4)
                    padded(&w, n);
                size_t smallest = e ? 44 : 32, size = stun_end(&w).n, more = kind == 3 ? 4 : 0;
                enum stun_verdict v = asked(s, e, stun_end(&w));
                assert_int_equal(v, kind == 1 && n > 24 ? STUN_SERVED_ERROR : STUN_SERVED);
                assert_true(got.data.n <= (size > smallest ? size : v == STUN_SERVED ? smallest : 36));
                struct stun_message m = answer_of();
                if (v == STUN_SERVED && size >= (e ? 68u : 44u) + more)
                    assert_int_equal(m.other.port, 3479);
                if (v == STUN_SERVED && size >= (e ? 92u : 56u) + more)
                    assert_int_equal(m.origin.port, kind == 2 ? 3479 : 3478);
                if (v == STUN_SERVED && size >= (e ? 132u : 84u) + more)
                    assert_true(bytes_equal(m.software, bytes_of_str("warren test")));
                if (kind == 3 && size >= 48) {
                    assert_true(m.has_padding);
                    assert_int_equal(got.data.n, size);
                }
                stun_server_free(s);
            }
}

static void the_endpoint_is_changed(void **state)
{
    struct stun_server_config c = four();
    struct stun_server *s = server(&c);
    static const struct {
        uint32_t change;
        unsigned flip;
    } changes[] = {
        {0, 0}, {STUN_CHANGE_PORT, 1}, {STUN_CHANGE_IP, 2}, {STUN_CHANGE_IP | STUN_CHANGE_PORT, 3}};
    for (unsigned e = 0; e < 4; e++)
        for (size_t i = 0; i < COUNT(changes); i++) {
            uint8_t buf[128];
            struct stun_writer w = begin(buf, sizeof buf);
            stun_put_u32(&w, STUN_ATTR_CHANGE_REQUEST, changes[i].change);
            assert_int_equal(asked(s, e, padded(&w, 72)), STUN_SERVED);
            struct stun_message m = answer_of();
            assert_int_equal(got.endpoint, e ^ changes[i].flip);
            assert_true(net_addr_equal(&m.origin, &c.endpoints[e ^ changes[i].flip]));
            assert_true(net_addr_equal(&m.other, &c.endpoints[e ^ 3])); /* of the one asked */
            assert_int_equal(got.to.port, 4242);
        }
    stun_server_free(s);
}

static void lesser_servers_say_so(void **state)
{
    static const struct {
        unsigned there; /* bits of endpoints */
        uint32_t change;
        uint16_t error, other_port;
        uint32_t other_ip;
        unsigned from;
    } cases[] = {
        {0x1, 0, 0, 0, 0, 0},
        {0x1, STUN_CHANGE_PORT, 420, 0, 0, 0},
        {0x1, STUN_CHANGE_IP, 420, 0, 0, 0},
        {0x3, 0, 0, 3479, A, 0},
        {0x3, STUN_CHANGE_PORT, 0, 3479, A, 1},
        {0x3, STUN_CHANGE_IP, 420, 0, 0, 0},
        {0x3, STUN_CHANGE_IP | STUN_CHANGE_PORT, 420, 0, 0, 0},
        {0x7, 0, 0, 3479, A, 0}, /* three are not a second address */
        {0x7, STUN_CHANGE_IP, 420, 0, 0, 0},
        {0xf, STUN_CHANGE_IP, 0, 3479, B, 2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct stun_server_config c = four();
        for (unsigned e = 0; e < 4; e++)
            if (!(cases[i].there & 1u << e))
                c.endpoints[e].family = 0;
        struct stun_server *s = server(&c);
        uint8_t buf[128];
        struct stun_writer w = begin(buf, sizeof buf);
        if (cases[i].change)
            stun_put_u32(&w, STUN_ATTR_CHANGE_REQUEST, cases[i].change);
        assert_int_equal(asked(s, 0, padded(&w, 100)), cases[i].error ? STUN_SERVED_ERROR : STUN_SERVED);
        struct stun_message m = answer_of();
        assert_int_equal(m.class, cases[i].error ? STUN_ERROR : STUN_SUCCESS);
        assert_int_equal(m.error, cases[i].error);
        assert_int_equal(got.endpoint, cases[i].from);
        assert_int_equal(m.other.port, cases[i].other_port);
        assert_int_equal(net_addr_ip4(&m.other), cases[i].other_ip);
        stun_server_free(s);
    }
}

static void what_is_not_understood_is_named(void **state)
{
    struct stun_server_config c = four();
    struct stun_server *s = server(&c);
    uint8_t buf[128];
    struct stun_writer w = begin(buf, sizeof buf);
    stun_put(&w, 0x7001, bytes_of(NULL, 0));
    stun_put(&w, 0xf001, bytes_of(NULL, 0)); /* comprehension-optional */
    stun_put(&w, 0x7003, bytes_of(NULL, 0));
    stun_put_fingerprint(&w);
    assert_int_equal(asked(s, 0, padded(&w, w.n)), STUN_SERVED_ERROR);
    struct stun_message m = answer_of();
    assert_int_equal(m.error, 420);
    assert_true(m.has_fingerprint);
    static const uint8_t list[] = {0x00, 0x0a, 0, 4, 0x70, 1, 0x70, 3};
    assert_non_null(memmem(got.data.p, got.data.n, list, sizeof list));
    stun_server_free(s);
}

static void answers_to_another_port(void **state)
{
    struct stun_server_config c = four();
    struct stun_server *s = server(&c);
    uint8_t buf[128];
    struct stun_writer w = begin(buf, sizeof buf);
    stun_put_u32(&w, STUN_ATTR_RESPONSE_PORT, 9999u << 16);
    assert_int_equal(asked(s, 1, padded(&w, 72)), STUN_SERVED);
    assert_int_equal(got.to.port, 9999);
    assert_int_equal(net_addr_ip4(&got.to), CLIENT);
    assert_int_equal(answer_of().mapped.port, 4242);
    stun_put(&w, STUN_ATTR_PADDING, bytes_of("1234", 4));
    assert_int_equal(asked(s, 1, stun_end(&w)), STUN_SERVED_ERROR);
    assert_int_equal(answer_of().error, 400);
    assert_int_equal(got.to.port, 4242);
    w = begin(buf, sizeof buf);
    stun_put_u32(&w, STUN_ATTR_RESPONSE_PORT, 0);
    assert_int_equal(asked(s, 1, padded(&w, 72)), STUN_SERVED_ERROR);
    assert_int_equal(answer_of().error, 400);
    stun_server_free(s);
}

static void what_it_calls_itself(void **state)
{
    struct stun_server_config c = four();
    for (unsigned e = 0; e < 2; e++)
        c.endpoints[e] = net_addr4(0, c.endpoints[e].port);
    c.endpoints[2].family = c.endpoints[3].family = 0;
    struct stun_server *s = server(&c);
    uint8_t buf[128];
    struct stun_writer w = begin(buf, sizeof buf);
    struct bytes in = padded(&w, 72);
    assert_int_equal(asked(s, 0, in), STUN_SERVED);
    struct stun_message m = answer_of();
    assert_true(m.other.family == 0 && m.origin.family == 0); /* not known, not told */
    struct stun_asked q = {0, net_addr4(0x08080808, 3478), net_addr4(CLIENT, 1)};
    assert_int_equal(stun_server_answer(s, &q, in, out, &got, NOW), STUN_SERVED);
    m = answer_of();
    assert_int_equal(net_addr_ip4(&m.origin), 0x08080808);
    assert_int_equal(net_addr_ip4(&m.other), 0x08080808);
    assert_int_equal(m.other.port, 3479);
    stun_server_endpoints(s, four().endpoints);
    assert_int_equal(asked(s, 0, in), STUN_SERVED);
    m = answer_of();
    assert_int_equal(net_addr_ip4(&m.other), B);
    stun_server_free(s);
}

static void drops_have_reasons(void **state)
{
    struct stun_server_config c = four();
    struct stun_server *s = server(&c);
    uint8_t buf[STUN_SERVER_OUT_MAX + 8];
    struct stun_writer w = begin(buf, sizeof buf);
    assert_int_equal(asked(s, 0, bytes_of("hello", 5)), STUN_DROP_FOREIGN);
    assert_int_equal(asked(s, 0, bytes_of(NULL, 0)), STUN_DROP_FOREIGN);
    buf[4] = 0;
    assert_int_equal(asked(s, 0, stun_end(&w)), STUN_DROP_CLASSIC);
    stun_begin(&w, buf, sizeof buf, STUN_SUCCESS, STUN_BINDING, txid);
    assert_int_equal(asked(s, 0, stun_end(&w)), STUN_DROP_KIND);
    stun_begin(&w, buf, sizeof buf, STUN_INDICATION, STUN_BINDING, txid);
    assert_int_equal(asked(s, 0, stun_end(&w)), STUN_DROP_KIND);
    stun_begin(&w, buf, sizeof buf, STUN_REQUEST, STUN_ALLOCATE, txid);
    assert_int_equal(asked(s, 0, stun_end(&w)), STUN_DROP_KIND);
    w = begin(buf, sizeof buf);
    stun_put(&w, STUN_ATTR_PRIORITY, bytes_of("12", 2));
    assert_int_equal(asked(s, 0, stun_end(&w)), STUN_DROP_BROKEN);
    w = begin(buf, sizeof buf);
    stun_put(&w, STUN_ATTR_PADDING, bytes_of(out, STUN_SERVER_OUT_MAX - 64));
    assert_int_equal(asked(s, 0, stun_end(&w)), STUN_DROP_BROKEN);
    w = begin(buf, sizeof buf);
    struct net_addr sources[] = {net_addr4(CLIENT, 0), net_addr4(0xe0000001, 5), net_addr4(0xffffffff, 5),
                                 net_addr4(0, 5),      net_addr6(six_client, 5), {0}};
    for (size_t i = 0; i < COUNT(sources); i++) {
        struct stun_asked q = {.from = sources[i]};
        assert_int_equal(stun_server_answer(s, &q, stun_end(&w), out, &got, NOW), STUN_DROP_SOURCE);
    }
    static const uint64_t counts[STUN_VERDICT_COUNT] = {[STUN_DROP_FOREIGN] = 2,
                                                        [STUN_DROP_CLASSIC] = 1,
                                                        [STUN_DROP_BROKEN] = 2,
                                                        [STUN_DROP_KIND] = 3,
                                                        [STUN_DROP_SOURCE] = COUNT(sources)};
    for (int v = 0; v < STUN_VERDICT_COUNT; v++) {
        assert_int_equal(stun_server_count(s, v), counts[v]);
        assert_string_not_equal(stun_verdict_name(v), "unknown");
    }
    stun_server_free(s);
}

static enum stun_verdict from(struct stun_server *s, uint32_t ip, struct bytes in, usec_t now)
{
    struct stun_asked q = {.from = net_addr4(ip, 5)};
    return stun_server_answer(s, &q, in, out, &got, now);
}

static void rates(void **state)
{
    struct stun_server_config c = four();
    c.rate = 10, c.burst = 20, c.rate_all = 50;
    struct stun_server *s = server(&c);
    uint8_t buf[128];
    struct stun_writer w = begin(buf, sizeof buf);
    struct bytes in = padded(&w, 72);
    for (uint32_t i = 0; i < 30; i++) /* one prefix, whatever the host */
        assert_int_equal(from(s, CLIENT + i, in, NOW), i < 20 ? STUN_SERVED : STUN_DROP_PREFIX);
    for (uint32_t i = 1; i <= 40; i++)
        assert_int_equal(from(s, CLIENT + (i << 8), in, NOW), i <= 30 ? STUN_SERVED : STUN_DROP_RATE);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(from(s, CLIENT, in, NOW + SEC), i < 10 ? STUN_SERVED : STUN_DROP_PREFIX);
    stun_server_free(s);
}

/* Bytes of IP that came and went, by bare requests only. */
static double flood(struct stun_server *s, uint32_t prefixes, uint32_t requests, uint64_t *over)
{
    uint8_t buf[64];
    struct stun_writer w = begin(buf, sizeof buf);
    uint64_t came = 0, went = 0, served = 0;
    for (uint32_t i = 0; i < requests; i++) {
        came += 28 + STUN_HEADER_LEN;
        if (from(s, CLIENT + (i % prefixes << 8), stun_end(&w), NOW) == STUN_SERVED) {
            went += 28 + got.data.n;
            served++;
        }
    }
    *over = went > came ? went - came : 0;
    return (double)served / requests;
}

static void nobody_gets_more_than_came_in_his_name(void **state)
{
    struct stun_server_config c = four();
    c.rate = c.burst = c.rate_all = 10000000;
    static const struct {
        uint32_t prefixes, requests;
        uint64_t over;
    } cases[] = {{1, 1, 12},
                 {1, 4, STUN_SERVER_SPARE},
                 {1, 10000, STUN_SERVER_SPARE},
                 {100, 100000, STUN_SERVER_SPARE_ALL},
                 {20000, 200000, STUN_SERVER_SPARE_ALL}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct stun_server *s = server(&c);
        uint64_t over;
        double share = flood(s, cases[i].prefixes, cases[i].requests, &over);
        assert_true(over <= cases[i].over);
        if (cases[i].requests / cases[i].prefixes >= 100 || cases[i].requests <= 4)
            assert_true(share >= 0.78);
        stun_server_free(s);
    }
}

/* Somebody's ordinary client, every ten seconds, and padded ones, always. */
static void the_well_behaved_are_always_answered(void **state)
{
    struct stun_server_config c = four();
    struct stun_server *s = server(&c);
    uint8_t buf[128];
    struct stun_writer w = begin(buf, sizeof buf);
    struct bytes bare = stun_end(&w);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(from(s, CLIENT, bare, NOW + i * 10 * SEC), STUN_SERVED);
    w = begin(buf, sizeof buf);
    struct bytes large = padded(&w, 72);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(from(s, CLIENT + 256, large, NOW + 10000 * SEC + i * SEC / 40), STUN_SERVED);
    stun_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bare_request_is_answered),
        cmocka_unit_test(no_answer_is_larger_but_the_smallest),
        cmocka_unit_test(the_endpoint_is_changed),
        cmocka_unit_test(lesser_servers_say_so),
        cmocka_unit_test(what_is_not_understood_is_named),
        cmocka_unit_test(answers_to_another_port),
        cmocka_unit_test(what_it_calls_itself),
        cmocka_unit_test(drops_have_reasons),
        cmocka_unit_test(rates),
        cmocka_unit_test(nobody_gets_more_than_came_in_his_name),
        cmocka_unit_test(the_well_behaved_are_always_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
