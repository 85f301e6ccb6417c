/* What a session costs: CPU of a full handshake (both ends), of a RESUME (both ends), of a rekey (both ends),
 * and of sealing and opening one packet, per cipher. One JSON object a line. Time is the process's CPU time,
 * so a loaded machine does not blur it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/rand.h"
#include "session/session.h"

#define HANDSHAKES 200
#define RESUMES    5000
#define REKEYS     300
#define PACKETS    200000
#define PAYLOAD    1400

struct ends {
    struct sign_key *key[2];
    struct session_config config[2];
    struct session *s[2];
    usec_t now;
};

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void require(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "bench_handshake: %s\n", what);
    exit(1);
}

static void ends_init(struct ends *e)
{
    struct rng rng = rng_system();
    *e = (struct ends){.now = SEC};
    for (int i = 0; i < 2; i++) {
        struct sign_seed seed;
        sign_seed_new(&seed, &rng);
        e->key[i] = sign_key_new(&seed);
        require(e->key[i], "no key");
        node_id_of(e->config[i].self, sign_key_public(e->key[i]));
    }
    for (int i = 0; i < 2; i++) {
        struct session_config *c = &e->config[i];
        c->key = e->key[i];
        memcpy(c->peer, e->config[!i].self, NODE_ID_LEN);
        c->peer_public = sign_key_public(e->key[!i]);
        c->index = 1 + (uint32_t)i;
        c->rng = rng;
    }
}

static void carry(struct ends *e)
{
    struct session_out out;
    struct session_event ev;
    struct session_in in;
    enum session_drop drop;
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < 2; i++) {
            while (session_output(e->s[i], e->now, &out)) {
                require(session_input(e->s[!i], 1, out.p, out.n, e->now, &in, &drop) == 0,
                        session_drop_name(drop));
                busy = true;
            }
            while (session_event(e->s[i], &ev))
                continue;
        }
    }
}

static void come_up(struct ends *e, uint8_t ciphers)
{
    for (int i = 0; i < 2; i++) {
        session_free(e->s[i]);
        e->config[i].ciphers = ciphers;
        e->s[i] = session_new(&e->config[i]);
        require(e->s[i], "no memory");
    }
    require(session_start(e->s[0], e->now) == 0, "no start");
    carry(e);
    require(session_state(e->s[0]) == SESSION_UP_STATE && session_state(e->s[1]) == SESSION_UP_STATE,
            "not up");
}

/* One published figure as a line of JSON; tools/bench reads them. */
static void report(const char *name, double value, const char *unit)
{
    printf("{\"name\":\"%s\",\"value\":%.4g,\"unit\":\"%s\"}\n", name, value, unit);
}

static void bench_handshake(struct ends *e)
{
    come_up(e, 3);
    double begun = cpu_s();
    for (int i = 0; i < HANDSHAKES; i++)
        come_up(e, 3);
    double ms = (cpu_s() - begun) * 1e3 / HANDSHAKES;
    report("handshake, both ends", ms, "ms CPU");
}

static void bench_resume(struct ends *e)
{
    double begun = cpu_s();
    for (uint32_t i = 0; i < RESUMES; i++) {
        e->now += SEC;
        for (int k = 0; k < 2; k++)
            session_tick(e->s[k], e->now);
        require(session_resume(e->s[0], 1, bytes_of("view", 4), e->now) == 0, "no resume");
        carry(e);
    }
    double us = (cpu_s() - begun) * 1e6 / RESUMES;
    report("resume, both ends", us / 1e3, "ms CPU");
}

static void bench_rekey(struct ends *e)
{
    double begun = cpu_s();
    for (int i = 0; i < REKEYS; i++) {
        e->now += 2 * SEC;
        require(session_rekey(e->s[0], e->now) == 0, "no rekey");
        carry(e);
    }
    double us = (cpu_s() - begun) * 1e6 / REKEYS;
    struct session_info info;
    session_info(e->s[1], &info);
    require(info.rekeys == REKEYS, "rekeys missing");
    report("rekey, both ends", us / 1e3, "ms CPU");
}

static void bench_packets(struct ends *e, enum aead_alg alg)
{
    struct session_in in;
    enum session_drop drop;
    double seal = 0, open = 0;
    come_up(e, (uint8_t)(1u << alg));
    for (int i = 0; i < PACKETS; i += 1000) {
        /* A thousand at a time: reading the clock must not count. */
        static uint8_t batch[1000][PAYLOAD + DATA_OVERHEAD];
        double begun = cpu_s();
        for (int k = 0; k < 1000; k++)
            require(session_seal(e->s[0], INNER_FRAME, 1, batch[k], PAYLOAD, e->now) == 0, "no seal");
        double sealed = cpu_s();
        for (int k = 0; k < 1000; k++)
            require(session_input(e->s[1], 1, batch[k], sizeof batch[k], e->now, &in, &drop) == 0, "no open");
        seal += sealed - begun;
        open += cpu_s() - sealed;
    }
    char name[64];
    snprintf(name, sizeof name, "seal %d bytes, %s", PAYLOAD, aead_name(alg));
    report(name, seal * 1e6 / PACKETS, "us");
    snprintf(name, sizeof name, "open %d bytes, %s", PAYLOAD, aead_name(alg));
    report(name, open * 1e6 / PACKETS, "us");
}

int main(void)
{
    struct ends e;
    ends_init(&e);
    bench_handshake(&e);
    bench_resume(&e);
    bench_rekey(&e);
    for (int alg = 0; alg < AEAD_ALG_COUNT; alg++)
        bench_packets(&e, (enum aead_alg)alg);
    for (int i = 0; i < 2; i++) {
        session_free(e.s[i]);
        sign_key_free(e.key[i]);
    }
    return 0;
}
