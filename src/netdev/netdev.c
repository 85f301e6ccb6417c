#include "netdev/netdev_int.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "netdev/netlink_int.h"

#define TUN_PATH     "/dev/net/tun"
#define DEFAULT_NAME "warren%d"

#ifndef IFF_TUN_EXCL
#define IFF_TUN_EXCL 0x8000
#endif
#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* Linux 6.3; an enumerator of linux/if_link.h, so the preprocessor cannot say whether it is there. */
#define LINK_GSO_IPV4_MAX_SIZE 63

const char *netdev_error_text(enum netdev_error e)
{
    switch (e) {
    case NETDEV_OK:
        return "the network device is up";
    case NETDEV_NO_PRIVILEGE:
        return "network devices need CAP_NET_ADMIN: run as root, or use --device none";
    case NETDEV_NO_TUN_DRIVER:
        return "this machine has no /dev/net/tun: load it with `modprobe tun`, or pass the device to the "
               "container";
    case NETDEV_NAME_TAKEN:
        return "a network device of that name exists already: choose another name or remove that device";
    case NETDEV_NAME_BAD:
        return "a device name has 1 to 15 letters, digits, '-', '_' or '.': choose another one";
    case NETDEV_ADDRESS_FAILED:
        return "the kernel refused the party's address: see whether another device has it";
    case NETDEV_FAILED:
        break;
    }
    return "the kernel refused to make the network device: see the error number in the log";
}

/* ---- Name. */

static bool name_is_good(const char *name)
{
    size_t n = strnlen(name, NETDEV_NAME_MAX + 1);
    if (n > NETDEV_NAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    size_t plain = n >= 2 && strcmp(name + n - 2, "%d") == 0 ? n - 2 : n;
    for (size_t i = 0; i < plain; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
            return false;
    return true;
}

/* ---- The driver. */

static enum netdev_error error_of_errno(int e)
{
    switch (e) {
    case EPERM:
    case EACCES:
        return NETDEV_NO_PRIVILEGE;
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return NETDEV_NO_TUN_DRIVER;
    case EBUSY:
        return NETDEV_NAME_TAKEN;
    default:
        return NETDEV_FAILED;
    }
}

static int kernel_control(void *ctx, int fd, unsigned long request, uintptr_t arg)
{
    return ioctl(fd, request, arg);
}

static int control(const struct netdev_driver *driver, int fd, unsigned long request, uintptr_t arg)
{
    return driver->control(driver->ctx, fd, request, arg) < 0 ? -errno : 0;
}

/* A descriptor attached to the device of that name, or a negative errno. r receives the name that the device
 * has. */
static int queue_open(const struct netdev_driver *driver, unsigned flags, struct ifreq *r)
{
    int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC), header = NETDEV_VNET_HEADER;
    if (fd < 0)
        return -errno;
    r->ifr_flags = (short)flags;
    int e = control(driver, fd, TUNSETIFF, (uintptr_t)r);
    if (e == 0 && flags & IFF_VNET_HDR)
        e = control(driver, fd, TUNSETVNETHDRSZ, (uintptr_t)&header);
    if (e == 0)
        return fd;
    close(fd);
    return e;
}

/* Refusals that mean the driver, not the name, the machine or us. */
static bool means_unknown(int e)
{
    return e == -EINVAL || e == -EOPNOTSUPP || e == -ENOTTY || e == -ENOSYS;
}

/* The flags among the wanted that the driver says it knows: one from before IFF_VNET_HDR would ignore it
 * without a word. */
static unsigned known_flags(const struct netdev_driver *driver, unsigned wanted)
{
    unsigned known = 0;
    int fd = wanted ? open(TUN_PATH, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0 || control(driver, fd, TUNGETFEATURES, (uintptr_t)&known) < 0)
        known = 0;
    if (fd >= 0)
        close(fd);
    return wanted & known;
}

/* The first descriptor, with as many of the wanted flags as the driver takes. */
static int first_queue(const struct netdev_driver *driver, unsigned base, unsigned *extra, struct ifreq *r)
{
    static const unsigned without[] = {0, IFF_MULTI_QUEUE, IFF_VNET_HDR, IFF_VNET_HDR | IFF_MULTI_QUEUE};
    const struct ifreq wanted = *r;
    unsigned asked = known_flags(driver, *extra);
    int fd = -EINVAL;
    for (size_t i = 0; i < sizeof without / sizeof *without && means_unknown(fd); i++) {
        if (without[i] & ~asked)
            continue;
        *extra = asked & ~without[i];
        *r = wanted;
        fd = queue_open(driver, base | *extra, r);
    }
    return fd;
}

static void more_queues(const struct netdev_driver *driver, struct netdev *d, unsigned wanted, unsigned flags)
{
    while (d->queue_count < wanted && d->queue_count < NETDEV_QUEUES_MAX) {
        struct ifreq r = {0};
        memcpy(r.ifr_name, d->name, NETDEV_NAME_MAX);
        int fd = queue_open(driver, flags, &r);
        if (fd < 0)
            return;
        d->queues[d->queue_count++] = fd;
    }
}

static void offloads_take(const struct netdev_driver *driver, struct netdev *d)
{
    static const unsigned tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    static const unsigned uso = TUN_F_USO4 | TUN_F_USO6;
    d->uso = control(driver, d->fd, TUNSETOFFLOAD, tso | uso) == 0;
    d->tso = d->uso || control(driver, d->fd, TUNSETOFFLOAD, tso) == 0;
    if (!d->tso)
        (void)control(driver, d->fd, TUNSETOFFLOAD, TUN_F_CSUM); /* and else none, as the device was made */
}

static enum netdev_error tun_make(const struct netdev_driver *driver, struct netdev *d,
                                  const struct netdev_config *c, int *os_error)
{
    unsigned base = (c->tap ? IFF_TAP : IFF_TUN) | IFF_NO_PI;
    unsigned extra = (c->offload ? IFF_VNET_HDR : 0) | (c->queues > 1 ? IFF_MULTI_QUEUE : 0);
    struct ifreq r = {0};
    memcpy(r.ifr_name, c->name[0] ? c->name : DEFAULT_NAME,
           c->name[0] ? strlen(c->name) : sizeof DEFAULT_NAME - 1);
    /* EXCL: an existing persistent device of that name would be taken over, silently. */
    int fd = first_queue(driver, base | IFF_TUN_EXCL, &extra, &r);
    if (fd < 0) {
        *os_error = -fd;
        /* A device of another kind with that name is EINVAL or EEXIST, depending on the kernel. */
        bool taken = fd == -EEXIST || (fd == -EINVAL && if_nametoindex(r.ifr_name) != 0);
        return taken ? NETDEV_NAME_TAKEN : error_of_errno(-fd);
    }
    d->fd = d->queues[0] = fd;
    d->queue_count = 1;
    d->vnet_hdr = extra & IFF_VNET_HDR;
    memcpy(d->name, r.ifr_name, NETDEV_NAME_MAX);
    if (extra & IFF_MULTI_QUEUE)
        more_queues(driver, d, c->queues, base | extra);
    if (d->vnet_hdr)
        offloads_take(driver, d);
    d->ifindex = (int)if_nametoindex(d->name);
    *os_error = d->ifindex ? 0 : errno;
    return d->ifindex ? NETDEV_OK : NETDEV_FAILED;
}

/* ---- Link and addresses. */

/* One wish in one request, so that none takes another with it when it is refused. */
static void link_wish(int nl, const struct netdev *d, uint16_t type, uint32_t value)
{
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = d->ifindex};
    struct nl_request q;
    if (value == 0)
        return;
    nl_request_begin(&q, RTM_NEWLINK, 0, &link, sizeof link);
    nl_request_attr(&q, type, &value, sizeof value);
    (void)nl_do(nl, &q);
}

/* Before the device is up: sockets copy the limits when they connect, and queues are made new for another
 * length. */
static void link_tune(int nl, const struct netdev *d, const struct netdev_config *c)
{
    link_wish(nl, d, IFLA_TXQLEN, c->queue_length);
    link_wish(nl, d, IFLA_GSO_MAX_SIZE, c->gso_max_size);
    link_wish(nl, d, LINK_GSO_IPV4_MAX_SIZE, c->gso_max_size);
}

static int link_up(int nl, const struct netdev *d, const struct netdev_config *c)
{
    struct ifinfomsg link = {
        .ifi_family = AF_UNSPEC, .ifi_index = d->ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    uint32_t mtu = c->mtu;
    struct nl_request q;
    nl_request_begin(&q, RTM_NEWLINK, 0, &link, sizeof link);
    if (c->tap)
        nl_request_attr(&q, IFLA_ADDRESS, c->mac, sizeof c->mac);
    nl_request_attr(&q, IFLA_MTU, &mtu, sizeof mtu);
    return nl_do(nl, &q);
}

static void put32(uint8_t out[4], uint32_t v)
{
    struct wr w = wr_of(out, 4);
    wr_u32(&w, v);
}

static int address4(int nl, const struct netdev *d, const struct netdev_config *c)
{
    struct ifaddrmsg a = {
        .ifa_family = AF_INET, .ifa_prefixlen = c->prefix4, .ifa_index = (unsigned)d->ifindex};
    uint8_t ip[4], broadcast[4];
    struct nl_request q;
    put32(ip, c->ip4);
    nl_request_begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &a, sizeof a);
    nl_request_attr(&q, IFA_LOCAL, ip, sizeof ip);
    nl_request_attr(&q, IFA_ADDRESS, ip, sizeof ip);
    if (c->prefix4 < 31) { /* RFC 3021: /31 and /32 have none */
        put32(broadcast, c->ip4 | UINT32_MAX >> c->prefix4);
        nl_request_attr(&q, IFA_BROADCAST, broadcast, sizeof broadcast);
    }
    return nl_do(nl, &q);
}

static int address6(int nl, const struct netdev *d, const struct netdev_config *c)
{
    struct ifaddrmsg a = {.ifa_family = AF_INET6,
                          .ifa_prefixlen = c->prefix6,
                          .ifa_flags = IFA_F_NODAD, /* the log says whose it is: no need to ask */
                          .ifa_index = (unsigned)d->ifindex};
    struct nl_request q;
    nl_request_begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &a, sizeof a);
    nl_request_attr(&q, IFA_LOCAL, c->ip6, sizeof c->ip6);
    nl_request_attr(&q, IFA_ADDRESS, c->ip6, sizeof c->ip6);
    return nl_do(nl, &q);
}

/* What the kernel says when IPv6 is compiled out, disabled for the device, or not possible at its MTU. */
static bool means_no_ip6(int e)
{
    return e == -EOPNOTSUPP || e == -EAFNOSUPPORT || e == -EACCES || e == -EINVAL || e == -ENODEV;
}

static enum netdev_error configure(struct netdev *d, const struct netdev_config *c, int *os_error)
{
    int nl = nl_open(0, false);
    if (nl < 0) {
        *os_error = -nl;
        return NETDEV_FAILED;
    }
    enum netdev_error result = NETDEV_FAILED;
    link_tune(nl, d, c);
    int e = link_up(nl, d, c);
    if (e == 0) {
        result = NETDEV_ADDRESS_FAILED;
        e = address4(nl, d, c);
    }
    if (e == 0) {
        e = address6(nl, d, c);
        d->has_ip6 = e == 0;
        e = means_no_ip6(e) ? 0 : e;
    }
    close(nl);
    *os_error = -e;
    if (e == 0)
        return NETDEV_OK;
    return e == -EPERM ? NETDEV_NO_PRIVILEGE : result;
}

/* ---- Life. */

static void clear(struct netdev *d)
{
    *d = (struct netdev){.fd = -1};
    for (unsigned i = 0; i < NETDEV_QUEUES_MAX; i++)
        d->queues[i] = -1;
}

enum netdev_error netdev_open_by(const struct netdev_driver *driver, struct netdev *d,
                                 const struct netdev_config *c, int *os_error)
{
    clear(d);
    *os_error = 0;
    if (!name_is_good(c->name))
        return NETDEV_NAME_BAD;
    if (c->prefix4 > 32 || c->prefix6 > 128) {
        *os_error = EINVAL;
        return NETDEV_ADDRESS_FAILED;
    }
    enum netdev_error e = tun_make(driver, d, c, os_error);
    if (e == NETDEV_OK)
        e = configure(d, c, os_error);
    if (e != NETDEV_OK)
        netdev_close(d);
    return e;
}

enum netdev_error netdev_open(struct netdev *d, const struct netdev_config *c, int *os_error)
{
    static const struct netdev_driver kernel = {.control = kernel_control};
    return netdev_open_by(&kernel, d, c, os_error);
}

void netdev_close(struct netdev *d)
{
    for (unsigned i = 0; i < d->queue_count; i++)
        close(d->queues[i]);
    clear(d);
}

int netdev_queue_enable(struct netdev *d, unsigned i, bool on)
{
    struct ifreq r = {.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};
    if (i >= d->queue_count)
        return -EINVAL;
    if (d->queue_off[i] == !on)
        return 0;
    if (ioctl(d->queues[i], TUNSETQUEUE, &r) < 0)
        return -errno;
    d->queue_off[i] = !on;
    return 0;
}

int netdev_set_mtu(const struct netdev *d, uint16_t mtu)
{
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = d->ifindex};
    uint32_t value = mtu;
    struct nl_request q;
    int nl = d->fd >= 0 ? nl_open(0, false) : -ENODEV;
    if (nl < 0)
        return nl;
    nl_request_begin(&q, RTM_NEWLINK, 0, &link, sizeof link);
    nl_request_attr(&q, IFLA_MTU, &value, sizeof value);
    int e = nl_do(nl, &q);
    close(nl);
    return e;
}
