#include "node/daemon.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "crypto/aead.h"
#include "crypto/rand.h"
#include "crypto/secret.h"
#include "io/clock.h"
#include "io/memory.h"
#include "io/ws_client.h"
#include "netdev/privilege.h"
#include "node/control_server.h"
#include "node/devices.h"
#include "node/net_edge.h"
#include "node/pump_edge.h"
#include "node/state.h"

#define HUB_PATH        "/api/v1/ws"
#define WATCH_MS        5000         /* between two looks at the clocks */
#define SETTLE_FIRST    2            /* of those looks before memory is given back: the start is over then */
#define SETTLE_EVERY    120          /* between two times */
#define SLEPT           (3 * SEC)    /* as much sleep breaks connections */
#define GOODBYE         (500 * MSEC) /* what the farewell to hub and peers may take */
#define GOODBYE_LOOK_MS 10
#define NETWORK_MS      300 /* changes of the network come in swarms: judged when they rest */
#define FREE_TURNS      64  /* of the loop, for handles that close */

enum link { LINK_NONE, LINK_OPENING, LINK_UP };

struct daemon {
    uv_loop_t loop;
    struct state state;
    struct node *node;
    struct ws_client *hub;
    enum link link;
    struct hub_address given; /* by --hub: remembered when it has answered */
    bool remember;
    struct devices *devices; /* NULL: --device none */
    struct net_edge *net;
    struct pump_edge *workers; /* NULL: none */
    struct control_server *control;
    char control_path[PATH_MAX];
    int watch_fd;
    bool watching;
    uv_poll_t watch;
    uv_timer_t wake, clocks, network, goodbye;
    uv_signal_t sigint, sigterm;
    bool pumping, again;
    usec_t stop_at; /* 0: not stopping */
    usec_t slept;   /* CLOCK_BOOTTIME less CLOCK_MONOTONIC when last looked at */
    unsigned looks; /* at the clocks */
};

static void pump(struct daemon *d);

static int complain(const char *text)
{
    fprintf(stderr, "warren: %s\n", text);
    return 1;
}

/* ---- what the engine wants done */

static void open_device(struct daemon *d, const struct node_out *out)
{
    char name[NETDEV_NAME_MAX + 1] = "", why[DEVICES_WHY_CAP];
    uint32_t ref = out->party_ref;
    if (!d->devices) {
        node_device_opened(d->node, ref, NULL, "this node runs without network devices (--device none)",
                           clock_now());
        return;
    }
    int rc = devices_open(d->devices, ref, &out->device, name, why);
    if (rc)
        log_event(LOG_WARN, "device-failed", "why=%s", why);
    node_device_opened(d->node, ref, rc ? NULL : name, rc ? why : NULL, clock_now());
}

static void save(struct daemon *d, const struct node_out *out)
{
    char name[sizeof out->name];
    snprintf(name, sizeof name, "%s", out->name);
    int rc = out->kind == NODE_SAVE     ? state_save(&d->state, name, out->data)
             : out->kind == NODE_APPEND ? state_append(&d->state, name, out->at, out->data)
                                        : state_delete(&d->state, name);
    if (!rc)
        return;
    log_event(LOG_ERROR, "save-failed", "file=%s error=%s", name, strerror(-rc));
    if (out->kind != NODE_DELETE)
        node_save_failed(d->node, name, strerror(-rc), clock_now());
}

static void connect_hub(struct daemon *d, const struct hub_address *to)
{
    struct hub_address hub = *to;
    int rc = ws_client_connect(d->hub, &hub, HUB_PATH);
    d->link = rc ? LINK_NONE : LINK_OPENING;
    if (rc)
        node_hub_down(d->node, "cannot set up TLS", clock_now());
}

static void log_out(const struct node_out *out)
{
    log_event((enum log_level)out->level, out->name, "%.*s", (int)out->data.n,
              out->data.n ? (const char *)out->data.p : "");
}

static void perform(struct daemon *d, const struct node_out *out)
{
    switch (out->kind) {
    case NODE_HUB_CONNECT:
        connect_hub(d, &out->hub);
        break;
    case NODE_HUB_CLOSE:
        ws_client_close(d->hub);
        d->link = LINK_NONE;
        break;
    case NODE_HUB_WAITING:
        ws_client_want_write(d->hub);
        break;
    case NODE_DEVICE_OPEN:
        open_device(d, out);
        break;
    case NODE_DEVICE_CLOSE:
        if (d->devices)
            devices_close(d->devices, out->party_ref);
        break;
    case NODE_DEVICE_FRAME:
        if (d->devices)
            devices_write(d->devices, out->party_ref, out->data);
        break;
    case NODE_SAVE:
    case NODE_APPEND:
    case NODE_DELETE:
        save(d, out);
        break;
    case NODE_REPLY:
        if (d->control)
            control_server_reply(d->control, out->request, out->data, out->final);
        break;
    case NODE_LOG:
        log_out(out);
        break;
    default:
        net_edge_output(d->net, out);
        break;
    }
}

static void on_wake(uv_timer_t *t)
{
    struct daemon *d = t->data;
    node_tick(d->node, clock_now());
    pump(d);
}

static void arm(struct daemon *d)
{
    usec_t wake = node_wake(d->node), now = clock_now();
    if (wake == USEC_NEVER) {
        uv_timer_stop(&d->wake);
        return;
    }
    uint64_t ms = wake > now ? (wake - now + MSEC - 1) / MSEC : 0;
    uv_update_time(&d->loop);
    uv_timer_start(&d->wake, on_wake, ms, 0);
}

/* After every input. Answering a client may find that another one is gone, which is an input again: then
 * another round. */
static void pump(struct daemon *d)
{
    if (d->pumping) {
        d->again = true;
        return;
    }
    d->pumping = true;
    do {
        struct node_out out;
        d->again = false;
        while (node_output(d->node, clock_now(), &out))
            perform(d, &out);
    } while (d->again);
    d->pumping = false;
    arm(d);
}

/* ---- the hub */

/* A hub that was named on the command line is the one of the next start, too. */
static void remember_hub(struct daemon *d)
{
    char url[HUB_HOST_MAX + 130];
    if (!d->remember)
        return;
    d->remember = false;
    hub_address_write(url, sizeof url - 1, &d->given);
    size_t n = strlen(url);
    url[n++] = '\n';
    int rc = state_save(&d->state, "hub", bytes_of(url, n));
    if (rc)
        log_event(LOG_WARN, "save-failed", "file=hub error=%s", strerror(-rc));
}

static void tell_hub_addresses(struct daemon *d)
{
    struct net_addr addrs[WS_CLIENT_ADDRESSES_MAX];
    size_t count = ws_client_addresses(d->hub, addrs, WS_CLIENT_ADDRESSES_MAX);
    node_hub_addresses(d->node, addrs, count, clock_now());
}

static void hub_up(void *arg, const uint8_t binding[32])
{
    struct daemon *d = arg;
    d->link = LINK_UP;
    remember_hub(d);
    tell_hub_addresses(d);
    node_hub_up(d->node, binding, clock_now());
    pump(d);
}

static void hub_text(void *arg, struct bytes text)
{
    struct daemon *d = arg;
    node_hub_text(d->node, text, clock_now());
    pump(d);
}

static void hub_binary(void *arg, uint8_t *p, size_t n)
{
    struct daemon *d = arg;
    node_hub_binary(d->node, p, n, clock_now());
    pump(d);
}

static void hub_down(void *arg, const char *why)
{
    struct daemon *d = arg;
    d->link = LINK_NONE;
    node_hub_down(d->node, why, clock_now());
    pump(d);
}

static bool hub_take(void *arg, struct buf *out, bool *binary)
{
    struct daemon *d = arg;
    bool got = node_hub_take(d->node, out, binary, clock_now());
    pump(d);
    return got;
}

static const struct ws_client_ops hub_ops = {hub_up, hub_text, hub_binary, hub_down, hub_take};

/* Something below us changed: the connection is made again at once rather than waited for. */
static void hub_again(struct daemon *d, const char *why)
{
    if (d->link != LINK_NONE) {
        log_event(LOG_INFO, "hub-again", "why=\"%s\"", why);
        ws_client_close(d->hub);
        hub_down(d, why);
    }
    node_network_changed(d->node, clock_now());
    pump(d);
}

/* ---- devices, requests */

static void device_frame(void *arg, uint32_t party_ref, uint8_t *p, size_t n)
{
    struct daemon *d = arg;
    node_device_frame(d->node, party_ref, p, n, clock_now());
    pump(d);
}

static void control_request(void *arg, uint32_t id, struct bytes json)
{
    struct daemon *d = arg;
    node_request(d->node, id, json, clock_now());
    pump(d);
}

static void control_gone(void *arg, uint32_t id)
{
    struct daemon *d = arg;
    node_request_gone(d->node, id);
    pump(d);
}

static const struct control_ops control_ops = {control_request, control_gone};

/* ---- clocks and the network below */

static void on_clocks(uv_timer_t *t)
{
    struct daemon *d = t->data;
    usec_t awake = clock_awake(), now = clock_now();
    usec_t slept = usec_since(now, awake), more = usec_since(slept, d->slept);
    d->slept = slept;
    if (++d->looks % SETTLE_EVERY == SETTLE_FIRST)
        memory_settle();
    node_clock(d->node, now, clock_unix_s());
    if (more > SLEPT) {
        node_tick(d->node, now);
        pump(d);
        net_edge_look(d->net);
        hub_again(d, "the machine slept");
    }
    pump(d);
}

static bool same_address(const struct sockaddr *a, const struct sockaddr_storage *b)
{
    if (!a || a->sa_family != b->ss_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return a->sa_family == AF_INET6 &&
           !memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr,
                   sizeof(struct in6_addr));
}

/* Whether this machine still has the address. An IPv4 connection is never seen as mapped IPv6: we connect
 * with plain sockets. */
static bool have_address(const struct sockaddr_storage *address)
{
    struct ifaddrs *list;
    bool found = false;
    if (getifaddrs(&list))
        return true; /* unknown: what works is left alone */
    for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next)
        found = same_address(i->ifa_addr, address);
    freeifaddrs(list);
    return found;
}

static void on_network(uv_timer_t *t)
{
    struct daemon *d = t->data;
    struct sockaddr_storage own;
    net_edge_look(d->net);
    pump(d);
    if (d->link == LINK_NONE || (ws_client_local_address(d->hub, &own) && !have_address(&own)))
        hub_again(d, "this machine's address changed");
}

static void on_watch(uv_poll_t *p, int status, int events)
{
    struct daemon *d = p->data;
    (void)events;
    if (status < 0)
        uv_poll_stop(p);
    else if (netdev_watch_drain(d->watch_fd))
        uv_timer_start(&d->network, on_network, NETWORK_MS, 0);
}

/* ---- the end */

static void on_goodbye(uv_timer_t *t)
{
    struct daemon *d = t->data;
    if (d->link != LINK_UP || !node_hub_waiting(d->node) || clock_now() >= d->stop_at)
        uv_stop(&d->loop);
}

/* What the farewell says goes out with the next writes; a hub that does not take it is not waited for. */
static void on_signal(uv_signal_t *s, int signum)
{
    struct daemon *d = s->data;
    if (d->stop_at) {
        uv_stop(&d->loop); /* the second one means now */
        return;
    }
    d->stop_at = clock_now() + GOODBYE;
    log_event(LOG_INFO, "stopping", "signal=%d", signum);
    node_stop(d->node, clock_now());
    pump(d);
    uv_timer_start(&d->goodbye, on_goodbye, 0, GOODBYE_LOOK_MS);
}

/* ---- the beginning */

static int choose_hub(struct daemon *d, const struct node_options *o, struct node_config *c)
{
    struct buf saved;
    buf_init(&saved, 4096);
    const char *text = o->hub;
    if (!text && !state_read(&d->state, "hub", &saved)) {
        while (saved.n && saved.p[saved.n - 1] == '\n')
            saved.n--;
        text = buf_str(&saved);
    }
    int rc = 0;
    if (text)
        rc = hub_address_read(&c->hub, text);
    c->have_hub = text && !rc;
    d->given = c->hub;
    d->remember = c->have_hub && o->hub;
    if (rc && o->hub)
        complain("--hub needs https://HOST[:PORT][#sha256:HEX], as `warren hub` prints it");
    else if (rc)
        log_event(LOG_WARN, "hub-forgotten", "why=the saved address is damaged");
    buf_done(&saved);
    return rc && o->hub ? 2 : 0;
}

static int choose_name(struct daemon *d, const struct node_options *o, struct node_config *c)
{
    struct buf saved;
    char host[256] = "";
    buf_init(&saved, 4096);
    const char *name = o->name;
    if (name && !name_valid(name)) {
        complain("--name needs 1 to 64 bytes without control characters and without blanks at the ends");
        return 2;
    }
    if (!name && !state_read(&d->state, "name", &saved) && name_valid(buf_str(&saved)))
        name = buf_str(&saved);
    if (!name && !gethostname(host, sizeof host - 1)) {
        host[strcspn(host, ".")] = 0;
        host[NAME_MAX_BYTES] = 0;
        name = host;
    }
    snprintf(c->name, sizeof c->name, "%.*s", NAME_MAX_BYTES, name && name_valid(name) ? name : "node");
    buf_done(&saved);
    return 0;
}

static ssize_t read_back(void *arg, const char *name, uint64_t at, uint8_t *p, size_t n)
{
    const struct daemon *d = arg;
    return state_read_at(&d->state, name, at, p, n);
}

static int load_party(void *arg, const char *name)
{
    struct daemon *d = arg;
    const char *why = "?";
    if (node_load_party(d->node, name, clock_now(), &why))
        log_event(LOG_ERROR, "party-not-loaded", "file=%s why=%s", name, why);
    return 0;
}

static void pump_any(void *daemon)
{
    pump(daemon);
}

/* What needs the node's own key: the engine, and the streams to other nodes. */
static int make_core(struct daemon *d, const struct node_config *c)
{
    d->node = node_new(c, clock_now());
    if (!d->node)
        return -ENOMEM;
    const struct net_edge_config nc = {.loop = &d->loop,
                                       .node = d->node,
                                       .seed = c->seed,
                                       .workers = d->workers ? pump_edge_pump(d->workers) : NULL,
                                       .devices = d->devices,
                                       .pump = pump_any,
                                       .arg = d};
    d->net = net_edge_new(&nc);
    return d->net ? 0 : -ENOMEM;
}

/* Which cipher to prefer is measured anew at each start: it is the machine's, not the node's. */
static void choose_cipher(struct node_config *c)
{
    aead_measure(clock_now, &c->speed);
    c->prefer_aes = aead_prefers_aes(&c->speed);
    log_event(LOG_INFO, "cipher-measured", "aes_256_gcm_ns=%llu chacha20_poly1305_ns=%llu prefer=%s",
              (unsigned long long)c->speed.ns[AEAD_AES256GCM],
              (unsigned long long)c->speed.ns[AEAD_CHACHA20POLY1305],
              aead_name(c->prefer_aes ? AEAD_AES256GCM : AEAD_CHACHA20POLY1305));
}

static int make_node(struct daemon *d, const struct node_options *o)
{
    struct sign_seed seed;
    struct node_config c = {
        .no_device = !d->devices, .rng = rng_system(), .unix_s = clock_unix_s(), .limits = o->limits};
    char why[STATE_WHY_CAP];
    int rc = choose_name(d, o, &c);
    if (!rc)
        rc = choose_hub(d, o, &c);
    if (rc)
        return rc;
    if (state_identity(&d->state, &c.rng, &seed, why))
        return complain(why);
    c.seed = &seed;
    c.plane = d->workers ? pump_edge_plane(d->workers) : NULL;
    c.disk = (struct node_disk){.read = read_back, .arg = d};
    choose_cipher(&c);
    rc = make_core(d, &c);
    wipe(&seed, sizeof seed);
    if (rc)
        return complain("out of memory");
    state_each(&d->state, "party-", load_party, d);
    return 0;
}

static int make_devices(struct daemon *d, const struct node_options *o)
{
    if (o->device && !strcmp(o->device, "none"))
        return 0;
    if (o->device && (!*o->device || strlen(o->device) > NETDEV_NAME_MAX || strpbrk(o->device, "/ %:"))) {
        complain("--device needs a device name of at most 15 letters and digits, or none");
        return 2;
    }
    if (!privilege_can_make_devices())
        return complain("needs root to make a network device: run with sudo, or use --device none");
    d->devices = devices_new(&d->loop, o->device ? o->device : "", device_frame, d);
    d->workers = o->limits.pump ? pump_edge_new(&d->loop, &o->limits) : NULL;
    if (!d->devices || (o->limits.pump && !d->workers))
        return complain("out of memory");
    if (d->workers)
        devices_use_pump(d->devices, pump_edge_pump(d->workers));
    return 0;
}

static int make_edges(struct daemon *d)
{
    char why[CONTROL_WHY_CAP];
    struct control_config cc = {
        .loop = &d->loop, .path = d->control_path, .owner = geteuid(), .starter = control_starter()};
    d->hub = ws_client_new(&d->loop, &hub_ops, d);
    if (!d->hub)
        return complain("libwebsockets cannot use the libuv loop: install libwebsockets-evlib-uv");
    d->control = control_server_new(&cc, &control_ops, d, why);
    if (!d->control)
        return complain(why);
    d->watch_fd = netdev_watch_open();
    if (d->watch_fd < 0) {
        log_event(LOG_WARN, "network-not-watched", "error=%s", strerror(-d->watch_fd));
        return 0;
    }
    if (uv_poll_init(&d->loop, &d->watch, d->watch_fd))
        return complain("cannot watch the network");
    d->watch.data = d;
    d->watching = true;
    uv_poll_start(&d->watch, UV_READABLE, on_watch);
    return 0;
}

static void init_handles(struct daemon *d)
{
    uv_timer_t *const timers[] = {&d->wake, &d->clocks, &d->network, &d->goodbye};
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) {
        uv_timer_init(&d->loop, timers[i]);
        timers[i]->data = d;
    }
    uv_signal_init(&d->loop, &d->sigint);
    uv_signal_init(&d->loop, &d->sigterm);
    d->sigint.data = d->sigterm.data = d;
}

static void start_handles(struct daemon *d)
{
    d->slept = usec_since(clock_now(), clock_awake());
    uv_timer_start(&d->clocks, on_clocks, WATCH_MS, WATCH_MS);
    uv_signal_start(&d->sigint, on_signal, SIGINT);
    uv_signal_start(&d->sigterm, on_signal, SIGTERM);
}

static int begin(struct daemon *d, const struct node_options *o)
{
    char why[STATE_WHY_CAP], id[NODE_ID_TEXT_CAP];
    const char *what = NULL;
    int rc = make_devices(d, o);
    if (rc)
        return rc;
    if (state_open(&d->state, o->state, why))
        return complain(why);
    if (state_socket_path(d->control_path, sizeof d->control_path, o->state, o->socket))
        return complain("the control socket's name is too long: give a shorter one by --socket");
    rc = make_node(d, o);
    if (!rc)
        rc = make_edges(d);
    if (rc)
        return rc;
    start_handles(d);
    rc = privilege_drop(d->devices != NULL, &what);
    if (rc) {
        fprintf(stderr, "warren: cannot give up privileges (%s): %s\n", what ? what : "?", strerror(-rc));
        return 1;
    }
    rc = d->workers ? pump_edge_start(d->workers, d->node, d->devices, pump_any, d) : 0;
    if (rc) {
        fprintf(stderr, "warren: cannot start the worker threads: %s (or run with --limit pump=0)\n", strerror(-rc));
        return 1;
    }
    memory_settle(); /* libraries looked through themselves when they began: that of the ciphers at 3 MB */
    node_start(d->node, clock_now());
    pump(d);
    net_edge_look(d->net);
    pump(d);
    node_id_text(id, node_id(d->node));
    printf("node ready %s\n", id);
    return fflush(stdout) ? complain("cannot write to standard output") : 0;
}

/* Ours first, so that nothing calls into the engine while the others let go of theirs. */
static void close_handles(struct daemon *d)
{
    uv_handle_t *const handles[] = {(uv_handle_t *)&d->wake,    (uv_handle_t *)&d->clocks,
                                    (uv_handle_t *)&d->network, (uv_handle_t *)&d->goodbye,
                                    (uv_handle_t *)&d->sigint,  (uv_handle_t *)&d->sigterm};
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++)
        uv_close(handles[i], NULL);
    if (d->watching)
        uv_close((uv_handle_t *)&d->watch, NULL);
}

static void end(struct daemon *d)
{
    close_handles(d);
    pump_edge_stop(d->workers);
    control_server_free(d->control);
    d->control = NULL;
    net_edge_free(d->net);
    devices_free(d->devices);
    ws_client_free(d->hub);
    pump_edge_free(d->workers);
    for (int i = 0; i < FREE_TURNS && uv_run(&d->loop, UV_RUN_NOWAIT); i++)
        ;
    uv_loop_close(&d->loop);
    if (d->watch_fd >= 0)
        close(d->watch_fd);
    node_free(d->node);
    state_close(&d->state);
}

static void run(struct daemon *d)
{
    uv_run(&d->loop, UV_RUN_DEFAULT);
    log_event(LOG_INFO, "stopped", "device_drops=%llu",
              (unsigned long long)(d->devices ? devices_dropped(d->devices) : 0));
}

int node_run(const struct node_options *o)
{
    struct daemon *d = calloc(1, sizeof *d);
    if (!d)
        return complain("out of memory");
    d->watch_fd = d->state.lock = -1;
    memory_begin();
    signal(SIGPIPE, SIG_IGN);
    int filtered = privilege_without_io_uring();
    if (filtered < 0)
        log_event(LOG_DEBUG, "io-uring-stays", "reason=\"%s\"", strerror(-filtered));
    if (uv_loop_init(&d->loop)) {
        free(d);
        return complain("cannot make an event loop");
    }
    init_handles(d);
    int rc = begin(d, o);
    if (!rc)
        run(d);
    end(d);
    free(d);
    return rc;
}
