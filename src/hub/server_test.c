#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sanitized.h"
#include "base/text.h"
#include "hub/server.h"
#include "io/ws_server.h"
#include "wire/invite.h"

#define PATIENCE_MS 60000 /* sanitizers on a busy machine; nothing waits for it when all is well */

/* A hub in a child process, its state in a directory of its own. */
struct child {
    char state[64];
    pid_t pid;
    int out, err; /* ends that we read */
    struct hub_address at;
    char ready[512];
};

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, PATIENCE_MS) == 1;
}

/* One line without its newline; false at the end. */
static bool read_line(int fd, char *out, size_t cap)
{
    size_t n = 0;
    char c;
    while (n + 1 < cap && readable(fd) && read(fd, &c, 1) == 1 && c != '\n')
        out[n++] = c;
    out[n] = 0;
    return n > 0;
}

static void make_state(char state[64])
{
    snprintf(state, 64, "/tmp/warren-hub-test-XXXXXX");
    assert_non_null(mkdtemp(state));
}

static void remove_state(const char *state)
{
    static const char *const files[] = {
        "hub.db",          "hub.db-wal",    "hub.db-shm",    "hub.lock",  "hub-mldsa87.crt",
        "hub-mldsa87.key", "hub-ecdsa.crt", "hub-ecdsa.key", "given.crt", "given.key"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", state, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(state), 0);
}

static struct hub_options options_of(const char *state)
{
    struct hub_options o = {.listen = "127.0.0.1:0", .udp = "127.0.0.1:0", .state = state};
    hub_limits_default(&o.limits);
    return o;
}

static void spawn(struct child *c, const struct hub_options *o)
{
    int out[2], err[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* not outlive a failed test */
        dup2(out[1], 1);
        dup2(err[1], 2);
        _exit(hub_serve(o));
    }
    close(out[1]);
    close(err[1]);
    c->out = out[0];
    c->err = err[0];
}

static void start(struct child *c, const struct hub_options *o)
{
    spawn(c, o);
    assert_true(read_line(c->out, c->ready, sizeof c->ready));
    assert_memory_equal(c->ready, "hub ready ", 10);
    assert_int_equal(hub_address_read(&c->at, c->ready + 10), 0);
    assert_true(c->at.pinned);
    assert_int_not_equal(c->at.port, 0);
}

/* Exit code of a hub that was told to end, or has ended by itself. */
static int reap(struct child *c)
{
    int status;
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    close(c->out);
    close(c->err);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int stop(struct child *c)
{
    assert_int_equal(kill(c->pid, SIGTERM), 0);
    return reap(c);
}

static int dial(const struct child *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(c->at.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static bool have_curl(void)
{
    return system("curl --version >/dev/null 2>&1") == 0;
}

/* What curl prints for this path: the body and, as the last line, the status. */
static void get(const struct child *c, const char *args, const char *path, char *out, size_t cap)
{
    char command[1024];
    snprintf(command, sizeof command,
             "curl -sk -m 50 -w '\\n%%{http_code} %%{num_connects}' %s 'https://127.0.0.1:%u%s' 2>&1", args,
             c->at.port, path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, cap - 1, f);
    out[n] = 0;
    pclose(f);
}

static void it_serves_http(void **state)
{
    static const struct {
        const char *args, *path, *status, *body;
    } rows[] = {
        {"", "/", "200", "This is a Warren hub"},
        {"", "/health", "200", "\"status\":\"ok\""},
        {"", "/metrics", "200", "warren_hub_connections 0"},
        {"", "/metrics", "200", "warren_hub_store_seconds_count{call=\"device\"} 1"},
        {"", "/metrics", "200", "warren_hub_sockets 1"},
        {"", "/nothing", "404", "\"code\":\"not_found\""},
        {"", "/../../etc/passwd", "404", "\"code\":\"not_found\""},
        {"", "/api/v1/ws", "404", "\"code\":\"not_found\""},
        {"", "/api/v1/limits", "401", "\"code\":\"not_logged_in\""},
        {"-H 'Authorization: Bearer abc.def.ghi'", "/api/v1/limits", "401", "\"code\":\"not_logged_in\""},
        {"-X POST -d x=1", "/health", "405", "\"code\":\"method_not_allowed\""},
        {"-X DELETE", "/", "405", "\"code\":\"method_not_allowed\""},
    };
    static char got[65536];
    struct child c;
    if (!have_curl())
        skip();
    make_state(c.state);
    struct hub_options o = options_of(c.state);
    start(&c, &o);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        get(&c, rows[i].args, rows[i].path, got, sizeof got);
        char *last = strrchr(got, '\n');
        assert_non_null(last);
        if (strncmp(last + 1, rows[i].status, 3) != 0 || !strstr(got, rows[i].body))
            fail_msg("%s %s: %.2000s", rows[i].args, rows[i].path, got);
    }
    assert_int_equal(stop(&c), 0);
    remove_state(c.state);
}

static void its_certificate_and_its_state_stay(void **state)
{
    static const char *const secret[] = {"hub.db", "hub-mldsa87.key", "hub-ecdsa.key"};
    struct child c, again;
    char path[PATH_MAX];
    struct stat st;
    make_state(c.state);
    struct hub_options o = options_of(c.state);
    o.name = "hub.example";
    start(&c, &o);
    assert_string_equal(c.at.host, "hub.example");
    for (size_t i = 0; i < sizeof secret / sizeof *secret; i++) {
        snprintf(path, sizeof path, "%s/%s", c.state, secret[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(stop(&c), 0);
    o.name = "other.example";
    start(&again, &o);
    assert_memory_equal(again.at.fingerprint, c.at.fingerprint, 32);
    assert_int_equal(stop(&again), 0);
    remove_state(c.state);
}

static void sigterm_ends_it_within_a_second_with_clients_there(void **state)
{
    struct child c;
    struct timespec a, b;
    make_state(c.state);
    struct hub_options o = options_of(c.state);
    start(&c, &o);
    int fds[20];
    for (int i = 0; i < 20; i++)
        fds[i] = dial(&c);
    clock_gettime(CLOCK_MONOTONIC, &a);
    assert_int_equal(stop(&c), 0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    /* A second in the product; here with room for sanitizers at exit. */
    assert_true(b.tv_sec - a.tv_sec < 5);
    for (int i = 0; i < 20; i++)
        close(fds[i]);
    remove_state(c.state);
}

/* The hub refuses to start: exit code 1 and one line that holds `word`. */
static void refused(const struct hub_options *o, const char *word)
{
    struct child c;
    char line[1024], more[64];
    spawn(&c, o);
    bool got = read_line(c.err, line, sizeof line);
    bool second = read_line(c.err, more, sizeof more);
    int code = reap(&c);
    if (!got || second || !strstr(line, word) || code != 1)
        fail_msg("expected one line with \"%s\" and exit 1, got %d \"%s\" \"%s\"", word, code, line,
                 second ? more : "");
}

/* A UDP socket on a port of loopback, and the port as text. */
static int udp_listen(char *text, size_t cap)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(text, cap, "127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

static void what_cannot_be_done_is_said_in_one_line(void **state)
{
    struct child c;
    char listen[32], path[PATH_MAX];
    make_state(c.state);
    struct hub_options o = options_of(c.state), bad;
    start(&c, &o);
    bad = o; /* same state, while the first one runs */
    refused(&bad, "another hub (process");
    char other[64];
    make_state(other);
    bad = options_of(other);
    snprintf(listen, sizeof listen, "127.0.0.1:%u", c.at.port);
    bad.listen = listen;
    refused(&bad, "is in use by another program");
    bad.listen = "127.0.0.1";
    refused(&bad, "is no address to listen on");
    bad.listen = "203.0.113.77:0";
    refused(&bad, "has no address");
    bad.listen = "127.0.0.1:0";
    char busy[32];
    int fd = udp_listen(busy, sizeof busy);
    bad.udp = busy;
    refused(&bad, "the UDP port is in use");
    close(fd);
    bad.udp = "everywhere";
    refused(&bad, "not an address");
    bad.udp = "203.0.113.77:0";
    refused(&bad, "no such address");
    bad.udp = "[::]:0";
    bad.udp2 = "127.0.0.2";
    refused(&bad, "the first one by --udp");
    bad.udp = "none";
    refused(&bad, "--udp2 needs --udp");
    bad.udp2 = NULL;
    bad.turn = "turn:127.0.0.1:3478";
    refused(&bad, "go together");
    bad.turn_secret = "/proc/nothing";
    refused(&bad, "/proc/nothing");
    bad.turn_secret = "/proc/self/maps";
    refused(&bad, "1 to 64 bytes");
    bad.turn = "http://127.0.0.1";
    refused(&bad, "write turn:HOST:PORT");
    bad.turn = bad.turn_secret = NULL;
    bad.bus = "nats://127.0.0.1";
    refused(&bad, "no bus yet");
    bad.bus = "none";
    bad.store = "postgres://db/x";
    refused(&bad, "SQLite only");
    bad.store = NULL;
    snprintf(path, sizeof path, "%s/given.crt", other);
    bad.cert = path;
    refused(&bad, "belong together");
    bad.key = path;
    refused(&bad, "there is no certificate");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("rubbish\n", f);
    fclose(f);
    refused(&bad, "is no PEM certificate");
    bad.cert = bad.key = NULL;
    bad.state = "/proc/nothing/here";
    refused(&bad, "cannot make the state directory");
    assert_int_equal(stop(&c), 0);
    remove_state(other);
    remove_state(c.state);
}

/* Nobody asked for UDP, and its port is taken: a line in the log, and the hub serves. */
static void a_busy_default_port_is_no_end(void **state)
{
    struct child c;
    char line[1024] = "";
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(3478)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    /* If somebody else has it, so much the better. */
    (void)!bind(fd, (struct sockaddr *)&a, sizeof a);
    make_state(c.state);
    struct hub_options o = options_of(c.state);
    o.udp = NULL;
    start(&c, &o);
    while (!strstr(line, "event=no-udp"))
        assert_true(read_line(c.err, line, sizeof line));
    assert_non_null(strstr(line, "level=warn"));
    assert_int_equal(stop(&c), 0);
    close(fd);
    remove_state(c.state);
}

static void a_damaged_database_is_said(void **state)
{
    char dir[64], path[PATH_MAX];
    make_state(dir);
    struct hub_options o = options_of(dir);
    snprintf(path, sizeof path, "%s/hub.db", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 5000; i++)
        fputc('x', f);
    fclose(f);
    refused(&o, "is not a hub database or is damaged");
    remove_state(dir);
}

static long resident_kib(pid_t pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %ld", &kib);
    fclose(f);
    return kib;
}

static void wait_closed(int fd)
{
    char b[512];
    shutdown(fd, SHUT_WR);
    while (readable(fd) && read(fd, b, sizeof b) > 0)
        ;
    close(fd);
}

static void rubbish_costs_nothing(void **state)
{
    enum { WARM = 500, ROUNDS = 10000 };
    uint8_t rubbish[64];
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 1);
    struct child c;
    long before = 0;
    make_state(c.state);
    struct hub_options o = options_of(c.state);
    start(&c, &o);
    for (int i = 0; i < ROUNDS; i++) {
        if (i == WARM)
            before = resident_kib(c.pid);
        rng_fill(&rng, rubbish, sizeof rubbish);
        if (i % 3 == 0)
            memcpy(rubbish, "\x16\x03\x01\x00\x3b", 5); /* begins like TLS */
        if (i % 3 == 1)
            memcpy(rubbish, "GET / HTTP/1.1\r\n\r\n", 18); /* no TLS at all */
        int fd = dial(&c);
        assert_true(write(fd, rubbish, rng_below(&rng, sizeof rubbish)) >= 0);
        wait_closed(fd);
    }
    long grown = resident_kib(c.pid) - before;
    /* Sanitizers keep freed memory in quarantine and are measured without this bar. */
    assert_true(ADDRESS_SANITIZED || grown < 2048);
    if (have_curl()) {
        static char got[65536];
        unsigned long long accepted = 0, unfinished = 0;
        get(&c, "", "/metrics", got, sizeof got);
        const char *a = strstr(got, "\nwarren_hub_sockets_accepted_total "),
                   *b = strstr(got, "\nwarren_hub_tls_unfinished_total ");
        assert_true(a && b && sscanf(a, "%*s %llu", &accepted) == 1 &&
                    sscanf(b, "%*s %llu", &unfinished) == 1);
        assert_int_equal(accepted, ROUNDS + 1);
        assert_int_equal(unfinished, ROUNDS);
    }
    assert_int_equal(waitpid(c.pid, NULL, WNOHANG), 0);
    assert_int_equal(stop(&c), 0);
    remove_state(c.state);
}

static void the_listen_address_is_read(void **state)
{
    static const struct {
        const char *text, *host;
        int rc;
        uint16_t port;
    } rows[] = {
        {"[::]:443", "::", 0, 443},
        {":8443", "", 0, 8443},
        {"127.0.0.1:0", "127.0.0.1", 0, 0},
        {"hub.lan:80", "hub.lan", 0, 80},
        {"[2001:db8::1]:9", "2001:db8::1", 0, 9},
        {"::1:80", "", -EINVAL, 0},
        {"host", "", -EINVAL, 0},
        {"host:", "", -EINVAL, 0},
        {"host:65536", "", -EINVAL, 0},
        {"host:1x", "", -EINVAL, 0},
        {"[]:1", "", -EINVAL, 0},
        {"", "", -EINVAL, 0},
    };
    char host[256];
    uint16_t port;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(ws_server_listen_split(rows[i].text, host, sizeof host, &port), rows[i].rc);
        if (rows[i].rc == 0) {
            assert_string_equal(host, rows[i].host);
            assert_int_equal(port, rows[i].port);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_listen_address_is_read),
        cmocka_unit_test(it_serves_http),
        cmocka_unit_test(its_certificate_and_its_state_stay),
        cmocka_unit_test(sigterm_ends_it_within_a_second_with_clients_there),
        cmocka_unit_test(what_cannot_be_done_is_said_in_one_line),
        cmocka_unit_test(a_busy_default_port_is_no_end),
        cmocka_unit_test(a_damaged_database_is_said),
        cmocka_unit_test(rubbish_costs_nothing),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
