/* One entry of a party's log as bytes (doc/protocol/party.md section 2):
 *
 *   version u8 | type u8 | party 32 | seq u64 | prev 32 | time u64 | author 32 | body (16-bit length) | signature 4691
 *
 * The hash of an entry is SHA-256("warren party entry v1" || all before the signature); the signature (hybrid, context
 * "warren party entry v1") is over that hash. So an entry's name does not depend on how it was signed. */
#ifndef WARREN_WIRE_ENTRY_H
#define WARREN_WIRE_ENTRY_H

#include "base/text.h"
#include "crypto/sign.h"

#define ENTRY_VERSION  1
#define ENTRY_MAX      12288 /* bytes of one entry; the largest, an admit with a 64-byte name, has 12190 */
#define ENTRY_HASH_LEN 32
#define PARTY_ID_LEN   32
#define INVITE_ID_LEN  32 /* node_id_of the invite's key */

enum entry_type {
    ENTRY_GENESIS = 1,
    ENTRY_ADMIT = 2,
    ENTRY_REMOVE = 3,
    ENTRY_ROLE = 4,
    ENTRY_LEASE = 5,
    ENTRY_INVITE = 6,
    ENTRY_REVOKE_INVITE = 7,
    ENTRY_RENAME = 8,
    ENTRY_POLICY = 9,
    ENTRY_TYPE_COUNT
};

enum party_role { ROLE_NONE = 0, ROLE_GUEST = 1, ROLE_MEMBER = 2, ROLE_ADMIN = 3, ROLE_OWNER = 4, ROLE_COUNT };
enum party_mode { MODE_TAP = 1, MODE_TUN = 2, MODE_WIREGUARD = 3 };

/* What every member's node enforces for the whole party. */
struct party_policy {
    bool allow_dhcp;        /* DHCP and router advertisements may cross the LAN; default no */
    uint32_t broadcast_pps; /* storm cap, broadcast and multicast frames per second and member; default 200 */
    uint8_t ciphers;        /* mask of allowed enum aead_alg; default all */
};

struct entry_genesis {
    struct sign_public key;
    char name[NAME_CAP];  /* the party's */
    char owner[NAME_CAP]; /* the creator's label */
    uint8_t salt[32];     /* makes two parties of one creator different */
    uint8_t mode;
    uint32_t net4;      /* the /16 in host order, e.g. 0x0a4d0000 */
    uint8_t net6[8];    /* the ULA /64 */
    uint16_t host;      /* the creator's own IPv4 host part, by the rule of party_address */
    struct party_policy policy;
};
struct entry_admit { /* author: a member who may, or an invite */
    struct sign_public key;
    char name[NAME_CAP];
    uint8_t role;
    uint16_t host;          /* by the rule */
    uint8_t possession[SIGN_SIG_LEN]; /* the newcomer's own signature (context "warren party join v1") over party || id || name || role, so
                             * that nobody can be put into a party without wanting it */
};
struct entry_remove { uint8_t node[NODE_ID_LEN]; };
struct entry_role { uint8_t node[NODE_ID_LEN]; uint8_t role; };
struct entry_lease { uint8_t node[NODE_ID_LEN]; uint16_t host; };
struct entry_invite {
    struct sign_public key; /* of the one-off key */
    uint32_t uses;          /* 1 .. INVITE_USES_MAX */
    uint64_t expires;       /* unix seconds */
    uint8_t role;           /* what a joiner becomes: member or guest */
};
struct entry_revoke { uint8_t invite[INVITE_ID_LEN]; };
struct entry_rename { uint8_t node[NODE_ID_LEN]; /* all zero: the party itself */ char name[NAME_CAP]; };

struct entry {
    uint8_t type;
    uint8_t party[PARTY_ID_LEN]; /* zeros in genesis: the party's id is genesis' own hash */
    uint64_t seq;                /* genesis 0, then +1 */
    uint8_t prev[ENTRY_HASH_LEN];
    uint64_t time; /* unix seconds; never before that of the entry before */
    uint8_t author[NODE_ID_LEN]; /* node id, or the invite's id in an admit by invite */
    union {
        struct entry_genesis genesis;
        struct entry_admit admit;
        struct entry_remove remove;
        struct entry_role role;
        struct entry_lease lease;
        struct entry_invite invite;
        struct entry_revoke revoke;
        struct entry_rename rename;
        struct party_policy policy;
    } u;
    uint8_t sig[SIGN_SIG_LEN];
};

/* Form only: lengths, ranges of enums, names, nothing left over. What it takes, entry_write gives back byte by byte. 0 or
 * -EBADMSG, and *e is untouched. */
int entry_read(struct entry *e, struct bytes in);
/* The whole entry (unsigned part || e->sig). */
void entry_write(struct wr *w, const struct entry *e);
/* The key with which the body of a genesis, an admit or an invite begins, from the first bytes of the entry alone (of which
 * nothing else is looked at but the type). 0 or -EBADMSG. */
#define ENTRY_KEY_END                                                                                                  \
    (2 + PARTY_ID_LEN + 8 + ENTRY_HASH_LEN + 8 + NODE_ID_LEN + 2 + MLDSA_PUBLIC_LEN + ED25519_PUBLIC_LEN)
int entry_key(struct sign_public *key, struct bytes start);
void entry_hash(uint8_t hash[ENTRY_HASH_LEN], const struct entry *e);

#endif
