#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "wire/circuit.h"

static uint8_t text[8192];
static uint8_t noise[CIRCUIT_ANSWER_LEN];

static struct circuit_offer offer(void)
{
    return (struct circuit_offer){.cipher = AEAD_CHACHA20POLY1305, .dh = noise, .kem = noise + 32};
}

static struct circuit_answer answer(void)
{
    return (struct circuit_answer){.dh = noise, .ct = noise + 32, .sig = noise + 32 + KEM_CT_LEN};
}

static void fill(void)
{
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 7 + 1);
}

static size_t written(const struct circuit_cell *c)
{
    memset(text, 0xee, sizeof text);
    struct wr w = wr_of(text, sizeof text);
    circuit_cell_write(&w, c);
    assert_true(wr_ok(&w));
    return w.n;
}

/* Reads at its own length, and, but for layers (any number of quanta is one), at no other. */
static void lengths(size_t n, bool layer)
{
    struct circuit_cell got;
    uint8_t more[sizeof text];
    memcpy(more, text, sizeof text);
    memset(more + n, 0, sizeof more - n);
    for (size_t k = 0; k <= n + 2 * CIRCUIT_LAYER_LEN; k++) {
        bool fits =
            k == n || (layer && k > CIRCUIT_HEADER_LEN && (k - CIRCUIT_HEADER_LEN) % CIRCUIT_LAYER_LEN == 0);
        assert_int_equal(circuit_cell_read(&got, bytes_of(more, k)), fits ? 0 : -EBADMSG);
    }
}

static void test_create(void **state)
{
    fill();
    struct circuit_cell c = {.kind = CIRCUIT_CREATE,
                             .circuit = 0x01020304,
                             .party = 0x05060708,
                             .offer = offer()},
                        got;
    size_t n = written(&c);
    assert_int_equal(n, CIRCUIT_CREATE_LEN);
    assert_memory_equal(text, ((uint8_t[]){1, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1}), 11);
    assert_int_equal(circuit_cell_read(&got, bytes_of(text, n)), 0);
    assert_int_equal(got.kind, CIRCUIT_CREATE);
    assert_int_equal(got.circuit, c.circuit);
    assert_int_equal(got.party, c.party);
    assert_int_equal(got.offer.cipher, AEAD_CHACHA20POLY1305);
    assert_memory_equal(got.offer.dh, noise, X25519_LEN);
    assert_memory_equal(got.offer.kem, noise + 32, KEM_PUBLIC_LEN);
    assert_ptr_equal(got.offer.all.p, text + 9);
    assert_int_equal(got.offer.all.n, CIRCUIT_OFFER_LEN);
    lengths(n, false);
    text[10] = AEAD_ALG_COUNT;
    assert_int_equal(circuit_cell_read(&got, bytes_of(text, n)), -EBADMSG);
    text[10] = 0;
    text[n - 1] = 1; /* padding is zeros */
    assert_int_equal(circuit_cell_read(&got, bytes_of(text, n)), -EBADMSG);
    text[9] = 2; /* another version may have another layout, but the same length */
    assert_int_equal(circuit_cell_read(&got, bytes_of(text, n)), -EPROTONOSUPPORT);
    assert_int_equal(got.circuit, c.circuit);
    assert_int_equal(circuit_cell_read(&got, bytes_of(text, n - 1)), -EBADMSG);
    c.circuit = 0;
    n = written(&c);
    assert_int_equal(circuit_cell_read(&got, bytes_of(text, n)), -EBADMSG);
}

static void test_created(void **state)
{
    fill();
    struct circuit_cell c = {.kind = CIRCUIT_CREATED, .circuit = 9, .answer = answer()}, got;
    size_t n = written(&c);
    assert_int_equal(n, CIRCUIT_CREATED_LEN);
    assert_int_equal(circuit_cell_read(&got, bytes_of(text, n)), 0);
    assert_int_equal(got.kind, CIRCUIT_CREATED);
    assert_memory_equal(got.answer.dh, noise, 32);
    assert_memory_equal(got.answer.ct, noise + 32, KEM_CT_LEN);
    assert_memory_equal(got.answer.sig, noise + 32 + KEM_CT_LEN, SIGN_SIG_LEN);
    assert_int_equal(got.answer.all.n, CIRCUIT_ANSWER_LEN);
    assert_memory_equal(got.answer.all.p, noise, CIRCUIT_ANSWER_LEN);
    lengths(n, false);
}

static void test_layers(void **state)
{
    fill();
    for (int kind = CIRCUIT_FORTH; kind <= CIRCUIT_BACK; kind++) {
        struct circuit_cell c = {.kind = kind, .circuit = 9, .layer = bytes_of(noise, 3 * CIRCUIT_LAYER_LEN)},
                            got;
        size_t n = written(&c);
        assert_int_equal(n, 5 + 69);
        assert_int_equal(circuit_cell_read(&got, bytes_of(text, n)), 0);
        assert_int_equal(got.kind, kind);
        assert_true(bytes_equal(got.layer, c.layer));
        lengths(n, true);
    }
}

static void test_destroy(void **state)
{
    struct circuit_cell got;
    for (int kind = CIRCUIT_DESTROY_FORTH; kind <= CIRCUIT_DESTROY_BACK; kind++)
        for (int reason = 0; reason <= CIRCUIT_REASON_COUNT; reason++) {
            size_t n = written(&(struct circuit_cell){.kind = kind, .circuit = 7, .reason = reason});
            assert_int_equal(n, CIRCUIT_DESTROY_LEN);
            bool fine = reason < CIRCUIT_REASON_COUNT;
            assert_int_equal(circuit_cell_read(&got, bytes_of(text, n)), fine ? 0 : -EBADMSG);
            if (!fine)
                continue;
            assert_int_equal(got.kind, kind);
            assert_int_equal(got.reason, reason);
            assert_string_not_equal(circuit_reason_text(reason), "unknown");
            lengths(n, false);
        }
    assert_string_equal(circuit_reason_text(CIRCUIT_REASON_COUNT), "unknown");
    for (int kind = 0; kind < 256; kind++) {
        uint8_t raw[CIRCUIT_DESTROY_LEN] = {(uint8_t)kind, 0, 0, 0, 1};
        assert_int_equal(circuit_cell_read(&got, bytes_of(raw, sizeof raw)),
                         kind == 5 || kind == 6 ? 0 : -EBADMSG);
    }
}

static size_t text_written(const struct circuit_text *t, size_t least)
{
    memset(text, 0xee, sizeof text);
    struct wr w = wr_of(text, sizeof text);
    circuit_text_write(&w, t);
    circuit_text_pad(&w, 0, least);
    assert_true(wr_ok(&w));
    assert_int_equal((w.n - 1) % CIRCUIT_LAYER_LEN, 0);
    assert_true(w.n > least);
    return w.n;
}

/* One text with whatever padding; cut anywhere but between quanta of padding it is none, nor with a padding
 * that is not zero. */
static void text_trial(const struct circuit_text *t, size_t content)
{
    for (size_t least = 0; least < 3 * CIRCUIT_LAYER_LEN; least += 20) {
        struct circuit_text got;
        size_t n = text_written(t, content + least);
        for (size_t k = 0; k <= n; k++) {
            bool fits = k > content && (k - 1) % CIRCUIT_LAYER_LEN == 0;
            assert_int_equal(circuit_text_read(&got, bytes_of(text, k)), fits ? 0 : -EBADMSG);
        }
        if (n == 1 + content)
            continue;
        text[n - 1] = 1;
        assert_int_equal(circuit_text_read(&got, bytes_of(text, n)), -EBADMSG);
        text[n - 1] = 0;
        assert_int_equal(circuit_text_read(&got, bytes_of(text, n)), 0);
        assert_int_equal(got.command, t->command);
    }
}

static void test_texts(void **state)
{
    fill();
    uint8_t node[NODE_ID_LEN] = {1, 2, 3};
    struct circuit_text got, t = {.command = CIRCUIT_DATA, .data = bytes_of(noise, 100)};
    text_trial(&t, 102);
    size_t n = text_written(&t, 0);
    assert_int_equal(circuit_text_read(&got, bytes_of(text, n)), 0);
    assert_true(bytes_equal(got.data, t.data));
    t = (struct circuit_text){.command = CIRCUIT_EXTEND, .node = node, .offer = offer()};
    text_trial(&t, NODE_ID_LEN + CIRCUIT_OFFER_LEN);
    n = text_written(&t, 0);
    assert_int_equal(circuit_text_read(&got, bytes_of(text, n)), 0);
    assert_memory_equal(got.node, node, sizeof node);
    assert_memory_equal(got.offer.kem, noise + 32, KEM_PUBLIC_LEN);
    text[1 + NODE_ID_LEN] = 2;
    assert_int_equal(circuit_text_read(&got, bytes_of(text, n)), -EPROTONOSUPPORT);
    t = (struct circuit_text){.command = CIRCUIT_EXTENDED, .answer = answer()};
    text_trial(&t, CIRCUIT_ANSWER_LEN);
    n = text_written(&t, 0);
    assert_int_equal(circuit_text_read(&got, bytes_of(text, n)), 0);
    assert_memory_equal(got.answer.all.p, noise, CIRCUIT_ANSWER_LEN);
    t = (struct circuit_text){.command = CIRCUIT_REFUSE, .reason = CIRCUIT_BUSY};
    text_trial(&t, 1);
    n = text_written(&t, 0);
    assert_int_equal(circuit_text_read(&got, bytes_of(text, n)), 0);
    assert_int_equal(got.reason, CIRCUIT_BUSY);
    text_trial(&(struct circuit_text){.command = CIRCUIT_KEEP}, 0);
    text_trial(&(struct circuit_text){.command = CIRCUIT_KEPT}, 0);
    uint8_t unknown[1 + CIRCUIT_LAYER_LEN] = {CIRCUIT_COMMAND_COUNT};
    assert_int_equal(circuit_text_read(&got, bytes_of(unknown, sizeof unknown)), -EBADMSG);
    unknown[0] = CIRCUIT_PASS;
    assert_int_equal(circuit_text_read(&got, bytes_of(unknown, 1)),
                     -EBADMSG); /* a layer within is not empty */
    assert_int_equal(circuit_text_read(&got, bytes_of(unknown, sizeof unknown)), 0);
    assert_int_equal(got.data.n, CIRCUIT_LAYER_LEN);
}

static void test_counter(void **state)
{
    static const uint64_t values[] = {0, 1, 0xffffffff, 0x0102030405, CIRCUIT_COUNTER_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t raw[CIRCUIT_COUNTER_LEN];
        struct wr w = wr_of(raw, sizeof raw);
        circuit_counter_write(&w, values[i]);
        assert_int_equal(w.n, sizeof raw);
        struct rd r = rd_of(bytes_of(raw, sizeof raw));
        assert_int_equal(circuit_counter_read(&r), values[i]);
        assert_true(rd_done(&r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_create), cmocka_unit_test(test_created),
                                       cmocka_unit_test(test_layers), cmocka_unit_test(test_destroy),
                                       cmocka_unit_test(test_texts),  cmocka_unit_test(test_counter)};
    return cmocka_run_group_tests_name("circuit", tests, NULL, NULL);
}
