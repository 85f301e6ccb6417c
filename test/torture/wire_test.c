/* Signaling and invites when memory fails. */
#include "torture.h"

#include "base/text.h"
#include "wire/invite.h"
#include "wire/signal.h"

#define ENTRY_BYTES 3000

static uint8_t filler[ENTRY_BYTES];
static struct signal_peer peers[40];

/* One message of each kind that owns memory or is long. */
static struct signal sample(enum signal_type type)
{
    struct signal s = {.type = type, .has_to = type == SIGNAL_SIGNAL};
    switch (type) {
    case SIGNAL_LOG:
        s.u.log.op = LOG_OP_ENTRIES;
        s.u.log.seq = 9;
        s.u.log.count = 3;
        for (size_t i = 0; i < s.u.log.count; i++)
            s.u.log.entries[i] = bytes_of(filler, ENTRY_BYTES - i);
        break;
    case SIGNAL_PEER_LIST:
        s.u.peer_list.peers = peers;
        s.u.peer_list.count = sizeof peers / sizeof peers[0];
        break;
    case SIGNAL_SIGNAL:
        s.u.forward.data = bytes_of(filler, sizeof filler);
        break;
    case SIGNAL_LOGIN:
        snprintf(s.u.login.name, sizeof s.u.login.name, "%s", "anna");
        break;
    default:
        break;
    }
    return s;
}

static enum signal_type type;
static struct buf text; /* of the sample */

static void writes(void)
{
    struct signal s = sample(type);
    struct buf b;
    buf_init(&b, SIGNAL_MAX);
    assert_int_equal(buf_add_str(&b, "old"), 0);
    torture_on();
    int rc = signal_write(&b, &s);
    torture_off();
    if (rc < 0) {
        assert_int_equal(rc, -ENOMEM);
        assert_true(torture_hit());
        assert_int_equal(b.n, 3);
        torture_heal();
        assert_int_equal(signal_write(&b, &s), 0);
    }
    assert_int_equal(b.n, 3 + text.n);
    assert_memory_equal(b.p, "old", 3);
    assert_memory_equal(b.p + 3, text.p, text.n);
    buf_done(&b);
}

static void same(const struct signal *got, const struct signal *want)
{
    assert_int_equal(got->type, want->type);
    if (type == SIGNAL_LOG) {
        assert_int_equal(got->u.log.count, want->u.log.count);
        for (size_t i = 0; i < want->u.log.count; i++)
            assert_true(bytes_equal(got->u.log.entries[i], want->u.log.entries[i]));
    } else if (type == SIGNAL_PEER_LIST) {
        assert_int_equal(got->u.peer_list.count, want->u.peer_list.count);
        assert_memory_equal(got->u.peer_list.peers, peers, sizeof peers);
    } else {
        assert_true(bytes_equal(got->u.forward.data, want->u.forward.data));
    }
}

/* Want of memory is not the sender's fault, and is told apart from it. */
static void reads(void)
{
    struct signal s, want = sample(type);
    torture_on();
    int rc = signal_read(&s, buf_bytes(&text));
    torture_off();
    if (rc < 0) {
        assert_int_equal(rc, -ENOMEM);
        assert_true(torture_hit());
        assert_null(s.owned);
        signal_done(&s);
        torture_heal();
        assert_int_equal(signal_read(&s, buf_bytes(&text)), 0);
    }
    same(&s, &want);
    signal_done(&s);
}

static void test_signal(void **state)
{
    static const enum signal_type types[] = {SIGNAL_LOG, SIGNAL_PEER_LIST, SIGNAL_SIGNAL, SIGNAL_LOGIN};
    memset(filler, 0x5a, sizeof filler);
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++)
        peers[i] = (struct signal_peer){.node = {(uint8_t)i}, .relay = (uint32_t)i + 1, .seq = i};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        type = types[i];
        struct signal s = sample(type);
        buf_init(&text, SIGNAL_MAX);
        assert_int_equal(signal_write(&text, &s), 0);
        torture(signal_type_name(type), TORTURE_MEMORY, 1, writes);
        if (type != SIGNAL_LOGIN) /* which owns no memory */
            torture(signal_type_name(type), TORTURE_MEMORY, 1, reads);
        buf_done(&text);
    }
}

/* Invites, and every codec but signal's, are read and written without any memory of their own. */
static void invites(void)
{
    struct invite in = {.hub = {.host = "hub.example", .port = 443, .pinned = true}}, out;
    char written[INVITE_TEXT_MAX + 1];
    memset(in.secret, 7, sizeof in.secret);
    torture_on();
    int rc = invite_write(written, &in);
    enum invite_error e = invite_read(&out, written);
    torture_off();
    assert_int_equal(rc, 0);
    assert_int_equal(e, INVITE_OK);
    assert_memory_equal(out.secret, in.secret, sizeof in.secret);
    assert_true(hub_address_equal(&out.hub, &in.hub));
    /* So that the loop has something to hit. */
    torture_on();
    void *volatile p = malloc(1);
    free(p);
    torture_off();
}

static void test_invite(void **state)
{
    torture("invite", TORTURE_MEMORY, 1, invites);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_signal, torture_report),
        cmocka_unit_test_teardown(test_invite, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
