#include "io/upnp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <miniupnpc/upnperrors.h>

#define URL_CAP      256
#define CONFLICT     718 /* WANIPConnection:1 section 2.4.16: somebody else has the port */
#define ONLY_LASTING 725 /* ... and this router knows no leases */
#define DESCRIPTION  "warren"
#define TTL          2
#define VALID_IGD    1
#define THREAD_STACK (256 * 1024)

/* A router's service that maps ports. */
struct router {
    char control[URL_CAP], service[URL_CAP], own[64]; /* own: this machine's address towards it */
};

/* All that the thread knows. Whoever finds it done and the other gone frees it. */
struct job {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done, abandoned; /* guarded by lock */
    /* given */
    char root[URL_CAP];
    uint16_t udp, tcp;
    uint32_t lifetime_s; /* 0: give back */
    /* given and returned */
    struct router router; /* control "": not known */
    uint16_t mapped;      /* port outside; 0: none */
    /* returned */
    uint32_t lease_s; /* asked of the router: 0 for one that knows no leases */
    struct net_addr outside;
    char error[UPNP_WHY_CAP];
};

struct upnp {
    uv_loop_t *loop;
    uv_timer_t timer;
    upnp_cb *cb;
    void *arg;
    char root[URL_CAP];
    struct router router;
    uint16_t mapped;
    struct job *job; /* NULL: none runs */
    bool waiting;    /* the wish below */
    uint16_t udp, tcp;
    uint32_t lifetime_s;
};

/* ---- the thread */

static bool keep_router(struct job *j, const struct UPNPUrls *urls, const struct IGDdatas *data,
                        const char *own)
{
    if (!urls->controlURL || strlen(urls->controlURL) >= URL_CAP ||
        strlen(data->first.servicetype) >= URL_CAP)
        return false;
    snprintf(j->router.control, URL_CAP, "%s", urls->controlURL);
    snprintf(j->router.service, URL_CAP, "%s", data->first.servicetype);
    snprintf(j->router.own, sizeof j->router.own, "%s", own);
    return true;
}

static int first_router(struct UPNPDev *list, struct UPNPUrls *urls, struct IGDdatas *data, char *own, int n)
{
#if MINIUPNPC_API_VERSION >= 18
    return UPNP_GetValidIGD(list, urls, data, own, n, NULL, 0);
#else
    return UPNP_GetValidIGD(list, urls, data, own, n);
#endif
}

static bool find_router(struct job *j)
{
    struct UPNPUrls urls = {0};
    struct IGDdatas data;
    char own[64] = "";
    int error = 0, found;
    memset(&data, 0, sizeof data);
    if (j->root[0]) {
        found = UPNP_GetIGDFromUrl(j->root, &urls, &data, own, sizeof own) ? VALID_IGD : 0;
    } else {
        struct UPNPDev *list = upnpDiscover(UPNP_SEARCH_MS, NULL, NULL, UPNP_LOCAL_PORT_ANY, 0, TTL, &error);
        found = list ? first_router(list, &urls, &data, own, sizeof own) : 0;
        freeUPNPDevlist(list);
    }
    bool ok = found == VALID_IGD && keep_router(j, &urls, &data, own);
    if (found)
        FreeUPNPUrls(&urls);
    if (!ok)
        snprintf(j->error, sizeof j->error, "%s",
                 found ? "the router that speaks UPnP is not connected to the Internet"
                       : "no router here speaks UPnP");
    return ok;
}

static int add(const struct job *j, uint16_t outside, const char *protocol)
{
    char out[8], in[8], lease[16];
    snprintf(out, sizeof out, "%u", outside);
    snprintf(in, sizeof in, "%u", *protocol == 'T' ? j->tcp : j->udp);
    snprintf(lease, sizeof lease, "%u", j->lease_s);
    return UPNP_AddPortMapping(j->router.control, j->router.service, out, in, j->router.own, DESCRIPTION,
                               protocol, NULL, lease);
}

static void drop(const struct job *j, uint16_t outside)
{
    char out[8];
    snprintf(out, sizeof out, "%u", outside);
    UPNP_DeletePortMapping(j->router.control, j->router.service, out, "UDP", NULL);
    UPNP_DeletePortMapping(j->router.control, j->router.service, out, "TCP", NULL);
}

/* The port asked for, or what we had, or one near. TCP follows UDP where it can; nothing depends on it. */
static int add_some(struct job *j)
{
    uint16_t outside = j->mapped ? j->mapped : j->udp;
    int rc = CONFLICT;
    for (int i = 0; rc == CONFLICT && i <= UPNP_OTHER_PORTS; i++) {
        if (i)
            outside = (uint16_t)(1024 + (j->udp + 7919u * (unsigned)i) % 64000);
        rc = add(j, outside, "UDP");
        if (rc == ONLY_LASTING) {
            j->lease_s = 0;
            rc = add(j, outside, "UDP");
        }
    }
    if (rc)
        return rc;
    if (j->tcp)
        add(j, outside, "TCP");
    j->mapped = outside;
    return 0;
}

static void map(struct job *j)
{
    char ip[64] = "";
    int rc = add_some(j);
    if (rc) {
        const char *said = strupnperror(rc);
        snprintf(j->error, sizeof j->error, "the router refuses a port by UPnP (%d%s%.100s)", rc,
                 said ? ": " : "", said ? said : "");
        return;
    }
    rc = UPNP_GetExternalIPAddress(j->router.control, j->router.service, ip);
    if (rc || net_addr_read(&j->outside, ip) || !j->outside.family) {
        j->outside.family = 0;
        snprintf(j->error, sizeof j->error, "the router does not tell its address by UPnP");
        return;
    }
    j->outside.port = j->mapped;
}

static void work(struct job *j)
{
    bool known = j->router.control[0] != 0;
    if (!j->lifetime_s) {
        if (known && j->mapped)
            drop(j, j->mapped);
        j->mapped = 0;
        return;
    }
    j->lease_s = j->lifetime_s;
    if (known)
        map(j);
    if (j->outside.family)
        return;
    j->lease_s = j->lifetime_s; /* the first time, or another router since */
    j->mapped = 0;
    j->error[0] = 0;
    if (find_router(j))
        map(j);
}

static void job_free(struct job *j)
{
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->changed);
    free(j);
}

/* The library complains on standard error, which is our log. In this thread's own table of descriptors there
 * is nothing but /dev/null there, and none of our sockets, which would otherwise stay open as long as it
 * runs. */
static void leave_descriptors(void)
{
    if (close_range(0, ~0u, CLOSE_RANGE_UNSHARE) < 0)
        return; /* before Linux 5.9 */
    for (int i = 0; i < 3; i++)
        if (open("/dev/null", O_RDWR) < 0)
            return;
}

static void *thread_main(void *arg)
{
    struct job *j = arg;
    leave_descriptors();
    work(j);
    pthread_mutex_lock(&j->lock);
    bool abandoned = j->abandoned;
    j->done = true;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->lock);
    if (abandoned)
        job_free(j);
    return NULL;
}

/* ---- the loop's side */

static struct job *job_new(const struct upnp *u, uint16_t udp, uint16_t tcp, uint32_t lifetime_s)
{
    struct job *j = calloc(1, sizeof *j);
    pthread_condattr_t how;
    if (!j)
        return NULL;
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&how);
    pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
    pthread_cond_init(&j->changed, &how);
    pthread_condattr_destroy(&how);
    memcpy(j->root, u->root, sizeof j->root);
    j->router = u->router;
    j->mapped = u->mapped;
    j->udp = udp;
    j->tcp = tcp;
    j->lifetime_s = lifetime_s;
    return j;
}

/* Signals are the loop's. */
static int thread_start(struct job *j)
{
    pthread_t t;
    pthread_attr_t how;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&how);
    pthread_attr_setdetachstate(&how, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&how, THREAD_STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&t, &how, thread_main, j);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&how);
    return -rc;
}

static void on_look(uv_timer_t *t);

static void begin(struct upnp *u, uint16_t udp, uint16_t tcp, uint32_t lifetime_s)
{
    struct job *j = job_new(u, udp, tcp, lifetime_s);
    if (j && thread_start(j)) {
        job_free(j);
        j = NULL;
    }
    u->job = j;
    if (!j) { /* told by the timer, and tried again with the next wish */
        u->waiting = true;
        u->udp = udp;
        u->tcp = tcp;
        u->lifetime_s = lifetime_s;
    }
    uv_timer_start(&u->timer, on_look, UPNP_LOOK_MS, UPNP_LOOK_MS);
}

/* Takes the job's results when it is done. */
static bool collect(struct upnp *u)
{
    struct job *j = u->job;
    pthread_mutex_lock(&j->lock);
    bool done = j->done;
    pthread_mutex_unlock(&j->lock);
    if (!done)
        return false;
    u->job = NULL;
    u->router = j->router;
    u->mapped = j->mapped;
    return true;
}

static void on_look(uv_timer_t *t)
{
    struct upnp *u = t->data;
    struct job *j = u->job;
    if (j && !collect(u))
        return;
    uv_timer_stop(&u->timer);
    bool asked = j && j->lifetime_s && (j->outside.family || j->error[0]);
    struct net_addr outside = j ? j->outside : (struct net_addr){0};
    uint32_t lifetime_s = j ? j->lifetime_s : 0;
    char error[UPNP_WHY_CAP] = "no thread for UPnP: out of memory";
    if (j) {
        memcpy(error, j->error, sizeof error);
        job_free(j);
    }
    bool next = u->waiting;
    u->waiting = false;
    if (j && next)
        begin(u, u->udp, u->tcp, u->lifetime_s);
    if (asked || !j)
        u->cb(u->arg, outside.family ? &outside : NULL, lifetime_s, outside.family ? NULL : error);
}

struct upnp *upnp_new(struct uv_loop_s *loop, const char *root, upnp_cb *cb, void *arg)
{
    struct upnp *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->loop = loop;
    u->cb = cb;
    u->arg = arg;
    snprintf(u->root, sizeof u->root, "%s", root ? root : "");
    uv_timer_init(loop, &u->timer);
    u->timer.data = u;
    return u;
}

void upnp_map(struct upnp *u, uint16_t udp, uint16_t tcp, uint32_t lifetime_s)
{
    if (!u->job && !u->waiting) {
        begin(u, udp, tcp, lifetime_s);
        return;
    }
    u->waiting = true;
    u->udp = udp;
    u->tcp = tcp;
    u->lifetime_s = lifetime_s;
}

/* Until the job is done or the time is over; false: it goes on by itself. */
static bool await(struct job *j, const struct timespec *until)
{
    int rc = 0;
    pthread_mutex_lock(&j->lock);
    while (!j->done && rc == 0)
        rc = pthread_cond_timedwait(&j->changed, &j->lock, until);
    bool done = j->done;
    j->abandoned = !done;
    pthread_mutex_unlock(&j->lock);
    return done;
}

static void give_back(struct upnp *u)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += UPNP_FREE_MS / 1000;
    for (;;) {
        struct job *j = u->job;
        if (!j && u->mapped) {
            j = u->job = job_new(u, 0, 0, 0);
            if (j && thread_start(j)) {
                job_free(j);
                j = NULL;
            }
        }
        if (!j || !await(j, &until))
            return;
        collect(u);
        job_free(j);
    }
}

static void closed(uv_handle_t *h)
{
    free(h->data);
}

void upnp_free(struct upnp *u)
{
    if (!u)
        return;
    give_back(u);
    uv_close((uv_handle_t *)&u->timer, closed);
}
