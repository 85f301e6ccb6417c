/* What the files of this folder share: the state that the entries so far add up to, and the judgement on the
 * next one. */
#ifndef WARREN_PARTY_PARTY_INT_H
#define WARREN_PARTY_PARTY_INT_H

#include "base/map.h"
#include "party/party.h"

#define CONTEXT_ENTRY "warren party entry v1"
#define CONTEXT_JOIN  "warren party join v1"
#define CONTEXT_PROOF "warren invite proof v1"
#define LABEL_INVITE  "warren invite key v1"

struct party_slot {
    uint8_t hash[ENTRY_HASH_LEN];
    union {
        uint8_t *p;
        uint64_t at; /* of those that the store has */
    };
    uint32_t n;
};

struct party {
    uint8_t id[PARTY_ID_LEN];
    char name[NAME_CAP];
    enum party_mode mode;
    struct party_policy policy;
    uint32_t net4;
    uint8_t net6[8];
    uint64_t time; /* of the head */

    struct party_slot *slots; /* by seq; never empty */
    size_t slot_count, slot_cap;
    size_t stored; /* the first so many are in the store */
    struct party_store store;
    uint64_t bytes; /* of the file that party_save would write */

    struct party_member *members[PARTY_MEMBERS_MAX]; /* in the order of admission */
    size_t member_count, owner_count;
    struct map *by_id, *by_ip4, *by_ip6, *by_mac; /* to the same members */
    struct map *removed;

    struct party_invite *invites[PARTY_INVITES_MAX]; /* in the order of their entries */
    size_t invite_count;
};

/* An entry with what the judge works out on the way. */
struct case_file {
    const struct entry *e;
    size_t size; /* of the whole entry in bytes */
    uint64_t now;
    bool signatures_known;        /* were good once, before we kept the entry ourselves */
    uint8_t subject[NODE_ID_LEN]; /* admit: of the newcomer; invite: of the invite's key */
    const uint8_t *signer; /* id of the key whose signature the entry needs, in the party's own memory */
    uint64_t signer_entry; /* where that key stands */
};

/* Position in the chain: PARTY_OK where the entry extends the head. hash is the entry's. */
enum party_verdict judge_position(const struct party *p, const struct entry *e,
                                  const uint8_t hash[ENTRY_HASH_LEN], uint64_t now);
/* All rules but position and signatures; fills c->subject and c->key. */
enum party_verdict judge_rules(const struct party *p, struct case_file *c);
enum party_verdict judge_signatures(const struct party *p, const struct case_file *c,
                                    const uint8_t hash[ENTRY_HASH_LEN]);
/* A genesis by itself. */
enum party_verdict judge_genesis(const struct case_file *c, const uint8_t hash[ENTRY_HASH_LEN]);

bool invite_closed(const struct party_invite *i, uint64_t time);

struct party_member *member_find(const struct party *p, const uint8_t id[NODE_ID_LEN]);
struct party_invite *invite_find(const struct party *p, const uint8_t id[INVITE_ID_LEN]);

/* The key with this id that stands in entry seq. 0 or -EIO. */
int key_read(const struct party *p, uint64_t seq, const uint8_t id[32], struct sign_public *key);

bool host_usable(uint16_t host); /* not 0, 65535, .0 or .255 */
uint64_t map_seed(const uint8_t id[PARTY_ID_LEN]);

/* The message under a newcomer's possession signature; out: POSSESSION_MAX. */
#define POSSESSION_MAX (PARTY_ID_LEN + NODE_ID_LEN + 1 + NAME_MAX_BYTES + 1)
struct bytes possession_message(uint8_t out[POSSESSION_MAX], const uint8_t party[PARTY_ID_LEN],
                                const uint8_t node[NODE_ID_LEN], const char *name, uint8_t role);

#endif
