#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/hub_host.h"

#include <errno.h>
#include <string.h>

static struct sim sim;
static struct net *net;
static struct hub_host *hub;
static struct host *client;

static struct stream *stream;
static int texts, ups, downs;
static enum signal_type first;
static char why_down[64];

static void up(void *arg, struct stream *s, const uint8_t binding[32], const uint8_t fingerprint[32])
{
    ups++;
    assert_memory_equal(fingerprint, hub->address.fingerprint, 32);
}

static void message(void *arg, struct stream *s, bool binary, uint8_t *p, size_t n)
{
    struct signal m;
    assert_false(binary);
    assert_int_equal(signal_read(&m, bytes_of(p, n)), 0);
    if (texts++ == 0)
        first = m.type;
    signal_done(&m);
}

static void writable(void *arg, struct stream *s)
{
}

static void down(void *arg, struct stream *s, const char *why)
{
    downs++;
    strncpy(why_down, why, sizeof why_down - 1);
    stream_close(s);
    stream = NULL;
}

static const struct stream_ops ops = {up, message, writable, down};

static void dial(void)
{
    struct net_addr to = hub->host->ip4;
    to.port = HUB_PORT;
    texts = ups = downs = 0;
    stream = stream_connect(client, &to, &ops, &sim);
}

static int setup(void **state)
{
    sim_init(&sim, sim_seed(1));
    net = net_new(&sim);
    hub = hub_host_new(host_new(net->root, "hub.test"), "hub.test", NULL);
    client = host_new(net->root, "client");
    hub_host_start(hub);
    return 0;
}

static int teardown(void **state)
{
    hub_host_free(hub);
    net_free(net);
    sim_done(&sim);
    return 0;
}

static void run(usec_t t)
{
    sim_run(&sim, sim.now + t);
}

static void test_a_visitor_is_challenged_and_shown_out(void **state)
{
    dial();
    run(1 * SEC);
    assert_int_equal(ups, 1);
    assert_int_equal(texts, 1);
    assert_int_equal(first, SIGNAL_CHALLENGE);
    struct hub_stats st;
    hub_stats(hub->hub, &st);
    assert_int_equal(st.connections, 1);
    run(20 * SEC); /* it never logs in */
    assert_int_equal(downs, 1);
    hub_stats(hub->hub, &st);
    assert_int_equal(st.connections, 0);
    assert_null(hub->peers);
}

static void test_kill_restart_shutdown(void **state)
{
    dial();
    run(1 * SEC);
    hub_host_kill(hub);
    run(1 * SEC);
    assert_string_equal(why_down, "connection reset");
    dial();
    run(1 * SEC);
    assert_string_equal(why_down, "connection refused");
    hub_host_start(hub);
    dial();
    run(1 * SEC);
    assert_int_equal(texts, 1);
    hub_host_shutdown(hub);
    run(1 * SEC);
    assert_string_equal(why_down, "closed by the other side");
}

static void test_the_journal_takes_back(void **state)
{
    struct journal *j = journal_new();
    struct store s = journal_store(j);
    static const uint8_t party[32] = {1}, hash[32] = {2}, node[32] = {3};
    static struct sign_public keys, got;
    keys.ed25519[0] = 9;
    uint64_t n = 0;
    assert_int_equal(s.ops->party_create(s.ctx, party, bytes_of_str("genesis"), 100), 0);
    size_t mark = journal_mark(j);
    assert_int_equal(s.ops->device_put(s.ctx, node, &keys, "ann", 100), 0);
    struct store_append a = {
        .party = party, .seq = 1, .hash = hash, .entry = bytes_of_str("entry"), .unix_s = 101};
    assert_int_equal(s.ops->party_append(s.ctx, &a), 0);
    assert_int_equal(s.ops->party_append(s.ctx, &a), -ESTALE);
    assert_int_equal(s.ops->device_get(s.ctx, node, &got), 0);
    assert_int_equal(got.ed25519[0], 9);
    assert_int_equal(s.ops->blob_put(s.ctx, "token", bytes_of_str("secret")), 0);
    journal_rollback(j, mark);
    assert_int_equal(s.ops->device_get(s.ctx, node, &got), -ENOENT);
    assert_int_equal(s.ops->party_count(s.ctx, &n), 0);
    assert_int_equal(n, 1);
    uint8_t out[16];
    size_t len;
    assert_int_equal(s.ops->blob_get(s.ctx, "token", out, sizeof out, &len), -ENOENT);
    journal_fail(j, 1);
    assert_int_equal(s.ops->party_append(s.ctx, &a), -EIO);
    assert_int_equal(s.ops->party_append(s.ctx, &a), 0); /* fits again */
    journal_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_visitor_is_challenged_and_shown_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill_restart_shutdown, setup, teardown),
        cmocka_unit_test(test_the_journal_takes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
