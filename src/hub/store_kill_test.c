#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rng.h"
#include "hub/store.h"

#define ROUNDS 20

static char dir[64], file[96];

static void body_of(uint8_t out[100], uint64_t seq)
{
    memset(out, (int)(seq & 0xff), 100);
    memcpy(out, &seq, sizeof seq);
}

static int check_entry(void *arg, struct bytes entry)
{
    uint64_t *seq = arg;
    uint8_t want[100];
    body_of(want, *seq);
    if (!bytes_equal(entry, bytes_of(want, sizeof want)))
        return -1;
    (*seq)++;
    return 0;
}

/* How many entries the party has, all of them whole and in order. */
static uint64_t length(struct store *s, const uint8_t party[32])
{
    uint64_t n = 0;
    assert_int_equal(s->ops->party_entries(s->ctx, party, 0, check_entry, &n), 0);
    return n;
}

/* Appends for ever, and says so after each one that is said to be durable. */
static void child(int acks, uint64_t next, uint8_t party[32])
{
    struct store s;
    const char *why;
    uint8_t body[100], hash[32] = {0};
    if (store_sqlite_open(&s, file, &why) != 0)
        _exit(1);
    for (uint64_t seq = next;; seq++) {
        struct store_invite invite = {.uses = 1, .expires = 1};
        memcpy(invite.id, &seq, sizeof seq);
        body_of(body, seq);
        struct store_append a = {
            .party = party, .seq = seq, .hash = hash, .entry = bytes_of(body, sizeof body), .unix_s = 1};
        a.invite = seq % 2 ? &invite : NULL;
        if (s.ops->party_append(s.ctx, &a) != 0 || write(acks, &seq, sizeof seq) != sizeof seq)
            _exit(2);
    }
}

static void every_acknowledged_entry_survives_kill_9(void **state)
{
    struct store s;
    const char *why;
    uint8_t party[32] = {1}, body[100];
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 42);
    uint64_t have = 1;
    assert_int_equal(store_sqlite_open(&s, file, &why), 0);
    body_of(body, 0);
    assert_int_equal(s.ops->party_create(s.ctx, party, bytes_of(body, sizeof body), 1), 0);
    store_close(&s);
    for (int round = 0; round < ROUNDS; round++) {
        int p[2];
        uint64_t acked = have - 1, wanted = have + rng_below(&rng, 40), seq;
        assert_int_equal(pipe(p), 0);
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(p[0]);
            child(p[1], have, party);
        }
        close(p[1]);
        while (acked < wanted && read(p[0], &seq, sizeof seq) == sizeof seq)
            acked = seq;
        /* The child goes on meanwhile: this hits it anywhere in an append. */
        assert_int_equal(kill(pid, SIGKILL), 0);
        while (read(p[0], &seq, sizeof seq) == sizeof seq)
            acked = seq;
        close(p[0]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(store_sqlite_open(&s, file, &why), 0);
        have = length(&s, party);
        store_close(&s);
        /* All that was acknowledged, and at most the one that was under way. */
        assert_true(acked >= wanted);
        assert_true(have == acked + 1 || have == acked + 2);
    }
}

static int make_dir(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/warren-kill-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof file, "%s/hub.db", dir);
    return 0;
}

static int remove_dir(void **state)
{
    static const char *const tails[] = {"", "-wal", "-shm"};
    char path[128];
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        snprintf(path, sizeof path, "%s%s", file, tails[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_acknowledged_entry_survives_kill_9, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
