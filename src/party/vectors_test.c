/* test/vectors/party.txt: what another implementation has to get out of the same input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "party/party_kit_int.h"

#include <stdio.h>

#include "crypto/hash.h"
#include "wire/invite.h"

#define LINE_MAX_BYTES 4096
#define WORDS_MAX      16
#define NODES_MAX      8

/* One line: a kind, and words of the form key=value. */
struct line {
    char text[LINE_MAX_BYTES];
    char *words[WORDS_MAX];
    size_t count;
};

static struct sign_public keys[NODES_MAX];
static uint8_t ids[NODES_MAX][NODE_ID_LEN], party[PARTY_ID_LEN], net6[8];
static uint32_t net4;
static size_t nodes;

static const char *value(const struct line *l, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 1; i < l->count; i++)
        if (strncmp(l->words[i], key, n) == 0 && l->words[i][n] == '=')
            return l->words[i] + n + 1;
    fail_msg("%s: no %s", l->words[0], key);
    return "";
}

static uint64_t number(const struct line *l, const char *key)
{
    return strtoull(value(l, key), NULL, 0);
}

static void get(const struct line *l, const char *key, uint8_t *out, size_t n)
{
    size_t got = 0;
    const char *s = value(l, key);
    assert_int_equal(hex_get(out, n, &got, s, strlen(s)), 0);
    assert_int_equal(got, n);
}

static void same(const struct line *l, const char *key, const uint8_t *got, size_t n)
{
    char hex[LINE_MAX_BYTES];
    hex_put(hex, bytes_of(got, n));
    assert_string_equal(hex, value(l, key));
}

static void do_node(const struct line *l)
{
    struct sign_seed seed;
    assert_true(nodes < NODES_MAX);
    get(l, "mldsa", seed.mldsa, sizeof seed.mldsa);
    get(l, "ed25519", seed.ed25519, sizeof seed.ed25519);
    struct sign_key *key = sign_key_new(&seed);
    keys[nodes] = *sign_key_public(key);
    node_id_of(ids[nodes], &keys[nodes]);
    same(l, "id", ids[nodes], NODE_ID_LEN);
    sign_key_free(key);
    nodes++;
}

static void do_genesis(const struct line *l)
{
    struct entry e = {.type = ENTRY_GENESIS, .time = number(l, "time")};
    struct entry_genesis *g = &e.u.genesis;
    uint8_t out[ENTRY_MAX], sum[SHA256_LEN];
    memcpy(e.author, ids[0], sizeof e.author);
    g->key = keys[0];
    snprintf(g->name, sizeof g->name, "%s", value(l, "name"));
    snprintf(g->owner, sizeof g->owner, "%s", value(l, "owner"));
    get(l, "salt", g->salt, sizeof g->salt);
    get(l, "net6", g->net6, sizeof g->net6);
    g->mode = (uint8_t)number(l, "mode");
    g->net4 = net4 = (uint32_t)number(l, "net4");
    g->policy = (struct party_policy){number(l, "dhcp") == 1, (uint32_t)number(l, "pps"),
                                      (uint8_t)number(l, "ciphers")};
    g->host = party_address(NULL, g->salt, ids[0]);
    memcpy(net6, g->net6, sizeof net6);
    assert_int_equal(g->host, number(l, "host"));
    struct wr w = wr_of(out, sizeof out);
    entry_write(&w, &e);
    struct bytes unsigned_part = bytes_of(out, w.n - SIGN_SIG_LEN);
    assert_int_equal(unsigned_part.n, number(l, "bytes"));
    sha256(sum, &unsigned_part, 1);
    same(l, "sha256", sum, sizeof sum);
    entry_hash(party, &e);
    same(l, "party", party, sizeof party);
}

static void do_address(const struct line *l)
{
    uint8_t node[NODE_ID_LEN], mac[6], ip6[16];
    get(l, "node", node, sizeof node);
    party_mac(mac, party, node);
    party_ip6(ip6, net6, party, node);
    assert_int_equal(party_address(NULL, party, node), number(l, "host"));
    same(l, "mac", mac, sizeof mac);
    same(l, "ip6", ip6, sizeof ip6);
}

static void do_entry(const struct line *l)
{
    uint8_t unsigned_part[512], hash[ENTRY_HASH_LEN];
    uint8_t whole[sizeof unsigned_part + SIGN_SIG_LEN] = {0};
    size_t n = 0;
    struct entry e;
    const char *hex = value(l, "unsigned");
    assert_int_equal(hex_get(unsigned_part, sizeof unsigned_part, &n, hex, strlen(hex)), 0);
    memcpy(whole, unsigned_part, n);
    assert_int_equal(entry_read(&e, bytes_of(whole, n + SIGN_SIG_LEN)), 0);
    assert_int_equal(e.type, number(l, "type"));
    assert_int_equal(e.seq, number(l, "seq"));
    assert_int_equal(e.time, number(l, "time"));
    assert_memory_equal(e.party, party, sizeof party);
    entry_hash(hash, &e);
    same(l, "hash", hash, sizeof hash);
}

static void do_possession(const struct line *l)
{
    uint8_t scratch[POSSESSION_MAX];
    struct bytes msg = possession_message(scratch, party, ids[number(l, "node")], value(l, "name"),
                                          (uint8_t)number(l, "role"));
    same(l, "message", msg.p, msg.n);
}

static void do_invite_key(const struct line *l)
{
    uint8_t secret[32], id[INVITE_ID_LEN];
    struct sign_seed seed;
    get(l, "secret", secret, sizeof secret);
    sign_seed_derive(&seed, secret, LABEL_INVITE);
    same(l, "mldsa", seed.mldsa, sizeof seed.mldsa);
    same(l, "ed25519", seed.ed25519, sizeof seed.ed25519);
    party_invite_id(id, secret);
    same(l, "id", id, sizeof id);
}

static void do_invite(const struct line *l)
{
    struct invite inv;
    char text[INVITE_TEXT_MAX + 1];
    assert_int_equal(invite_read(&inv, value(l, "text")), INVITE_OK);
    assert_string_equal(inv.hub.host, value(l, "host"));
    assert_int_equal(inv.hub.port, number(l, "port"));
    same(l, "party", inv.party, sizeof inv.party);
    same(l, "secret", inv.secret, sizeof inv.secret);
    assert_int_equal(inv.hub.pinned, *value(l, "fingerprint") != 0);
    if (inv.hub.pinned)
        same(l, "fingerprint", inv.hub.fingerprint, sizeof inv.hub.fingerprint);
    assert_int_equal(invite_write(text, &inv), 0);
    assert_string_equal(text, value(l, "text"));
}

static const struct {
    const char *kind;
    void (*check)(const struct line *l);
    size_t least; /* how many of them the file must have */
} kinds[] = {
    {"node", do_node, 3},
    {"genesis", do_genesis, 1},
    {"address", do_address, 5},
    {"entry", do_entry, 3},
    {"invite", do_invite, 3},
    {"possession", do_possession, 1},
    {"invite-key", do_invite_key, 1},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static void check(struct line *l, size_t seen[KINDS])
{
    char *save = NULL;
    l->count = 0;
    for (char *w = strtok_r(l->text, " \n", &save); w && l->count < WORDS_MAX;
         w = strtok_r(NULL, " \n", &save))
        l->words[l->count++] = w;
    if (l->count == 0 || l->words[0][0] == '#')
        return;
    for (size_t k = 0; k < KINDS; k++)
        if (strcmp(l->words[0], kinds[k].kind) == 0) {
            kinds[k].check(l);
            seen[k]++;
            return;
        }
    fail_msg("unknown kind %s", l->words[0]);
}

static void the_file(void **state)
{
    const char *root = getenv("WARREN_SOURCE_ROOT");
    char path[4096];
    size_t seen[KINDS] = {0};
    struct line l;
    snprintf(path, sizeof path, "%s/test/vectors/party.txt", root ? root : ".");
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot open %s", path);
    while (fgets(l.text, sizeof l.text, f))
        check(&l, seen);
    fclose(f);
    for (size_t k = 0; k < KINDS; k++)
        assert_true(seen[k] >= kinds[k].least);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
