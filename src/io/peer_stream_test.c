#include "io/peer_stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/filter.h>
#include <signal.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/peer_stream_int.h"

#define HEARD_MAX (1u << 22)

static struct tls_node *nodes[2]; /* the key of the first one is the smaller */

struct end {
    struct peer_streams *streams;
    uint16_t port;
    int ups, downs, messages;
    uint32_t stream; /* the last one that came up */
    struct net_addr remote;
    char why[500];
    struct buf heard; /* all messages */
    bool close_on_up, close_on_message, echo;
};

static uv_loop_t loop;
static struct end a, b;

static void on_up(void *arg, uint32_t stream, const struct net_addr *remote)
{
    struct end *e = arg;
    e->ups++;
    e->stream = stream;
    e->remote = *remote;
    if (e->close_on_up)
        peer_stream_close(e->streams, stream);
}

static void on_message(void *arg, uint32_t stream, uint8_t *p, size_t n)
{
    struct end *e = arg;
    e->messages++;
    assert_true(n <= PEER_STREAM_MESSAGE_MAX);
    assert_int_equal(buf_add(&e->heard, bytes_of(p, n)), 0);
    if (e->echo)
        assert_int_equal(peer_stream_send(e->streams, stream, bytes_of(p + 2, n - 2), false), 0);
    memset(p, 0xee, n); /* the contract: in place */
    if (e->close_on_message)
        peer_stream_close(e->streams, stream);
}

static void on_down(void *arg, uint32_t stream, const char *why)
{
    struct end *e = arg;
    e->downs++;
    snprintf(e->why, sizeof e->why, "%s", why);
}

static const struct peer_streams_ops ops = {on_up, on_message, on_down};

static int make_nodes(void **state)
{
    uint8_t seed[MLDSA_SEED_LEN] = {1};
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 2; i++, seed[0]++)
        nodes[i] = tls_node_new(seed);
    if (!nodes[0] || !nodes[1])
        return -1;
    if (memcmp(tls_node_key(nodes[0]), tls_node_key(nodes[1]), MLDSA_PUBLIC_LEN) > 0) {
        struct tls_node *n = nodes[0];
        nodes[0] = nodes[1];
        nodes[1] = n;
    }
    return 0;
}

static int drop_nodes(void **state)
{
    tls_node_free(nodes[0]);
    tls_node_free(nodes[1]);
    return 0;
}

static void end_init(struct end *e, struct tls_node *node)
{
    memset(e, 0, sizeof *e);
    buf_init(&e->heard, HEARD_MAX);
    e->streams = peer_streams_new(&loop, node, &ops, e);
    assert_non_null(e->streams);
    assert_int_equal(peer_streams_listen(e->streams, 0, &e->port), 0);
    assert_true(e->port >= 1024);
}

static int setup(void **state)
{
    uv_loop_init(&loop);
    end_init(&a, nodes[0]);
    end_init(&b, nodes[1]);
    return 0;
}

static int teardown(void **state)
{
    peer_streams_free(a.streams);
    peer_streams_free(b.streams);
    buf_done(&a.heard);
    buf_done(&b.heard);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop); /* EBUSY where a handle was forgotten */
}

static struct net_addr local(uint16_t port)
{
    return net_addr4(0x7f000001, port);
}

static struct peer_dial peer_dial(uint32_t stream, const struct end *to, const struct tls_node *who)
{
    return (struct peer_dial){.stream = stream, .to = local(to->port), .key = tls_node_key(who)};
}

#define UNTIL(condition)                                                                                     \
    while (!(condition))                                                                                     \
    uv_run(&loop, UV_RUN_ONCE)

static void turns(int n)
{
    while (n--)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void connect_ab(void)
{
    struct peer_dial d = peer_dial(7, &b, nodes[1]);
    assert_int_equal(peer_stream_dial(a.streams, &d), 0);
    assert_int_equal(a.ups, 0); /* never from inside */
    UNTIL(a.ups && b.ups);
}

static void opens_and_carries(void **state)
{
    connect_ab();
    assert_int_equal(a.stream, 7);
    assert_true(b.stream >= PEER_STREAM_ACCEPTED);
    assert_int_equal(a.remote.port, b.port);
    assert_int_equal(b.remote.family, 4); /* never a mapped one */
    assert_int_equal(net_addr_ip4(&b.remote), 0x7f000001);
    /* what is given in one turn shares a message, each datagram with its length */
    assert_int_equal(peer_stream_send(a.streams, 7, bytes_of_str("one"), false), 0);
    assert_int_equal(peer_stream_send(a.streams, 7, bytes_of_str("three"), true), 0);
    UNTIL(b.messages);
    assert_int_equal(b.messages, 1);
    assert_int_equal(b.heard.n, 12);
    assert_memory_equal(b.heard.p, "\0\3one\0\5three", 12);
    b.echo = a.close_on_message = true;
    assert_int_equal(peer_stream_send(a.streams, 7, bytes_of_str("back"), false), 0);
    UNTIL(b.downs);
    assert_memory_equal(a.heard.p, "\0\4back", 6);
    assert_string_equal(b.why, "the other side closed the connection");
    assert_int_equal(a.downs, 0);
    assert_int_equal(peer_stream_send(a.streams, 7, bytes_of_str("x"), false), -ENOENT);
    struct peer_streams_stats st;
    peer_streams_stats(b.streams, &st);
    assert_int_equal(st.accepted, 1);
    assert_int_equal(st.opened, 1);
    assert_int_equal(st.failed, 0);
}

static void closes_from_inside_up(void **state)
{
    struct peer_dial d = peer_dial(7, &b, nodes[1]);
    b.close_on_up = true;
    assert_int_equal(peer_stream_dial(a.streams, &d), 0);
    UNTIL(a.downs);
    assert_int_equal(b.ups, 1);
    assert_int_equal(b.downs, 0);
    assert_int_equal(a.ups, 1);
}

static void another_key_is_refused(void **state)
{
    struct peer_dial d = peer_dial(7, &b, nodes[0]);
    assert_int_equal(peer_stream_dial(a.streams, &d), 0);
    UNTIL(a.downs);
    assert_int_equal(a.ups, 0);
    assert_non_null(strstr(a.why, "not who was dialled"));
    turns(20);
    assert_int_equal(b.ups + b.downs, 0); /* it never was up there */
}

static void nobody_listens(void **state)
{
    struct peer_dial d = {.stream = 1, .to = local(1), .key = tls_node_key(nodes[1])};
    assert_int_equal(peer_stream_dial(a.streams, &d), 0);
    assert_int_equal(a.downs, 0);
    UNTIL(a.downs);
    assert_string_equal(a.why, "connection refused at 127.0.0.1:1");
}

static void wrong_dials(void **state)
{
    struct peer_dial d = peer_dial(PEER_STREAM_ACCEPTED, &b, nodes[1]);
    assert_int_equal(peer_stream_dial(a.streams, &d), -EINVAL);
    d = peer_dial(1, &b, nodes[1]);
    d.key = NULL;
    assert_int_equal(peer_stream_dial(a.streams, &d), -EINVAL);
    d = (struct peer_dial){.stream = 1, .kind = PEER_STREAM_TLS, .host = "localhost"};
    assert_int_equal(peer_stream_dial(a.streams, &d), -EINVAL);
    d = peer_dial(1, &b, nodes[1]);
    assert_int_equal(peer_stream_dial(a.streams, &d), 0);
    assert_int_equal(peer_stream_dial(a.streams, &d), -EEXIST);
    peer_stream_close(a.streams, 1);
    peer_stream_close(a.streams, 1);
    assert_int_equal(peer_stream_dial(a.streams, &d), 0);
    UNTIL(a.ups);
}

static void long_datagrams(void **state)
{
    static uint8_t big[PEER_STREAM_DATAGRAM_MAX + 1];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7);
    connect_ab();
    assert_int_equal(peer_stream_send(a.streams, 7, bytes_of(big, sizeof big), false), -EMSGSIZE);
    assert_int_equal(peer_stream_send(a.streams, 7, bytes_of(big, sizeof big - 1), false), 0);
    assert_int_equal(peer_stream_send(a.streams, 7, bytes_of(big, 9000), false), 0);
    UNTIL(b.messages == 2);
    assert_int_equal(b.heard.n, sizeof big - 1 + 2 + 9002);
    assert_int_equal(b.heard.p[0], 0xff);
    assert_int_equal(b.heard.p[1], 0xfe);
    assert_memory_equal(b.heard.p + 2, big, sizeof big - 1);
}

/* The other side's process stands still: only its socket takes what it has room for. */
static void a_stalled_stream_drops_the_oldest_but_not_what_must_stay(void **state)
{
    static uint8_t block[30000];
    uint32_t sent = 0, kept = 0;
    connect_ab();
    struct peer_stream *to = b.streams->list;
    assert_int_equal(uv_read_stop((uv_stream_t *)&to->attempt->tcp), 0);
    struct peer_streams_stats st;
    do {
        struct wr w = wr_of(block, sizeof block);
        bool keep = sent % 16 == 0;
        wr_u32(&w, sent++);
        wr_u8(&w, keep);
        int rc = peer_stream_send(a.streams, 7, bytes_of(block, sizeof block), keep);
        if (keep)
            assert_int_equal(rc, 0);
        kept += keep;
        turns(1);
        peer_streams_stats(a.streams, &st);
    } while (st.dropped < 20);
    assert_int_equal(a.downs, 0);
    struct wr w = wr_of(block, sizeof block);
    wr_u32(&w, UINT32_MAX);
    assert_int_equal(peer_stream_send(a.streams, 7, bytes_of(block, 5), true), 0);
    b.heard.max = SIZE_MAX;
    stream_wire_start(to);
    uint32_t last = 0, kept_there = 0, there = 0, mark = 0;
    size_t at = 0;
    while (mark != UINT32_MAX) {
        uv_run(&loop, UV_RUN_ONCE);
        while (at < b.heard.n) {
            struct rd r = rd_of(bytes_of(b.heard.p + at, b.heard.n - at));
            struct bytes d = rd_block16(&r, 65535);
            assert_true(rd_ok(&r));
            at = b.heard.n - rd_left(&r);
            struct rd m = rd_of(d);
            mark = rd_u32(&m);
            assert_true(there == 0 || mark > last); /* in order */
            last = mark;
            there++;
            kept_there += rd_u8(&m) && mark != UINT32_MAX;
        }
    }
    peer_streams_stats(a.streams, &st);
    assert_int_equal(kept_there, kept);
    assert_int_equal(there + st.dropped, sent + 1);
}

/* ---- strangers at the listener */

static int stranger(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static bool hung_up(int fd)
{
    uint8_t byte[4096];
    ssize_t n;
    do {
        n = recv(fd, byte, sizeof byte, MSG_DONTWAIT);
    } while (n > 0);
    return n == 0 || errno != EAGAIN;
}

static void garbage_at_the_listener(void **state)
{
    static const char *const said[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05hello",
                                       "\x16\x03\x01\xff\xff\x01\x00\x00\x00", "SSH-2.0-x\r\n"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        int fd = stranger(b.port);
        size_t n = i == 2 ? 9 : strlen(said[i]) + (i == 1 ? 5 : 0);
        char text[32] = "";
        memcpy(text, said[i], i == 1 ? 10 : n);
        assert_int_equal(send(fd, text, i == 1 ? 10 : n, 0), i == 1 ? 10 : (int)n);
        UNTIL(hung_up(fd));
        close(fd);
    }
    /* half a hello, and then nothing more */
    struct tls_engine *e = tls_engine_client(nodes[0], tls_node_key(nodes[1]));
    struct buf hello;
    buf_init(&hello, 65536);
    assert_int_equal(tls_engine_pull(e, &hello), 0);
    int fd = stranger(b.port);
    assert_int_equal(send(fd, hello.p, hello.n / 2, 0), hello.n / 2);
    UNTIL(b.streams->count == 1);
    shutdown(fd, SHUT_WR);
    UNTIL(b.streams->count == 0);
    close(fd);
    buf_done(&hello);
    tls_engine_free(e);
    assert_int_equal(b.ups + b.downs, 0);
    struct peer_streams_stats st;
    peer_streams_stats(b.streams, &st);
    assert_int_equal(st.failed, 5);
    connect_ab(); /* and it still serves */
}

/* TLS in the test's own hands, so that what is said inside may be anything. */
struct hand {
    int fd;
    struct tls_engine *tls;
    struct buf got;
};

static void hand_turn(struct hand *h)
{
    uint8_t p[65536];
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(tls_engine_pull(h->tls, &out), 0);
    if (out.n)
        assert_int_equal(send(h->fd, out.p, out.n, MSG_NOSIGNAL), out.n);
    buf_done(&out);
    uv_run(&loop, UV_RUN_NOWAIT);
    ssize_t n = recv(h->fd, p, sizeof p, MSG_DONTWAIT);
    if (n > 0)
        tls_engine_feed(h->tls, bytes_of(p, (size_t)n));
    int m;
    while ((m = tls_engine_read(h->tls, p, sizeof p)) > 0)
        assert_int_equal(buf_add(&h->got, bytes_of(p, (size_t)m)), 0);
}

static void hand_open(struct hand *h)
{
    h->fd = stranger(b.port);
    h->tls = tls_engine_client(nodes[0], tls_node_key(nodes[1]));
    buf_init(&h->got, 1 << 20);
    while (tls_engine_state(h->tls) == TLS_HANDSHAKE)
        hand_turn(h);
    assert_int_equal(tls_engine_state(h->tls), TLS_OPEN);
}

static void hand_say(struct hand *h, const void *p, size_t n)
{
    assert_int_equal(tls_engine_write(h->tls, bytes_of(p, n)), 0);
    while (tls_engine_state(h->tls) == TLS_OPEN)
        hand_turn(h);
}

static void hand_done(struct hand *h)
{
    close(h->fd);
    tls_engine_free(h->tls);
    buf_done(&h->got);
}

static void http_without_an_upgrade(void **state)
{
    struct hand h;
    hand_open(&h);
    hand_say(&h, "GET /warren HTTP/1.1\r\nHost: x\r\n\r\n", 33);
    assert_int_equal(h.got.n, strlen(WS_UPGRADE_REFUSAL));
    assert_memory_equal(h.got.p, WS_UPGRADE_REFUSAL, h.got.n);
    hand_done(&h);
    assert_int_equal(b.ups + b.downs, 0);
}

/* Behind a good upgrade, in the same record, wrong frames (RFC 6455 section 5). */
static void wrong_frames(void **state)
{
    static const struct {
        const char *frame;
        size_t n;
        const char *why;
    } cases[] = {
        {"\x82\x01x", 3, "rules of WebSocket"},                          /* not masked */
        {"\xc2\x81\0\0\0\0x", 7, "rules of WebSocket"},                  /* reserved bit */
        {"\x82\xff\0\0\0\0\0\1\0\1\0\0\0\0x", 15, "rules of WebSocket"}, /* 65537 bytes */
        {"\x81\x81\0\0\0\0x", 7, "sent text"},                           /* text */
        {"\x88\x82\0\0\0\0\x03\xe8", 8, "the other side closed"},        /* close 1000 */
        {"\x80\x81\0\0\0\0x", 7, "rules of WebSocket"},                  /* continues nothing */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hand h;
        char text[WS_UPGRADE_MAX + 32];
        hand_open(&h);
        int n = ws_upgrade_request(text, sizeof text, "x", "dGhlIHNhbXBsZSBub25jZQ==");
        memcpy(text + n, cases[i].frame, cases[i].n);
        hand_say(&h, text, (size_t)n + cases[i].n);
        assert_int_equal(b.ups, i + 1);
        UNTIL(b.downs == (int)i + 1);
        if (!strstr(b.why, cases[i].why))
            fail_msg("case %zu: %s", i, b.why);
        assert_int_equal(b.messages, 0);
        hand_done(&h);
    }
}

static void limits(void **state)
{
    int fds[PEER_STREAM_PER_ADDRESS + 3];
    const size_t n = sizeof fds / sizeof *fds;
    struct peer_streams_stats st;
    for (size_t i = 0; i < n; i++)
        fds[i] = stranger(b.port);
    do {
        turns(1);
        peer_streams_stats(b.streams, &st);
    } while (st.accepted + st.refused < n);
    assert_int_equal(st.accepted, PEER_STREAM_PER_ADDRESS);
    assert_int_equal(st.refused, 3);
    assert_int_equal(st.failed, 0);
    assert_int_equal(b.streams->count, PEER_STREAM_PER_ADDRESS);
    for (size_t i = PEER_STREAM_PER_ADDRESS; i < n; i++)
        assert_true(hung_up(fds[i]));
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    UNTIL(b.streams->count == 0);
    /* dials, too */
    struct peer_dial d = peer_dial(0, &b, nodes[1]);
    for (; d.stream < PEER_STREAMS_MAX; d.stream++)
        assert_int_equal(peer_stream_dial(a.streams, &d), 0);
    assert_int_equal(peer_stream_dial(a.streams, &d), -ENOBUFS);
}

/* ---- both ends dial */

/* A NAT that lets in nothing that was not asked for: the listener does not see SYNs. */
static void shut(struct end *e)
{
    struct sock_filter drop[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog all = {1, drop};
    uv_os_fd_t fd;
    assert_int_equal(uv_fileno((uv_handle_t *)e->streams->listener, &fd), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof all), 0);
}

static void punch(struct end *from, const struct end *to, const struct tls_node *who)
{
    struct peer_dial d = peer_dial(3, to, who);
    d.punch = true;
    assert_int_equal(peer_stream_dial(from->streams, &d), 0);
}

static void carries_both_ways(void)
{
    assert_int_equal(peer_stream_send(a.streams, a.stream, bytes_of_str("from a"), false), 0);
    assert_int_equal(peer_stream_send(b.streams, b.stream, bytes_of_str("from b"), false), 0);
    UNTIL(a.messages && b.messages);
    assert_memory_equal(a.heard.p, "\0\6from b", 8);
    assert_memory_equal(b.heard.p, "\0\6from a", 8);
}

static void simultaneous_open(void **state)
{
    shut(&a);
    shut(&b);
    punch(&a, &b, nodes[1]); /* its SYN meets nobody, and waits */
    turns(3);
    punch(&b, &a, nodes[0]);
    UNTIL(a.ups && b.ups);
    assert_int_equal(a.stream, 3);
    assert_int_equal(b.stream, 3);
    assert_int_equal(a.remote.port, b.port);
    assert_int_equal(b.remote.port, a.port);
    assert_true(a.streams->list->client); /* the smaller key */
    assert_false(b.streams->list->client);
    carries_both_ways();
}

/* The end with the greater key began first, for the other's hello took too long: it is to yield. */
static void glare(void **state)
{
    shut(&a);
    shut(&b);
    punch(&b, &a, nodes[0]);
    turns(3);
    punch(&a, &b, nodes[1]);
    struct peer_stream *s = b.streams->list;
    UNTIL(s->stage == STAGE_ROLE);
    s->step.timer_cb(&s->step); /* tired at once */
    assert_true(s->client);
    UNTIL(a.ups && b.ups);
    assert_true(a.streams->list->client);
    assert_false(b.streams->list->client);
    carries_both_ways();
}

/* The other side's listener was reached instead: whoever has the greater key waits for a hello in vain, and
 * then begins. */
static void punched_into_a_listener(void **state)
{
    punch(&b, &a, nodes[0]);
    UNTIL(a.ups && b.ups);
    assert_true(b.streams->list->client);
    assert_true(a.stream >= PEER_STREAM_ACCEPTED);
    assert_int_equal(a.remote.port, b.port); /* from the listener's port */
    carries_both_ways();
}

static void a_punch_goes_on_after_a_refusal(void **state)
{
    uint16_t port = b.port;
    peer_streams_free(b.streams); /* nobody there: resets */
    turns(3);
    punch(&a, &b, nodes[1]);
    turns(3);
    assert_int_equal(a.downs, 0);
    buf_done(&b.heard);
    memset(&b, 0, sizeof b);
    buf_init(&b.heard, HEARD_MAX);
    b.streams = peer_streams_new(&loop, nodes[1], &ops, &b);
    assert_int_equal(peer_streams_listen(b.streams, port, &b.port), 0);
    assert_int_equal(b.port, port);
    UNTIL(a.ups && b.ups);
    carries_both_ways();
}

static bool have_ipv6(void)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool have = fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof to) == 0;
    if (fd >= 0)
        close(fd);
    return have;
}

static void over_ipv6(void **state)
{
    static const uint8_t one[16] = {[15] = 1};
    struct peer_dial d = peer_dial(3, &b, nodes[1]), back = peer_dial(3, &a, nodes[0]);
    if (!have_ipv6())
        skip();
    d.to = net_addr6(one, b.port);
    back.to = net_addr6(one, a.port);
    d.punch = back.punch = true;
    shut(&a);
    shut(&b);
    assert_int_equal(peer_stream_dial(a.streams, &d), 0);
    turns(3);
    assert_int_equal(peer_stream_dial(b.streams, &back), 0);
    UNTIL(a.ups && b.ups);
    assert_int_equal(b.remote.family, 6);
    assert_int_equal(b.remote.port, a.port);
    carries_both_ways();
}

static void a_port_that_is_taken(void **state)
{
    uint16_t got;
    struct peer_streams *c = peer_streams_new(&loop, nodes[0], &ops, &a);
    assert_int_equal(peer_streams_listen(c, b.port, &got), 0);
    assert_true(got && got != b.port);
    peer_streams_free(c);
}

/* ---- TURN */

static void raw_bytes(void **state)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof any;
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(l, 1), 0);
    assert_int_equal(getsockname(l, (struct sockaddr *)&any, &n), 0);
    struct peer_dial d = {
        .stream = 9, .kind = PEER_STREAM_TCP, .host = "localhost", .port = ntohs(any.sin_port)};
    assert_int_equal(peer_stream_dial(a.streams, &d), 0);
    UNTIL(a.ups);
    int fd = -1;
    char text[16] = "";
    /* the resolver's first connection was only to see who answers */
    for (;;) {
        fd = accept(l, NULL, NULL);
        assert_true(fd >= 0);
        assert_int_equal(peer_stream_send(a.streams, 9, bytes_of_str("ask"), false), 0);
        turns(2);
        if (recv(fd, text, sizeof text - 1, 0) > 0)
            break;
        close(fd);
    }
    assert_int_equal(memcmp(text, "ask", 3), 0);
    assert_int_equal(send(fd, "answer", 6, 0), 6);
    UNTIL(a.messages);
    assert_int_equal(a.heard.n, 6);
    assert_memory_equal(a.heard.p, "answer", 6);
    close(fd);
    close(l);
    UNTIL(a.downs);
}

static void a_turn_server_that_nobody_vouches_for(void **state)
{
    struct peer_dial d = {
        .stream = 9, .kind = PEER_STREAM_TLS, .to = local(b.port), .host = "turn.example.org"};
    assert_int_equal(peer_stream_dial(a.streams, &d), 0);
    UNTIL(a.downs);
    assert_int_equal(a.ups, 0);
    assert_true(*a.why);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(opens_and_carries),
        T(closes_from_inside_up),
        T(another_key_is_refused),
        T(nobody_listens),
        T(wrong_dials),
        T(long_datagrams),
        T(a_stalled_stream_drops_the_oldest_but_not_what_must_stay),
        T(garbage_at_the_listener),
        T(http_without_an_upgrade),
        T(wrong_frames),
        T(limits),
        T(simultaneous_open),
        T(glare),
        T(punched_into_a_listener),
        T(a_punch_goes_on_after_a_refusal),
        T(over_ipv6),
        T(a_port_that_is_taken),
        T(raw_bytes),
        T(a_turn_server_that_nobody_vouches_for),
    };
    return cmocka_run_group_tests(tests, make_nodes, drop_nodes);
}
