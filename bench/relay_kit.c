#include "bench/relay_kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(1);
}

void require(bool good, const char *what)
{
    if (!good)
        die(what);
}

double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

double cpu_of(pid_t pid)
{
    char path[64], line[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *f = fopen(path, "r");
    require(f && fgets(line, sizeof line, f), "/proc/PID/stat: no such process");
    fclose(f);
    const char *p = strrchr(line, ')');
    require(p && sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2,
            "/proc/PID/stat is unreadable");
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

struct party_author author_of(const struct sign_key *key, const uint8_t id[NODE_ID_LEN], struct rng rng)
{
    struct party_author a = {.key = key, .rng = rng, .now_unix_s = (uint64_t)time(NULL)};
    memcpy(a.id, id, NODE_ID_LEN);
    return a;
}

void found(const struct founding *f, uint8_t id[PARTY_ID_LEN])
{
    struct buf b;
    uint8_t secret[32];
    enum party_verdict v;
    struct party_author a = f->owner, joiner = f->joiner;
    struct party_genesis_args args = {.name = "bench", .owner_name = "sender", .mode = MODE_TAP};
    buf_init(&b, ENTRY_MAX);
    require(party_make_genesis(&b, &a, &args) == 0, "no party");
    struct party *p = party_open(buf_bytes(&b), a.now_unix_s, &v);
    require(p != NULL, "no party");
    f->entry(f->arg, LOG_OP_CREATE, p, &b);
    f->join(f->arg, party_id(p));
    require(party_make_invite(&b, p, &a, 1, a.now_unix_s + 600, ROLE_MEMBER, secret) == PARTY_OK &&
                party_append(p, buf_bytes(&b), a.now_unix_s) == PARTY_OK,
            "no invite");
    f->entry(f->arg, LOG_OP_APPEND, p, &b);
    require(party_make_join(&b, p, &joiner, secret, "receiver") == PARTY_OK, "no member");
    f->entry(f->arg, LOG_OP_APPEND, p, &b);
    memcpy(id, party_id(p), PARTY_ID_LEN);
    buf_done(&b);
    party_free(p);
}
