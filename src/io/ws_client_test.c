#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "crypto/tls.h"
#include "crypto/tls_accept_harness.h"
#include "crypto/x509.h"
#include "io/clock.h"
#include "io/ws_client.h"
#include "io/ws_frame.h"
#include "io/ws_server.h"
#include "io/ws_upgrade.h"

struct ear {
    uv_loop_t loop;
    struct ws_client *w;
    int ups, downs, texts, binaries;
    char why[512], text[64];
    uint8_t binding[32];
    bool again; /* connects once more from inside down */
    struct hub_address hub;
    struct buf heard; /* the last binary message */
    struct buf *say;  /* what take gives out next, NULL: nothing */
    bool say_binary;
    /* the other side, where a test has one */
    struct ws_server *server;
    uint64_t conn;
    uint8_t server_binding[32];
    struct buf echo;
    bool echo_binary, echo_waits;
    uint64_t flooded;  /* a connection for which the server never has an end, or 0 */
    size_t turn_bytes; /* of that in this turn of the loop */
};

#define FLOOD_MESSAGE 16000

static void on_up(void *arg, const uint8_t binding[32])
{
    struct ear *e = arg;
    memcpy(e->binding, binding, 32);
    e->ups++;
}

static void on_text(void *arg, struct bytes text)
{
    struct ear *e = arg;
    e->texts++;
    snprintf(e->text, sizeof e->text, "%.*s", (int)text.n, (const char *)text.p);
}

static void on_binary(void *arg, uint8_t *p, size_t n)
{
    struct ear *e = arg;
    e->binaries++;
    buf_clear(&e->heard);
    assert_int_equal(buf_add(&e->heard, bytes_of(p, n)), 0);
    memset(p, 0, n); /* the contract: in place */
}

static void on_down(void *arg, const char *why)
{
    struct ear *e = arg;
    e->downs++;
    snprintf(e->why, sizeof e->why, "%s", why);
    if (e->again) {
        e->again = false;
        assert_int_equal(ws_client_connect(e->w, &e->hub, "/api/v1/ws"), 0);
    }
}

static bool on_take(void *arg, struct buf *out, bool *binary)
{
    struct ear *e = arg;
    if (!e->say)
        return false;
    assert_int_equal(buf_add(out, buf_bytes(e->say)), 0);
    *binary = e->say_binary;
    e->say = NULL;
    return true;
}

static const struct ws_client_ops ops = {on_up, on_text, on_binary, on_down, on_take};

static int setup(void **state)
{
    static struct ear e;
    memset(&e, 0, sizeof e);
    uv_loop_init(&e.loop);
    buf_init(&e.heard, WS_CLIENT_MESSAGE_MAX);
    buf_init(&e.echo, 2 * WS_CLIENT_MESSAGE_MAX);
    e.w = ws_client_new(&e.loop, &ops, &e);
    *state = &e;
    return e.w ? 0 : -1;
}

static int teardown(void **state)
{
    struct ear *e = *state;
    ws_client_free(e->w);
    ws_server_free(e->server);
    buf_done(&e->heard);
    buf_done(&e->echo);
    return uv_loop_close(&e->loop); /* EBUSY where a handle was forgotten */
}

static void run_until_down(struct ear *e, int downs)
{
    while (e->downs < downs)
        uv_run(&e->loop, UV_RUN_ONCE);
}

/* A bound TCP port of this machine; with `answer` it accepts into its backlog. */
static int local_port(uint16_t *port, bool answer)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    if (answer)
        assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static struct hub_address hub_at(const char *host, uint16_t port, bool pinned)
{
    struct hub_address h = {.port = port, .pinned = pinned};
    snprintf(h.host, sizeof h.host, "%s", host);
    return h;
}

static void test_connection_refused(void **state)
{
    struct ear *e = *state;
    uint16_t port;
    char want[100];
    int fd = local_port(&port, false);
    struct hub_address hub = hub_at("127.0.0.1", port, true);
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    assert_int_equal(e->downs, 0); /* never from inside */
    run_until_down(e, 1);
    snprintf(want, sizeof want, "connection refused at 127.0.0.1:%u", port);
    assert_string_equal(e->why, want);
    assert_int_equal(e->ups, 0);
    close(fd);
}

static void test_connects_again_from_down(void **state)
{
    struct ear *e = *state;
    uint16_t port;
    int fd = local_port(&port, false);
    e->hub = hub_at("127.0.0.1", port, false);
    e->again = true;
    assert_int_equal(ws_client_connect(e->w, &e->hub, "/api/v1/ws"), 0);
    run_until_down(e, 2);
    assert_int_equal(e->downs, 2);
    close(fd);
}

static void test_close_says_nothing(void **state)
{
    struct ear *e = *state;
    uint16_t port;
    int fd = local_port(&port, false);
    struct hub_address hub = hub_at("127.0.0.1", port, true);
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    ws_client_close(e->w);
    for (int i = 0; i < 50; i++)
        uv_run(&e->loop, UV_RUN_NOWAIT);
    assert_int_equal(e->downs, 0);
    ws_client_want_write(e->w); /* nothing to write to: ignored */
    close(fd);
}

static void test_unknown_name(void **state)
{
    struct ear *e = *state;
    struct hub_address hub = hub_at("no-such-host.invalid", 443, true);
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    run_until_down(e, 1);
    assert_non_null(strstr(e->why, "name server"));
    assert_non_null(strstr(e->why, "no-such-host.invalid:443"));
}

static void test_ipv6_literal_needs_a_pin(void **state)
{
    struct ear *e = *state;
    struct hub_address hub = hub_at("::1", 443, false);
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    assert_int_equal(e->downs, 0);
    run_until_down(e, 1);
    assert_non_null(strstr(e->why, "needs its certificate's fingerprint"));
}

/* A server that accepts and then hangs up in the middle of TLS. */
static void test_not_a_tls_server(void **state)
{
    struct ear *e = *state;
    uint16_t port;
    int fd = local_port(&port, true);
    struct hub_address hub = hub_at("127.0.0.1", port, true);
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    int served = 0;
    while (!e->downs) {
        uv_run(&e->loop, UV_RUN_NOWAIT);
        int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (c >= 0) {
            static const char rubbish[] = "SSH-2.0-something-else\r\n";
            if (write(c, rubbish, sizeof rubbish - 1) < 0)
                served--;
            close(c);
            served++;
        }
    }
    assert_true(served >= 1);
    assert_int_equal(e->ups, 0);
    assert_true(strlen(e->why) > 10);
    assert_null(strstr(e->why, "refused"));
    close(fd);
}

/* ---- against a server of our own: it sends back what it hears */

static int server_open(void *arg, uint64_t conn, const struct net_addr *remote, const uint8_t binding[32])
{
    struct ear *e = arg;
    (void)remote;
    e->conn = conn;
    memcpy(e->server_binding, binding, 32);
    return 0;
}

static void server_hears(struct ear *e, struct bytes m, bool binary)
{
    buf_clear(&e->echo);
    assert_int_equal(buf_add(&e->echo, m), 0);
    e->echo_binary = binary;
    e->echo_waits = true;
    ws_server_want_write(e->server, e->conn);
}

static void server_text(void *arg, uint64_t conn, struct bytes text)
{
    (void)conn;
    server_hears(arg, text, false);
}

static void server_binary(void *arg, uint64_t conn, struct bytes message)
{
    (void)conn;
    server_hears(arg, message, true);
}

static void server_alive(void *arg, uint64_t conn)
{
    (void)arg, (void)conn;
}

static bool server_take(void *arg, uint64_t conn, struct buf *out, bool *binary)
{
    struct ear *e = arg;
    if (e->flooded && conn == e->flooded) {
        static const uint8_t zeros[FLOOD_MESSAGE];
        e->turn_bytes += FLOOD_MESSAGE;
        *binary = true;
        return buf_add(out, bytes_of(zeros, sizeof zeros)) == 0;
    }
    if (!e->echo_waits)
        return false;
    e->echo_waits = false;
    *binary = e->echo_binary;
    return buf_add(out, buf_bytes(&e->echo)) == 0;
}

static void server_http(void *arg, const struct ws_server_request *rq, struct ws_server_response *rs)
{
    (void)arg, (void)rq;
    rs->status = 404;
}

static const struct ws_server_ops server_ops = {server_open,  server_text, server_binary, server_alive,
                                                server_alive, server_take, server_http};

/* Serves on a port of the loopback with a fresh certificate; hub gets its address and fingerprint. */
static void serve(struct ear *e, struct hub_address *hub)
{
    struct buf cert, key;
    const char *why = "";
    buf_init(&cert, 65536);
    buf_init(&key, 65536);
    assert_int_equal(x509_self_signed(CERT_MLDSA87, "127.0.0.1", clock_unix_s() - 3600, 30, &cert, &key), 0);
    struct ws_server_config c = {.loop = &e->loop,
                                 .listen = "127.0.0.1:0",
                                 .mldsa_cert = buf_bytes(&cert),
                                 .mldsa_key = buf_bytes(&key),
                                 .connections = 16,
                                 .connections_per_ip = 16};
    e->server = ws_server_new(&c, &server_ops, e, &why);
    if (!e->server)
        fail_msg("no server: %s", why);
    *hub = hub_at("127.0.0.1", ws_server_port(e->server), true);
    assert_int_equal(x509_fingerprint(buf_bytes(&cert), hub->fingerprint), 0);
    buf_done(&cert);
    buf_done(&key);
}

static void run_until(struct ear *e, const int *counter, int want)
{
    while (*counter < want && !e->downs)
        uv_run(&e->loop, UV_RUN_ONCE);
    if (*counter < want)
        fail_msg("down: %s", e->why);
}

static void say(struct ear *e, struct buf *m, bool binary)
{
    e->say = m;
    e->say_binary = binary;
    ws_client_want_write(e->w);
}

static void test_messages_of_every_size(void **state)
{
    struct ear *e = *state;
    struct hub_address hub;
    serve(e, &hub);
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    run_until(e, &e->ups, 1);
    assert_memory_equal(e->binding, e->server_binding, 32); /* both ends of one connection */
    struct sockaddr_storage own;
    assert_true(ws_client_local_address(e->w, &own));
    assert_int_equal(((struct sockaddr_in *)&own)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    struct net_addr addresses[WS_CLIENT_ADDRESSES_MAX];
    assert_int_equal(ws_client_addresses(e->w, addresses, WS_CLIENT_ADDRESSES_MAX), 1);
    assert_int_equal(net_addr_ip4(&addresses[0]), INADDR_LOOPBACK);
    assert_int_equal(addresses[0].port, hub.port);
    assert_int_equal(ws_client_addresses(e->w, addresses, 0), 0);
    static const size_t size[] = {1, 125, 126, 4096, 16383, 16384, 16385, 65535, 65536};
    struct buf m;
    buf_init(&m, WS_CLIENT_MESSAGE_MAX);
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        buf_clear(&m);
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(buf_add(&m, bytes_of(&(uint8_t){(uint8_t)(k * 7 + i)}, 1)), 0);
        say(e, &m, true);
        run_until(e, &e->binaries, (int)i + 1);
        assert_int_equal(e->heard.n, m.n);
        assert_memory_equal(e->heard.p, m.p, m.n);
    }
    buf_clear(&m);
    buf_add_str(&m, "{\"type\":\"ping\"}");
    say(e, &m, false);
    run_until(e, &e->texts, 1);
    assert_string_equal(e->text, "{\"type\":\"ping\"}");
    buf_done(&m);
}

/* A connection that always has something to say gets so much a turn, and another one its answer meanwhile. */
static void test_a_flood_leaves_turns(void **state)
{
    struct ear *e = *state, other = {.turn_bytes = 0};
    struct hub_address hub;
    struct buf m;
    other.w = ws_client_new(&e->loop, &ops, &other);
    assert_non_null(other.w);
    serve(e, &hub);
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    run_until(e, &e->ups, 1);
    e->flooded = e->conn;
    buf_init(&other.heard, WS_CLIENT_MESSAGE_MAX);
    assert_int_equal(ws_client_connect(other.w, &hub, "/api/v1/ws"), 0);
    run_until(e, &other.ups, 1);
    ws_server_want_write(e->server, e->flooded);
    run_until(e, &e->binaries, 50);
    buf_init(&m, WS_CLIENT_MESSAGE_MAX);
    assert_int_equal(buf_add_str(&m, "and me?"), 0);
    say(&other, &m, true);
    int turns = 0, before = e->binaries;
    for (; other.binaries < 1 && turns < 1000; turns++) {
        e->turn_bytes = 0;
        uv_run(&e->loop, UV_RUN_NOWAIT);
        assert_in_range(e->turn_bytes, 0, WS_SERVER_TURN + FLOOD_MESSAGE);
    }
    assert_int_equal(other.binaries, 1);
    assert_memory_equal(other.heard.p, "and me?", 7);
    assert_in_range(turns, 1, 20);
    assert_true(e->binaries > before);
    e->flooded = 0;
    ws_client_free(other.w);
    buf_done(&other.heard);
    buf_done(&m);
}

static void test_wrong_pin(void **state)
{
    struct ear *e = *state;
    struct hub_address hub;
    serve(e, &hub);
    hub.fingerprint[7] ^= 1;
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    run_until_down(e, 1);
    assert_non_null(strstr(e->why, "certificate does not match"));
    assert_int_equal(e->ups, 0);
    /* The right one afterwards is taken: what was refused is not remembered. */
    hub.fingerprint[7] ^= 1;
    e->downs = 0;
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    run_until(e, &e->ups, 1);
    ws_client_close(e->w);
    hub.fingerprint[31] ^= 1;
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    run_until_down(e, 1);
    assert_int_equal(e->ups, 1);
}

/* Our own authority is in nobody's list: without a pin the certificate counts for nothing. */
static void test_unpinned_is_judged_by_authorities(void **state)
{
    struct ear *e = *state;
    struct hub_address hub;
    serve(e, &hub);
    hub.pinned = false;
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    run_until_down(e, 1);
    assert_int_equal(e->ups, 0);
    assert_true(strlen(e->why) > 10);
}

static void test_other_path_is_no_hub(void **state)
{
    struct ear *e = *state;
    struct hub_address hub;
    serve(e, &hub);
    assert_int_equal(ws_client_connect(e->w, &hub, "/somewhere/else"), 0);
    run_until_down(e, 1);
    assert_non_null(strstr(e->why, "127.0.0.1"));
    assert_int_equal(e->ups, 0);
}

static void test_server_hangs_up(void **state)
{
    struct ear *e = *state;
    struct hub_address hub;
    serve(e, &hub);
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    run_until(e, &e->ups, 1);
    ws_server_close(e->server, e->conn, 1001, "shutting down");
    run_until_down(e, 1);
    assert_string_equal(e->why, "the hub closed the connection: shutting down");
    for (int i = 0; i < 50; i++)
        uv_run(&e->loop, UV_RUN_NOWAIT);
    assert_int_equal(e->downs, 1); /* once */
    assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
    e->downs = 0;
    run_until(e, &e->ups, 2);
}

/* A hub may say what it likes: what is no text is not handed on. */
static void test_reasons_are_text(void **state)
{
    struct ear *e = *state;
    struct hub_address hub;
    static const char *const bad[] = {"\xff\xfe", "cut in two \xe2\x82"};
    serve(e, &hub);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
        e->downs = 0;
        run_until(e, &e->ups, (int)i + 1);
        ws_server_close(e->server, e->conn, 1008, bad[i]);
        run_until_down(e, 1);
        assert_string_equal(e->why, "the hub closed the connection");
    }
}

/* ---- against a server that sends what it likes, in a process of its own */

struct script {
    const char *bytes;
    size_t n;
    size_t records; /* into so many TLS records, or fewer */
    const char *heard, *why;
    bool pong; /* "hi" is to come back */
};

static bool read_pong(SSL *ssl)
{
    uint8_t raw[64];
    struct ws_head h;
    size_t n = 0;
    int head;
    while ((head = ws_head_read(&h, bytes_of(raw, n))) == 0 || (head > 0 && n < (size_t)head + h.length)) {
        int got = harness_read(ssl, raw + n, sizeof raw - n);
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    if (head < 0 || h.opcode != WS_PONG || !h.masked || h.length != 2)
        return false;
    ws_mask(raw + head, 2, h.mask);
    return memcmp(raw + head, "hi", 2) == 0;
}

/* The other process: its exit status. */
static int act(int listener, struct bytes cert, struct bytes key, const struct script *script)
{
    char request[2048] = "", answer[WS_UPGRADE_MAX], accept_key[WS_UPGRADE_KEY_LEN + 1] = "";
    int n = 0;
    SSL *ssl = harness_accept(listener, cert, key);
    if (!ssl)
        return 1;
    while (!strstr(request, "\r\n\r\n")) {
        int got = harness_read(ssl, request + n, sizeof request - 1 - (size_t)n);
        if (got <= 0)
            return 2;
        n += got;
    }
    const char *at = strcasestr(request, "sec-websocket-key: ");
    if (!at)
        return 3;
    memcpy(accept_key, at + 19, WS_UPGRADE_KEY_LEN);
    n = ws_upgrade_answer(answer, sizeof answer, accept_key);
    if (n < 0 || harness_write(ssl, answer, (size_t)n) != n)
        return 4;
    size_t piece = (script->n + script->records - 1) / script->records;
    for (size_t i = 0; i < script->n; i += piece) {
        int k = (int)(script->n - i < piece ? script->n - i : piece);
        if (harness_write(ssl, script->bytes + i, (size_t)k) != k)
            return 5;
    }
    if (script->pong && !read_pong(ssl))
        return 6;
    while (harness_read(ssl, request, sizeof request) > 0) /* until it hangs up */
        ;
    return 0;
}

static pid_t perform(struct hub_address *hub, const struct script *script)
{
    struct buf cert, key;
    uint16_t port;
    int fd = local_port(&port, true);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0); /* accept waits */
    buf_init(&cert, 65536);
    buf_init(&key, 65536);
    assert_int_equal(x509_self_signed(CERT_MLDSA87, "127.0.0.1", clock_unix_s() - 3600, 30, &cert, &key), 0);
    *hub = hub_at("127.0.0.1", port, true);
    assert_int_equal(x509_fingerprint(buf_bytes(&cert), hub->fingerprint), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(act(fd, buf_bytes(&cert), buf_bytes(&key), script));
    }
    close(fd);
    buf_done(&cert);
    buf_done(&key);
    return pid;
}

#define BYTES(text) text, sizeof(text) - 1

static void test_frames_as_they_come(void **state)
{
    static const struct script scripts[] = {
        {BYTES("\x81\x05hello"), 1, "hello", NULL, false},
        {BYTES("\x81\x05hello"), 7, "hello", NULL, false},
        {BYTES("\x81\x03one\x81\x03two\x81\x05three"), 1, "three", NULL, false},
        {BYTES("\x01\x02he\x89\x02hi\x00\x01l\x80\x02lo"), 1, "hello", NULL, true},
        {BYTES("\x01\x02he\x89\x02ho\x89\x02hi\x80\x03llo"), 3, "hello", NULL, false},
        {BYTES("\x8a\x02hi\x81\x05hello"), 2, "hello", NULL, false},
        {BYTES("\x81\x85\x01\x02\x03\x04igohn"), 1, NULL, "no WebSocket frame", false},
        {BYTES("\x83\x05hello"), 1, NULL, "no WebSocket frame", false},
        {BYTES("\x80\x05hello"), 1, NULL, "do not fit together", false},
        {BYTES("\x01\x02he\x81\x02lo"), 1, NULL, "do not fit together", false},
        {BYTES("\x82\x7f\0\0\0\0\0\1\0\1"), 1, NULL, "too long", false},
        {BYTES("\x88\x06\x03\xe9over"), 1, NULL, "the hub closed the connection: over", false},
        {BYTES("\x88\x00"), 2, NULL, "the hub closed the connection", false},
    };
    struct ear *e = *state;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        const struct script *script = &scripts[i];
        struct hub_address hub;
        int status;
        pid_t pid = perform(&hub, script);
        e->downs = 0;
        e->text[0] = '\0';
        assert_int_equal(ws_client_connect(e->w, &hub, "/api/v1/ws"), 0);
        while (script->heard ? strcmp(e->text, script->heard) != 0 && !e->downs : !e->downs)
            uv_run(&e->loop, UV_RUN_ONCE);
        if (script->heard && strcmp(e->text, script->heard) != 0)
            fail_msg("script %zu: %s", i, e->why);
        if (script->why && !strstr(e->why, script->why))
            fail_msg("script %zu: %s", i, e->why);
        for (int turns = 0; turns < 20; turns++) /* the pong leaves */
            uv_run(&e->loop, UV_RUN_NOWAIT);
        ws_client_close(e->w);
        while (waitpid(pid, &status, WNOHANG) == 0)
            uv_run(&e->loop, UV_RUN_NOWAIT);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connection_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connects_again_from_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_says_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ipv6_literal_needs_a_pin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_tls_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages_of_every_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_leaves_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_frames_as_they_come, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_pin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unpinned_is_judged_by_authorities, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_path_is_no_hub, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_hangs_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reasons_are_text, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
