/* What the load generators of both relays share. Whatever fails ends the program with a sentence. */
#ifndef WARREN_BENCH_RELAY_KIT_H
#define WARREN_BENCH_RELAY_KIT_H

#include <sys/types.h>

#include "party/party.h"
#include "wire/signal.h"

void die(const char *what) __attribute__((noreturn));
void require(bool good, const char *what);
double now_s(void);
/* Seconds of user and system time of a process, from its fields 14 and 15 (proc(5)). */
double cpu_of(pid_t pid);

struct party_author author_of(const struct sign_key *key, const uint8_t id[NODE_ID_LEN], struct rng rng);
/* A party of two at the hub. All goes over the owner's connection, the other's entry, too: what counts is who
 * signed it. */
struct founding {
    struct party_author owner, joiner;
    /* Tells the hub an entry, and returns when that has it; b is cleared. */
    void (*entry)(void *arg, enum signal_log_op op, const struct party *p, struct buf *b);
    void (*join)(void *arg, const uint8_t party[PARTY_ID_LEN]); /* the owner joins what it has made */
    void *arg;
};
void found(const struct founding *f, uint8_t id[PARTY_ID_LEN]);

#endif
