#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "node/state.h"

static char root[64], dir[128];

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/warren-state-test.XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(dir, sizeof dir, "%s/state", root);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct rng seeded(uint64_t seed)
{
    static struct rng_seeded s;
    return rng_seeded(&s, seed);
}

static const char *file(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void opened(struct state *s)
{
    char why[STATE_WHY_CAP] = "";
    assert_int_equal(state_open(s, dir, why), 0);
    assert_string_equal(why, "");
}

static void test_identity_is_made_once(void **state)
{
    (void)state;
    struct state s;
    struct sign_seed first, second;
    char why[STATE_WHY_CAP] = "";
    struct stat st;
    opened(&s);
    struct rng rng = seeded(1);
    assert_int_equal(state_identity(&s, &rng, &first, why), 0);
    assert_int_equal(stat(file("identity"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, STATE_IDENTITY_LEN);
    rng = seeded(2); /* must not be asked */
    assert_int_equal(state_identity(&s, &rng, &second, why), 0);
    assert_memory_equal(&first, &second, sizeof first);
    static const struct sign_seed zero;
    assert_memory_not_equal(&first, &zero, sizeof first);
    state_close(&s);
}

static void refused(struct state *s, const char *want)
{
    struct sign_seed seed;
    char why[STATE_WHY_CAP] = "";
    struct rng rng = seeded(3);
    assert_true(state_identity(s, &rng, &seed, why) < 0);
    if (!strstr(why, want))
        fail_msg("\"%s\" does not say \"%s\"", why, want);
    assert_non_null(strstr(why, dir));
}

static void test_identity_refuses_what_others_read(void **state)
{
    (void)state;
    struct state s;
    struct sign_seed seed;
    char why[STATE_WHY_CAP];
    opened(&s);
    struct rng rng = seeded(1);
    assert_int_equal(state_identity(&s, &rng, &seed, why), 0);
    static const mode_t bad[] = {0640, 0604, 0660, 0644, 0610};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(chmod(file("identity"), bad[i]), 0);
        refused(&s, "chmod 600");
    }
    assert_int_equal(unlink(file("identity")), 0);
    assert_int_equal(symlink("/etc/hostname", file("identity")), 0);
    refused(&s, "not a plain file");
    state_close(&s);
}

/* Every byte counts: a flipped one or a missing end is damage, and damage is never replaced by a new key. */
static void test_identity_damage(void **state)
{
    (void)state;
    struct state s;
    struct sign_seed seed;
    char why[STATE_WHY_CAP];
    struct buf whole;
    opened(&s);
    struct rng rng = seeded(1);
    assert_int_equal(state_identity(&s, &rng, &seed, why), 0);
    buf_init(&whole, 256);
    assert_int_equal(state_read(&s, "identity", &whole), 0);
    for (size_t n = 0; n < whole.n; n++) {
        assert_int_equal(state_save(&s, "identity", bytes_of(whole.p, n)), 0);
        refused(&s, "damaged");
    }
    for (size_t i = 0; i < whole.n; i++) {
        whole.p[i] ^= 0x40;
        assert_int_equal(state_save(&s, "identity", buf_bytes(&whole)), 0);
        refused(&s, i == 8 ? "later version" : "damaged");
        whole.p[i] ^= 0x40;
    }
    uint8_t longer[STATE_IDENTITY_LEN + 1] = {0};
    memcpy(longer, whole.p, whole.n);
    assert_int_equal(state_save(&s, "identity", bytes_of(longer, sizeof longer)), 0);
    refused(&s, "damaged");
    buf_done(&whole);
    state_close(&s);
}

static void test_second_daemon(void **state)
{
    (void)state;
    struct state a, b;
    char why[STATE_WHY_CAP], want[STATE_WHY_CAP];
    opened(&a);
    assert_int_equal(state_open(&b, dir, why), -EWOULDBLOCK);
    snprintf(want, sizeof want, "another daemon (pid %ld) uses %s", (long)getpid(), dir);
    assert_string_equal(why, want);
    state_close(&a);
    assert_int_equal(state_open(&b, dir, why), 0);
    state_close(&b);
}

static void test_directory_that_others_write(void **state)
{
    (void)state;
    struct state s;
    char why[STATE_WHY_CAP];
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(chmod(dir, 0777), 0);
    assert_int_equal(state_open(&s, dir, why), -EPERM);
    assert_non_null(strstr(why, "may be written by others"));
    assert_int_equal(chmod(dir, 0700), 0);
}

static int count(void *arg, const char *name)
{
    char *seen = arg;
    snprintf(seen + strlen(seen), 200 - strlen(seen), "%s ", name);
    return 0;
}

static int stop(void *arg, const char *name)
{
    snprintf(arg, 200, "%s", name);
    return 7;
}

static void test_files(void **state)
{
    (void)state;
    struct state s;
    char seen[200] = "";
    opened(&s);
    assert_int_equal(state_save(&s, "party-b", bytes_of_str("two")), 0);
    assert_int_equal(state_save(&s, "party-a", bytes_of_str("one")), 0);
    assert_int_equal(state_save(&s, "hub", bytes_of_str("https://x")), 0);
    /* What a power cut leaves behind is not a party. */
    assert_int_equal(file_write_atomic(file("party-a.Xy12zz"), bytes_of_str("half"), 0600), 0);
    assert_int_equal(state_each(&s, "party-", count, seen), 0);
    assert_string_equal(seen, "party-a party-b ");
    assert_int_equal(state_each(&s, "party-", stop, seen), 7);
    assert_string_equal(seen, "party-a");
    assert_int_equal(state_delete(&s, "party-a"), 0);
    assert_int_equal(state_delete(&s, "party-a"), 0); /* gone is gone */
    seen[0] = 0;
    assert_int_equal(state_each(&s, "party-", count, seen), 0);
    assert_string_equal(seen, "party-b ");
    static const char *const bad[] = {"", "..", "a/b", "../x", "a.b", "a b", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(state_save(&s, bad[i], bytes_of_str("x")), -EINVAL);
    state_close(&s);
}

static void test_file_that_grows(void **state)
{
    (void)state;
    struct state s;
    uint8_t got[16];
    opened(&s);
    assert_int_equal(state_append(&s, "party-a", 0, bytes_of_str("x")), -ENOENT);
    assert_int_equal(state_read_at(&s, "party-a", 0, got, sizeof got), -ENOENT);
    assert_int_equal(state_save(&s, "party-a", bytes_of_str("one")), 0);
    assert_int_equal(state_append(&s, "party-a", 3, bytes_of_str(" two")), 0);
    assert_int_equal(state_read_at(&s, "party-a", 0, got, sizeof got), 7);
    assert_memory_equal(got, "one two", 7);
    assert_int_equal(state_read_at(&s, "party-a", 4, got, 2), 2);
    assert_memory_equal(got, "tw", 2);
    assert_int_equal(state_read_at(&s, "party-a", 7, got, 2), 0);
    /* What a cut left behind is written over; a file that lost something is not added to. */
    assert_int_equal(state_append(&s, "party-a", 3, bytes_of_str("!")), 0);
    assert_int_equal(state_read_at(&s, "party-a", 0, got, sizeof got), 4);
    assert_memory_equal(got, "one!", 4);
    assert_int_equal(state_append(&s, "party-a", 5, bytes_of_str("x")), -EIO);
    assert_int_equal(state_append(&s, "../a", 0, bytes_of_str("x")), -EINVAL);
    assert_int_equal(state_read_at(&s, "../a", 0, got, 1), -EINVAL);
    state_close(&s);
}

static void test_places(void **state)
{
    (void)state;
    char out[256];
    char *before = getenv("WARREN_STATE");
    assert_null(before);
    assert_int_equal(state_socket_path(out, sizeof out, "/a", "/b/c"), 0);
    assert_string_equal(out, "/b/c");
    assert_int_equal(state_socket_path(out, sizeof out, "/a", NULL), 0);
    assert_string_equal(out, "/a/control.sock");
    setenv("WARREN_STATE", "/from/env", 1);
    assert_int_equal(state_default_dir(out, sizeof out), 0);
    assert_string_equal(out, "/from/env");
    assert_int_equal(state_socket_path(out, sizeof out, NULL, NULL), 0);
    assert_string_equal(out, "/from/env/control.sock");
    assert_int_equal(state_default_dir(out, 5), -ENAMETOOLONG);
    unsetenv("WARREN_STATE");
    setenv("XDG_STATE_HOME", "/x", 1);
    assert_int_equal(state_default_dir(out, sizeof out), 0);
    assert_string_equal(out, geteuid() ? "/x/warren" : "/var/lib/warren");
    assert_int_equal(state_socket_path(out, sizeof out, NULL, NULL), 0);
    assert_string_equal(out, geteuid() ? "/x/warren/control.sock" : "/run/warren/control.sock");
    unsetenv("XDG_STATE_HOME");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identity_is_made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identity_refuses_what_others_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identity_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_daemon, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directory_that_others_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_that_grows, setup, teardown),
        cmocka_unit_test(test_places),
    };
    unsetenv("WARREN_STATE");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
