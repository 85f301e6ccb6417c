#include "wire/invite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

#define SCHEME     "warren://"
#define HTTPS      "https://"
#define HTTPS_PORT 443
#define PIN        "sha256:"
#define CHECK_LEN  4
#define DNS_MAX    253
#define LABEL_MAX  63
/* Base64url digits of 32 bytes. */
#define TEXT32_LEN BASE64_LEN(32)

/* Takes text apart from the left, with the stickiness of `struct rd`. */
struct scan {
    const char *p;
    size_t left;
    bool bad;
};

static struct bytes scan_take(struct scan *s, size_t n)
{
    if (s->bad || n > s->left) {
        s->bad = true;
        return bytes_of("", 0);
    }
    struct bytes b = bytes_of(s->p, n);
    s->p += n;
    s->left -= n;
    return b;
}

static bool scan_at(const struct scan *s, const char *word)
{
    size_t n = strlen(word);
    return !s->bad && s->left >= n && memcmp(s->p, word, n) == 0;
}

/* Steps over a word that may be there. */
static bool scan_skip(struct scan *s, const char *word)
{
    if (!scan_at(s, word))
        return false;
    scan_take(s, strlen(word));
    return true;
}

static void scan_demand(struct scan *s, const char *word)
{
    if (!scan_skip(s, word))
        s->bad = true;
}

/* Up to the first of the characters of `ends`, or all of it. */
static struct bytes scan_until(struct scan *s, const char *ends)
{
    size_t n = 0;
    while (n < s->left && !strchr(ends, s->p[n]))
        n++;
    return scan_take(s, n);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct scan scan_trimmed(const char *text)
{
    struct scan s = {text, strlen(text), false};
    while (s.left > 0 && is_space(s.p[0])) {
        s.p++;
        s.left--;
    }
    while (s.left > 0 && is_space(s.p[s.left - 1]))
        s.left--;
    return s;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Decimal without leading zeros, 1 to 65535. */
static uint16_t scan_port(struct scan *s)
{
    uint32_t v = 0;
    size_t n = 0;
    while (n < s->left && n < 5 && is_digit(s->p[n]))
        v = v * 10 + (uint32_t)(s->p[n++] - '0');
    if (n == 0 || s->p[0] == '0' || v > UINT16_MAX)
        s->bad = true;
    scan_take(s, n);
    return s->bad ? 0 : (uint16_t)v;
}

static bool label_valid(const char *p, size_t n)
{
    if (n == 0 || n > LABEL_MAX || p[0] == '-' || p[n - 1] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(p[i] >= 'a' && p[i] <= 'z') && !is_digit(p[i]) && p[i] != '-')
            return false;
    return true;
}

/* Four decimal numbers without leading zeros: other forms mean different addresses to different readers. */
static bool ip4_valid(const char *host)
{
    for (int part = 0; part < 4; part++) {
        unsigned v = 0;
        size_t n = strspn(host, "0123456789");
        if (n == 0 || n > 3 || (n > 1 && host[0] == '0'))
            return false;
        for (size_t i = 0; i < n; i++)
            v = v * 10 + (unsigned)(host[i] - '0');
        host += n;
        if (v > 255 || *host != (part < 3 ? '.' : 0))
            return false;
        host++;
    }
    return true;
}

/* Lower case. A name whose last label is a number is an IPv4 literal to every resolver, so it has to be a
 * whole one. */
static bool name_or_ip4_valid(const char *host)
{
    size_t n = strlen(host);
    if (n == 0 || n > DNS_MAX)
        return false;
    const char *last = strrchr(host, '.');
    last = last ? last + 1 : host;
    if (last[strspn(last, "0123456789")] == 0)
        return ip4_valid(host);
    for (const char *p = host;; p++) {
        size_t label = strcspn(p, ".");
        if (!label_valid(p, label))
            return false;
        p += label;
        if (*p == 0)
            return true;
    }
}

#define GROUPS 8 /* of 16 bits */

/* Colon-separated groups up to the end or a double colon. Their count, or -1. */
static int ip6_groups(const char **at, uint16_t *out, int room)
{
    int count = 0;
    const char *p = *at;
    while (*p && *p != ':') {
        unsigned v = 0;
        size_t n = strspn(p, "0123456789abcdef");
        if (n == 0 || n > 4 || count == room)
            return -1;
        for (size_t i = 0; i < n; i++)
            v = v << 4 | (unsigned)(is_digit(p[i]) ? p[i] - '0' : p[i] - 'a' + 10);
        out[count++] = (uint16_t)v;
        p += n;
        /* One colon has a group behind it; two end the part. */
        if (p[0] == ':' && p[1] != ':' && *++p == 0)
            return -1;
    }
    *at = p;
    return count;
}

/* Lower case, without a dotted part or a zone. */
static bool ip6_get(uint16_t g[GROUPS], const char *host)
{
    uint16_t tail[GROUPS];
    int head = ip6_groups(&host, g, GROUPS), rest = 0;
    if (head == GROUPS)
        return *host == 0;
    if (head < 0 || host[0] != ':' || host[1] != ':')
        return false;
    host += 2;
    rest = ip6_groups(&host, tail, GROUPS - 1 - head);
    if (rest < 0 || *host)
        return false;
    for (int i = head; i < GROUPS; i++)
        g[i] = i < GROUPS - rest ? 0 : tail[i - (GROUPS - rest)];
    return true;
}

/* The first of the longest runs of two or more zero groups; its length, or 0. */
static int ip6_zeros(const uint16_t g[GROUPS], int *first)
{
    int best = 1;
    for (int i = 0, run = 0; i < GROUPS; i++) {
        run = g[i] ? 0 : run + 1;
        if (run > best) {
            best = run;
            *first = i - run + 1;
        }
    }
    return best > 1 ? best : 0;
}

/* To the one form of RFC 5952 section 4, so that equal addresses are equal texts. */
static bool ip6_canonical(char host[HUB_HOST_MAX + 1])
{
    uint16_t g[GROUPS];
    int first = GROUPS;
    size_t n = 0;
    if (!ip6_get(g, host))
        return false;
    int zeros = ip6_zeros(g, &first);
    for (int i = 0; i < GROUPS; i++) {
        if (i == first) {
            n += (size_t)snprintf(host + n, HUB_HOST_MAX + 1 - n, "::");
            i += zeros - 1;
            continue;
        }
        const char *colon = i == 0 || i == first + zeros ? "" : ":";
        n += (size_t)snprintf(host + n, HUB_HOST_MAX + 1 - n, "%s%x", colon, g[i]);
    }
    return true;
}

static void scan_host(struct scan *s, char host[HUB_HOST_MAX + 1])
{
    bool bracket = scan_skip(s, "[");
    struct bytes b = scan_until(s, bracket ? "]" : ":,/#");
    if (bracket)
        scan_demand(s, "]");
    if (b.n > HUB_HOST_MAX || memchr(b.p, 0, b.n)) {
        s->bad = true;
        b.n = 0;
    }
    for (size_t i = 0; i < b.n; i++)
        host[i] = (char)(b.p[i] >= 'A' && b.p[i] <= 'Z' ? b.p[i] - 'A' + 'a' : b.p[i]);
    host[b.n] = 0;
    if (bracket ? !ip6_canonical(host) : !name_or_ip4_valid(host))
        s->bad = true;
}

static void put_host(char *out, size_t cap, const struct hub_address *a)
{
    bool ip6 = strchr(a->host, ':') != NULL;
    snprintf(out, cap, "%s%s%s:%u", ip6 ? "[" : "", a->host, ip6 ? "]" : "", (unsigned)a->port);
}

/* Whether the writers' output would be read back as the same. */
static bool address_valid(const struct hub_address *a)
{
    char host[HUB_HOST_MAX + 1];
    if (a->port == 0 || strnlen(a->host, sizeof a->host) > HUB_HOST_MAX)
        return false;
    memcpy(host, a->host, strlen(a->host) + 1);
    if (strchr(host, ':'))
        return ip6_canonical(host) && strcmp(host, a->host) == 0;
    return name_or_ip4_valid(host);
}

static void scan_bytes(struct scan *s, uint8_t *out, size_t n)
{
    struct bytes text = scan_take(s, BASE64_LEN(n));
    size_t got;
    if (s->bad || base64url_get(out, n, &got, (const char *)text.p, text.n) < 0)
        s->bad = true;
}

static void check_of(uint8_t check[CHECK_LEN], const char *text, size_t n)
{
    uint8_t hash[SHA256_LEN];
    struct bytes part = bytes_of(text, n);
    sha256(hash, &part, 1);
    memcpy(check, hash, CHECK_LEN);
    wipe(hash, sizeof hash);
}

static void scan_invite(struct scan *s, struct invite *inv)
{
    const char *start = s->p;
    scan_demand(s, SCHEME);
    scan_host(s, inv->hub.host);
    scan_demand(s, ":");
    inv->hub.port = scan_port(s);
    inv->hub.pinned = scan_skip(s, ",");
    if (inv->hub.pinned)
        scan_bytes(s, inv->hub.fingerprint, sizeof inv->hub.fingerprint);
    scan_demand(s, "/");
    scan_bytes(s, inv->party, sizeof inv->party);
    scan_demand(s, "#");
    scan_bytes(s, inv->secret, sizeof inv->secret);
    scan_demand(s, ".");
    uint8_t want[CHECK_LEN], check[CHECK_LEN];
    check_of(want, start, (size_t)(s->p - start));
    scan_bytes(s, check, sizeof check);
    if (s->bad || s->left > 0 || memcmp(want, check, CHECK_LEN) != 0)
        s->bad = true;
}

enum invite_error invite_read(struct invite *inv, const char *text)
{
    struct scan s = scan_trimmed(text);
    if (!scan_at(&s, SCHEME))
        return INVITE_NOT_ONE;
    if (s.left > INVITE_TEXT_MAX)
        return INVITE_TOO_LONG;
    struct invite t = {0};
    scan_invite(&s, &t);
    if (!s.bad)
        *inv = t;
    wipe(&t, sizeof t);
    return s.bad ? INVITE_MISTYPED : INVITE_OK;
}

/* Appends n bytes as base64url behind one character. */
static size_t put_part(char *out, size_t at, char before, const uint8_t *p, size_t n)
{
    out[at] = before;
    base64url_put(out + at + 1, bytes_of(p, n));
    return at + 1 + BASE64_LEN(n);
}

int invite_write(char out[INVITE_TEXT_MAX + 1], const struct invite *inv)
{
    char host[HUB_HOST_MAX + 16];
    if (!address_valid(&inv->hub))
        return -EMSGSIZE;
    put_host(host, sizeof host, &inv->hub);
    size_t at = (size_t)snprintf(out, INVITE_TEXT_MAX + 1, SCHEME "%s", host);
    if (at + 3 * (1 + TEXT32_LEN) + 1 + BASE64_LEN(CHECK_LEN) > INVITE_TEXT_MAX)
        return -EMSGSIZE;
    if (inv->hub.pinned)
        at = put_part(out, at, ',', inv->hub.fingerprint, sizeof inv->hub.fingerprint);
    at = put_part(out, at, '/', inv->party, sizeof inv->party);
    at = put_part(out, at, '#', inv->secret, sizeof inv->secret);
    uint8_t check[CHECK_LEN];
    out[at] = '.';
    check_of(check, out, at + 1);
    put_part(out, at, '.', check, sizeof check);
    return 0;
}

const char *invite_error_text(enum invite_error e)
{
    switch (e) {
    case INVITE_OK:
        return "The invite is well formed.";
    case INVITE_NOT_ONE:
        return "This is not an invite: one begins with warren:// and is printed by `warren invite`.";
    case INVITE_MISTYPED:
        return "This invite is incomplete or mistyped: copy all of it again, from warren:// to its end.";
    case INVITE_TOO_LONG:
        return "This is too long for an invite: paste the invite alone, without the text around it.";
    }
    return "This invite cannot be read: ask for a new one.";
}

static void scan_pin(struct scan *s, struct hub_address *a)
{
    a->pinned = scan_skip(s, "#");
    if (!a->pinned)
        return;
    scan_demand(s, PIN);
    struct bytes hex = scan_take(s, HEX_LEN(sizeof a->fingerprint));
    size_t got;
    if (s->bad || hex_get(a->fingerprint, sizeof a->fingerprint, &got, (const char *)hex.p, hex.n) < 0)
        s->bad = true;
}

int hub_address_read(struct hub_address *a, const char *url)
{
    struct scan s = scan_trimmed(url);
    struct hub_address t = {.port = HTTPS_PORT};
    scan_skip(&s, HTTPS);
    scan_host(&s, t.host);
    if (scan_skip(&s, ":"))
        t.port = scan_port(&s);
    /* Browsers show addresses with it. */
    scan_skip(&s, "/");
    scan_pin(&s, &t);
    if (s.bad || s.left > 0)
        return -EINVAL;
    *a = t;
    return 0;
}

void hub_address_write(char *out, size_t cap, const struct hub_address *a)
{
    char host[HUB_HOST_MAX + 16], hex[HEX_LEN(sizeof a->fingerprint) + 1] = "";
    put_host(host, sizeof host, a);
    if (a->pinned)
        hex_put(hex, bytes_of(a->fingerprint, sizeof a->fingerprint));
    snprintf(out, cap, HTTPS "%s%s%s", host, a->pinned ? "#" PIN : "", hex);
}

bool hub_address_equal(const struct hub_address *a, const struct hub_address *b)
{
    return strcmp(a->host, b->host) == 0 && a->port == b->port && a->pinned == b->pinned &&
           (!a->pinned || memcmp(a->fingerprint, b->fingerprint, sizeof a->fingerprint) == 0);
}
