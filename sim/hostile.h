/* A hub that lies. It sits in the hooks of a hub_host and does, to one victim or to all, what a hub could
 * try: keep entries of the log back, add and swap entries, show two members different logs, name relay
 * indices that were never given, and drop, repeat, hold back and change relay frames. Taking the store back
 * is journal_rollback. */
#ifndef WARREN_SIM_HOSTILE_H
#define WARREN_SIM_HOSTILE_H

#include "sim/hub_host.h"

#define HOSTILE_KEPT 64

struct hostile {
    struct hub_host *hub;
    struct sign_key *key; /* its own, of no member */
    uint8_t id[NODE_ID_LEN], victim[NODE_ID_LEN];
    bool all; /* everybody is the victim */

    /* The log, as the victim is shown it. */
    bool hide; /* entries after hide_from, and every word about them */
    uint64_t hide_from;
    bool add;  /* behind the last entry: one that admits the hub's own key, signed by that key */
    bool swap; /* in admits: the hub's key in place of the newcomer's, signed anew by the hub */
    bool fork; /* the next append is kept secret, its author made to try again; then the victim gets the
                  secret one */
    struct buf secret;
    uint64_t secret_seq;

    /* Relay frames to the victim: probabilities. */
    double drop, repeat, change, hold; /* hold: of one victim only */
    bool wrong_sender;                 /* frames are said to come from somebody else */
    uint32_t other_sender;

    struct {
        struct buf message;
    } kept[HOSTILE_KEPT], held; /* data frames that passed, for later */
    size_t kept_count;
    uint64_t hidden, added, swapped, forked, dropped, repeated, changed, held_back, misnamed;
};

struct hostile *hostile_new(struct hub_host *hub);
void hostile_free(struct hostile *h);
/* Says every frame that was kept again, to the victim. Number of messages. */
size_t hostile_replay(struct hostile *h);

#endif
