/* The signed membership log of one party (doc/protocol/party.md). A pure core: bytes and calendar time in, a verdict out.
 *
 * Everybody who holds a log verifies all of it: nodes, and the hub, which only stores, orders and forwards. party_append
 * takes an entry only when it extends the head, is signed with both halves by somebody whose role allows it, and changes
 * nothing against the rules; the same function judges entries made here, entries from the hub and entries from peers. Two
 * logs of one party that differ at one position are a fork and are refused and reported, as is one that became shorter. */
#ifndef WARREN_PARTY_PARTY_H
#define WARREN_PARTY_PARTY_H

#include "base/buf.h"
#include "base/rng.h"
#include "wire/entry.h"
#include "wire/hs.h"

#define PARTY_MEMBERS_MAX  1024
#define PARTY_INVITES_MAX  256   /* open ones */
#define PARTY_ENTRIES_MAX  65536
#define PARTY_FILE_MAX     (64u * 1024 * 1024) /* bytes of a log as party_save writes it */
#define PARTY_RESERVE      8 /* the last 1/8 of both takes entries of owners and admins and departures only */
#define INVITE_USES_MAX    1000
#define INVITE_LIFE_MAX    (366ull * 24 * 3600) /* seconds */
#define PARTY_SKEW_S       300   /* how far an author's clock may be ahead of the judge's, where the judge has one */

struct party_member {
    uint8_t id[NODE_ID_LEN];
    char name[NAME_CAP];
    uint8_t role; /* enum party_role */
    uint8_t ip6[16];
    uint8_t mac[6];
    uint8_t invite[INVITE_ID_LEN]; /* the one that admitted it; zeros: a member did */
    uint32_t ip4;                  /* host order */
    uint32_t entry;                /* the position of the one that admitted it, in which its key stands: party_key */
    uint64_t since;                /* unix seconds of the admit */
};

struct party_invite {
    uint8_t id[INVITE_ID_LEN];
    uint32_t entry; /* its own position, where its key stands */
    uint32_t uses, used;
    uint64_t expires;
    enum party_role role;
    uint8_t author[NODE_ID_LEN];
    bool revoked; /* by an entry, or because its author is no owner or admin any more */
};

enum party_verdict {
    PARTY_OK,
    PARTY_KNOWN,          /* the very entry that stands there already: no harm */
    PARTY_MALFORMED,
    PARTY_OTHER,          /* belongs to another party */
    PARTY_GAP,            /* is further on than our head + 1: fetch what is between */
    PARTY_STALE,          /* a proposal that extends an older head of ours: make it again on the new one */
    PARTY_FORK,           /* another entry at a position that we hold, or on a head that we never had: somebody shows
                             different logs */
    PARTY_ROLLBACK,       /* a log that ends before ours */
    PARTY_BAD_SIGNATURE,  /* either half */
    PARTY_BAD_TIME,
    PARTY_NOT_ALLOWED,    /* the author may not do this */
    PARTY_NO_MEMBER,      /* author or subject is not in the party */
    PARTY_ALREADY_MEMBER,
    PARTY_WAS_REMOVED,    /* a removed node comes back only when a member admits it, not by invite */
    PARTY_BAD_ADDRESS,    /* not what the rule gives, or taken */
    PARTY_INVITE_UNKNOWN,
    PARTY_INVITE_REVOKED,
    PARTY_INVITE_EXPIRED,
    PARTY_INVITE_USED_UP,
    PARTY_LAST_OWNER,     /* would leave others without an owner */
    PARTY_FULL,
    PARTY_NO_MEMORY,
    PARTY_UNREADABLE,     /* the store does not give back the key that is needed (struct party_store) */
    PARTY_VERDICT_COUNT
};
const char *party_verdict_name(enum party_verdict v); /* "invite_expired": error codes of hub and command line */
const char *party_verdict_text(enum party_verdict v); /* one sentence for a person, saying what to do */

struct party;

/* A party from its genesis entry. now_unix_s 0: no clock (an old log being read). NULL and *v otherwise. */
struct party *party_open(struct bytes genesis, uint64_t now_unix_s, enum party_verdict *v);
void party_free(struct party *p);
/* Judges one entry and, when it is good, appends it. now_unix_s: the judge's clock for entries that are being made now, 0 for
 * history (expiry is then judged by the entry's own time, which may not run backwards, and an entry that does not fit at a
 * position that we hold is PARTY_FORK, never PARTY_STALE). A node that is sent such an entry as part of the hub's log has met a
 * fork either way: the hub orders proposals and hands on only what it took. A failed append changes nothing. */
enum party_verdict party_append(struct party *p, struct bytes entry, uint64_t now_unix_s);
/* The same for whoever has to make the entry durable between the judgement and the change, and will not judge twice. keep gets
 * an entry that was found good, before anything changes; where it returns not 0 nothing does. */
struct party_keeper {
    int (*keep)(void *arg, const struct entry *e, const uint8_t hash[ENTRY_HASH_LEN]);
    void *arg;
    int rc; /* what keep returned; -ECANCELED: it was not asked */
};
/* PARTY_OK with k->rc 0: kept and appended; with another k->rc: good, but not kept, and nothing is changed. PARTY_NO_MEMORY
 * with k->rc 0: kept, but memory failed behind it: the party is as before and has to be read again. */
enum party_verdict party_append_kept(struct party *p, struct bytes entry, uint64_t now_unix_s, struct party_keeper *k);
/* Entries that this very program has judged before and kept for itself, in order, the genesis first with *p NULL. All is judged
 * again as history but the signatures, which cost a hundred times as much as the rest. For the hub's own store, and for
 * nothing that came from anybody else. A failed call changes nothing. */
enum party_verdict party_replay(struct party **p, struct bytes entry);
/* The same judgement without the change. */
enum party_verdict party_judge(const struct party *p, struct bytes entry, uint64_t now_unix_s);

const uint8_t *party_id(const struct party *p);
uint32_t party_tag(const struct party *p); /* the first 4 bytes of the id: names the party inside data packets */
const char *party_name(const struct party *p);
enum party_mode party_mode(const struct party *p);
const struct party_policy *party_policy(const struct party *p);
uint32_t party_net4(const struct party *p);       /* host order; always a /16 */
const uint8_t *party_net6(const struct party *p); /* 8 bytes; always a /64 */
uint64_t party_seq(const struct party *p);        /* of the head; genesis is 0 */
const uint8_t *party_head(const struct party *p); /* 32 bytes */
void party_hs_head(const struct party *p, struct hs_head *head);
/* The bytes of entry seq; empty where there is none, or a store has them. The view lives as long as the party, or until
 * party_stored. */
struct bytes party_entry(const struct party *p, uint64_t seq);
/* The same wherever they are: *entry is a view of the party's bytes or of out. What comes from a store is as that gave it: whoever
 * gets it judges it. 0, -ENOENT past the head, -EIO. */
int party_entry_read(const struct party *p, uint64_t seq, uint8_t out[ENTRY_MAX], struct bytes *entry);

/* Entries are large (up to ENTRY_MAX, most of it keys and signatures) and rarely looked at again: a party need not keep in memory
 * what somebody has safely elsewhere. All but the bytes stays: hashes, members, addresses. A key is read back when a signature of
 * its owner is to be checked, and believed because ids are hashes of keys. */
struct party_store {
    int (*read)(void *arg, uint64_t at, uint8_t *p, size_t n); /* exactly n bytes from there: 0 or a negative errno */
    void *arg;
};
/* For entries that party_stored names from now on. */
void party_store_use(struct party *p, const struct party_store *s);
/* The first entry that the party still holds itself (party_seq + 1: none) lies at `at` of the store now: lets go of its bytes. */
void party_stored(struct party *p, uint64_t at);
uint64_t party_stored_count(const struct party *p); /* how many the store has: entries 0 .. count - 1 */
const uint8_t *party_hash_at(const struct party *p, uint64_t seq); /* 32 bytes, or NULL past the head */
/* How a head that somebody claims fits ours: PARTY_KNOWN (same or on our chain), PARTY_GAP (ahead of us: fetch, then ask
 * again), PARTY_FORK, PARTY_OTHER. */
enum party_verdict party_compare(const struct party *p, const struct hs_head *theirs);
/* The same for what may never be behind us, the hub's log or our own file: also PARTY_ROLLBACK. */
enum party_verdict party_compare_source(const struct party *p, const struct hs_head *theirs);

size_t party_member_count(const struct party *p);
const struct party_member *party_member_at(const struct party *p, size_t i); /* in the order of admission */
const struct party_member *party_member(const struct party *p, const uint8_t id[NODE_ID_LEN]);
/* Its public key, read back and checked against its id. 0, -ENOENT: no member, -EIO: the store does not give it. */
int party_key(const struct party *p, const uint8_t id[NODE_ID_LEN], struct sign_public *key);
const struct party_member *party_member_by_ip4(const struct party *p, uint32_t ip4);
const struct party_member *party_member_by_ip6(const struct party *p, const uint8_t ip6[16]);
const struct party_member *party_member_by_mac(const struct party *p, const uint8_t mac[6]);
/* Removed by somebody else and not admitted again. Who left by itself was not removed and may come back by invite. */
bool party_was_removed(const struct party *p, const uint8_t id[NODE_ID_LEN]);
/* The position of the entry that removed it; 0: it is not removed. */
uint64_t party_removed_at(const struct party *p, const uint8_t id[NODE_ID_LEN]);
size_t party_invite_count(const struct party *p); /* open and closed ones still remembered */
const struct party_invite *party_invite_at(const struct party *p, size_t i);
const struct party_invite *party_invite(const struct party *p, const uint8_t id[INVITE_ID_LEN]);
/* Why this invite would be refused now (PARTY_OK: it would not). Without a clock (0) the head's time counts. */
enum party_verdict party_invite_state(const struct party *p, const uint8_t id[INVITE_ID_LEN], uint64_t now_unix_s);

/* Makers: each replaces what is in out (of ENTRY_MAX or more) by one signed entry that extends the present head (append it
 * after the hub has taken it, by party_append). They judge first, so a refusal costs no signature. `now_unix_s` is raised to
 * the head's time where our clock is behind. */
struct party_author {
    const struct sign_key *key;
    uint8_t id[NODE_ID_LEN];
    struct rng rng;
    uint64_t now_unix_s;
};
struct party_genesis_args {
    const char *name, *owner_name;
    enum party_mode mode;
    uint32_t net4; /* a /16 inside one of the private ranges (party_net4_allowed); 0: party_pick_net4 */
    uint8_t ciphers; /* mask of the policy, bit n: enum aead_alg n; 0: all */
};
/* One of 10.64.0.0/16 .. 10.127.0.0/16. */
uint32_t party_pick_net4(const struct rng *rng);
/* Whether a party may use this pool: a /16 of 10/8, 172.16/12, 192.168/16, 100.64/10 or 198.18/15, so that no log can make its
 * readers route a piece of the public Internet into a party. */
bool party_net4_allowed(uint32_t net4);
/* 0, -EINVAL for names, mode, net4 or ciphers, -ENOMEM, -EIO. */
int party_make_genesis(struct buf *out, const struct party_author *a, const struct party_genesis_args *args);
/* A joiner's own admit by invite: secret is the invite's. */
enum party_verdict party_make_join(struct buf *out, const struct party *p, const struct party_author *joiner,
                                   const uint8_t invite_secret[32], const char *name);
/* What somebody who wants in hands to an owner or admin. possession: see party_possession. */
struct party_newcomer {
    struct sign_public key;
    char name[NAME_CAP];
    enum party_role role; /* what it agreed to become */
    uint8_t possession[SIGN_SIG_LEN];
};
/* Fills who->possession: the newcomer's own signature over who->key, name and role. 0 or -EIO. */
int party_possession(struct party_newcomer *who, const uint8_t party[PARTY_ID_LEN], const struct sign_key *key,
                     const struct rng *rng);
/* An admit by an owner or admin; the only way back for a removed node. */
enum party_verdict party_make_admit(struct buf *out, const struct party *p, const struct party_author *a,
                                    const struct party_newcomer *who);
/* secret receives the fresh invite secret; wiped on failure. */
enum party_verdict party_make_invite(struct buf *out, const struct party *p, const struct party_author *a, uint32_t uses,
                                     uint64_t expires, enum party_role role, uint8_t secret[32]);
enum party_verdict party_make_revoke(struct buf *out, const struct party *p, const struct party_author *a,
                                     const uint8_t invite[INVITE_ID_LEN]);
enum party_verdict party_make_remove(struct buf *out, const struct party *p, const struct party_author *a,
                                     const uint8_t node[NODE_ID_LEN]);
enum party_verdict party_make_role(struct buf *out, const struct party *p, const struct party_author *a,
                                   const uint8_t node[NODE_ID_LEN], enum party_role role);
enum party_verdict party_make_lease(struct buf *out, const struct party *p, const struct party_author *a,
                                    const uint8_t node[NODE_ID_LEN], uint16_t host);
enum party_verdict party_make_rename(struct buf *out, const struct party *p, const struct party_author *a,
                                     const uint8_t node_or_zero[NODE_ID_LEN], const char *name);
enum party_verdict party_make_policy(struct buf *out, const struct party *p, const struct party_author *a,
                                     const struct party_policy *policy);
/* The id (node_id_of) of the key that an invite secret expands to. */
void party_invite_id(uint8_t id[INVITE_ID_LEN], const uint8_t invite_secret[32]);
/* Signs what proves to the hub that one holds an invite: context "warren invite proof v1", over hub challenge || party ||
 * node id. challenge: 1 to PARTY_CHALLENGE_MAX bytes. sig: SIGN_SIG_LEN. 0, -EINVAL, -EIO. */
#define PARTY_CHALLENGE_MAX 64
int party_invite_prove(uint8_t sig[SIGN_SIG_LEN], const uint8_t invite_secret[32], struct bytes challenge,
                       const uint8_t party[PARTY_ID_LEN], const uint8_t node[NODE_ID_LEN], const struct rng *rng);
/* Whether the proof holds for an invite that the log remembers; whether that is still good: party_invite_state. */
bool party_invite_proven(const struct party *p, const uint8_t invite[INVITE_ID_LEN], struct bytes challenge,
                         const uint8_t node[NODE_ID_LEN], const uint8_t sig[SIGN_SIG_LEN]);

/* A member's addresses by the rule (doc/protocol/party.md section 5). The IPv4 host part is 1 + the first 64 bits of
 * SHA-256("warren address v1" || party || node || attempt u8) mod 65534; the attempt counts up from 0 while the last octet is 0
 * or 255 or a member has the host. p NULL: nobody has any, and salt_or_party is the salt of the genesis that is being made or
 * read; else salt_or_party is the party's id. 0 where 256 attempts find nothing. MAC and IPv6 have no attempts: a node whose MAC
 * or interface id is a member's is refused (PARTY_BAD_ADDRESS), for chance does not make one. */
uint16_t party_address(const struct party *p, const uint8_t salt_or_party[32], const uint8_t node[NODE_ID_LEN]);
void party_mac(uint8_t mac[6], const uint8_t party[PARTY_ID_LEN], const uint8_t node[NODE_ID_LEN]); /* 02:.. */
void party_ip6(uint8_t ip6[16], const uint8_t net6[8], const uint8_t party[PARTY_ID_LEN], const uint8_t node[NODE_ID_LEN]);

/* The whole log in one piece and back, to compare and to carry: entries with 32-bit lengths. party_load verifies all of it. (A node
 * keeps its parties in files that grow: node/party_file.h.) -EIO where a store does not give an entry. */
int party_save(const struct party *p, struct buf *out);
struct party *party_load(struct bytes file, enum party_verdict *v);

#endif
