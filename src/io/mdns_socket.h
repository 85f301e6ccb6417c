/* The multicast DNS socket of one family (RFC 6762): port 5353, shared with whoever else on this machine
 * speaks it, on every interface that takes multicast. What comes is given on only where it came from this
 * link: from an address of a network that the interface is on, with a TTL (hop limit) of 255 where the kernel
 * tells it (RFC 6762 section 11). What is sent to the group goes out on every interface. Our own is heard,
 * too, by others on this machine and by ourselves. */
#ifndef WARREN_IO_MDNS_SOCKET_H
#define WARREN_IO_MDNS_SOCKET_H

#include "io/addresses.h"

struct uv_loop_s;
struct mdns_socket;

#define MDNS_PORT         5353
#define MDNS_DATAGRAM_MAX 9000 /* RFC 6762 section 17 */
#define MDNS_BATCH        32   /* datagrams a wakeup */

/* p may be written to. May close the socket. */
typedef void mdns_receive_cb(void *arg, const struct net_addr *from, uint8_t *p, size_t n);

/* family: 4 or 6. port: MDNS_PORT; tests use another. It is on no interface before mdns_socket_network. 0 and
 * *out, or a negative errno. */
int mdns_socket_open(struct mdns_socket **out, struct uv_loop_s *loop, uint8_t family, uint16_t port,
                     mdns_receive_cb *cb, void *arg);
/* The interfaces that there are now: joins the group on those that are new, leaves it on those that went. */
void mdns_socket_network(struct mdns_socket *m, const struct addresses *now);
/* to: the group (any multicast address of the family): out on every interface; or one host on a link. 0 where
 * one interface took it, or a negative errno. */
int mdns_socket_send(struct mdns_socket *m, const struct net_addr *to, struct bytes datagram);
/* 224.0.0.251 or ff02::fb. */
struct net_addr mdns_group(uint8_t family, uint16_t port);
/* The memory goes when the loop has turned. NULL is fine. */
void mdns_socket_close(struct mdns_socket *m);

#endif
