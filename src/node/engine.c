/* The composition: what comes from the edges is handed to the part that it is for. */
#include "node/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/dataplane_int.h"

uint64_t node_unix(const struct node *n, usec_t now)
{
    if (now >= n->unix_at)
        return n->unix_s + (now - n->unix_at) / SEC;
    uint64_t before = (n->unix_at - now) / SEC;
    return n->unix_s > before ? n->unix_s - before : 0;
}

void node_due(struct node *n, usec_t at)
{
    if (at < n->wake)
        n->wake = at;
}

static int node_tables(struct node *n, const struct node_config *c)
{
    uint64_t seed = rng_u64(&n->rng);
    n->by_id = map_new(NODE_ID_LEN, PEERS_MAX, seed);
    n->by_relay = map_new(sizeof(uint32_t), PEERS_MAX, seed);
    n->by_index = map_new(sizeof(uint32_t), 3 * PEERS_MAX, seed);
    if (!n->by_id || !n->by_relay || !n->by_index)
        return -ENOMEM;
    n->key = sign_key_new(c->seed);
    if (!n->key || outputs_init(&n->out) < 0)
        return -ENOMEM;
    return link_init(n, c);
}

struct node *node_new(const struct node_config *c, usec_t now)
{
    struct node *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->limits = c->limits;
    n->session_limits = c->session_limits ? *c->session_limits : session_limits_default;
    n->rng = c->rng;
    n->no_device = c->no_device;
    n->prefer_aes = c->prefer_aes;
    n->speed = c->speed;
    n->disk = c->disk;
    n->unix_s = c->unix_s;
    n->unix_at = n->started_at = now;
    n->wake = USEC_NEVER;
    memcpy(n->name, c->name, sizeof n->name);
    n->name[sizeof n->name - 1] = '\0';
    ratelimit_init(&n->hellos, n->limits.hellos_per_s, 2 * (uint64_t)n->limits.hellos_per_s, now);
    n->data = dataplane_new(c->plane);
    if ((c->plane && !n->data) || node_tables(n, c) < 0 || underlay_init(n, now) < 0 || relaying_init(n, now) < 0) {
        node_free(n);
        return NULL;
    }
    node_id_of(n->id, sign_key_public(n->key));
    return n;
}

void node_free(struct node *n)
{
    if (!n)
        return;
    requests_free(n);
    search_done(n);
    if (n->by_index)
        peers_free(n);
    for (size_t i = 0; i < n->party_count; i++)
        np_free(n->parties[i]);
    relaying_done(n);
    underlay_done(n);
    map_free(n->by_id);
    map_free(n->by_relay);
    map_free(n->by_index);
    link_done(&n->link);
    outputs_done(&n->out);
    dataplane_free(n->data);
    sign_key_free(n->key);
    free(n);
}

void node_start(struct node *n, usec_t now)
{
    n->started = true;
    underlay_start(n, now);
    for (size_t i = 0; i < n->party_count; i++)
        np_device_wish(n, n->parties[i], now);
    struct hub_address hub = n->link.hub;
    if (n->link.have_hub && n->link.state == LINK_OFF)
        link_use(n, &hub, true, now);
}

void node_clock(struct node *n, usec_t now, uint64_t unix_s)
{
    n->unix_s = unix_s;
    n->unix_at = now;
    lan_clock(n, now);
}

/* ---- Relay frames. */

static void relay_dropped(struct node *n, struct bytes payload)
{
    struct rd r = rd_of(payload);
    uint32_t dropped = rd_u32(&r);
    if (rd_done(&r))
        n->counts[COUNT_RELAY_DROPPED] += dropped;
}

static void relay_frame(struct node *n, const struct relay_frame *f, uint8_t *payload, usec_t now)
{
    struct node_peer *p;
    switch (f->kind) {
    case RELAY_DATA:
    case RELAY_CONTROL:
        peers_input(n, &(struct origin){.via = PATH_WS_RELAY, .number = f->peer}, payload, f->payload.n, now);
        break;
    case RELAY_GONE:
        count(n, COUNT_RELAY_GONE);
        p = map_get(n->by_relay, &f->peer);
        if (p)
            peer_offline(n, p, UINT64_MAX, now);
        break;
    case RELAY_DROPPED:
        relay_dropped(n, f->payload);
        break;
    default:
        break;
    }
}

void node_hub_binary(struct node *n, uint8_t *message, size_t len, usec_t now)
{
    if (n->link.state != LINK_READY || len > RELAY_MESSAGE_MAX) {
        count(n, COUNT_HUB_BAD_BINARY);
        return;
    }
    n->link.heard = now;
    /* One copy, so that frames live until the edge took them, whatever becomes of its buffer. */
    uint8_t *own = out_arena(n, len);
    if (!own) {
        count(n, COUNT_FRAMES_OUT_FULL);
        return;
    }
    memcpy(own, message, len);
    n->out.held = true;
    struct rd r = rd_of(bytes_of(own, len));
    struct relay_frame f;
    int rc;
    while ((rc = relay_frame_read(&f, &r)) == 1)
        relay_frame(n, &f, own + (f.payload.p - own), now);
    n->out.held = false;
    if (rc < 0)
        count(n, COUNT_HUB_BAD_BINARY);
}

/* ---- Devices. */

/* The frame to every member that is connected; each needs a copy of its own, sealed with its own key. */
static void flood(struct node *n, const struct node_party *np, uint8_t *buf, size_t len, usec_t now)
{
    struct node_peer *last = NULL;
    for (size_t i = 0; i < np->ref_count; i++) {
        struct node_peer *p = peer_by_ref(n, np->refs[i]);
        if (!p || p->doomed || !peer_connected(p))
            continue;
        if (last) {
            memcpy(n->scratch + DATA_HEADROOM, buf + DATA_HEADROOM, len);
            peer_send(n, last, np, n->scratch, len, now);
        }
        last = p;
    }
    if (last)
        peer_send(n, last, np, buf, len, now);
}

void node_device_frame(struct node *n, uint32_t party_ref, uint8_t *p, size_t len, usec_t now)
{
    struct node_party *np = np_by_ref(n, party_ref);
    if (!np || np->state != NP_ACTIVE || np->dev != DEV_OPEN || len > VNET_FRAME_MAX) {
        count(n, COUNT_NO_DEVICE);
        return;
    }
    struct vnet_verdict v = vnet_from_device(np->vnet, p, len, now);
    struct node_peer *to;
    switch (v.action) {
    case VNET_DROP:
        break;
    case VNET_TO_DEVICE:
        out_frame_copy(n, np->ref, v.reply);
        break;
    case VNET_TO_ALL:
        flood(n, np, p - DATA_HEADROOM, len, now);
        break;
    case VNET_TO_PEER:
        to = peer_by_ref(n, v.ref);
        if (to && !to->doomed)
            peer_send(n, to, np, p - DATA_HEADROOM, len, now);
        else
            count(n, COUNT_NO_PEER);
        break;
    }
}

/* ---- Time. */

static void wake_again(struct node *n)
{
    usec_t wake = usec_min(usec_min(link_wake(n), underlay_wake(n)), requests_wake(n));
    wake = usec_min(wake, usec_min(relaying_wake(n), dataplane_wake(n)));
    for (size_t i = 0; i < n->party_count; i++)
        wake = usec_min(wake, np_wake(n->parties[i]));
    for (size_t i = 0; i < n->peer_slots; i++)
        if (n->peers[i])
            wake = usec_min(wake, usec_min(n->peers[i]->wake, n->peers[i]->start_at));
    n->wake = wake;
}

usec_t node_wake(const struct node *n)
{
    return n->dirty || n->doomed > 0 ? 0 : n->wake;
}

void node_tick(struct node *n, usec_t now)
{
    link_tick(n, now);
    underlay_tick(n, now);
    for (size_t i = n->party_count; i-- > 0;)
        if (i < n->party_count && np_wake(n->parties[i]) <= now)
            np_tick(n, n->parties[i], now);
    for (size_t i = 0; i < n->peer_slots; i++)
        if (n->peers[i] && !n->peers[i]->doomed && usec_min(n->peers[i]->wake, n->peers[i]->start_at) <= now)
            peer_tick(n, n->peers[i], now);
    relaying_tick(n, now);
    requests_tick(n, now);
    dataplane_tick(n, now);
    peers_pump(n, now);
    wake_again(n);
}

void node_stop(struct node *n, usec_t now)
{
    if (n->stopping)
        return;
    n->stopping = true;
    lan_stop(n, now);
    mapping_stop(n, now);
    turning_stop(n, now);
    for (size_t i = 0; i < n->peer_slots; i++) {
        struct node_peer *p = n->peers[i];
        if (!p || !p->cur)
            continue;
        session_close(p->cur->s, now);
        peer_touch(n, p);
    }
    peers_pump(n, now);
    for (size_t i = 0; i < n->party_count; i++) {
        struct node_party *np = n->parties[i];
        np_device_close(n, np);
        if (!link_ready(n) || !np->join_sent)
            continue;
        struct signal s = {.type = SIGNAL_LEAVE};
        memcpy(s.u.leave.party, np->id, PARTY_ID_LEN);
        link_send(n, &s, now);
    }
}

const uint8_t *node_id(const struct node *n)
{
    return n->id;
}

void node_id_text(char out[NODE_ID_TEXT_CAP], const uint8_t id[NODE_ID_LEN])
{
    memcpy(out, "wn-", 3);
    base32_put(out + 3, bytes_of(id, NODE_ID_LEN));
}
