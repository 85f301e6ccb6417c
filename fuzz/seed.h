/* The first inputs of every fuzz target: what our own writers make, whole and nearly whole, always the same
 * bytes. The committed ones are in fuzz/corpus/TARGET/NAME; `fuzz_seeds fuzz` writes them again after a
 * format has changed. */
#ifndef WARREN_FUZZ_SEED_H
#define WARREN_FUZZ_SEED_H

#include "base/rng.h"
#include "base/buf.h"
#include "crypto/sign.h"

#define SEEDS_PER_TARGET 20
#define SEEDS_BYTES_MAX  (64u * 1024) /* of one target */
#define SEEDS_WHOLE_MAX  (1024u * 1024)

/* What the parser of the target does with a seed; a script is read byte by byte and always taken. */
enum seed_intent { SEED_TAKEN, SEED_REFUSED, SEED_SCRIPT };

struct seed {
    const char *target; /* FOLDER_NAME */
    const char *name;
    enum seed_intent intent;
    struct bytes in;
};

/* Where seeds go, and chance, which begins anew with every target. */
struct seeds {
    void (*sink)(void *ctx, const struct seed *s);
    void *ctx;
    const char *target;
    struct rng_seeded state;
    struct rng rng;
};

void seeds_all(void (*sink)(void *ctx, const struct seed *s), void *ctx);

/* For its parts. */
void seeds_codecs(struct seeds *s);
void seeds_scripts(struct seeds *s);
void seeds_online(struct seeds *s);
void seeds_direct_codecs(struct seeds *s);
void seeds_direct_scripts(struct seeds *s);
void seeds_pump(struct seeds *s);
void seeds_target(struct seeds *s, const char *target);
void seed_put(struct seeds *s, const char *name, enum seed_intent intent, struct bytes in);
/* What was written, to be taken; and the same without its last byte, to be refused. */
void seed_wr(struct seeds *s, const char *name, const struct wr *w);
void seed_wr_cut(struct seeds *s, const char *name, const struct wr *w);
void seed_text(struct seeds *s, const char *name, enum seed_intent intent, const char *text);
/* Ends the program: a seed that cannot be made is a fault of the generator. */
void seed_must(bool ok);

/* One that is played: bytes in a row. */
struct script {
    uint8_t p[32 * 1024];
    struct wr w;
};
void script_open(struct script *t);
void script_put(struct seeds *s, const char *name, const struct script *t);
/* A key whose seeds are this one byte over and over. */
struct sign_key *seed_key(uint8_t number);

#endif
