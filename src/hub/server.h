/* The hub behind HTTPS: libwebsockets on libuv, the store, signals, the ready line. */
#ifndef WARREN_HUB_SERVER_H
#define WARREN_HUB_SERVER_H

#include "hub/core.h"

struct hub_options {
    const char *listen; /* "HOST:PORT", "[::]:443", ":8443"; default "[::]:443" (dual stack) */
    const char *
        udp; /* reserved for STUN and the UDP relay: refused with a clear sentence while they are not built */
    const char *cert, *key; /* PEM files given by the operator; NULL: our own */
    const char *store;      /* "sqlite:PATH" or a path; NULL: STATE/hub.db */
    const char *bus;        /* NULL or "none" */
    const char *name; /* host in invites and in the certificate; NULL: the listen address, or the host name */
    const char *state; /* directory, made 0700 */
    struct hub_limits limits;
};
/* Runs until SIGINT or SIGTERM. Prints `hub ready https://HOST:PORT#sha256:HEX` on stdout when serving (port
 * 0: the one that was given). Exit code. Errors are one line on stderr. */
int hub_serve(const struct hub_options *o);

#endif
