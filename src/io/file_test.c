#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/file.h"

static char root[64];

static const char *at(const char *name)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
    return path[turn];
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/warren-file-test.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
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

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void assert_content(const char *path, const char *text)
{
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(file_read(path, 1000, &b), 0);
    assert_int_equal(b.n, strlen(text));
    assert_memory_equal(b.p ? (char *)b.p : "", text, b.n);
    buf_done(&b);
}

static unsigned entries(void)
{
    unsigned n = 0;
    DIR *d = opendir(root);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void test_write_replaces_whole(void **state)
{
    (void)state;
    assert_int_equal(file_write_atomic(at("a"), bytes_of_str("a long first content"), 0600), 0);
    assert_content(at("a"), "a long first content");
    assert_int_equal(mode_of(at("a")), 0600);
    assert_int_equal(file_write_atomic(at("a"), bytes_of_str("short"), 0640), 0);
    assert_content(at("a"), "short");
    assert_int_equal(mode_of(at("a")), 0640);
    assert_int_equal(file_write_atomic(at("a"), bytes_of("", 0), 0600), 0);
    assert_content(at("a"), "");
    assert_int_equal(entries(), 1); /* no temporary names stay */
}

static void test_failed_write_keeps_the_old(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("d"), 0700), 0);
    assert_int_equal(file_write_atomic(at("d/inner"), bytes_of_str("stands"), 0600), 0);
    /* A directory cannot be replaced by a file. */
    assert_true(file_write_atomic(at("d"), bytes_of_str("x"), 0600) < 0);
    assert_content(at("d/inner"), "stands");
    assert_int_equal(entries(), 1);
    assert_int_equal(file_write_atomic(at("no/such/dir"), bytes_of_str("x"), 0600), -ENOENT);
}

static void test_read_limits(void **state)
{
    (void)state;
    assert_int_equal(file_write_atomic(at("a"), bytes_of_str("0123456789"), 0600), 0);
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(buf_add_str(&b, "kept"), 0);
    assert_int_equal(file_read(at("a"), 9, &b), -EFBIG);
    assert_int_equal(b.n, 4);
    assert_int_equal(file_read(at("a"), 10, &b), 0);
    assert_string_equal(buf_str(&b), "kept0123456789");
    assert_int_equal(file_read(at("none"), 10, &b), -ENOENT);
    assert_int_equal(file_read(root, 10, &b), -EINVAL); /* a directory */
    assert_int_equal(b.n, 14);
    buf_done(&b);
    buf_init(&b, 5);
    assert_int_equal(file_read(at("a"), 100, &b), -E2BIG);
    assert_int_equal(b.n, 0);
    buf_done(&b);
}

static void test_private_directory(void **state)
{
    (void)state;
    assert_int_equal(dir_make_private(at("x/y/z/")), 0);
    assert_int_equal(mode_of(at("x/y/z")), 0700);
    assert_int_equal(dir_make_private(at("x/y/z")), 0);
    assert_int_equal(chmod(at("x/y/z"), 0755), 0); /* others may look: the files inside are 0600 */
    assert_int_equal(dir_make_private(at("x/y/z")), 0);
    static const mode_t writable[] = {0770, 0720, 0702, 0777};
    for (size_t i = 0; i < sizeof writable / sizeof *writable; i++) {
        assert_int_equal(chmod(at("x/y/z"), writable[i]), 0);
        assert_int_equal(dir_make_private(at("x/y/z")), -EPERM);
    }
    assert_int_equal(file_write_atomic(at("f"), bytes_of_str("x"), 0600), 0);
    assert_int_equal(dir_make_private(at("f")), -ENOTDIR);
    assert_int_equal(dir_make_private(""), -ENOENT);
}

static void test_lock(void **state)
{
    (void)state;
    long holder = -1;
    int fd = file_lock(at("lock"), &holder);
    assert_true(fd >= 0);
    assert_int_equal(file_lock(at("lock"), &holder), -EWOULDBLOCK);
    assert_int_equal(holder, getpid());
    /* It goes with the descriptor, as it goes with a process that dies. */
    close(fd);
    fd = file_lock(at("lock"), &holder);
    assert_true(fd >= 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_replaces_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_write_keeps_the_old, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_private_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
