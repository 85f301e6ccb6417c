/* The committed seeds are the generator's, byte for byte, and each does in its parser what it was made for: a
 * format that has changed without `fuzz_seeds fuzz` is noticed here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "fuzz/seed.h"
#include "io/addresses.h"
#include "io/ws_frame.h"
#include "io/ws_upgrade.h"
#include "party/party.h"
#include "wire/candidate.h"
#include "wire/circuit.h"
#include "wire/direct.h"
#include "wire/dns.h"
#include "wire/eth.h"
#include "wire/invite.h"
#include "wire/offer.h"
#include "wire/portmap.h"
#include "wire/rekey.h"
#include "wire/relay.h"
#include "wire/resume.h"
#include "wire/signal.h"
#include "wire/stun.h"
#include "wire/udp_relay.h"

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

/* ---- Those of direct.c. */

static bool stun_taken(struct bytes in)
{
    struct stun_message m;
    return stun_read(&m, in) == 0;
}

static bool candidate_taken(struct bytes in)
{
    struct candidate c;
    struct candidate_credentials k;
    return candidate_read(&c, in) == 0 || candidate_credentials_read(&k, in) == 0;
}

static bool direct_taken(struct bytes in)
{
    struct direct_message m;
    uint32_t generation;
    uint16_t revision;
    return direct_read(&m, in) == 0 || direct_ack_read(&generation, &revision, in) == 0;
}

/* A seed that is taken has a MAC that holds, where its kind has one. */
static bool udp_relay_taken(struct bytes in)
{
    static const uint8_t key[UDP_RELAY_KEY_LEN] = {1, 2, 3};
    struct udp_relay m;
    return udp_relay_read(&m, in) == 0 && (m.signed_part.n == 0 || udp_relay_verify(&m, key));
}

static bool dns_taken(struct bytes in)
{
    static struct dns_message m;
    return dns_read(&m, in) == 0;
}

static bool circuit_taken(struct bytes in)
{
    struct circuit_cell c;
    struct circuit_text t;
    return circuit_cell_read(&c, in) == 0 || circuit_text_read(&t, in) == 0;
}

static bool offer_taken(struct bytes in)
{
    struct offer o;
    struct piece p;
    return offer_read(&o, in) == 0 || piece_read(&p, in) == 0;
}

static bool portmap_taken(struct bytes in)
{
    struct pcp_message p;
    struct natpmp_message q;
    return pcp_read(&p, in) == 0 || natpmp_read(&q, in) == 0;
}

static bool is_ours(void *arg, const char *interface)
{
    return interface[0] == 'w';
}

static bool addresses_taken(struct bytes in)
{
    static const uint8_t ip[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    char interface[ADDRESSES_INTERFACE_CAP];
    struct net_addr g;
    return addresses_gateway4(in, &g, is_ours, NULL) ||
           addresses_gateway6(in, &g, interface, is_ours, NULL) || addresses_flags6(in, ip) != 0;
}

static bool ws_upgrade_taken(struct bytes in)
{
    char key[WS_UPGRADE_KEY_LEN + 1];
    return ws_upgrade_read_request(in, key) > 0 || ws_upgrade_read_answer(in, "dGhlIHNhbXBsZSBub25jZQ==") > 0;
}

static bool ws_frame_taken(struct bytes in)
{
    struct ws_head h;
    return ws_head_read(&h, in) > 0;
}

static const struct parser {
    const char *target;
    bool (*takes)(struct bytes in);
} parsers[] = {{"base_text", text_taken},
               {"wire_data", data_taken},
               {"wire_hs", hs_taken},
               {"wire_resume", resume_taken},
               {"wire_rekey", rekey_taken},
               {"wire_entry", entry_taken},
               {"wire_invite", invite_taken},
               {"wire_relay", relay_taken},
               {"wire_eth", eth_taken},
               {"wire_signal", signal_taken},
               {"party_party", party_taken},
               {"wire_stun", stun_taken},
               {"wire_candidate", candidate_taken},
               {"wire_direct", direct_taken},
               {"wire_udp_relay", udp_relay_taken},
               {"wire_dns", dns_taken},
               {"wire_circuit", circuit_taken},
               {"wire_offer", offer_taken},
               {"wire_portmap", portmap_taken},
               {"io_addresses", addresses_taken},
               {"io_ws_upgrade", ws_upgrade_taken},
               {"io_ws_frame", ws_frame_taken}};

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

/* ---- Every target has some. */

struct wanted {
    const char *target;
    bool has;
};

static void check_target(void *ctx, const struct seed *s)
{
    struct wanted *w = ctx;
    w->has = w->has || strcmp(w->target, s->target) == 0;
}

/* The name of a target is that of its source: src/wire/stun_fuzz.c is wire_stun. */
static void test_targets(void **state)
{
    const char *root = getenv("WARREN_SOURCE_ROOT");
    char pattern[4096], name[256];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/src/*/*_fuzz.c", root ? root : ".");
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc > 30);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *at = strstr(found.gl_pathv[i], "/src/") + 5;
        snprintf(name, sizeof name, "%.*s", (int)(strrchr(at, '_') - at), at);
        *strchr(name, '/') = '_';
        struct wanted w = {name, false};
        seeds_all(check_target, &w);
        if (!w.has)
            fail_msg("the fuzz target %s has no seeds", name);
    }
    globfree(&found);
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
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_small),
    };
    return cmocka_run_group_tests_name("seeds", tests, NULL, NULL);
}
