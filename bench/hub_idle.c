/* Many devices on one hub: connects COUNT WebSockets over TLS to a hub, logs each in as a device of its own,
 * says `ready COUNT` and stays until standard input ends. bench/hub.py measures the hub's memory before and
 * after: the published figure is the growth per idle, logged-in TLS client. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/hub_client.h"

#define IDLE_POLL_MS 50

int main(int argc, char **argv)
{
    struct hub_address hub;
    struct hub_swarm swarm = {0};
    size_t count = argc == 3 ? (size_t)atol(argv[2]) : 0;
    if (count == 0 || hub_address_read(&hub, argv[1]) < 0 || !hub.pinned) {
        fprintf(stderr, "usage: bench_hub_idle https://HOST:PORT#sha256:HEX COUNT\n");
        return 2;
    }
    if (swarm_open(&swarm, &hub, count) < 0) {
        fprintf(stderr, "hub_idle: no memory, or too few descriptors (ulimit -n)\n");
        return 1;
    }
    if (swarm_log_in(&swarm, &hub) < 0)
        return 1;
    printf("ready %zu\n", swarm.logged_in);
    fflush(stdout);
    /* Stays connected, and answers pings, until the measuring side closes our standard input. */
    struct pollfd stdin_poll = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!swarm.failed && poll(&stdin_poll, 1, IDLE_POLL_MS) == 0)
        swarm_turn(&swarm,
                   true); /* what is ready, without waiting: standard input is not among its descriptors */
    bool failed = swarm.failed;
    swarm_close(&swarm);
    return failed ? 1 : 0;
}
