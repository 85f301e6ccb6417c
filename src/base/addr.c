#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct net_addr net_addr4(uint32_t ip, uint16_t port)
{
    struct net_addr a = {.family = 4, .port = port};
    for (int i = 0; i < 4; i++)
        a.ip[i] = (uint8_t)(ip >> (24 - 8 * i));
    return a;
}

struct net_addr net_addr6(const uint8_t ip[16], uint16_t port)
{
    struct net_addr a = {.family = 6, .port = port};
    memcpy(a.ip, ip, 16);
    return a;
}

static size_t ip_len(const struct net_addr *a)
{
    return a->family == 4 ? 4 : a->family == 6 ? 16 : 0;
}

bool net_ip_equal(const struct net_addr *a, const struct net_addr *b)
{
    return a->family == b->family && !memcmp(a->ip, b->ip, ip_len(a));
}

bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
    return net_ip_equal(a, b) && a->port == b->port;
}

int net_addr_compare(const struct net_addr *a, const struct net_addr *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    int order = memcmp(a->ip, b->ip, ip_len(a));
    return order ? order : (int)a->port - (int)b->port;
}

void net_ip_text(char out[NET_ADDR_TEXT], const struct net_addr *a)
{
    if (!ip_len(a) || !inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->ip, out, NET_ADDR_TEXT))
        snprintf(out, NET_ADDR_TEXT, "none");
}

void net_addr_text(char out[NET_ADDR_TEXT], const struct net_addr *a)
{
    char ip[NET_ADDR_TEXT];
    net_ip_text(ip, a);
    if (a->port == 0 || !ip_len(a))
        snprintf(out, NET_ADDR_TEXT, "%s", ip);
    else
        snprintf(out, NET_ADDR_TEXT, a->family == 6 ? "[%.46s]:%u" : "%.46s:%u", ip, a->port);
}

static int port_read(uint16_t *port, const char *text)
{
    char *end;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n])
        return -EINVAL;
    unsigned long v = strtoul(text, &end, 10);
    if (v > 65535)
        return -EINVAL;
    *port = (uint16_t)v;
    return 0;
}

int net_addr_read(struct net_addr *a, const char *text)
{
    char ip[NET_ADDR_TEXT];
    const char *port = NULL, *from = text, *end = text + strlen(text);
    *a = (struct net_addr){0};
    if (*text == '[') {
        from = text + 1;
        end = strchr(from, ']');
        if (!end || (end[1] && end[1] != ':'))
            return -EINVAL;
        port = end[1] ? end + 2 : NULL;
    } else if (strchr(text, '.') && !strchr(text, ':')) {
        end = text + strlen(text);
    } else if (strchr(text, '.') && strchr(text, ':') == strrchr(text, ':')) {
        end = strchr(text, ':');
        port = end + 1;
    }
    if ((size_t)(end - from) >= sizeof ip)
        return -EINVAL;
    memcpy(ip, from, (size_t)(end - from));
    ip[end - from] = 0;
    a->family = strchr(ip, ':') ? 6 : 4;
    if (inet_pton(a->family == 4 ? AF_INET : AF_INET6, ip, a->ip) != 1 || (*text == '[' && a->family == 4) ||
        (port && port_read(&a->port, port))) {
        *a = (struct net_addr){0};
        return -EINVAL;
    }
    return 0;
}

uint32_t net_addr_ip4(const struct net_addr *a)
{
    return a->family != 4
               ? 0
               : (uint32_t)a->ip[0] << 24 | (uint32_t)a->ip[1] << 16 | (uint32_t)a->ip[2] << 8 | a->ip[3];
}

void net_addr_unmap(struct net_addr *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (a->family != 6 || memcmp(a->ip, mapped, 12))
        return;
    memmove(a->ip, a->ip + 12, 4);
    memset(a->ip + 4, 0, 12);
    a->family = 4;
}

unsigned net_ip_common(const struct net_addr *a, const struct net_addr *b)
{
    unsigned bits = 0;
    if (a->family != b->family)
        return 0;
    for (size_t i = 0; i < ip_len(a); i++) {
        uint8_t x = a->ip[i] ^ b->ip[i];
        if (x == 0) {
            bits += 8;
            continue;
        }
        while (!(x & 0x80)) {
            bits++;
            x = (uint8_t)(x << 1);
        }
        break;
    }
    return bits;
}

void rd_addr(struct rd *r, struct net_addr *a)
{
    *a = (struct net_addr){.family = rd_u8(r)};
    if (a->family == 0)
        return;
    if (ip_len(a) == 0)
        rd_fail(r);
    a->port = rd_u16(r);
    rd_copy(r, a->ip, ip_len(a));
}

void wr_addr(struct wr *w, const struct net_addr *a)
{
    wr_u8(w, a->family);
    if (a->family == 0)
        return;
    if (ip_len(a) == 0)
        w->bad = true;
    wr_u16(w, a->port);
    wr_copy(w, a->ip, ip_len(a));
}

static enum net_scope scope4(uint32_t ip)
{
    if (ip >> 24 == 0 || ip >> 28 >= 14)
        return NET_NONE;
    if (ip >> 24 == 127)
        return NET_LOOPBACK;
    if (ip >> 16 == 0xa9fe)
        return NET_LINK_LOCAL;
    if (ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8)
        return NET_PRIVATE;
    return ip >> 22 == 0x64400000u >> 22 ? NET_SHARED : NET_PUBLIC;
}

static enum net_scope scope6(const uint8_t ip[16])
{
    static const uint8_t zero[15];
    if (!memcmp(ip, zero, 15))
        return ip[15] == 1 ? NET_LOOPBACK : NET_NONE;
    if (ip[0] == 0xff)
        return NET_NONE;
    if (ip[0] == 0xfe)
        return (ip[1] & 0xc0) == 0x80 ? NET_LINK_LOCAL : NET_NONE;
    return (ip[0] & 0xfe) == 0xfc ? NET_PRIVATE : NET_PUBLIC;
}

enum net_scope net_addr_scope(const struct net_addr *a)
{
    if (a->family == 4)
        return scope4(net_addr_ip4(a));
    return a->family == 6 ? scope6(a->ip) : NET_NONE;
}
