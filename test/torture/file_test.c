/* Files of the state directory when the disk fails: whole or not at all, and no litter. */
#include "torture.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

/* mkostemp, fchmod, write, fsync, close, rename; then only the directory is synced. */
#define CALLS_BEFORE_NEW 6

static char dir[64], path[96];
static const char *const old_text = "what stood there";
static char new_text[20000];

static struct buf content(void)
{
    struct buf b;
    buf_init(&b, sizeof new_text);
    assert_int_equal(file_read(path, sizeof new_text, &b), 0);
    return b;
}

/* The directory holds our file and nothing else; no descriptor was left open. */
static void no_litter(void)
{
    size_t count = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    closedir(d);
    assert_int_equal(count, 1);
}

static int lowest_free_fd(void)
{
    int fd = open("/dev/null", O_RDONLY);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void writes(void)
{
    int fd = lowest_free_fd();
    assert_int_equal(file_write_atomic(path, bytes_of_str(old_text), 0600), 0);
    torture_on();
    int rc = file_write_atomic(path, bytes_of_str(new_text), 0600);
    torture_off();
    struct buf b = content();
    bool is_old = bytes_equal(buf_bytes(&b), bytes_of_str(old_text)),
         is_new = bytes_equal(buf_bytes(&b), bytes_of_str(new_text));
    assert_true(is_old || is_new);
    if (rc == 0) {
        assert_true(is_new);
    } else {
        assert_true(torture_hit() && (rc == -ENOSPC || rc == -EIO || rc == -EPERM || rc == -EMFILE));
        assert_true(torture_k() <= CALLS_BEFORE_NEW ? is_old : is_new);
    }
    no_litter();
    assert_int_equal(lowest_free_fd(), fd);
    buf_done(&b);
    torture_heal();
    assert_int_equal(file_write_atomic(path, bytes_of_str(new_text), 0600), 0);
    b = content();
    assert_true(bytes_equal(buf_bytes(&b), bytes_of_str(new_text)));
    buf_done(&b);
}

/* Each call that fails, by itself, and what must then stand there. */
static void test_write(void **state)
{
    memset(new_text, 'n', sizeof new_text - 1);
    torture("file_write_atomic", TORTURE_FILE, 1, writes);
}

/* A failed addition leaves what was there, and the next one is as if it had not been tried. */
static void appends(void)
{
    int fd = lowest_free_fd();
    size_t n = strlen(old_text);
    assert_int_equal(file_write_atomic(path, bytes_of_str(old_text), 0600), 0);
    torture_on();
    int rc = file_append(path, n, bytes_of(new_text, sizeof new_text / 2));
    torture_off();
    assert_int_equal(rc != 0, torture_hit());
    struct buf b = content();
    assert_true(b.n >= n && memcmp(b.p, old_text, n) == 0);
    assert_true(rc != 0 || b.n == n + sizeof new_text / 2);
    buf_done(&b);
    assert_int_equal(lowest_free_fd(), fd);
    torture_heal();
    assert_int_equal(file_append(path, n, bytes_of_str("+")), 0);
    b = content();
    assert_int_equal(b.n, n + 1);
    assert_int_equal(b.p[n], '+');
    buf_done(&b);
    no_litter();
}

static void test_append(void **state)
{
    memset(new_text, 'n', sizeof new_text - 1);
    torture("file_append", TORTURE_FILE, 1, appends);
}

/* A real limit instead of a wrapped call: the kernel refuses bytes past the limit. */
static void test_limit(void **state)
{
    struct rlimit before, small;
    memset(new_text, 'n', sizeof new_text - 1);
    assert_int_equal(file_write_atomic(path, bytes_of_str(old_text), 0600), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    void (*was)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = file_write_atomic(path, bytes_of_str(new_text), 0600);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, was);
    assert_int_equal(rc, -EFBIG);
    struct buf b = content();
    assert_true(bytes_equal(buf_bytes(&b), bytes_of_str(old_text)));
    buf_done(&b);
    no_litter();
}

static void reads(void)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_add_str(&b, "old"), 0);
    int fd = lowest_free_fd();
    torture_on();
    int rc = file_read(path, sizeof new_text, &b);
    torture_off();
    assert_int_equal(lowest_free_fd(), fd);
    if (rc < 0) {
        assert_true(torture_hit() && (rc == -ENOMEM || rc == -EMFILE));
        assert_int_equal(b.n, 3);
        torture_heal();
        assert_int_equal(file_read(path, sizeof new_text, &b), 0);
    }
    assert_int_equal(b.n, 3 + strlen(new_text));
    buf_done(&b);
}

static void test_read(void **state)
{
    memset(new_text, 'n', sizeof new_text - 1);
    assert_int_equal(file_write_atomic(path, bytes_of_str(new_text), 0600), 0);
    torture("file_read", TORTURE_MEMORY | TORTURE_FILE, 1, reads);
}

static void directories(void)
{
    char deep[128];
    snprintf(deep, sizeof deep, "%s/a", dir);
    int fd = lowest_free_fd();
    torture_on();
    int rc = dir_make_private(deep);
    torture_off();
    assert_int_equal(lowest_free_fd(), fd);
    assert_true(rc == 0 || (torture_hit() && rc == -EMFILE));
    torture_heal();
    assert_int_equal(dir_make_private(deep), 0);
    rmdir(deep);
}

static void locks(void)
{
    char name[128];
    long holder = 0;
    snprintf(name, sizeof name, "%s/lock", dir);
    int fd = lowest_free_fd();
    torture_on();
    int lock = file_lock(name, &holder);
    torture_off();
    if (lock < 0) {
        assert_true(torture_hit());
        assert_int_equal(lowest_free_fd(), fd);
        torture_heal();
        lock = file_lock(name, &holder);
    }
    assert_true(lock >= 0);
    close(lock);
    unlink(name);
}

static void test_directory(void **state)
{
    torture("dir_make_private", TORTURE_FILE, 1, directories);
    torture("file_lock", TORTURE_FILE, 1, locks);
}

static int setup(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/warren-torture-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/file", dir);
    return 0;
}

static int teardown(void **state)
{
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_write, torture_report),
        cmocka_unit_test_teardown(test_append, torture_report),
        cmocka_unit_test_teardown(test_limit, torture_report),
        cmocka_unit_test_teardown(test_read, torture_report),
        cmocka_unit_test_teardown(test_directory, torture_report),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
