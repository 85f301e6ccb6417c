/* Circuits, for the files of this folder only. circuit.c keeps the tables, queues and timers; circuit_build.c
 * is the builder's side, circuit_hop.c everybody else's; circuit_keys.c agrees on keys, puts layers on and
 * takes them off. */
#ifndef WARREN_PATH_CIRCUIT_INT_H
#define WARREN_PATH_CIRCUIT_INT_H

#include "base/map.h"
#include "base/ratelimit.h"
#include "crypto/hash.h"
#include "path/circuit.h"
#include "wire/circuit.h"

#define WINDOW       4096 /* counters behind the highest that may still come: a burst that many ways reorder */
#define WINDOW_WORDS (WINDOW / 64 + 1) /* the window's ends need not stand at a word's edge */

/* Which counters came. The first may be any (senders begin anywhere), so 0 for `next` means none. */
struct window {
    uint64_t next;
    uint64_t words[WINDOW_WORDS];
};
bool window_fresh(const struct window *w, uint64_t counter);
void window_mark(struct window *w, uint64_t counter);

/* What one hop shares with the builder. */
struct layer {
    struct aead *forth, *back;
    uint64_t next; /* counter of the next cell that we seal */
    struct window seen;
};
void layer_done(struct layer *l);
/* At w's end: counter, sealed text, tag. text is what wr holds from `from` on: wrapped where it stands, so
 * the caller has left CIRCUIT_COUNTER_LEN before it. -EPIPE where the counters are used up. */
int layer_seal(struct layer *l, struct aead *a, struct wr *w, size_t from);
/* Opens in place. *text: command and what follows. -EBADMSG, -EALREADY (a counter again, or too old). */
int layer_open(struct layer *l, struct aead *a, struct bytes sealed, struct bytes *text);

/* The builder's ephemeral keys for one hop, wiped with it. */
struct secret_offer {
    uint8_t dh_private[X25519_LEN], kem_seed[KEM_SEED_LEN];
    uint8_t text[CIRCUIT_OFFER_LEN]; /* as on the wire */
};
int offer_make(struct secret_offer *o, enum aead_alg cipher, const struct rng *rng);
/* Answers an offer: writes CIRCUIT_ANSWER_LEN bytes, sets up the layer. -EBADMSG for keys that are none,
 * -ENOMEM, -EIO. */
int offer_answer(const struct circuits_config *cfg, uint32_t party, const struct circuit_offer *o,
                 uint8_t *answer, struct layer *l);
/* The builder's end of it. -EBADMSG: not that member's answer to that offer. */
int offer_finish(const struct secret_offer *o, uint32_t party, const uint8_t node[NODE_ID_LEN],
                 const struct sign_public *pub, const struct circuit_answer *a, struct layer *l,
                 const struct rng *rng);

enum role {
    ROLE_OURS,  /* we build it */
    ROLE_OPEN,  /* we answered a CREATE; nothing has come over it yet */
    ROLE_RELAY, /* asked to extend it */
    ROLE_END    /* it ends here */
};

/* One side of a circuit, towards a neighbour. */
struct link {
    bool open;
    uint8_t node[NODE_ID_LEN];
    uint32_t id;
};

/* What a relay keeps until the circuit is seen to work behind it. */
struct extension {
    bool answered, refused;
    enum circuit_reason reason;
    uint8_t offer[CIRCUIT_OFFER_LEN];
    uint8_t answer[CIRCUIT_ANSWER_LEN];
};

struct circuit {
    struct circuit *prev_c, *next_c; /* the list of all */
    struct event *last; /* for DOWN or FAILED, which must reach the owner even where memory is short */
    uint32_t id;        /* the owner's; 0 for those that we relay or that are open */
    uint32_t party;
    enum role role;
    bool up, confirmed;     /* OURS: built; the end was heard */
    struct link prev, next; /* towards the builder; away from it */
    usec_t since, heard, sent, repeat, gap, deadline;
    /* OURS: count layers, `built` of them agreed. Others: one. */
    struct layer *layer;
    size_t count, built;
    uint8_t hop[CIRCUIT_HOPS_MAX + 1][NODE_ID_LEN];
    struct secret_offer *offer;
    /* Others. */
    uint8_t *answer;           /* CIRCUIT_ANSWER_LEN, until the builder is seen to have it */
    uint8_t asked[SHA384_LEN]; /* the hash of the offer that it answers */
    struct extension *ext;
    bool limited;
    struct ratelimit rate;
    uint8_t big_forth, big_back; /* cells beyond CIRCUIT_CELL_MAX that were relayed */
};

struct neighbour {
    uint8_t node[NODE_ID_LEN];
    size_t circuits; /* that it has opened with us */
    struct ratelimit creates;
    usec_t used;
};

struct queued {
    struct queued *next;
    size_t n;
    uint8_t to[NODE_ID_LEN];
    uint8_t p[];
};
struct queue {
    struct queued *head, **tail;
    size_t bytes;
};

struct event {
    struct event *next;
    struct circuit_event ev;
    uint8_t data[];
};

struct circuits {
    struct circuits_config cfg;
    struct circuit *all;
    struct map *ids, *by_prev, *by_next, *neighbours;
    size_t ours, ended, relayed, opened; /* by role */
    uint32_t last_id;
    struct ratelimit creates;
    struct queue data, reliable;
    struct queued *out; /* handed to the owner last */
    struct event *events, **events_tail, *event;
    size_t events_n, datagrams_n;
    usec_t wake; /* no timer is before it */
    struct circuits_counts counts;
    uint8_t scratch[CIRCUIT_BUILD_MAX];
};

/* circuit.c */
struct circuit *circuit_new(struct circuits *c, uint32_t party, enum role role, size_t layers, usec_t now);
void circuit_role(struct circuits *c, struct circuit *k, enum role role);
/* Forgets it, without a word to anybody. */
void circuit_free(struct circuits *c, struct circuit *k);
/* Says so to both sides and, where it is the owner's, to the owner; then forgets it. `not_to` (may be NULL)
 * knows it already. */
void circuit_end(struct circuits *c, struct circuit *k, enum circuit_reason reason,
                 const struct link *not_to);
int circuit_give_id(struct circuits *c, struct circuit *k);
int link_open(struct circuits *c, struct circuit *k, struct link *l, const uint8_t node[NODE_ID_LEN],
              uint32_t id);
void link_close(struct circuits *c, struct circuit *k, struct link *l);
struct circuit *link_find(const struct map *m, const uint8_t node[NODE_ID_LEN], uint32_t id);
uint32_t link_fresh_id(struct circuits *c, const uint8_t node[NODE_ID_LEN]);
int send_cell(struct circuits *c, const uint8_t to[NODE_ID_LEN], struct bytes cell);
void send_destroy(struct circuits *c, const uint8_t to[NODE_ID_LEN], enum circuit_kind kind, uint32_t id,
                  enum circuit_reason reason);
/* false where there is no room for UP or INCOMING: then the circuit is of no use. */
bool circuit_say(struct circuits *c, struct circuit *k, enum circuit_event_kind kind, const char *why,
                 const uint8_t *node);
void say_datagram(struct circuits *c, const struct circuit *k, struct bytes data);
/* Makes sure that the owner wakes us by then. */
usec_t at(struct circuits *c, usec_t when);
/* Text into scratch, with room before it for the outsides of so many layers; least: as in circuit_text_pad.
 */
struct wr text_begin(struct circuits *c, const struct circuit_text *t, size_t layers, size_t least,
                     size_t *from);
/* `least` for texts that build. */
size_t build_least(struct circuits *c);

/* circuit_build.c */
int build_open(struct circuits *c, uint32_t party, const uint8_t hops[][NODE_ID_LEN], size_t count,
               usec_t now, uint32_t *id);
/* Seals for layers - 1 hops to pass on and for the last of them to act upon. least: as in circuit_text_pad.
 */
int build_send(struct circuits *c, struct circuit *k, const struct circuit_text *t, size_t layers,
               size_t least, usec_t now);
void build_created(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, usec_t now);
void build_back(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, usec_t now);
void build_failed(struct circuits *c, struct circuit *k, const char *why);
void build_tick(struct circuits *c, struct circuit *k, usec_t now);
usec_t build_wake(const struct circuit *k);

/* circuit_hop.c */
void hop_create(struct circuits *c, const uint8_t from[NODE_ID_LEN], const struct circuit_cell *cell,
                usec_t now);
void hop_created(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, usec_t now);
/* n: the whole cell's length. */
void hop_forth(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, size_t n, usec_t now);
void hop_back(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, size_t n, usec_t now);
int hop_send(struct circuits *c, struct circuit *k, const struct circuit_text *t, size_t least);
/* The circuit goes no further. told: the next hop knows, or cannot be told. */
void hop_refused(struct circuits *c, struct circuit *k, enum circuit_reason reason, bool told, usec_t now);
void hop_tick(struct circuits *c, struct circuit *k, usec_t now);
usec_t hop_wake(const struct circuit *k);

#endif
