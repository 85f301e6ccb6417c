/* Giving up what a daemon does not need any more (libcap-ng, libseccomp). */
#ifndef WARREN_NETDEV_PRIVILEGE_H
#define WARREN_NETDEV_PRIVILEGE_H

#include <stdbool.h>

/* Whether this process may make network devices (CAP_NET_ADMIN in its effective set). */
bool privilege_can_make_devices(void);
/* Makes io_uring look absent (ENOSYS) to this process, which sets no_new_privs too. Before the event loop is made: a libuv that has a
 * ring from before privilege_drop ends the program when the filter then forbids its use; one that never gets a ring does
 * without. 0 or a negative errno. */
int privilege_without_io_uring(void);
/* Keeps CAP_NET_ADMIN (when keep_net_admin) and CAP_NET_BIND_SERVICE never; drops every other capability from all sets including the
 * bounding set, sets no_new_privs, and installs a system call filter that forbids starting programs, tracing, mounting,
 * loading modules and changing identities (EPERM; clone3 gives ENOSYS, so that libraries fall back to clone, whose flags can be
 * seen). Without root it still sets no_new_privs and the filter. Call once, after sockets and keys are open and before threads
 * are started: the filter reaches threads that exist already, but those keep the capabilities they have. After failure the
 * process may have lost some: end it. 0 or a negative errno; *what names the step that failed. */
int privilege_drop(bool keep_net_admin, const char **what);

#endif
