#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "session/schedule.h"

/* Computed from doc/protocol/session.md section 3 alone, with another language's HMAC and SHA-384: dh = 00 01
 * .. 1f, kem = 64 65 .. 83, the messages are the texts in the test. */
static void expect(const uint8_t *got, size_t n, const char *hex)
{
    uint8_t want[SHA384_LEN];
    size_t len;
    assert_int_equal(hex_get(want, sizeof want, &len, hex, strlen(hex)), 0);
    assert_int_equal(len, n);
    assert_memory_equal(got, want, n);
}

static struct shared_secrets secrets(void)
{
    struct shared_secrets s;
    for (size_t i = 0; i < 32; i++) {
        s.dh[i] = (uint8_t)i;
        s.kem[i] = (uint8_t)(100 + i);
    }
    return s;
}

static void test_vectors(void **state)
{
    const struct shared_secrets shared = secrets();
    struct hs_keys hs;
    struct session_keys k;
    struct traffic_keys next;
    schedule_handshake(&hs, &shared, bytes_of_str("hello bytes"), bytes_of_str("challenge bytes"),
                       bytes_of_str("prefix"));
    expect(hs.th, sizeof hs.th,
           "78a4c9c9eb12a0ddd0abb2b2b8cedc92577361d771105dc9de786e2a7c9e2685"
           "2f4f93191e42c99af7aec7a5e36cf5be");
    expect(hs.prk, sizeof hs.prk,
           "4406d4e0f77cdca3a0be0658a49666d1d9966806197a07e1e9dceea924a62585"
           "e2bba89b9b182aab541bb63ecc08ccce");
    expect(hs.initiator, sizeof hs.initiator,
           "bf18af3bfa8898a09950b715eb6ff5c44008237e206000d051ea5f0569358600");
    expect(hs.responder, sizeof hs.responder,
           "3f9750967d8482a219c368d9b4591876c2a008f8ff8b303eeb423038b3e8b836");
    schedule_session(&k, &hs, bytes_of_str("prefix and sealed"));
    expect(k.traffic.to_responder, sizeof k.traffic.to_responder,
           "470fa8b8caac243bec06fcffcaa5d125d773051a953c9814c3a5b02fc7b97471");
    expect(k.traffic.to_initiator, sizeof k.traffic.to_initiator,
           "c9a35567ed6b283acfde9bb507f06e87b2c15e8a8b566ecaca2a4e674fee622e");
    expect(k.traffic.chain, sizeof k.traffic.chain,
           "2121c221aa68fcf033339c512d160a342c0d2dcdd691a316823613af02404e5b"
           "cee972520d8b3162d3d2c14649d4ddc0");
    expect(k.resume, sizeof k.resume, "1817b2fffcf9f5f089e8811a9f762b6f34d3dbb05147d9a463750aedc5d03687");
    expect(k.id, sizeof k.id, "7b313cd82412bc7e72ce291eb701cac2");
    schedule_rekey(&next, k.traffic.chain, &shared, bytes_of_str("init"), bytes_of_str("reply"));
    expect(next.to_responder, sizeof next.to_responder,
           "5a4e76af2d0358d2c94382849d20b15187923d754e76b6e69b205b49f7bdc97c");
    expect(next.to_initiator, sizeof next.to_initiator,
           "bcff28e204a8b32884285f02e7aec5866ece7858c34a46b337a413ce2f88148f");
    expect(next.chain, sizeof next.chain,
           "083e0d70f26adb9b20970c71f6662f990e1837cdcc96060e8f606fab167601f2"
           "4d0e84b72b74a3a06aafcfa89c7b7464");
}

/* Where one part ends and the next begins is part of the hash. */
static void test_parts_do_not_run_together(void **state)
{
    uint8_t a[SHA384_LEN], b[SHA384_LEN];
    const struct bytes one[] = {bytes_of_str("ab"), bytes_of_str("c")},
                       two[] = {bytes_of_str("a"), bytes_of_str("bc")};
    transcript_hash(a, "label", one, 2);
    transcript_hash(b, "label", two, 2);
    assert_memory_not_equal(a, b, sizeof a);
    transcript_hash(b, "labela", one, 1);
    assert_memory_not_equal(a, b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_parts_do_not_run_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
