#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "wire/resume.h"

static const uint8_t mac[RESUME_MAC_LEN] = {0xaa, 0xbb};

static size_t end(struct wr *w)
{
    wr_copy(w, mac, sizeof mac);
    assert_true(wr_ok(w));
    return w->n;
}

static void test_request(void **state)
{
    for (size_t view = 0; view <= RESUME_VIEW_MAX; view += 32) {
        uint8_t text[RESUME_MESSAGE_MAX + 1] = {0}, seen[RESUME_VIEW_MAX] = {7, 8, 9};
        struct resume_request m = {.receiver = 0x01020304, .path = 0x05060708, .number = 0x1122334455667788},
                              got;
        m.challenge[0] = 1;
        m.challenge[31] = 2;
        m.view = bytes_of(seen, view);
        struct wr w = wr_of(text, sizeof text);
        resume_request_write(&w, &m);
        size_t n = end(&w);
        assert_int_equal(n, 54 + view + 32);
        static const uint8_t start[20] = {5, 1, 0,    1,    1,    2,    3,    4,    5,    6,
                                          7, 8, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88};
        assert_memory_equal(text, start, sizeof start);
        assert_int_equal(resume_message_of(bytes_of(text, n)), RESUME_REQUEST);
        for (size_t k = 0; k <= sizeof text; k++)
            assert_int_equal(resume_request_read(&got, bytes_of(text, k)), k == n ? 0 : -EBADMSG);
        assert_int_equal(resume_request_read(&got, bytes_of(text, n)), 0);
        assert_int_equal(got.receiver, m.receiver);
        assert_int_equal(got.path, m.path);
        assert_int_equal(got.number, m.number);
        assert_memory_equal(got.challenge, m.challenge, sizeof m.challenge);
        assert_true(bytes_equal(got.view, m.view));
        assert_int_equal(got.covered.n, n - RESUME_MAC_LEN);
        assert_memory_equal(got.mac, mac, sizeof mac);
    }
    /* A view too long. */
    uint8_t text[RESUME_MESSAGE_MAX + 1] = {5, 1, 0, 1, [53] = RESUME_VIEW_MAX + 1};
    struct resume_request got;
    assert_int_equal(resume_request_read(&got, bytes_of(text, 54 + RESUME_VIEW_MAX + 1 + 32)), -EBADMSG);
}

static void test_response(void **state)
{
    uint8_t text[RESUME_MESSAGE_MAX] = {0};
    struct resume_response m = {.receiver = 1, .path = 2, .view = bytes_of_str("view")}, got;
    memset(m.challenge, 3, sizeof m.challenge);
    struct wr w = wr_of(text, sizeof text);
    resume_response_write(&w, &m);
    size_t n = end(&w);
    assert_int_equal(n, 46 + 4 + 32);
    for (size_t k = 0; k <= sizeof text; k++)
        assert_int_equal(resume_response_read(&got, bytes_of(text, k)), k == n ? 0 : -EBADMSG);
    assert_int_equal(resume_response_read(&got, bytes_of(text, n)), 0);
    assert_int_equal(got.receiver, 1);
    assert_int_equal(got.path, 2);
    assert_true(bytes_equal(got.view, m.view));
    assert_memory_equal(got.challenge, m.challenge, sizeof m.challenge);
    assert_int_equal(got.covered.n, n - 32);
}

static void test_complete(void **state)
{
    uint8_t text[RESUME_MESSAGE_MAX] = {0};
    struct resume_complete m = {.receiver = 1, .path = 2}, got;
    struct wr w = wr_of(text, sizeof text);
    resume_complete_write(&w, &m);
    size_t n = end(&w);
    static const uint8_t start[12] = {5, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2};
    assert_int_equal(n, sizeof start + 32);
    assert_memory_equal(text, start, sizeof start);
    for (size_t k = 0; k <= sizeof text; k++)
        assert_int_equal(resume_complete_read(&got, bytes_of(text, k)), k == n ? 0 : -EBADMSG);
    assert_int_equal(resume_complete_read(&got, bytes_of(text, n)), 0);
    assert_int_equal(got.path, 2);
}

static void test_message_of(void **state)
{
    uint8_t text[RESUME_MESSAGE_MAX + 1] = {5, 1, 0, 1};
    for (unsigned m = 0; m < 256; m++) {
        text[1] = (uint8_t)m;
        assert_int_equal(resume_message_of(bytes_of(text, 4)), m >= 1 && m <= 3 ? (int)m : -EBADMSG);
    }
    text[1] = 1;
    assert_int_equal(resume_message_of(bytes_of(text, 3)), -EBADMSG);
    assert_int_equal(resume_message_of(bytes_of(text, sizeof text)), -EBADMSG);
    text[2] = 1;
    assert_int_equal(resume_message_of(bytes_of(text, 4)), -EPROTONOSUPPORT);
    text[0] = 6;
    assert_int_equal(resume_message_of(bytes_of(text, 4)), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_response),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_message_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
