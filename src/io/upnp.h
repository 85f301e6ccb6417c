/* A port of the router by UPnP (miniupnpc): found by SSDP, mapped for UDP and TCP, given back at the end.
 * That library waits for its answers, so it works in a thread of its own, one job at a time; results come
 * from the caller's libuv loop. The thread shares nothing with us but its job, not even descriptors: what the
 * library has to say on standard error goes nowhere. */
#ifndef WARREN_IO_UPNP_H
#define WARREN_IO_UPNP_H

#include <stdint.h>

#include "base/addr.h"

struct uv_loop_s;
struct upnp;

#define UPNP_SEARCH_MS   2000 /* for routers to answer */
#define UPNP_FREE_MS     1000 /* what giving back may take at the end */
#define UPNP_LOOK_MS     50   /* between two looks whether the thread is done */
#define UPNP_OTHER_PORTS 4    /* tried when the wish is somebody else's */
#define UPNP_WHY_CAP     160

/* The address outside and the time after which it is to be mapped anew, as asked; or NULL and why not. Never
 * from inside upnp_map. */
typedef void upnp_cb(void *arg, const struct net_addr *outside, uint32_t lifetime_s, const char *error);

/* root: URL of the router's description; NULL: it is searched for. NULL without memory. */
struct upnp *upnp_new(struct uv_loop_s *loop, const char *root, upnp_cb *cb, void *arg);
/* Maps the UDP port of this machine, and its TCP port (0: none) to the same number outside, or renews;
 * lifetime_s 0: gives them back, without an answer. While one job runs the youngest wish waits, those between
 * are forgotten. */
void upnp_map(struct upnp *u, uint16_t udp, uint16_t tcp, uint32_t lifetime_s);
/* Gives back what is mapped, waits UPNP_FREE_MS for it, and leaves the thread alone where it takes longer.
 * Not from a callback. The memory goes when the loop has turned. NULL is fine. */
void upnp_free(struct upnp *u);

#endif
