/* Signaling under load: MEMBERS devices of one party send each other signaling messages through a hub that
 * runs, each to the next, with at most IN_FLIGHT of each under way. Says `ready`, waits for a line on
 * standard input, sends for SECONDS, then prints
 * {"sent", "received", "seconds"}. bench/hub.py divides by the processor time that the hub spent meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/hub_client.h"
#include "party/party.h"

#define MEMBERS   16
#define IN_FLIGHT 8
#define DATA_LEN  256 /* about a sealed ICE candidate */
#define DRAIN_S   2.0

static struct {
    struct hub_swarm swarm;
    struct party *party;
    size_t admitted, lists;
    bool made, running, listed[MEMBERS];
    uint64_t sent[MEMBERS], received[MEMBERS]; /* received: of what member n sent */
} bench;

static double clock_s(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void require(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "bench_signaling: %s\n", what);
    exit(1);
}

static struct party_author author(void)
{
    struct hub_client *c = &bench.swarm.clients[0];
    struct party_author a = {.key = c->key, .rng = bench.swarm.rng, .now_unix_s = (uint64_t)time(NULL)};
    memcpy(a.id, c->id, NODE_ID_LEN);
    return a;
}

static void send_entry(enum signal_log_op op, struct buf *entry)
{
    struct signal s = {.type = SIGNAL_LOG};
    s.u.log.op = op;
    s.u.log.ref = 1;
    s.u.log.count = 1;
    s.u.log.entries[0] = buf_bytes(entry);
    if (op != LOG_OP_CREATE)
        memcpy(s.u.log.party, party_id(bench.party), PARTY_ID_LEN);
    require(hub_client_say(&bench.swarm.clients[0], &s) == 0, "cannot send an entry");
    buf_done(entry);
}

static void create_party(void)
{
    struct party_genesis_args args = {.name = "bench", .owner_name = "founder", .mode = MODE_TAP};
    struct party_author a = author();
    enum party_verdict v;
    struct buf entry;
    buf_init(&entry, SIGNAL_MAX);
    require(party_make_genesis(&entry, &a, &args) == 0, "no genesis");
    bench.party = party_open(buf_bytes(&entry), a.now_unix_s, &v);
    require(bench.party, "our own genesis is refused");
    bench.admitted = 1;
    send_entry(LOG_OP_CREATE, &entry);
}

static void admit_next(void)
{
    const struct hub_client *c = &bench.swarm.clients[bench.admitted];
    struct party_newcomer who = {.key = *sign_key_public(c->key), .role = ROLE_MEMBER};
    struct party_author a = author();
    struct buf entry;
    buf_init(&entry, SIGNAL_MAX);
    snprintf(who.name, sizeof who.name, "member %zu", bench.admitted);
    require(party_possession(&who, party_id(bench.party), c->key, &bench.swarm.rng) == 0, "no possession");
    require(party_make_admit(&entry, bench.party, &a, &who) == PARTY_OK, "no admit");
    require(party_append(bench.party, buf_bytes(&entry), a.now_unix_s) == PARTY_OK,
            "our own admit is refused");
    bench.admitted++;
    send_entry(LOG_OP_APPEND, &entry);
}

static void join(size_t i)
{
    struct signal s = {.type = SIGNAL_JOIN};
    memcpy(s.u.join.party, party_id(bench.party), PARTY_ID_LEN);
    require(hub_client_say(&bench.swarm.clients[i], &s) == 0, "cannot join");
}

/* The founder creates, joins and admits the others; then they join. */
static void on_ack(void)
{
    if (!bench.made) {
        bench.made = true;
        join(0);
    } else if (bench.admitted < MEMBERS) {
        admit_next();
    } else {
        for (size_t i = 1; i < MEMBERS; i++)
            join(i);
    }
}

static void on_list(size_t i)
{
    if (i == 0 && bench.admitted == 1)
        admit_next();
    bench.lists += !bench.listed[i];
    bench.listed[i] = true;
}

static void on_message(struct hub_client *c, const struct signal *s)
{
    size_t from = (c->number + MEMBERS - 1) % MEMBERS;
    if (s->type == SIGNAL_SIGNAL) {
        bench.received[from]++;
        if (bench.running)
            hub_client_want(&bench.swarm.clients[from]);
    } else if (s->type == SIGNAL_LOG && s->u.log.op == LOG_OP_ACK) {
        on_ack();
    } else if (s->type == SIGNAL_PEER_LIST) {
        on_list(c->number);
    } else if (s->type == SIGNAL_ERROR) {
        require(false, s->u.error.message);
    }
}

static void on_writable(struct hub_client *c)
{
    static const uint8_t data[DATA_LEN];
    if (!bench.running || bench.sent[c->number] - bench.received[c->number] >= IN_FLIGHT)
        return;
    struct signal s = {.type = SIGNAL_SIGNAL, .has_to = true};
    memcpy(s.to, bench.swarm.clients[(c->number + 1) % MEMBERS].id, NODE_ID_LEN);
    memcpy(s.u.forward.party, party_id(bench.party), PARTY_ID_LEN);
    s.u.forward.data = bytes_of(data, sizeof data);
    if (hub_client_say(c, &s) == 0) /* which asks for the next turn as well */
        bench.sent[c->number]++;
}

static uint64_t sum(const uint64_t *n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < MEMBERS; i++)
        total += n[i];
    return total;
}

static void run(double seconds)
{
    double start = clock_s(CLOCK_MONOTONIC);
    bench.running = true;
    for (size_t i = 0; i < MEMBERS; i++)
        hub_client_want(&bench.swarm.clients[i]);
    while (clock_s(CLOCK_MONOTONIC) - start < seconds)
        require(swarm_turn(&bench.swarm, false) == 0, "a connection ended");
    bench.running = false;
    double stop = clock_s(CLOCK_MONOTONIC);
    while (sum(bench.received) < sum(bench.sent) && clock_s(CLOCK_MONOTONIC) - stop < DRAIN_S)
        require(swarm_turn(&bench.swarm, true) == 0, "a connection ended");
    printf("{\"sent\":%llu,\"received\":%llu,\"seconds\":%.3f}\n", (unsigned long long)sum(bench.sent),
           (unsigned long long)sum(bench.received), clock_s(CLOCK_MONOTONIC) - start);
}

int main(int argc, char **argv)
{
    struct hub_address hub;
    double seconds = argc == 3 ? atof(argv[2]) : 0;
    char line[16];
    if (seconds <= 0 || hub_address_read(&hub, argv[1]) < 0 || !hub.pinned) {
        fprintf(stderr, "usage: bench_signaling https://HOST:PORT#sha256:HEX SECONDS\n");
        return 2;
    }
    require(swarm_open(&bench.swarm, &hub, MEMBERS) == 0, "no memory");
    bench.swarm.on_message = on_message;
    bench.swarm.on_writable = on_writable;
    require(swarm_log_in(&bench.swarm, &hub) == 0, "cannot log in");
    create_party();
    while (bench.lists < MEMBERS)
        require(swarm_turn(&bench.swarm, false) == 0, "a connection ended");
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return 1;
    run(seconds);
    swarm_close(&bench.swarm);
    party_free(bench.party);
    return 0;
}
