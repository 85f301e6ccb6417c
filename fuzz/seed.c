#include "fuzz/seed.h"

#include <stdlib.h>
#include <string.h>

void seed_must(bool ok)
{
    if (!ok)
        abort();
}

void seeds_target(struct seeds *s, const char *target)
{
    s->target = target;
    s->rng = rng_seeded(&s->state, 1);
}

void seed_put(struct seeds *s, const char *name, enum seed_intent intent, struct bytes in)
{
    struct seed seed = {s->target, name, intent, in};
    s->sink(s->ctx, &seed);
}

void seed_wr(struct seeds *s, const char *name, const struct wr *w)
{
    seed_must(wr_ok(w));
    seed_put(s, name, SEED_TAKEN, wr_done(w));
}

void seed_wr_cut(struct seeds *s, const char *name, const struct wr *w)
{
    seed_must(wr_ok(w));
    seed_put(s, name, SEED_REFUSED, bytes_of(w->p, wr_done(w).n - 1));
}

void seed_text(struct seeds *s, const char *name, enum seed_intent intent, const char *text)
{
    seed_put(s, name, intent, bytes_of_str(text));
}

void seeds_all(void (*sink)(void *ctx, const struct seed *s), void *ctx)
{
    struct seeds s = {.sink = sink, .ctx = ctx};
    seeds_codecs(&s);
    seeds_scripts(&s);
    seeds_online(&s);
    seeds_direct_codecs(&s);
    seeds_direct_scripts(&s);
    seeds_pump(&s);
}

void script_open(struct script *t)
{
    t->w = wr_of(t->p, sizeof t->p);
}

void script_put(struct seeds *s, const char *name, const struct script *t)
{
    seed_must(wr_ok(&t->w));
    seed_put(s, name, SEED_SCRIPT, wr_done(&t->w));
}

struct sign_key *seed_key(uint8_t number)
{
    struct sign_seed seed;
    memset(&seed, number, sizeof seed);
    struct sign_key *key = sign_key_new(&seed);
    seed_must(key != NULL);
    return key;
}
