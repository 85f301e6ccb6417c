#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "path/circuit_int.h"

static int route_check(const struct circuits *c, uint32_t party, const uint8_t hops[][NODE_ID_LEN],
                       size_t count)
{
    if (count < 2 || count > CIRCUIT_HOPS_MAX + 1)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (memcmp(hops[i], c->cfg.self, NODE_ID_LEN) == 0 || !c->cfg.member(c->cfg.arg, party, hops[i]))
            return -EINVAL;
        for (size_t j = 0; j < i; j++)
            if (memcmp(hops[i], hops[j], NODE_ID_LEN) == 0)
                return -EINVAL;
    }
    return c->ours + c->ended < CIRCUITS_MAX ? 0 : -ENOSPC;
}

/* Sends, or sends again, what asks the next hop in. */
static void step_send(struct circuits *c, struct circuit *k, usec_t now)
{
    struct circuit_offer offer = {
        .cipher = k->offer->text[1], .dh = k->offer->text + 2, .kem = k->offer->text + 2 + X25519_LEN};
    if (k->built > 0) {
        struct circuit_text t = {.command = CIRCUIT_EXTEND, .node = k->hop[k->built], .offer = offer};
        build_send(c, k, &t, k->built, build_least(c), now);
    } else {
        struct wr w = wr_of(c->scratch, sizeof c->scratch);
        circuit_cell_write(
            &w, &(struct circuit_cell){
                    .kind = CIRCUIT_CREATE, .circuit = k->next.id, .party = k->party, .offer = offer});
        send_cell(c, k->next.node, wr_done(&w));
    }
    k->repeat = at(c, now + k->gap);
    k->gap = usec_min(k->gap + k->gap / 2, CIRCUIT_RETRY_MAX);
}

static int step_begin(struct circuits *c, struct circuit *k, usec_t now)
{
    int rc = offer_make(k->offer, aead_have_aes() ? AEAD_AES256GCM : AEAD_CHACHA20POLY1305, &c->cfg.rng);
    if (rc < 0)
        return rc;
    k->gap = CIRCUIT_RETRY;
    step_send(c, k, now);
    return 0;
}

int build_open(struct circuits *c, uint32_t party, const uint8_t hops[][NODE_ID_LEN], size_t count,
               usec_t now, uint32_t *id)
{
    int rc = route_check(c, party, hops, count);
    struct circuit *k = rc == 0 ? circuit_new(c, party, ROLE_OURS, count, now) : NULL;
    if (!k)
        return rc < 0 ? rc : -ENOMEM;
    memcpy(k->hop, hops, count * NODE_ID_LEN);
    k->offer = calloc(1, sizeof *k->offer);
    if (!k->offer || circuit_give_id(c, k) < 0 ||
        link_open(c, k, &k->next, hops[0], link_fresh_id(c, hops[0])) < 0 || step_begin(c, k, now) < 0) {
        circuit_free(c, k);
        return -ENOMEM;
    }
    *id = k->id;
    return 0;
}

int build_send(struct circuits *c, struct circuit *k, const struct circuit_text *t, size_t layers,
               size_t least, usec_t now)
{
    size_t from;
    struct wr w = text_begin(c, t, layers, least, &from);
    int rc = layer_seal(&k->layer[layers - 1], k->layer[layers - 1].forth, &w, from);
    for (size_t i = layers - 1; i-- > 0 && rc == 0;) {
        from -= CIRCUIT_COUNTER_LEN + 1;
        w.p[from] = CIRCUIT_PASS;
        rc = layer_seal(&k->layer[i], k->layer[i].forth, &w, from);
    }
    if (rc < 0)
        return rc;
    struct wr head = wr_of(w.p, CIRCUIT_HEADER_LEN);
    circuit_header_write(&head, CIRCUIT_FORTH, k->next.id);
    k->sent = now;
    return send_cell(c, k->next.node, wr_done(&w));
}

void build_failed(struct circuits *c, struct circuit *k, const char *why)
{
    c->counts.failed++;
    circuit_say(c, k, CIRCUIT_FAILED, why, k->hop[k->built]);
    send_destroy(c, k->next.node, CIRCUIT_DESTROY_FORTH, k->next.id, CIRCUIT_CLOSED);
    circuit_free(c, k);
}

static void keep(struct circuits *c, struct circuit *k, usec_t now)
{
    build_send(c, k, &(struct circuit_text){.command = CIRCUIT_KEEP}, k->count, 0, now);
}

static void up(struct circuits *c, struct circuit *k, usec_t now)
{
    wipe(k->offer, sizeof *k->offer);
    free(k->offer);
    k->offer = NULL;
    k->up = true;
    k->since = k->heard = now;
    k->gap = CIRCUIT_RETRY;
    k->repeat = at(c, now + k->gap);
    c->counts.built++;
    /* An owner that does not hear of it would keep it forever. */
    if (!circuit_say(c, k, CIRCUIT_UP, NULL, k->hop[k->count - 1])) {
        circuit_end(c, k, CIRCUIT_BUSY, NULL);
        return;
    }
    keep(c, k, now); /* so that the end knows, even if nobody has anything to say */
}

/* The hop that was asked in has answered. */
static void step_finish(struct circuits *c, struct circuit *k, const struct circuit_answer *a, usec_t now)
{
    const uint8_t *node = k->hop[k->built];
    const struct sign_public *pub = c->cfg.member(c->cfg.arg, k->party, node);
    int rc = pub ? offer_finish(k->offer, k->party, node, pub, a, &k->layer[k->built], &c->cfg.rng) : -EPERM;
    if (rc == -EPERM || rc == -EBADMSG) {
        build_failed(c, k,
                     pub ? "a member on the way did not prove who it is"
                         : "a member on the way is none any more");
        return;
    }
    if (rc < 0)
        return; /* out of memory: the answer comes again when we ask again */
    k->built++;
    if (k->built == k->count) {
        up(c, k, now);
    } else if (step_begin(c, k, now) < 0) { /* the same again: the hop repeats its answer */
        k->built--;
        layer_done(&k->layer[k->built]);
    }
}

void build_created(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, usec_t now)
{
    if (k->built == 0)
        step_finish(c, k, &cell->answer, now);
}

static void end_heard(struct circuits *c, struct circuit *k, usec_t now)
{
    k->heard = now;
    if (!k->confirmed)
        k->repeat = at(c, now + CIRCUIT_KEEPALIVE);
    k->confirmed = true;
}

static bool from_end(const struct circuit *k, size_t hop)
{
    return k->up && hop == k->count - 1;
}

/* The last hop so far, while it is to extend. */
static bool from_edge(const struct circuit *k, size_t hop)
{
    return !k->up && hop == k->built - 1;
}

static bool act(struct circuits *c, struct circuit *k, const struct circuit_text *t, size_t hop, usec_t now)
{
    if (t->command == CIRCUIT_DATA && from_end(k, hop) && t->data.n <= CIRCUIT_PAYLOAD_MAX) {
        end_heard(c, k, now);
        say_datagram(c, k, t->data);
    } else if (t->command == CIRCUIT_KEPT && from_end(k, hop)) {
        end_heard(c, k, now);
    } else if (t->command == CIRCUIT_EXTENDED && from_edge(k, hop)) {
        step_finish(c, k, &t->answer, now);
    } else if (t->command == CIRCUIT_REFUSE && from_edge(k, hop)) {
        build_failed(c, k, circuit_reason_text(t->reason));
    } else {
        return false;
    }
    return true;
}

void build_back(struct circuits *c, struct circuit *k, const struct circuit_cell *cell, usec_t now)
{
    struct bytes sealed = cell->layer, opened;
    struct circuit_text t = {.command = CIRCUIT_PASS};
    size_t i = 0;
    for (; i < k->built && t.command == CIRCUIT_PASS; i++) {
        if (layer_open(&k->layer[i], k->layer[i].back, sealed, &opened) < 0 ||
            circuit_text_read(&t, opened) < 0)
            goto drop;
        sealed = t.data;
    }
    if (t.command == CIRCUIT_PASS || !act(c, k, &t, i - 1, now))
        goto drop;
    return;
drop:
    c->counts.dropped++;
}

static bool all_members(const struct circuits *c, const struct circuit *k)
{
    for (size_t i = 0; i < k->count; i++)
        if (!c->cfg.member(c->cfg.arg, k->party, k->hop[i]))
            return false;
    return true;
}

static void up_tick(struct circuits *c, struct circuit *k, usec_t now)
{
    if (now >= k->heard + CIRCUIT_IDLE) {
        circuit_end(c, k, CIRCUIT_TIMEOUT, NULL);
        return;
    }
    if (now < k->repeat)
        return;
    if (!all_members(c, k)) {
        circuit_end(c, k, CIRCUIT_NO_MEMBER, NULL);
        return;
    }
    usec_t quiet = usec_min(k->heard, k->sent) + CIRCUIT_KEEPALIVE;
    if (k->confirmed && now < quiet) {
        k->repeat = quiet;
        return;
    }
    keep(c, k, now);
    k->repeat = now + (k->confirmed ? CIRCUIT_KEEPALIVE : k->gap);
    k->gap = usec_min(k->gap + k->gap / 2, CIRCUIT_RETRY_MAX);
}

void build_tick(struct circuits *c, struct circuit *k, usec_t now)
{
    if (k->up)
        up_tick(c, k, now);
    else if (now >= k->deadline)
        build_failed(c, k, circuit_reason_text(CIRCUIT_TIMEOUT));
    else if (now >= k->repeat)
        step_send(c, k, now);
}

usec_t build_wake(const struct circuit *k)
{
    return usec_min(k->repeat, k->up ? k->heard + CIRCUIT_IDLE : k->deadline);
}
