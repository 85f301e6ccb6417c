/* Many devices in one process, for the measurements of the hub: each a WebSocket over TLS that logs in with a
 * key of its own. All share one libwebsockets context: what they cost on this side is of no interest. One
 * thread; swarm_turn is the loop. */
#ifndef WARREN_BENCH_HUB_CLIENT_H
#define WARREN_BENCH_HUB_CLIENT_H

#include "base/buf.h"
#include "crypto/rand.h"
#include "crypto/sign.h"
#include "wire/invite.h"
#include "wire/signal.h"

struct lws;
struct lws_context;
struct hub_swarm;

struct hub_client {
    struct lws *wsi;
    struct sign_key *key;
    uint8_t id[NODE_ID_LEN];
    struct buf in, out; /* out: one message, until it is written */
    struct hub_swarm *swarm;
    size_t number; /* of clients[] */
    bool logged_in;
};

struct hub_swarm {
    struct hub_client *clients;
    size_t count, started, logged_in, failed;
    struct rng rng;
    struct lws_context *context;
    /* Both may be NULL. Messages other than those of the login; `out` is empty and the connection takes more.
     */
    void (*on_message)(struct hub_client *c, const struct signal *s);
    void (*on_writable)(struct hub_client *c);
};

/* Connects nothing yet. hub is pinned. 0 or -ENOMEM (also: too few descriptors). */
int swarm_open(struct hub_swarm *w, const struct hub_address *hub, size_t count);
/* Until all have logged in: 0, or -EIO when a connection ended (said on stderr). */
int swarm_log_in(struct hub_swarm *w, const struct hub_address *hub);
/* One round of events; waits for one unless `now` is set. 0, or -EIO when a connection ended. */
int swarm_turn(struct hub_swarm *w, bool now);
void swarm_close(struct hub_swarm *w);

/* Sends when the connection takes it; one at a time. 0, -EBUSY while another waits, or those of signal_write.
 */
int hub_client_say(struct hub_client *c, const struct signal *s);
/* Asks for on_writable. */
void hub_client_want(struct hub_client *c);

#endif
