/* Buffers and tables when memory fails: a refused call changed nothing. */
#include "torture.h"

#include "base/buf.h"
#include "base/map.h"

/* ---- struct buf ---- */

/* What the buffer must hold; grows only by what succeeded. */
struct twin {
    uint8_t p[4096];
    size_t n;
};

static void twin_same(const struct twin *t, const struct buf *b)
{
    assert_int_equal(b->n, t->n);
    if (t->n > 0)
        assert_memory_equal(b->p, t->p, t->n);
}

static void twin_add(struct twin *t, const void *p, size_t n)
{
    memcpy(t->p + t->n, p, n);
    t->n += n;
}

static int add_numbered(struct buf *b, int i)
{
    uint8_t piece[97];
    memset(piece, 'a' + i, sizeof piece);
    torture_on();
    int rc = buf_add(b, bytes_of(piece, sizeof piece));
    torture_off();
    return rc;
}

static void buf_adds(void)
{
    struct buf b;
    struct twin t = {.n = 0};
    buf_init(&b, sizeof t.p);
    for (int i = 0; i < 20; i++) {
        uint8_t piece[97];
        int rc = add_numbered(&b, i);
        assert_true(rc == 0 || (rc == -ENOMEM && torture_hit()));
        memset(piece, 'a' + i, sizeof piece);
        if (rc == 0)
            twin_add(&t, piece, sizeof piece);
        twin_same(&t, &b);
    }
    torture_heal();
    assert_int_equal(add_numbered(&b, 21), 0);
    assert_int_equal(b.n, t.n + 97);
    buf_done(&b);
    assert_int_equal(b.n, 0);
    assert_int_equal(add_numbered(&b, 0), 0); /* empty and usable again */
    buf_done(&b);
}

static void buf_texts(void)
{
    struct buf b;
    struct twin t = {.n = 0};
    char line[200];
    buf_init(&b, sizeof t.p);
    for (int i = 1; i <= 60; i++) {
        int len = snprintf(line, sizeof line, "%d: %*s.", i, i, "x");
        torture_on();
        int rc = buf_printf(&b, "%d: %*s.", i, i, "x");
        torture_off();
        assert_true(rc == 0 || (rc == -ENOMEM && torture_hit()));
        if (rc == 0)
            twin_add(&t, line, (size_t)len);
        twin_same(&t, &b);
    }
    torture_on();
    const char *s = buf_str(&b);
    torture_off();
    twin_same(&t, &b);
    t.p[t.n] = 0;
    /* buf_str may fail, and then says nothing rather than a part. */
    assert_true(strcmp(s, (const char *)t.p) == 0 || (*s == 0 && torture_hit()));
    torture_heal();
    assert_string_equal(buf_str(&b), (const char *)t.p);
    buf_done(&b);
}

static void buf_rooms(void)
{
    struct buf b;
    struct twin t = {.n = 0};
    buf_init(&b, 2048);
    for (size_t n = 1; n < 300; n += 37) {
        torture_on();
        uint8_t *room = buf_room(&b, n);
        torture_off();
        if (room) {
            memset(room, (int)n, n);
            buf_grow(&b, n);
            memset(t.p + t.n, (int)n, n);
            t.n += n;
        } else {
            assert_true(torture_hit());
        }
        twin_same(&t, &b);
        buf_eat(&b, 3);
        size_t eaten = t.n < 3 ? t.n : 3;
        t.n -= eaten;
        memmove(t.p, t.p + eaten, t.n);
        twin_same(&t, &b);
    }
    torture_heal();
    assert_int_equal(buf_add_str(&b, "after"), 0);
    buf_done(&b);
}

static void test_buf(void **state)
{
    torture("buf_add", TORTURE_MEMORY, 1, buf_adds);
    torture("buf_printf and buf_str", TORTURE_MEMORY, 1, buf_texts);
    torture("buf_room and buf_eat", TORTURE_MEMORY, 1, buf_rooms);
}

/* ---- struct map ---- */

#define KEYS  400
#define LIMIT 300

static int values[KEYS];

static void map_same(const struct map *m, const bool in[KEYS])
{
    size_t count = 0, seen = 0, pos = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_ptr_equal(map_get(m, &i), in[i] ? &values[i] : NULL);
        count += in[i];
    }
    assert_int_equal(map_count(m), count);
    while (map_next(m, &pos))
        seen++;
    assert_int_equal(seen, count);
}

static struct map *map_made(void)
{
    torture_on();
    struct map *m = map_new(sizeof(uint32_t), LIMIT, 42);
    torture_off();
    if (!m) {
        assert_true(torture_hit());
        torture_heal();
        m = map_new(sizeof(uint32_t), LIMIT, 42);
    }
    assert_non_null(m);
    return m;
}

/* Puts that grow it, and deletions in between that make it clean up in place. */
static void map_story(void)
{
    bool in[KEYS] = {false};
    struct map *m = map_made();
    size_t count = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        torture_on();
        int rc = map_put(m, &i, &values[i]);
        torture_off();
        if (count == LIMIT)
            assert_int_equal(rc, -ENOSPC);
        else
            assert_true(rc == 0 || (rc == -ENOMEM && torture_hit()));
        in[i] = rc == 0;
        count += in[i];
        uint32_t gone = i * 7 % KEYS;
        if (i % 3 == 0 && in[gone]) {
            assert_ptr_equal(map_del(m, &gone), &values[gone]);
            in[gone] = false;
            count--;
        }
        if (i % 16 == 0)
            map_same(m, in);
    }
    map_same(m, in);
    torture_heal();
    for (uint32_t i = 0; i < KEYS && count < LIMIT; i++) {
        assert_int_equal(map_put(m, &i, &values[i]), 0);
        count += !in[i];
        in[i] = true;
    }
    map_same(m, in);
    map_free(m);
}

static void test_map(void **state)
{
    torture("map", TORTURE_MEMORY, 1, map_story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_buf, torture_report),
        cmocka_unit_test_teardown(test_map, torture_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
