#include "sim/node_host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/aead.h"
#include "sim/node_pump.h"

#define MESSAGE_ROOM (256 * 1024)
#define FAIL_DELAY   (1 * MSEC)
#define NOTICE_SLEEP (5 * SEC)    /* the daemon's interval between two looks at its clocks */
#define NOTICE_MOVE  (300 * MSEC) /* changes come in swarms: the daemon judges them when they rest */

static void pump(struct node_host *h);
static void on_notice(void *arg);

void node_host_config_default(struct node_host_config *c)
{
    memset(c, 0, sizeof *c);
    node_limits_default(&c->limits);
    c->session = session_limits_default;
}

static bool running(const struct node_host *h)
{
    return h->node && !h->asleep;
}

static void tell_time(struct node_host *h)
{
    uint64_t unix_s = sim_unix(h->sim);
    if (unix_s == h->unix_told)
        return;
    h->unix_told = unix_s;
    node_clock(h->node, h->sim->now, unix_s);
}

/* ---- The link to the hub. */

static void drop_stream(struct node_host *h)
{
    if (h->stream)
        stream_abort(h->stream);
    h->stream = NULL;
    h->stream_up = false;
}

static void link_down(struct node_host *h, const char *why)
{
    if (!running(h)) {
        free(h->down_why);
        h->down_why = strdup(why);
        return;
    }
    tell_time(h);
    node_hub_down(h->node, why, h->sim->now);
    pump(h);
}

static void on_up(void *arg, struct stream *s, const uint8_t binding[32], const uint8_t fingerprint[32])
{
    struct node_host *h = arg;
    if (h->dialled.pinned && memcmp(h->dialled.fingerprint, fingerprint, 32) != 0) {
        drop_stream(h);
        link_down(h, "the hub's certificate is not the one that the invite names");
        return;
    }
    h->stream_up = true;
    tell_time(h);
    struct host *hub = host_by_name(h->host->net, h->dialled.host);
    if (hub)
        node_net_hub(h->net, h->host->ip4.family ? &hub->ip4 : &hub->ip6,
                     h->host->ip4.family ? &hub->ip6 : &hub->ip4);
    node_hub_up(h->node, binding, h->sim->now);
    pump(h);
}

static void on_message(void *arg, struct stream *s, bool binary, uint8_t *p, size_t n)
{
    struct node_host *h = arg;
    if (!running(h))
        return;
    tell_time(h);
    if (binary)
        node_hub_binary(h->node, p, n, h->sim->now);
    else
        node_hub_text(h->node, bytes_of(p, n), h->sim->now);
    pump(h);
}

static void on_writable(void *arg, struct stream *s)
{
    struct node_host *h = arg;
    h->waiting = true;
    if (running(h))
        pump(h);
}

static void on_down(void *arg, struct stream *s, const char *why)
{
    struct node_host *h = arg;
    stream_close(s);
    h->stream = NULL;
    h->stream_up = false;
    link_down(h, why);
}

static const struct stream_ops stream_ops = {on_up, on_message, on_writable, on_down};

static void on_unreachable(void *arg)
{
    link_down(arg, "cannot find the hub's address");
}

static void connect_hub(struct node_host *h, const struct hub_address *hub)
{
    drop_stream(h);
    h->hub_connects++;
    h->dialled = *hub;
    struct host *there = host_by_name(h->host->net, hub->host);
    if (!there) {
        sim_arm(h->sim, &h->down_timer, h->sim->now + FAIL_DELAY);
        return;
    }
    struct net_addr to = h->host->ip4.family ? there->ip4 : there->ip6;
    to.port = hub->port;
    h->stream = stream_connect(h->host, &to, &stream_ops, h);
}

static void flush_link(struct node_host *h)
{
    struct buf message;
    bool binary, more = true;
    if (!h->waiting || !h->stream_up)
        return;
    buf_init(&message, MESSAGE_ROOM);
    while (stream_writable(h->stream) && (more = node_hub_take(h->node, &message, &binary, h->sim->now))) {
        stream_send(h->stream, binary, buf_bytes(&message));
        buf_clear(&message);
    }
    buf_done(&message);
    h->waiting = false;
    if (more)
        stream_want_write(h->stream);
}

/* ---- Files. */

static struct node_file *file_slot(struct node_host *h, const char *name)
{
    struct node_file *free_slot = NULL;
    for (size_t i = 0; i < NODE_FILES_MAX; i++) {
        if (strcmp(h->files[i].name, name) == 0)
            return &h->files[i];
        if (!h->files[i].name[0] && !free_slot)
            free_slot = &h->files[i];
    }
    return free_slot;
}

static ssize_t read_back(void *arg, const char *name, uint64_t at, uint8_t *p, size_t n)
{
    struct node_host *h = arg;
    const struct node_file *f = file_slot(h, name);
    if (!f || strcmp(f->name, name) != 0)
        return -ENOENT;
    size_t left = at < f->data.n ? f->data.n - at : 0;
    n = n < left ? n : left;
    memcpy(p, f->data.p + at, n);
    return (ssize_t)n;
}

static void save(struct node_host *h, const struct node_out *o)
{
    struct node_file *f = file_slot(h, o->name);
    bool append = o->kind == NODE_APPEND;
    if (h->saves_fail > 0 || !f || (append && f->data.n < o->at)) {
        h->saves_fail -= h->saves_fail > 0;
        char name[80];
        memcpy(name, o->name, sizeof name);
        node_save_failed(h->node, name, "no space left on the device", h->sim->now);
        return;
    }
    h->saves++;
    snprintf(f->name, sizeof f->name, "%s", o->name);
    f->data.n = append ? o->at : 0;
    buf_add(&f->data, o->data);
}

static void delete_file(struct node_host *h, const char *name)
{
    struct node_file *f = file_slot(h, name);
    if (!f || strcmp(f->name, name) != 0)
        return;
    f->name[0] = 0;
    buf_clear(&f->data);
}

const struct node_file *node_host_file(const struct node_host *h, const char *prefix)
{
    for (size_t i = 0; i < NODE_FILES_MAX; i++)
        if (h->files[i].name[0] && strncmp(h->files[i].name, prefix, strlen(prefix)) == 0)
            return &h->files[i];
    return NULL;
}

/* ---- Devices. */

struct device *node_host_device(struct node_host *h, uint32_t net4)
{
    for (size_t i = 0; i < NODE_DEVICES_MAX; i++)
        if (h->devices[i].net4 == net4)
            return &h->devices[i];
    return NULL;
}

struct device *node_host_device_of(struct node_host *h, uint32_t ref)
{
    for (size_t i = 0; i < NODE_DEVICES_MAX; i++)
        if (h->devices[i].open && h->device_refs[i] == ref)
            return &h->devices[i];
    return NULL;
}

static void open_device(struct node_host *h, const struct node_out *o)
{
    uint32_t ref = o->party_ref;
    struct device *d = node_host_device(h, o->device.net4);
    if (!d)
        d = node_host_device(h, 0);
    if (h->device_error || !d) {
        node_device_opened(h->node, ref, NULL, h->device_error ? h->device_error : "too many devices",
                           h->sim->now);
        return;
    }
    struct device_config c = {.tap = o->device.tap,
                              .ip4 = o->device.ip4,
                              .net4 = o->device.net4,
                              .mtu = o->device.mtu,
                              .number = h->number,
                              .offloads = h->pump != NULL};
    memcpy(c.mac, o->device.mac, sizeof c.mac);
    memcpy(c.ip6, o->device.ip6, sizeof c.ip6);
    device_open(d, &c, &h->sim->now);
    h->device_refs[d - h->devices] = ref;
    char name[16];
    snprintf(name, sizeof name, "warren%u", (unsigned)(d - h->devices));
    node_device_opened(h->node, ref, name, NULL, h->sim->now);
}

static void device_frame(struct node_host *h, const struct node_out *o)
{
    struct device *d = node_host_device_of(h, o->party_ref);
    if (d)
        device_input(d, o->data);
}

/* What the hosts behind the devices want to send. true: something was. */
static bool feed_devices(struct node_host *h)
{
    for (size_t i = 0; i < NODE_DEVICES_MAX; i++) {
        struct device_frame *f = device_output(&h->devices[i]);
        if (!f)
            continue;
        uint8_t room[DATA_HEADROOM + DEVICE_FRAME_MAX + DATA_TAILROOM];
        memcpy(room + DATA_HEADROOM, f->data, f->n);
        node_device_frame(h->node, h->device_refs[i], room + DATA_HEADROOM, f->n, h->sim->now);
        free(f);
        return true;
    }
    return false;
}

/* ---- Requests and log. */

static void keep_reply(struct node_host *h, const struct node_out *o)
{
    if (h->reply_count == NODE_REPLIES_MAX) {
        free(h->replies[0].text);
        memmove(h->replies, h->replies + 1, --h->reply_count * sizeof *h->replies);
    }
    char *text = sim_alloc(o->data.n + 1);
    memcpy(text, o->data.p, o->data.n);
    h->replies[h->reply_count++] = (struct node_reply){o->request, o->final, text};
}

uint32_t node_host_ask(struct node_host *h, const char *json)
{
    uint32_t id = ++h->next_request;
    tell_time(h);
    node_request(h->node, id, bytes_of_str(json), h->sim->now);
    pump(h);
    return id;
}

char *node_host_answer(struct node_host *h, uint32_t request)
{
    char *text = NULL;
    for (size_t i = 0; i < h->reply_count; i++)
        if (h->replies[i].request == request && h->replies[i].final)
            text = strdup(h->replies[i].text);
    for (size_t i = 0; text && i < h->reply_count;) {
        if (h->replies[i].request != request) {
            i++;
            continue;
        }
        free(h->replies[i].text);
        memmove(h->replies + i, h->replies + i + 1, (--h->reply_count - i) * sizeof *h->replies);
    }
    return text;
}

static void keep_log(struct node_host *h, const struct node_out *o)
{
    char *line = h->log_lines[h->log_count++ % NODE_LOG_LINES];
    snprintf(line, sizeof h->log_lines[0], "%s %.*s", o->name, (int)o->data.n, (const char *)o->data.p);
    h->logs[o->level >= LOG_ERROR && o->level <= LOG_DEBUG ? o->level : LOG_DEBUG]++;
    if (h->on_log)
        h->on_log(h->log_arg, h, line);
    if (h->print)
        fprintf(stderr, "# %9.3f %s %s\n", (double)(h->sim->now - SIM_START) / SEC, h->name, line);
}

bool node_host_logged(const struct node_host *h, const char *text)
{
    for (size_t i = 0; i < NODE_LOG_LINES; i++)
        if (strstr(h->log_lines[i], text))
            return true;
    return false;
}

/* ---- The pump. */

static void act(struct node_host *h, const struct node_out *o)
{
    struct device *d;
    switch (o->kind) {
    case NODE_HUB_CONNECT:
        connect_hub(h, &o->hub);
        break;
    case NODE_HUB_CLOSE:
        if (h->stream)
            stream_close(h->stream);
        h->stream = NULL;
        h->stream_up = false;
        break;
    case NODE_HUB_WAITING:
        h->waiting = true;
        break;
    case NODE_DEVICE_OPEN:
        open_device(h, o);
        break;
    case NODE_DEVICE_CLOSE:
        d = node_host_device_of(h, o->party_ref);
        if (d)
            device_close(d);
        break;
    case NODE_DEVICE_FRAME:
        device_frame(h, o);
        break;
    case NODE_SAVE:
    case NODE_APPEND:
        save(h, o);
        break;
    case NODE_DELETE:
        delete_file(h, o->name);
        break;
    case NODE_REPLY:
        keep_reply(h, o);
        break;
    case NODE_LOG:
        keep_log(h, o);
        break;
    default:
        node_net_act(h->net, o);
    }
}

static void pump(struct node_host *h)
{
    struct node_out o;
    do {
        while (node_output(h->node, h->sim->now, &o))
            act(h, &o);
    } while (h->pump ? node_pump_step(h->pump) : feed_devices(h));
    flush_link(h);
    sim_arm(h->sim, &h->timer, node_wake(h->node));
}

void node_host_pump(struct node_host *h)
{
    if (running(h))
        pump(h);
}

static void on_timer(void *arg)
{
    struct node_host *h = arg;
    tell_time(h);
    node_tick(h->node, h->sim->now);
    pump(h);
}

/* ---- Life. */

struct node_host *node_host_new(struct host *host, uint32_t number, const struct node_host_config *c)
{
    struct node_host *h = sim_alloc(sizeof *h);
    memcpy(h->name, host->name, sizeof h->name);
    h->number = number;
    h->host = host;
    h->sim = host->net->sim;
    h->config = *c;
    h->timer = (struct sim_timer){.fire = on_timer, .arg = h};
    h->down_timer = (struct sim_timer){.fire = on_unreachable, .arg = h};
    h->notice = (struct sim_timer){.fire = on_notice, .arg = h};
    sign_seed_new(&h->seed, &h->sim->rng);
    struct sign_key *key = sign_key_new(&h->seed);
    node_id_of(h->id, sign_key_public(key));
    sign_key_free(key);
    for (size_t i = 0; i < NODE_FILES_MAX; i++)
        buf_init(&h->files[i].data, 16u * 1024 * 1024);
    h->print = getenv("WARREN_SIM_LOG") != NULL;
    return h;
}

static void load_files(struct node_host *h)
{
    for (size_t i = 0; i < NODE_FILES_MAX; i++) {
        const char *why = NULL;
        if (strncmp(h->files[i].name, "party-", 6) == 0 &&
            node_load_party(h->node, h->files[i].name, h->sim->now, &why) != 0)
            fprintf(stderr, "# %s: %s: %s\n", h->name, h->files[i].name, why ? why : "?");
    }
}

void node_host_start(struct node_host *h)
{
    if (h->node)
        return;
    if (h->config.limits.pump && !h->config.no_device)
        h->pump = node_pump_new(h, h->sim->seed);
    struct node_config c = {.seed = &h->seed,
                            .plane = h->pump ? node_pump_plane(h->pump) : NULL,
                            .have_hub = h->config.have_hub,
                            .hub = h->config.hub,
                            .no_device = h->config.no_device,
                            .prefer_aes = aead_have_aes(),
                            .unix_s = sim_unix(h->sim),
                            .limits = h->config.limits,
                            .session_limits = &h->config.session,
                            .disk = {.read = read_back, .arg = h}};
    snprintf(c.name, sizeof c.name, "%s", h->name);
    c.rng = rng_seeded(&h->chance, h->sim->seed ^ ((uint64_t)(h->number + 1) << 32) ^ ++h->starts);
    const struct node_file *hub = node_host_file(h, "hub");
    if (hub) {
        char url[512];
        snprintf(url, sizeof url, "%.*s", (int)hub->data.n, (const char *)hub->data.p);
        c.have_hub = hub_address_read(&c.hub, url) == 0 || c.have_hub;
    }
    h->unix_told = c.unix_s;
    h->node = node_new(&c, h->sim->now);
    if (!h->node)
        abort();
    load_files(h);
    h->net = node_net_new(h);
    node_net_tell(h->net);
    node_start(h->node, h->sim->now);
    pump(h);
}

static void forget_process(struct node_host *h)
{
    sim_disarm(h->sim, &h->timer);
    sim_disarm(h->sim, &h->down_timer);
    sim_disarm(h->sim, &h->notice);
    for (size_t i = 0; i < NODE_DEVICES_MAX; i++)
        device_close(&h->devices[i]);
    for (size_t i = 0; i < h->reply_count; i++)
        free(h->replies[i].text);
    h->reply_count = 0;
    free(h->down_why);
    h->down_why = NULL;
    if (h->asleep)
        host_power(h->host, true);
    h->waiting = h->asleep = false;
    node_net_free(h->net);
    h->net = NULL;
    node_free(h->node);
    h->node = NULL;
    node_pump_free(h->pump);
    h->pump = NULL;
}

void node_host_kill(struct node_host *h)
{
    if (!h->node)
        return;
    drop_stream(h);
    forget_process(h);
}

void node_host_stop(struct node_host *h)
{
    if (!running(h))
        return;
    node_stop(h->node, h->sim->now);
    pump(h);
    if (h->stream)
        stream_close(h->stream);
    h->stream = NULL;
    h->stream_up = false;
    forget_process(h);
}

void node_host_free(struct node_host *h)
{
    if (!h)
        return;
    node_host_kill(h);
    for (size_t i = 0; i < NODE_FILES_MAX; i++)
        buf_done(&h->files[i].data);
    for (size_t i = 0; i < NODE_DEVICES_MAX; i++)
        device_done(&h->devices[i]);
    free(h);
}

void node_host_sleep(struct node_host *h)
{
    h->asleep = true;
    host_power(h->host, false);
    sim_disarm(h->sim, &h->timer);
}

/* The daemon looks at its clocks and listens to the kernel; what it finds makes it dial the hub again at
 * once. */
static void on_notice(void *arg)
{
    struct node_host *h = arg;
    if (!running(h))
        return;
    if (h->stream) {
        drop_stream(h);
        link_down(h, "the network below has changed");
    }
    node_net_tell(h->net);
    node_network_changed(h->node, h->sim->now);
    pump(h);
}

void node_host_wake(struct node_host *h)
{
    h->asleep = false;
    host_power(h->host, true);
    if (!h->node)
        return;
    char *why = h->down_why;
    h->down_why = NULL;
    if (why)
        link_down(h, why);
    free(why);
    on_timer(h);
    sim_arm(h->sim, &h->notice, h->sim->now + rng_below(&h->sim->rng, NOTICE_SLEEP));
}

void node_host_move(struct node_host *h, struct site *to, bool noticed)
{
    host_move(h->host, to);
    if (noticed)
        sim_arm(h->sim, &h->notice, h->sim->now + NOTICE_MOVE);
}
