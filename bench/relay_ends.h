/* The ends of a relay over UDP, for relay_udp.c: two devices of a hub, or a client and a peer of coturn. Whatever fails ends the
 * program with a sentence. */
#ifndef WARREN_BENCH_RELAY_ENDS_H
#define WARREN_BENCH_RELAY_ENDS_H

#include <sys/socket.h>
#include <sys/types.h>
#include <uv.h>

#include "base/buf.h"
#include "crypto/sign.h"
#include "nat/turn.h"
#include "wire/invite.h"
#include "wire/signal.h"
#include "wire/udp_relay.h"

#define RELAY_OUTBOX 4

struct ws_client;

/* A device of the hub. Once bound, what it sends from fd to `udp` with `token` is relayed to whom `relay` names. */
struct device {
    uv_loop_t *loop;
    struct ws_client *ws;
    struct rng rng;
    struct sign_key *key;
    uint8_t id[NODE_ID_LEN], binding[32], udp_key[UDP_RELAY_KEY_LEN];
    struct net_addr udp; /* of the relay */
    uint32_t relay, token;
    int fd;
    bool welcome, joined, acked;
    struct buf out[RELAY_OUTBOX]; /* texts */
    size_t first, count;
};

/* Logs in with a key of its own. */
void come_in(struct device *d, uv_loop_t *loop, const struct hub_address *hub);
/* Both become members of one party, and join it. */
void found_party(struct device *owner, struct device *other);
void bind_to_relay(struct device *d);

/* A coturn of ours, a client of it, and a peer; what goes from fd to `at` behind the channel's number comes out at peer_fd. */
struct turner {
    pid_t pid;
    struct net_addr at, peer;
    struct turn *turn;
    int fd, peer_fd;
    uint8_t channel[2];
    char dir[32]; /* for its files */
};

/* Beside the hub: at its address, in its network namespace. False: there is no coturn; call turner_end all the same. */
bool turner_start(struct turner *t, const struct net_addr *hub, pid_t hub_pid);
void turner_end(struct turner *t);

socklen_t sockaddr_of(struct sockaddr_storage *out, const struct net_addr *a);

#endif
