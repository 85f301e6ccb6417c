/* The hub behind HTTPS: libwebsockets on libuv, the store, signals, the ready line. */
#ifndef WARREN_HUB_SERVER_H
#define WARREN_HUB_SERVER_H

#include "hub/core.h"

struct hub_options {
    const char *listen; /* "HOST:PORT", "[::]:443", ":8443"; default "[::]:443" (dual stack) */
    /* STUN and the UDP relay: "IP:PORT", ":PORT" (both families), "none". NULL: port 3478 of the listen
     * address, and if that does not work, none, with a warning. udp2: a second address of this machine, "IP"
     * or "IP:PORT", for RFC 5780; udp must then name one. */
    const char *udp, *udp2;
    const char *
        turn; /* a TURN server that nodes are told of: "turn:HOST:PORT?transport=udp", "turns:..."; or NULL */
    const char *turn_secret; /* the file with the secret shared with it (coturn: static-auth-secret) */
    const char *cert, *key;  /* PEM files given by the operator; NULL: our own */
    const char *store;       /* "sqlite:PATH" or a path; NULL: STATE/hub.db */
    const char *bus;         /* NULL or "none" */
    const char *name; /* host in invites and in the certificate; NULL: the listen address, or the host name */
    const char *state; /* directory, made 0700 */
    struct hub_limits limits;
};
/* Runs until SIGINT or SIGTERM. Prints `hub ready https://HOST:PORT#sha256:HEX` on stdout when serving (port
 * 0: the one that was given). Exit code. Errors are one line on stderr. */
int hub_serve(const struct hub_options *o);

#endif
