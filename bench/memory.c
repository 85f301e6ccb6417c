/* What an idle peer costs a node: starts the real program on a saved party of 1, 100 and 1000 other members,
 * lets it come to rest, and reads what the kernel says of its memory and its CPU time. The party is made by
 * the party's own code, every entry signed.
 *
 *   bench_memory [SECONDS]      how long each node's CPU time is watched (default 10); WARREN in the
 * environment is the program
 *
 * Prints JSON lines {"name", "value", "unit"}. The nodes know no hub. As root they run in a network namespace
 * of their own, and there once more with a device. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "crypto/init.h"
#include "crypto/rand.h"
#include "node/party_file.h"
#include "node/state.h"
#include "party/party.h"

#define SETTLE_S 12 /* what a node does at its start is over: port mapping, announcements on the LAN */

static const unsigned counts[] = {1, 100, 1000};
#define COUNTS 3

static struct {
    char root[64];
    struct rng rng;
    struct sign_key *key; /* the node's: it owns the party */
    struct state state;
    struct party *party;
    struct buf file; /* the party's */
    char name[80];
} bench;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "memory: %s failed: %s\n", what, strerror(errno));
    exit(1);
}

static struct party_author author_of(const struct sign_key *key)
{
    struct party_author a = {.key = key, .rng = bench.rng, .now_unix_s = (uint64_t)time(NULL) - 3600};
    node_id_of(a.id, sign_key_public(key));
    return a;
}

static void take(const struct buf *entry)
{
    must(party_append(bench.party, buf_bytes(entry), 0) == PARTY_OK &&
             party_file_entry(&bench.file, buf_bytes(entry)) == 0,
         "an entry");
}

static void party_begin(struct buf *entry, uint8_t secret[32])
{
    const struct party_genesis_args args = {.name = "bench", .owner_name = "owner", .mode = MODE_TAP};
    struct party_author a = author_of(bench.key);
    enum party_verdict v;
    must(party_make_genesis(entry, &a, &args) == 0, "a party");
    bench.party = party_open(buf_bytes(entry), 0, &v);
    must(bench.party && party_file_begin(&bench.file) == 0 &&
             party_file_settings(&bench.file, &(struct party_settings){.device = true}) == 0 &&
             party_file_entry(&bench.file, buf_bytes(entry)) == 0,
         "a party");
    must(party_make_invite(entry, bench.party, &a, counts[COUNTS - 1], a.now_unix_s + 86400, ROLE_MEMBER,
                           secret) == PARTY_OK,
         "an invite");
    take(entry);
    memcpy(bench.name, "party-", 6);
    hex_put(bench.name + 6, bytes_of(party_id(bench.party), PARTY_ID_LEN));
}

static void member_joins(struct buf *entry, const uint8_t secret[32], unsigned number)
{
    struct sign_seed seed;
    char name[NAME_CAP];
    sign_seed_new(&seed, &bench.rng);
    struct sign_key *key = sign_key_new(&seed);
    must(key != NULL, "a key");
    struct party_author a = author_of(key);
    snprintf(name, sizeof name, "member-%u", number);
    must(party_make_join(entry, bench.party, &a, secret, name) == PARTY_OK, "joining");
    take(entry);
    sign_key_free(key);
}

static pid_t node_start(const char *warren, bool device, int *out)
{
    int ends[2];
    must(pipe(ends) == 0, "a pipe");
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        char socket[128];
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        int nothing = open("/dev/null", O_WRONLY);
        dup2(nothing, STDERR_FILENO);
        if (geteuid() == 0 && unshare(CLONE_NEWNET) != 0)
            _exit(1);
        snprintf(socket, sizeof socket, "%s/control.sock", bench.root);
        execl(warren, warren, "up", "--state", bench.root, "--socket", socket, device ? NULL : "--device",
              "none", NULL);
        _exit(1);
    }
    close(ends[1]);
    *out = ends[0];
    return pid;
}

/* A number behind `label` in /proc/PID/FILE. */
static double proc_number(pid_t pid, const char *file, const char *label)
{
    char path[64], line[256];
    double value = -1;
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    FILE *f = fopen(path, "r");
    must(f != NULL, path);
    while (value < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, label, strlen(label)) == 0)
            value = atof(line + strlen(label));
    fclose(f);
    return value;
}

static void row(const char *what, unsigned peers, bool device, double value, const char *unit)
{
    printf("{\"name\": \"%s, %u idle peer%s%s\", \"value\": %g, \"unit\": \"%s\"}\n", what, peers,
           peers == 1 ? "" : "s", device ? ", with a device" : "", value, unit);
    fflush(stdout);
}

/* Its resident memory in kB. */
static double measure(const char *warren, unsigned peers, bool device, unsigned seconds)
{
    char ready[256] = "";
    int out;
    pid_t pid = node_start(warren, device, &out);
    must(read(out, ready, sizeof ready - 1) > 0 && strncmp(ready, "node ready", 10) == 0,
         "starting the node");
    sleep(SETTLE_S);
    double before = proc_number(pid, "schedstat", "");
    sleep(seconds);
    double cpu = (proc_number(pid, "schedstat", "") - before) / 1e9 / seconds * 100;
    double rss = proc_number(pid, "status", "VmRSS:");
    row("node, resident", peers, device, rss, "kB");
    row("node, resident and no file's", peers, device, proc_number(pid, "status", "RssAnon:"), "kB");
    row("node, highest resident", peers, device, proc_number(pid, "status", "VmHWM:"), "kB");
    row("node, CPU at rest", peers, device, cpu, "%");
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    close(out);
    return rss;
}

static void measure_all(const char *warren, bool device, unsigned seconds)
{
    struct buf entry;
    double rss[COUNTS];
    unsigned have = 0;
    uint8_t secret[32];
    buf_init(&entry, ENTRY_MAX);
    buf_clear(&bench.file);
    party_begin(&entry, secret);
    for (size_t i = 0; i < COUNTS; i++) {
        while (have < counts[i])
            member_joins(&entry, secret, ++have);
        must(state_save(&bench.state, bench.name, buf_bytes(&bench.file)) == 0, "saving the party");
        rss[i] = measure(warren, counts[i], device, seconds);
    }
    row("node, resident per idle peer, of the last 900", counts[COUNTS - 1], device,
        (rss[COUNTS - 1] - rss[1]) / (counts[COUNTS - 1] - counts[1]), "kB");
    must(state_delete(&bench.state, bench.name) == 0, "removing the party");
    party_free(bench.party);
    buf_done(&entry);
}

static void state_begin(void)
{
    struct sign_seed seed;
    char why[STATE_WHY_CAP];
    snprintf(bench.root, sizeof bench.root, "/tmp/warren-bench-XXXXXX");
    must(mkdtemp(bench.root) != NULL, "a directory");
    must(state_open(&bench.state, bench.root, why) == 0 &&
             state_identity(&bench.state, &bench.rng, &seed, why) == 0,
         why);
    state_close(&bench.state); /* the lock: it is the node's */
    bench.key = sign_key_new(&seed);
    must(bench.key != NULL, "a key");
}

static void state_end(void)
{
    char path[128];
    static const char *const files[] = {"identity", "lock", "control.sock"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", bench.root, files[i]);
        unlink(path);
    }
    rmdir(bench.root);
    sign_key_free(bench.key);
    buf_done(&bench.file);
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 10;
    const char *warren = getenv("WARREN");
    if (!warren || seconds == 0) {
        fprintf(stderr, "usage: WARREN=PATH bench_memory [SECONDS]\n");
        return 2;
    }
    crypto_init();
    bench.rng = rng_system();
    buf_init(&bench.file, PARTY_FILE_MAX);
    state_begin();
    measure_all(warren, false, seconds);
    if (geteuid() == 0)
        measure_all(warren, true, seconds);
    state_end();
    return 0;
}
