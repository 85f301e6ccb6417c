/* TLS between nodes when our own memory fails (OpenSSL's never does here): an engine is made or is not, and
 * what a full or a failing buffer does not take waits until one does. */
#include "torture.h"

#include "crypto/tls_engine.h"

static struct tls_node *nodes[2]; /* made once: their certificates cost time */

static struct tls_node *node_made(uint8_t number)
{
    uint8_t seed[MLDSA_SEED_LEN];
    memset(seed, number, sizeof seed);
    struct tls_node *n = tls_node_new(seed);
    if (!n) {
        assert_true(torture_hit());
        torture_heal();
        n = tls_node_new(seed);
    }
    assert_non_null(n);
    return n;
}

static void births(void)
{
    torture_on();
    struct tls_node *n = node_made(9);
    torture_off();
    tls_node_free(n);
}

static struct tls_engine *engine(int side)
{
    return side ? tls_engine_server(nodes[1], tls_node_key(nodes[0]))
                : tls_engine_client(nodes[0], tls_node_key(nodes[1]));
}

/* Carries what waits. A pull that fails loses nothing: the next one has it. */
static bool carry(struct tls_engine *from, struct tls_engine *to)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    int rc = tls_engine_pull(from, &b);
    if (rc < 0) {
        assert_int_equal(rc, -ENOMEM);
        assert_true(torture_hit());
        torture_heal();
        assert_int_equal(tls_engine_pull(from, &b), 0);
    }
    bool some = b.n > 0;
    if (some)
        assert_int_equal(tls_engine_feed(to, buf_bytes(&b)), 0);
    buf_done(&b);
    return some;
}

static void talks(void)
{
    struct tls_engine *e[2];
    static uint8_t text[40000], got[sizeof text];
    size_t have = 0;
    memset(text, 0x5a, sizeof text);
    torture_on();
    for (int i = 0; i < 2; i++) {
        e[i] = engine(i);
        if (!e[i]) {
            assert_true(torture_hit());
            torture_heal();
            e[i] = engine(i);
        }
        assert_non_null(e[i]);
    }
    for (int i = 0; i < 20; i++)
        carry(e[i % 2], e[!(i % 2)]);
    assert_int_equal(tls_engine_state(e[0]), TLS_OPEN);
    assert_int_equal(tls_engine_state(e[1]), TLS_OPEN);
    assert_int_equal(tls_engine_write(e[0], bytes_of(text, sizeof text)), 0);
    while (carry(e[0], e[1]))
        for (int n; (n = tls_engine_read(e[1], got + have, sizeof got - have)) > 0;)
            have += (size_t)n;
    torture_off();
    assert_int_equal(have, sizeof text);
    assert_memory_equal(got, text, sizeof text);
    for (int i = 0; i < 2; i++)
        tls_engine_free(e[i]);
}

static void test_tls(void **state)
{
    torture("tls_node_new", TORTURE_MEMORY, 1, births);
    for (uint8_t i = 0; i < 2; i++)
        nodes[i] = node_made((uint8_t)(i + 1));
    torture("a conversation", TORTURE_MEMORY, 1, talks);
    for (int i = 0; i < 2; i++)
        tls_node_free(nodes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_tls, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
