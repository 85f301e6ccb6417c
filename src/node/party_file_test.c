#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "node/party_file.h"

#define RECORDS 9

static struct {
    struct buf file;
    int error; /* what reading gives instead */
} disk;

static ssize_t disk_read(void *arg, const char *name, uint64_t at, uint8_t *p, size_t n)
{
    assert_ptr_equal(arg, &disk);
    assert_string_equal(name, "party-x");
    if (disk.error)
        return disk.error;
    size_t left = at < disk.file.n ? disk.file.n - at : 0;
    n = n < left ? n : left;
    if (n > 0)
        memcpy(p, disk.file.p + at, n);
    return (ssize_t)n;
}

static const struct node_disk from = {.read = disk_read, .arg = &disk};

static int setup(void **state)
{
    memset(&disk, 0, sizeof disk);
    buf_init(&disk.file, 4 * PARTY_PIECE_MAX);
    return 0;
}

static int teardown(void **state)
{
    buf_done(&disk.file);
    return 0;
}

/* Record i as it is written: settings every fourth, else an entry whose bytes tell which it is. */
static void write_record(struct buf *out, int i)
{
    uint8_t body[120];
    memset(body, i + 1, sizeof body);
    if (i % 4 == 0)
        assert_int_equal(
            party_file_settings(out, &(struct party_settings){i % 8 == 0, i % 8 != 0, (uint16_t)(1300 + i)}),
            0);
    else
        assert_int_equal(party_file_entry(out, bytes_of(body, sizeof body - (size_t)i * 7)), 0);
}

static void check_record(const struct party_reader *r, enum party_record got, int i)
{
    if (i % 4 == 0) {
        assert_int_equal(got, PARTY_RECORD_SETTINGS);
        assert_int_equal(r->settings.device, i % 8 == 0);
        assert_int_equal(r->settings.removed, i % 8 != 0);
        assert_int_equal(r->settings.mtu, 1300 + i);
        return;
    }
    assert_int_equal(got, PARTY_RECORD_ENTRY);
    assert_int_equal(r->entry.n, 120 - i * 7);
    for (size_t k = 0; k < r->entry.n; k++)
        assert_int_equal(r->entry.p[k], i + 1);
    assert_memory_equal(disk.file.p + r->entry_at, r->entry.p, r->entry.n);
}

/* The file, and where each record ends. */
static void write_all(size_t ends[RECORDS + 1])
{
    assert_int_equal(party_file_begin(&disk.file), 0);
    ends[0] = disk.file.n;
    for (int i = 0; i < RECORDS; i++) {
        write_record(&disk.file, i);
        ends[i + 1] = disk.file.n;
    }
}

static void test_round_trip(void **state)
{
    struct party_reader r;
    size_t ends[RECORDS + 1];
    write_all(ends);
    assert_int_equal(party_file_open(&r, &from, "party-x"), 0);
    for (int i = 0; i < RECORDS; i++) {
        check_record(&r, party_file_next(&r), i);
        assert_int_equal(r.at, ends[i + 1]);
    }
    assert_int_equal(party_file_next(&r), PARTY_RECORD_END);
    assert_int_equal(party_file_next(&r), PARTY_RECORD_END);
    uint8_t some[8];
    assert_int_equal(party_file_read(&from, "party-x", 0, some, 3), 0);
    assert_memory_equal(some, "WNP", 3);
    assert_int_equal(party_file_read(&from, "party-x", disk.file.n - 3, some, 4), -EIO);
    disk.error = -EACCES;
    assert_int_equal(party_file_read(&from, "party-x", 0, some, 3), -EACCES);
}

/* The machine dies behind any byte of what it writes: what was whole is there, and written on from there the
 * file is what it would have been. */
static void test_cut_anywhere(void **state)
{
    struct party_reader r;
    size_t ends[RECORDS + 1];
    write_all(ends);
    struct buf whole = disk.file;
    for (size_t cut = 0; cut < whole.n; cut++) {
        buf_init(&disk.file, whole.max);
        assert_int_equal(buf_add(&disk.file, bytes_of(whole.p, cut)), 0);
        int rc = party_file_open(&r, &from, "party-x"), got = 0;
        assert_int_equal(rc, cut < PARTY_FILE_HEAD ? -EBADMSG : 0);
        enum party_record what = PARTY_RECORD_END;
        while (rc == 0 &&
               ((what = party_file_next(&r)) == PARTY_RECORD_ENTRY || what == PARTY_RECORD_SETTINGS))
            check_record(&r, what, got++);
        if (rc == 0) {
            assert_int_equal(r.at, ends[got]);
            assert_true(ends[got] <= cut && cut < ends[got + 1]);
            assert_int_equal(what, cut == ends[got] ? PARTY_RECORD_END : PARTY_RECORD_TORN);
            disk.file.n = r.at;
            for (; got < RECORDS; got++)
                write_record(&disk.file, got);
            assert_true(bytes_equal(buf_bytes(&disk.file), buf_bytes(&whole)));
        }
        buf_done(&disk.file);
    }
    disk.file = whole;
}

/* A flipped bit, or a block of zeros where data never came to the disk: nothing wrong is given out. */
static void test_flips_and_zeros(void **state)
{
    struct party_reader r;
    size_t ends[RECORDS + 1];
    write_all(ends);
    for (size_t at = PARTY_FILE_HEAD; at < disk.file.n; at++)
        for (int bit = 0; bit < 9; bit++) {
            uint8_t was = disk.file.p[at];
            disk.file.p[at] = bit < 8 ? was ^ (uint8_t)(1 << bit) : 0;
            bool same = disk.file.p[at] == was;
            int got = 0;
            enum party_record what;
            assert_int_equal(party_file_open(&r, &from, "party-x"), 0);
            while ((what = party_file_next(&r)) == PARTY_RECORD_ENTRY || what == PARTY_RECORD_SETTINGS)
                check_record(&r, what, got++);
            assert_int_equal(what, same ? PARTY_RECORD_END : PARTY_RECORD_TORN);
            assert_true(same || (ends[got] <= at && at < ends[got + 1]));
            disk.file.p[at] = was;
        }
}

/* A fault with more than a piece behind it was on the disk long ago: that is damage. */
static void test_damage(void **state)
{
    struct party_reader r;
    uint8_t body[ENTRY_MAX];
    memset(body, 7, sizeof body);
    assert_int_equal(party_file_begin(&disk.file), 0);
    while (disk.file.n < PARTY_FILE_HEAD + 2 * PARTY_PIECE_MAX)
        assert_int_equal(party_file_entry(&disk.file, bytes_of(body, sizeof body)), 0);
    const size_t record = PARTY_RECORD_HEAD + sizeof body, count = (disk.file.n - PARTY_FILE_HEAD) / record;
    for (size_t i = 0; i < count; i++) {
        size_t start = PARTY_FILE_HEAD + i * record, got = 0;
        enum party_record what;
        disk.file.p[start + 100] ^= 1;
        assert_int_equal(party_file_open(&r, &from, "party-x"), 0);
        while ((what = party_file_next(&r)) == PARTY_RECORD_ENTRY)
            got++;
        assert_int_equal(got, i);
        assert_int_equal(what,
                         disk.file.n - start > PARTY_PIECE_MAX ? PARTY_RECORD_DAMAGED : PARTY_RECORD_TORN);
        disk.file.p[start + 100] ^= 1;
    }
    assert_int_equal(party_file_entry(&disk.file, bytes_of(disk.file.p, ENTRY_MAX + 1)), -E2BIG);
}

static void test_other_files(void **state)
{
    struct party_reader r;
    static const struct {
        const char *bytes;
        size_t n;
        int want;
    } rows[] = {{"", 0, -EBADMSG},      {"WNP", 3, -EBADMSG},
                {"WNQ\2", 4, -EBADMSG}, {"WNP\1\1\0\0", 7, -ENOTSUP},
                {"WNP\3", 4, -ENOTSUP}, {"WNP\2", 4, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&disk.file);
        assert_int_equal(buf_add(&disk.file, bytes_of(rows[i].bytes, rows[i].n)), 0);
        assert_int_equal(party_file_open(&r, &from, "party-x"), rows[i].want);
    }
    assert_int_equal(party_file_next(&r), PARTY_RECORD_END);
    disk.error = -ENOENT;
    assert_int_equal(party_file_open(&r, &from, "party-x"), -ENOENT);
    disk.error = -EIO;
    assert_int_equal(party_file_next(&r), PARTY_RECORD_FAILED);
    assert_int_equal(r.error, -EIO);
}

/* No room: nothing is written by halves. */
static void test_no_room(void **state)
{
    struct buf small;
    buf_init(&small, 20);
    assert_int_equal(party_file_entry(&small, bytes_of("0123456789", 10)), -E2BIG);
    assert_int_equal(small.n, 0);
    assert_int_equal(party_file_settings(&small, &(struct party_settings){.mtu = 1300}), 0);
    assert_int_equal(small.n, PARTY_RECORD_HEAD + 3);
    buf_done(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flips_and_zeros, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
