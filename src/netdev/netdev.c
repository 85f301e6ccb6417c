#include "netdev/netdev.h"

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

static enum netdev_error tun_make(struct netdev *d, const struct netdev_config *c, int *os_error)
{
    struct ifreq r = {0};
    /* EXCL: an existing persistent device of that name would be taken over, silently. */
    r.ifr_flags = (short)((c->tap ? IFF_TAP : IFF_TUN) | IFF_NO_PI | IFF_TUN_EXCL);
    memcpy(r.ifr_name, c->name[0] ? c->name : DEFAULT_NAME,
           c->name[0] ? strlen(c->name) : sizeof DEFAULT_NAME - 1);
    d->fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (d->fd < 0 || ioctl(d->fd, TUNSETIFF, &r) < 0) {
        *os_error = errno;
        /* A device of another kind with that name is EINVAL or EEXIST, depending on the kernel. */
        bool taken = d->fd >= 0 && (errno == EEXIST || if_nametoindex(r.ifr_name) != 0);
        return taken ? NETDEV_NAME_TAKEN : error_of_errno(*os_error);
    }
    memcpy(d->name, r.ifr_name, NETDEV_NAME_MAX);
    d->ifindex = (int)if_nametoindex(d->name);
    *os_error = d->ifindex ? 0 : errno;
    return d->ifindex ? NETDEV_OK : NETDEV_FAILED;
}

/* ---- Link and addresses. */

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

enum netdev_error netdev_open(struct netdev *d, const struct netdev_config *c, int *os_error)
{
    *d = (struct netdev){.fd = -1};
    *os_error = 0;
    if (!name_is_good(c->name))
        return NETDEV_NAME_BAD;
    if (c->prefix4 > 32 || c->prefix6 > 128) {
        *os_error = EINVAL;
        return NETDEV_ADDRESS_FAILED;
    }
    enum netdev_error e = tun_make(d, c, os_error);
    if (e == NETDEV_OK)
        e = configure(d, c, os_error);
    if (e != NETDEV_OK)
        netdev_close(d);
    return e;
}

void netdev_close(struct netdev *d)
{
    if (d->fd >= 0)
        close(d->fd);
    *d = (struct netdev){.fd = -1};
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
