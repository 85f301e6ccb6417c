#include "base/text.h"

#include <errno.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base32_digits[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char base64url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* `bits` bits a character, most significant first, zeros behind the last byte. */
static void radix_put(char *out, struct bytes in, const char *digits, unsigned bits)
{
    uint32_t acc = 0;
    unsigned have = 0;
    for (size_t i = 0; i < in.n; i++) {
        acc = acc << 8 | in.p[i];
        for (have += 8; have >= bits; have -= bits)
            *out++ = digits[acc >> (have - bits) & ((1u << bits) - 1)];
    }
    if (have > 0)
        *out++ = digits[acc << (bits - have) & ((1u << bits) - 1)];
    *out = 0;
}

static int digit_value(const char *digits, char c)
{
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Whole bytes only, and the bits left over fewer than a character's and zero: one text for each byte string.
 */
static int radix_get(uint8_t *out, size_t cap, size_t *n, const char *s, size_t len, const char *digits,
                     unsigned bits)
{
    /* In this order, so that a length near SIZE_MAX cannot wrap. */
    size_t want = len / 8 * bits + len % 8 * bits / 8;
    if (want > cap || len % 8 * bits % 8 >= bits)
        return -EINVAL;
    uint32_t acc = 0;
    unsigned have = 0;
    size_t done = 0;
    for (size_t i = 0; i < len; i++) {
        int v = digit_value(digits, s[i]);
        if (v < 0)
            return -EINVAL;
        acc = acc << bits | (uint32_t)v;
        have += bits;
        if (have >= 8) {
            have -= 8;
            out[done++] = (uint8_t)(acc >> have);
        }
    }
    if (acc & ((1u << have) - 1))
        return -EINVAL;
    *n = done;
    return 0;
}

void hex_put(char *out, struct bytes in)
{
    radix_put(out, in, hex_digits, 4);
}

void base32_put(char *out, struct bytes in)
{
    radix_put(out, in, base32_digits, 5);
}

void base64url_put(char *out, struct bytes in)
{
    radix_put(out, in, base64url_digits, 6);
}

void base64_put(char *out, struct bytes in)
{
    size_t n = 0;
    base64url_put(out, in);
    for (; out[n]; n++)
        out[n] = out[n] == '-' ? '+' : out[n] == '_' ? '/' : out[n];
    while (n % 4 != 0)
        out[n++] = '=';
    out[n] = '\0';
}

static int hex_value(char c)
{
    return digit_value(hex_digits, c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c);
}

int hex_get(uint8_t *out, size_t cap, size_t *n, const char *s, size_t len)
{
    if (len % 2 || len / 2 > cap)
        return -EINVAL;
    for (size_t i = 0; i < len / 2; i++) {
        int high = hex_value(s[2 * i]), low = hex_value(s[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        out[i] = (uint8_t)(high << 4 | low);
    }
    *n = len / 2;
    return 0;
}

int base32_get(uint8_t *out, size_t cap, size_t *n, const char *s, size_t len)
{
    return radix_get(out, cap, n, s, len, base32_digits, 5);
}

int base64url_get(uint8_t *out, size_t cap, size_t *n, const char *s, size_t len)
{
    return radix_get(out, cap, n, s, len, base64url_digits, 6);
}

#define DURATION_MAX (10ull * 365 * 86400)

int duration_get(uint64_t *seconds, const char *s)
{
    uint64_t v = 0, unit = 1;
    size_t i = 0;
    for (; s[i] >= '0' && s[i] <= '9'; i++) {
        v = v * 10 + (uint64_t)(s[i] - '0');
        if (v > DURATION_MAX)
            return -EINVAL;
    }
    if (i == 0)
        return -EINVAL;
    switch (s[i]) {
    case 0:
        break;
    case 's':
        i++;
        break;
    case 'm':
        unit = 60, i++;
        break;
    case 'h':
        unit = 3600, i++;
        break;
    case 'd':
        unit = 86400, i++;
        break;
    default:
        return -EINVAL;
    }
    if (s[i] || v == 0 || v > DURATION_MAX / unit)
        return -EINVAL;
    *seconds = v * unit;
    return 0;
}

/* One character of at most n bytes at p. Its length, or 0 where it is not UTF-8 (RFC 3629: shortest form, no
 * surrogates, nothing past U+10FFFF). */
static size_t utf8_next(const uint8_t *p, size_t n, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    uint32_t c = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *code = c;
    return len;
}

bool utf8_valid(struct bytes in)
{
    uint32_t code;
    for (size_t i = 0; i < in.n;) {
        size_t len = utf8_next(in.p + i, in.n - i, &code);
        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

struct range {
    uint32_t first, last;
};

static bool in_ranges(const struct range *r, size_t count, uint32_t code)
{
    for (size_t i = 0; i < count; i++)
        if (code >= r[i].first && code <= r[i].last)
            return true;
    return false;
}

/* What a person cannot see, or what changes how the rest is shown. */
static bool hidden(uint32_t code)
{
    static const struct range r[] = {
        {0x00, 0x1f},       /* C0 */
        {0x7f, 0x9f},       /* DEL, C1 */
        {0xad, 0xad},       /* soft hyphen */
        {0x34f, 0x34f},     /* combining grapheme joiner */
        {0x61c, 0x61c},     /* Arabic letter mark */
        {0x115f, 0x1160},   /* Hangul fillers */
        {0x17b4, 0x17b5},   /* Khmer inherent vowels */
        {0x180b, 0x180f},   /* Mongolian selectors */
        {0x200b, 0x200f},   /* zero widths, direction marks */
        {0x2028, 0x202e},   /* line and paragraph separators, direction embeddings and overrides */
        {0x2060, 0x206f},   /* word joiner, invisible operators, isolates */
        {0x3164, 0x3164},   /* Hangul filler */
        {0xfe00, 0xfe0f},   /* variation selectors */
        {0xfeff, 0xfeff},   /* byte order mark */
        {0xffa0, 0xffa0},   /* half-width Hangul filler */
        {0xfff0, 0xfffb},   /* specials, interlinear annotation */
        {0x1bca0, 0x1bca3}, /* shorthand format controls */
        {0x1d173, 0x1d17a}, /* musical format controls */
        {0xe0000, 0xe0fff}, /* tags, variation selectors supplement */
    };
    return in_ranges(r, sizeof r / sizeof *r, code);
}

static bool white(uint32_t code)
{
    static const struct range r[] = {{0x20, 0x20},     {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
                                     {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};
    return in_ranges(r, sizeof r / sizeof *r, code);
}

bool name_valid(const char *s)
{
    size_t n = strnlen(s, NAME_MAX_BYTES + 1);
    if (n == 0 || n > NAME_MAX_BYTES)
        return false;
    uint32_t code = 0;
    for (size_t i = 0; i < n;) {
        size_t len = utf8_next((const uint8_t *)s + i, n - i, &code);
        if (len == 0 || hidden(code) || (i == 0 && white(code)))
            return false;
        i += len;
    }
    return !white(code);
}

/* Puts the len bytes at p as \xNN each; 0 where they do not fit. */
static size_t put_escaped(char *out, size_t room, const uint8_t *p, size_t len)
{
    if (len * 4 > room)
        return 0;
    for (size_t i = 0; i < len; i++) {
        out[4 * i] = '\\';
        out[4 * i + 1] = 'x';
        out[4 * i + 2] = hex_digits[p[i] >> 4];
        out[4 * i + 3] = hex_digits[p[i] & 15];
    }
    return len * 4;
}

void text_escape(char *out, size_t cap, const char *s)
{
    if (cap == 0)
        return;
    const uint8_t *p = (const uint8_t *)s;
    size_t left = strlen(s), at = 0;
    while (left > 0) {
        uint32_t code = 0;
        size_t len = utf8_next(p, left, &code), put;
        bool plain = len > 0 && !hidden(code);
        len = len ? len : 1;
        if (plain) {
            put = len <= cap - 1 - at ? len : 0;
            memcpy(out + at, p, put);
        } else {
            put = put_escaped(out + at, cap - 1 - at, p, len);
        }
        /* Cut between characters, never inside one. */
        if (put == 0)
            break;
        at += put;
        p += len;
        left -= len;
    }
    out[at] = 0;
}
