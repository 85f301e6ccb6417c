#include <stdlib.h>
#include <string.h>

#include "party/party_kit_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OP_LEN  8
#define OPS_MAX 8

static struct kit kit;
static struct party *world; /* judges, and never changes */
static struct buf genesis;
static uint8_t secret[32];

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void once(void)
{
    if (world)
        return;
    kit_init(&kit, 1);
    world = kit_world(&kit);
    buf_init(&genesis, ENTRY_MAX);
    kit_genesis(&kit, &genesis);
}

/* A log as a file. */
static void load(struct bytes in)
{
    enum party_verdict v;
    struct party *p = party_load(in, &v);
    require((p != NULL) == (v == PARTY_OK));
    if (!p)
        return;
    struct buf again;
    buf_init(&again, PARTY_FILE_MAX);
    require(party_save(p, &again) == 0 && bytes_equal(buf_bytes(&again), in));
    buf_done(&again);
    party_free(p);
}

/* One entry before a world of every role, put into the chain and signed as nobody would: it may pass all
 * rules, never the last. */
static void judge(struct bytes in)
{
    static uint8_t whole[ENTRY_MAX + SIGN_SIG_LEN];
    if (in.n < 114 || in.n > ENTRY_MAX)
        return;
    memcpy(whole, in.p, in.n);
    memset(whole + in.n, 0x5a, SIGN_SIG_LEN);
    require(party_judge(world, bytes_of(whole, in.n + SIGN_SIG_LEN), 0) != PARTY_OK);
    struct wr w = wr_of(whole + 2, 72);
    wr_copy(&w, party_id(world), PARTY_ID_LEN);
    wr_u64(&w, party_seq(world) + 1);
    wr_copy(&w, party_head(world), ENTRY_HASH_LEN);
    /* The author by number. */
    memcpy(whole + 82, kit.ids[whole[82] % KIT_PEOPLE], NODE_ID_LEN);
    require(party_judge(world, bytes_of(whole, in.n + SIGN_SIG_LEN), KIT_TIME) != PARTY_OK);
}

static void fill_body(struct entry *e, const struct party *p, const uint8_t op[OP_LEN])
{
    const uint8_t *subject = kit.ids[op[3] % KIT_PEOPLE];
    switch (e->type) {
    case ENTRY_ADMIT:
        kit_fill_admit(&kit, p, e, op[3] % KIT_PEOPLE, op[4]);
        break;
    case ENTRY_ROLE:
        e->u.role.role = op[4];
        memcpy(e->u.role.node, subject, NODE_ID_LEN);
        break;
    case ENTRY_LEASE:
        e->u.lease.host = (uint16_t)(op[4] << 8 | op[5]);
        memcpy(e->u.lease.node, subject, NODE_ID_LEN);
        break;
    case ENTRY_INVITE: {
        memset(secret, op[6], sizeof secret);
        struct sign_key *key = kit_invite_key(secret);
        e->u.invite = (struct entry_invite){*sign_key_public(key), op[5], e->time + op[7], op[4]};
        sign_key_free(key);
        break;
    }
    case ENTRY_REVOKE_INVITE:
        party_invite_id(e->u.revoke.invite, secret);
        break;
    case ENTRY_RENAME:
        e->u.rename.name[0] = (char)op[4];
        memcpy(e->u.rename.node, subject, NODE_ID_LEN);
        break;
    case ENTRY_POLICY:
        e->u.policy = (struct party_policy){op[4] & 1, op[5], op[6]};
        break;
    default:
        memcpy(e->u.remove.node, subject, NODE_ID_LEN);
    }
}

static void invariants(const struct party *p)
{
    size_t owners = 0;
    for (size_t i = 0; i < party_member_count(p); i++) {
        const struct party_member *m = party_member_at(p, i);
        owners += m->role == ROLE_OWNER;
        require(party_member(p, m->id) == m && party_member_by_ip4(p, m->ip4) == m &&
                party_member_by_mac(p, m->mac) == m);
        require(party_member_by_ip6(p, m->ip6) == m && !party_was_removed(p, m->id) &&
                host_usable((uint16_t)m->ip4));
    }
    require(owners > 0 || party_member_count(p) == 0);
    for (size_t i = 0; i < party_invite_count(p); i++) {
        const struct party_invite *invite = party_invite_at(p, i);
        require(invite->used <= invite->uses && party_invite(p, invite->id) == invite);
        require(!invite_closed(invite, p->time) == (party_invite_state(p, invite->id, 0) == PARTY_OK));
    }
}

/* A head is ours, ahead of us, or a fork. */
static void heads(const struct party *p, uint64_t seq, uint8_t flip)
{
    struct hs_head head = {.seq = seq};
    const uint8_t *hash = party_hash_at(p, seq);
    memcpy(head.party, party_id(p), sizeof head.party);
    memcpy(head.hash, hash ? hash : party_head(p), sizeof head.hash);
    head.hash[0] ^= flip;
    enum party_verdict v = party_compare(p, &head), source = party_compare_source(p, &head);
    require((hash != NULL) == (party_entry(p, seq).n > 0) && (hash != NULL) == (seq <= party_seq(p)));
    require(v == (!hash ? PARTY_GAP : flip ? PARTY_FORK : PARTY_KNOWN));
    require(source == v || (source == PARTY_ROLLBACK && seq < party_seq(p)));
}

/* Well signed entries of any kind, one after the other. */
static void run(struct bytes in)
{
    enum party_verdict v;
    struct party *p = party_open(buf_bytes(&genesis), 0, &v);
    require(p != NULL);
    for (size_t i = 0; i < OPS_MAX && (i + 1) * OP_LEN <= in.n; i++) {
        const uint8_t *op = in.p + i * OP_LEN;
        int author = op[1] % KIT_PEOPLE;
        struct entry e =
            kit_next(&kit, p, (uint8_t)(ENTRY_ADMIT + op[0] % (ENTRY_TYPE_COUNT - ENTRY_ADMIT)), author);
        struct sign_key *invite = NULL;
        e.time += (uint64_t)op[2] - 1;
        if (e.type == ENTRY_ADMIT && op[1] >= 128) {
            invite = kit_invite_key(secret);
            node_id_of(e.author, sign_key_public(invite));
        }
        fill_body(&e, p, op);
        uint64_t before = party_seq(p);
        v = kit_append(&kit, p, &e, invite ? invite : kit.keys[author], 0);
        sign_key_free(invite);
        require(party_seq(p) == before + (v == PARTY_OK) && v != PARTY_BAD_SIGNATURE);
        invariants(p);
        heads(p, op[3], op[7]);
    }
    struct buf file;
    buf_init(&file, PARTY_FILE_MAX);
    require(party_save(p, &file) == 0);
    load(buf_bytes(&file));
    buf_done(&file);
    party_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    once();
    if (size == 0)
        return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    if (data[0] % 3 == 0)
        load(in);
    else if (data[0] % 3 == 1)
        judge(in);
    else
        run(in);
    return 0;
}
