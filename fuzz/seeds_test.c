/* The committed seeds are the generator's, byte for byte, and each does in its parser what it was made for: a
 * format that has changed without `fuzz_seeds fuzz` is noticed here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "fuzz/seed.h"
#include "party/party.h"
#include "wire/eth.h"
#include "wire/invite.h"
#include "wire/rekey.h"
#include "wire/relay.h"
#include "wire/resume.h"
#include "wire/signal.h"

/* ---- Whether a parser takes it: as the targets use their parsers. */

static bool text_taken(struct bytes in)
{
    char s[600];
    uint8_t raw[600];
    uint64_t seconds;
    size_t n;
    memcpy(s, in.p, in.n);
    s[in.n] = 0;
    return hex_get(raw, sizeof raw, &n, s, in.n) == 0 || base32_get(raw, sizeof raw, &n, s, in.n) == 0 ||
           base64url_get(raw, sizeof raw, &n, s, in.n) == 0 || duration_get(&seconds, s) == 0;
}

static bool data_taken(struct bytes in)
{
    struct data_header h;
    struct inner_header inner;
    return data_header_read(&h, in) == 0 || inner_header_read(&inner, in) == 0;
}

static bool hs_taken(struct bytes in)
{
    static union {
        struct hs_hello hello;
        struct hs_challenge challenge;
        struct hs_response response;
        struct hs_response_payload response_payload;
        struct hs_established established;
        struct hs_established_payload established_payload;
        struct hs_reject reject;
    } m;
    return hs_hello_read(&m.hello, in) == 0 || hs_challenge_read(&m.challenge, in) == 0 ||
           hs_response_read(&m.response, in) == 0 || hs_response_payload_read(&m.response_payload, in) == 0 ||
           hs_established_read(&m.established, in) == 0 ||
           hs_established_payload_read(&m.established_payload, in) == 0 || hs_reject_read(&m.reject, in) == 0;
}

static bool resume_taken(struct bytes in)
{
    struct resume_request request;
    struct resume_response response;
    struct resume_complete complete;
    return resume_request_read(&request, in) == 0 || resume_response_read(&response, in) == 0 ||
           resume_complete_read(&complete, in) == 0;
}

static bool rekey_taken(struct bytes in)
{
    struct ctl_header h;
    struct rekey_init init;
    struct hs_head heads[HS_HEADS_MAX];
    struct bytes piece;
    uint8_t count;
    return ctl_header_read(&h, &piece, in) == 0 || rekey_init_read(&init, in) == 0 ||
           ctl_heads_read(heads, &count, in) == 0;
}

static bool entry_taken(struct bytes in)
{
    static uint8_t whole[ENTRY_MAX + SIGN_SIG_LEN];
    static struct entry e;
    memcpy(whole, in.p, in.n);
    memset(whole + in.n, 0x5a, SIGN_SIG_LEN);
    return entry_read(&e, in) == 0 || entry_read(&e, bytes_of(whole, in.n + SIGN_SIG_LEN)) == 0;
}

static bool invite_taken(struct bytes in)
{
    char text[1024];
    uint8_t hash[SHA256_LEN];
    struct invite inv;
    struct hub_address a;
    size_t n = in.n;
    memcpy(text, in.p, n);
    text[n] = 0;
    if (invite_read(&inv, text) == INVITE_OK || hub_address_read(&a, text) == 0)
        return true;
    text[n++] = '.';
    struct bytes part = bytes_of(text, n);
    sha256(hash, &part, 1);
    base64url_put(text + n, bytes_of(hash, 4));
    return invite_read(&inv, text) == INVITE_OK;
}

static bool relay_taken(struct bytes in)
{
    struct rd r = rd_of(in);
    struct relay_frame f;
    while (relay_frame_read(&f, &r) == 1)
        ;
    return rd_done(&r);
}

static bool packet_taken(struct bytes in)
{
    struct ip4 h4;
    struct ip6 h6;
    struct arp a;
    return ip4_read(&h4, in) == 0 || ip6_read(&h6, in) == 0 || arp_read(&a, in) == 0;
}

static bool eth_taken(struct bytes in)
{
    struct eth_frame f;
    return packet_taken(in) || (eth_read(&f, in) == 0 && packet_taken(f.payload));
}

static bool signal_taken(struct bytes in)
{
    struct signal s;
    bool taken = signal_read(&s, in) == 0;
    signal_done(&s);
    return taken;
}

static bool party_taken(struct bytes in)
{
    enum party_verdict v;
    struct party *p = party_load(bytes_of(in.p + 1, in.n - 1), &v);
    party_free(p);
    return p != NULL;
}

static const struct parser {
    const char *target;
    bool (*takes)(struct bytes in);
} parsers[] = {{"base_text", text_taken},     {"wire_data", data_taken},   {"wire_hs", hs_taken},
               {"wire_resume", resume_taken}, {"wire_rekey", rekey_taken}, {"wire_entry", entry_taken},
               {"wire_invite", invite_taken}, {"wire_relay", relay_taken}, {"wire_eth", eth_taken},
               {"wire_signal", signal_taken}, {"party_party", party_taken}};

static void check_intent(void *ctx, const struct seed *s)
{
    unsigned *judged = ctx;
    for (size_t i = 0; s->intent != SEED_SCRIPT && i < sizeof parsers / sizeof *parsers; i++) {
        if (strcmp(parsers[i].target, s->target) != 0)
            continue;
        if (parsers[i].takes(s->in) != (s->intent == SEED_TAKEN))
            fail_msg("%s/%s is not %s", s->target, s->name, s->intent == SEED_TAKEN ? "taken" : "refused");
        (*judged)++;
        return;
    }
    if (s->intent != SEED_SCRIPT)
        fail_msg("%s/%s: no parser is known for it", s->target, s->name);
}

static void test_intent(void **state)
{
    unsigned judged = 0;
    seeds_all(check_intent, &judged);
    assert_true(judged > 100);
}

/* ---- The committed files. */

static void check_file(void *ctx, const struct seed *s)
{
    static uint8_t got[SEEDS_BYTES_MAX];
    const char *root = getenv("WARREN_SOURCE_ROOT");
    char path[4096];
    snprintf(path, sizeof path, "%s/fuzz/corpus/%s/%s", root ? root : ".", s->target, s->name);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("fuzz/corpus/%s/%s is missing: run fuzz_seeds fuzz", s->target, s->name);
    size_t n = fread(got, 1, sizeof got, f);
    fclose(f);
    if (!bytes_equal(bytes_of(got, n), s->in))
        fail_msg("fuzz/corpus/%s/%s is stale: run fuzz_seeds fuzz", s->target, s->name);
}

static void test_committed(void **state)
{
    seeds_all(check_file, NULL);
}

/* ---- Bounds. */

struct sizes {
    const char *target;
    size_t count, bytes, whole;
    char last[64];
};

static void check_size(void *ctx, const struct seed *s)
{
    struct sizes *z = ctx;
    if (!z->target || strcmp(z->target, s->target) != 0)
        *z = (struct sizes){.target = s->target, .whole = z->whole};
    z->count++;
    z->bytes += s->in.n;
    z->whole += s->in.n;
    assert_true(s->in.n > 0);
    assert_string_not_equal(z->last, s->name);
    snprintf(z->last, sizeof z->last, "%s", s->name);
    if (z->count > SEEDS_PER_TARGET || z->bytes > SEEDS_BYTES_MAX)
        fail_msg("%s has too many seeds: %zu with %zu bytes", s->target, z->count, z->bytes);
}

static void test_small(void **state)
{
    struct sizes z = {.target = NULL};
    seeds_all(check_size, &z);
    assert_in_range(z.whole, 10000, SEEDS_WHOLE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intent),
        cmocka_unit_test(test_committed),
        cmocka_unit_test(test_small),
    };
    return cmocka_run_group_tests_name("seeds", tests, NULL, NULL);
}
