#include "io/upnp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <uv.h>

#define REQUEST_MAX 8192
#define SAID_MAX    32

/* A router on the test's own loop, which serves one request a connection. */
struct box {
    uv_loop_t loop;
    uv_tcp_t listener;
    uint16_t port;
    int conflicts, refusal; /* how often 718 is said; an error for every AddPortMapping; 0: none */
    bool only_lasting, nameless;
    char said[SAID_MAX][128]; /* what was asked: "Add UDP 4000 4000 3600" */
    int count;
    /* our side */
    struct upnp *upnp;
    int answers;
    struct net_addr outside;
    uint32_t lifetime_s;
    char error[UPNP_WHY_CAP];
};

struct call {
    uv_tcp_t tcp;
    uv_write_t write;
    struct box *box;
    char in[REQUEST_MAX], out[REQUEST_MAX];
    size_t n;
};

static const char description[] =
    "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device>"
    "<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device>"
    "<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><deviceList><device>"
    "<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>"
    "<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>"
    "<serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><controlURL>/ctl</controlURL>"
    "<eventSubURL>/evt</eventSubURL><SCPDURL>/scpd.xml</SCPDURL></service></serviceList></device></"
    "deviceList>"
    "</device></deviceList></device></root>";

static void field(const char *in, const char *name, char out[24])
{
    char open[64];
    snprintf(open, sizeof open, "<%s>", name);
    const char *at = strstr(in, open);
    at = at ? at + strlen(open) : "";
    snprintf(out, 24, "%.*s", (int)strcspn(at, "<"), at);
}

static void note(struct box *b, const char *verb, const char *in)
{
    char protocol[24], outside[24], inside[24], lease[24];
    field(in, "NewProtocol", protocol);
    field(in, "NewExternalPort", outside);
    field(in, "NewInternalPort", inside);
    field(in, "NewLeaseDuration", lease);
    assert_true(b->count < SAID_MAX);
    snprintf(b->said[b->count++], sizeof b->said[0], "%s %s %s %s %s", verb, protocol, outside, inside,
             lease);
}

static void answer(struct call *c, int status, const char *body)
{
    snprintf(c->out, sizeof c->out,
             "HTTP/1.1 %d X\r\nContent-Type: text/xml\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
             status, strlen(body), body);
}

static void refuse(struct call *c, int code)
{
    char body[500];
    snprintf(body, sizeof body,
             "<s:Envelope><s:Body><s:Fault><detail><UPnPError><errorCode>%d</errorCode></UPnPError></"
             "detail></s:Fault>"
             "</s:Body></s:Envelope>",
             code);
    answer(c, 500, body);
}

static void add_mapping(struct call *c)
{
    struct box *b = c->box;
    char lease[24];
    field(c->in, "NewLeaseDuration", lease);
    note(b, "Add", c->in);
    if (b->refusal)
        refuse(c, b->refusal);
    else if (b->conflicts > 0 && strstr(c->in, "UDP") && b->conflicts--)
        refuse(c, 718);
    else if (b->only_lasting && strcmp(lease, "0"))
        refuse(c, 725);
    else
        answer(c, 200, "<s:Envelope><s:Body><u:AddPortMappingResponse/></s:Body></s:Envelope>");
}

static void serve(struct call *c)
{
    struct box *b = c->box;
    if (!strncmp(c->in, "GET /root.xml ", 14)) {
        note(b, "Root", "");
        answer(c, 200, description);
    } else if (strstr(c->in, "#AddPortMapping")) {
        add_mapping(c);
    } else if (strstr(c->in, "#DeletePortMapping")) {
        note(b, "Delete", c->in);
        answer(c, 200, "<s:Envelope><s:Body><u:DeletePortMappingResponse/></s:Body></s:Envelope>");
    } else if (strstr(c->in, "#GetExternalIPAddress") && !b->nameless) {
        answer(c, 200,
               "<s:Envelope><s:Body><u:GetExternalIPAddressResponse><NewExternalIPAddress>203.0.113.9"
               "</NewExternalIPAddress></u:GetExternalIPAddressResponse></s:Body></s:Envelope>");
    } else {
        refuse(c, 401);
    }
}

static void call_closed(uv_handle_t *h)
{
    free(h->data);
}

static void written(uv_write_t *w, int status)
{
    struct call *c = w->data;
    uv_close((uv_handle_t *)&c->tcp, call_closed);
}

static bool whole(const struct call *c)
{
    const char *end = strstr(c->in, "\r\n\r\n"), *length = strstr(c->in, "Content-Length: ");
    size_t body = length ? strtoul(length + 16, NULL, 10) : 0;
    return end && c->n >= (size_t)(end - c->in) + 4 + body;
}

static void room(uv_handle_t *h, size_t wish, uv_buf_t *out)
{
    struct call *c = h->data;
    *out = uv_buf_init(c->in + c->n, (unsigned)(sizeof c->in - 1 - c->n));
}

static void came(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct call *c = s->data;
    if (n < 0) {
        uv_close((uv_handle_t *)s, call_closed);
        return;
    }
    c->n += (size_t)n;
    if (!whole(c))
        return;
    uv_read_stop(s);
    serve(c);
    uv_buf_t out = uv_buf_init(c->out, (unsigned)strlen(c->out));
    c->write.data = c;
    uv_write(&c->write, s, &out, 1, written);
}

static void called(uv_stream_t *l, int status)
{
    struct call *c = calloc(1, sizeof *c);
    c->box = l->data;
    c->tcp.data = c;
    uv_tcp_init(&c->box->loop, &c->tcp);
    assert_int_equal(uv_accept(l, (uv_stream_t *)&c->tcp), 0);
    uv_read_start((uv_stream_t *)&c->tcp, room, came);
}

static void on_answer(void *arg, const struct net_addr *outside, uint32_t lifetime_s, const char *error)
{
    struct box *b = arg;
    b->answers++;
    b->outside = outside ? *outside : (struct net_addr){0};
    b->lifetime_s = lifetime_s;
    assert_true((outside == NULL) == (error != NULL));
    snprintf(b->error, sizeof b->error, "%s", error ? error : "");
}

static int setup(void **state)
{
    static struct box b;
    struct sockaddr_in at;
    int n = sizeof at;
    char root[100];
    memset(&b, 0, sizeof b);
    uv_loop_init(&b.loop);
    uv_tcp_init(&b.loop, &b.listener);
    b.listener.data = &b;
    uv_ip4_addr("127.0.0.1", 0, &at);
    uv_tcp_bind(&b.listener, (struct sockaddr *)&at, 0);
    if (uv_listen((uv_stream_t *)&b.listener, 8, called))
        return -1;
    uv_tcp_getsockname(&b.listener, (struct sockaddr *)&at, &n);
    b.port = ntohs(at.sin_port);
    snprintf(root, sizeof root, "http://127.0.0.1:%u/root.xml", b.port);
    b.upnp = upnp_new(&b.loop, root, on_answer, &b);
    *state = &b;
    return b.upnp ? 0 : -1;
}

static void let_go(struct box *b)
{
    uv_close((uv_handle_t *)&b->listener, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

static void wait_for(struct box *b, int answers)
{
    while (b->answers < answers)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static void wait_said(struct box *b, int count)
{
    while (b->count < count)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static void said(const struct box *b, const char *const *lines)
{
    int i = 0;
    for (; lines[i]; i++) {
        assert_true(i < b->count);
        assert_string_equal(b->said[i], lines[i]);
    }
    assert_int_equal(b->count, i);
}

/* Gives back in front of a router that lives on the same loop, which free does not turn: the engine asks for
 * it before. */
static void end(struct box *b)
{
    int before = b->count;
    upnp_map(b->upnp, 4000, 4000, 0);
    wait_said(b, before + 2);
    assert_int_equal(strncmp(b->said[before], "Delete UDP ", 11), 0);
    assert_int_equal(strncmp(b->said[before + 1], "Delete TCP ", 11), 0);
    upnp_free(b->upnp);
    let_go(b);
}

static void maps_and_gives_back(void **state)
{
    struct box *b = *state;
    upnp_map(b->upnp, 4000, 4000, 3600);
    assert_int_equal(b->answers, 0);
    wait_for(b, 1);
    assert_string_equal(b->error, "");
    assert_int_equal(net_addr_ip4(&b->outside), 0xcb007109);
    assert_int_equal(b->outside.port, 4000);
    assert_int_equal(b->lifetime_s, 3600);
    said(b, (const char *const[]){"Root    ", "Add UDP 4000 4000 3600", "Add TCP 4000 4000 3600", NULL});
    b->count = 0;
    upnp_map(b->upnp, 4000, 4000, 1800); /* the router is known now */
    wait_for(b, 2);
    said(b, (const char *const[]){"Add UDP 4000 4000 1800", "Add TCP 4000 4000 1800", NULL});
    end(b);
    assert_int_equal(b->answers, 2); /* none for giving back */
}

static void another_port_of_tcp_or_none(void **state)
{
    struct box *b = *state;
    upnp_map(b->upnp, 4000, 5000, 3600);
    wait_for(b, 1);
    said(b, (const char *const[]){"Root    ", "Add UDP 4000 4000 3600", "Add TCP 4000 5000 3600", NULL});
    b->count = 0;
    upnp_map(b->upnp, 4000, 0, 3600);
    wait_for(b, 2);
    said(b, (const char *const[]){"Add UDP 4000 4000 3600", NULL});
    end(b);
}

static void a_router_without_leases(void **state)
{
    struct box *b = *state;
    b->only_lasting = true;
    upnp_map(b->upnp, 4000, 4000, 3600);
    wait_for(b, 1);
    assert_int_equal(b->outside.port, 4000);
    assert_int_equal(b->lifetime_s, 3600);
    said(b, (const char *const[]){"Root    ", "Add UDP 4000 4000 3600", "Add UDP 4000 4000 0",
                                  "Add TCP 4000 4000 0", NULL});
    end(b);
}

static void a_port_that_is_taken(void **state)
{
    struct box *b = *state;
    b->conflicts = 2;
    upnp_map(b->upnp, 4000, 4000, 3600);
    wait_for(b, 1);
    assert_int_equal(b->outside.family, 4);
    assert_true(b->outside.port >= 1024 && b->outside.port != 4000);
    uint16_t got = b->outside.port;
    upnp_map(b->upnp, 4000, 4000, 3600); /* renewed where it is */
    wait_for(b, 2);
    assert_int_equal(b->outside.port, got);
    end(b);
}

static void refusals_in_words(void **state)
{
    struct box *b = *state;
    b->refusal = 501;
    upnp_map(b->upnp, 4000, 4000, 3600);
    wait_for(b, 1);
    assert_int_equal(b->outside.family, 0);
    assert_non_null(strstr(b->error, "refuses a port by UPnP (501"));
    b->refusal = 0;
    b->nameless = true;
    upnp_map(b->upnp, 4000, 4000, 3600);
    wait_for(b, 2);
    assert_non_null(strstr(b->error, "does not tell its address"));
    end(b);
}

static void nobody_there(void **state)
{
    struct box *b = *state;
    upnp_free(b->upnp);
    b->upnp = upnp_new(&b->loop, "http://127.0.0.1:1/root.xml", on_answer, b);
    upnp_map(b->upnp, 4000, 4000, 3600);
    wait_for(b, 1);
    assert_string_equal(b->error, "no router here speaks UPnP");
    upnp_free(b->upnp);
    let_go(b);
}

static void the_youngest_wish_waits(void **state)
{
    struct box *b = *state;
    upnp_map(b->upnp, 4000, 4000, 3600);
    upnp_map(b->upnp, 4001, 4001, 3600);
    upnp_map(b->upnp, 4000, 4000, 600);
    wait_for(b, 2);
    said(b, (const char *const[]){"Root    ", "Add UDP 4000 4000 3600", "Add TCP 4000 4000 3600",
                                  "Add UDP 4000 4000 600", "Add TCP 4000 4000 600", NULL});
    end(b);
}

/* A router that does not answer any more (here: for its loop stands still) is not waited for. */
static void an_end_in_time(void **state)
{
    struct box *b = *state;
    upnp_map(b->upnp, 4000, 4000, 3600);
    wait_for(b, 1);
    uint64_t from = uv_hrtime();
    upnp_free(b->upnp);
    assert_true(uv_hrtime() - from < (uint64_t)(UPNP_FREE_MS + 1500) * 1000000);
    b->count = 0;
    wait_said(b, 2); /* the thread is still at it */
    assert_int_equal(strncmp(b->said[0], "Delete UDP 4000", 15), 0);
    let_go(b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        T(maps_and_gives_back),     T(another_port_of_tcp_or_none),
        T(a_router_without_leases), T(a_port_that_is_taken),
        T(refusals_in_words),       T(nobody_there),
        T(the_youngest_wish_waits), T(an_end_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
