/* The network devices of a daemon's parties on its libuv loop: opened when a party's pool is free on this
 * machine, read in batches, written without waiting. Part of the edge. */
#ifndef WARREN_NODE_DEVICES_H
#define WARREN_NODE_DEVICES_H

#include "netdev/netdev.h"
#include "node/engine.h"
#include "pump/pump.h"

#define DEVICES_MAX     64
#define DEVICES_BATCH   64 /* frames read from one device before the others and the hub have their turn */
#define DEVICES_WHY_CAP 320

struct uv_loop_s;
struct devices;

/* A frame from a device, with DATA_HEADROOM before and DATA_TAILROOM behind it. */
typedef void devices_frame_cb(void *arg, uint32_t party_ref, uint8_t *p, size_t n);

/* name: of the first device; "" for warren0, warren1 ... */
struct devices *devices_new(struct uv_loop_s *loop, const char *name, devices_frame_cb *cb, void *arg);
/* Devices that are opened from now on are read by the pump's workers and not by the loop. The pump outlives the devices. */
void devices_use_pump(struct devices *d, struct pump *pump);
/* A worker could not read from it. */
void devices_broken(struct devices *d, uint32_t party_ref, int error);
/* Closes all; the memory goes when the loop has turned. */
void devices_free(struct devices *d);
/* 0 and the device's name, or a negative errno and why[]: one line that says what to do. */
int devices_open(struct devices *d, uint32_t party_ref, const struct node_device *want,
                 char name[NETDEV_NAME_MAX + 1], char why[DEVICES_WHY_CAP]);
void devices_close(struct devices *d, uint32_t party_ref);
/* A frame that the device does not take at once is dropped and counted. */
void devices_write(struct devices *d, uint32_t party_ref, struct bytes frame);
/* Whether the network interface of that name is one of ours. */
bool devices_own(const struct devices *d, const char *name);
uint64_t devices_dropped(const struct devices *d);

#endif
