#include "io/ws_upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void ws_upgrade_key(char key[WS_UPGRADE_KEY_LEN + 1], const uint8_t random[16])
{
    base64_put(key, bytes_of(random, 16));
}

static int printed(int n, size_t cap)
{
    return n < 0 || (size_t)n >= cap ? -E2BIG : n;
}

int ws_upgrade_request(char *out, size_t cap, const char *host, const char *key)
{
    return printed(
        snprintf(out, cap,
                 "GET " WS_UPGRADE_PATH " HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
                 host, key),
        cap);
}

int ws_upgrade_answer(char *out, size_t cap, const char *key)
{
    char accept[WEBSOCKET_ACCEPT_LEN + 1];
    websocket_accept(accept, key);
    return printed(
        snprintf(out, cap,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %s\r\n\r\n",
                 accept),
        cap);
}

/* ---- reading */

struct head {
    struct bytes upgrade, connection, key, version, accept;
    bool host, twice, extended, body;
};

/* Bytes up to and with the empty line; 0: it has not come. */
static int whole(struct bytes in)
{
    size_t n = in.n < WS_UPGRADE_MAX ? in.n : WS_UPGRADE_MAX;
    const uint8_t *end = n ? memmem(in.p, n, "\r\n\r\n", 4) : NULL;
    if (end)
        return (int)(end - in.p) + 4;
    return in.n >= WS_UPGRADE_MAX ? -EMSGSIZE : 0;
}

static struct bytes take_line(struct bytes *in)
{
    const uint8_t *end = memmem(in->p, in->n, "\r\n", 2);
    size_t n = end ? (size_t)(end - in->p) : in->n;
    struct bytes line = bytes_of(in->p, n);
    *in = end ? bytes_of(end + 2, in->n - n - 2) : bytes_of(in->p + n, 0);
    return line;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* want in lower case. */
static bool word_is(struct bytes b, const char *want)
{
    size_t n = strlen(want);
    for (size_t i = 0; i < n && i < b.n; i++)
        if (lower(b.p[i]) != (uint8_t)want[i])
            return false;
    return b.n == n;
}

static struct bytes trim(struct bytes b)
{
    while (b.n && (b.p[0] == ' ' || b.p[0] == '\t'))
        b = bytes_of(b.p + 1, b.n - 1);
    while (b.n && (b.p[b.n - 1] == ' ' || b.p[b.n - 1] == '\t'))
        b.n--;
    return b;
}

/* Whether a list with commas holds the word. */
static bool list_has(struct bytes list, const char *want)
{
    while (list.n) {
        const uint8_t *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        if (word_is(trim(bytes_of(list.p, n)), want))
            return true;
        list = bytes_of(list.p + n + (comma ? 1 : 0), list.n - n - (comma ? 1 : 0));
    }
    return false;
}

static void once(struct head *h, struct bytes *field, struct bytes value)
{
    if (field->p)
        h->twice = true;
    *field = value;
}

static void take_header(struct head *h, struct bytes name, struct bytes value)
{
    if (word_is(name, "upgrade"))
        once(h, &h->upgrade, value);
    else if (word_is(name, "connection"))
        once(h, &h->connection, value);
    else if (word_is(name, "sec-websocket-key"))
        once(h, &h->key, value);
    else if (word_is(name, "sec-websocket-version"))
        once(h, &h->version, value);
    else if (word_is(name, "sec-websocket-accept"))
        once(h, &h->accept, value);
    else if (word_is(name, "sec-websocket-extensions") || word_is(name, "sec-websocket-protocol"))
        h->extended = true;
    else if (word_is(name, "host"))
        h->host = true;
    else if (word_is(name, "transfer-encoding") || (word_is(name, "content-length") && !word_is(value, "0")))
        h->body = true;
}

static bool is_token(struct bytes name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] >= 0x7f)
            return false;
    return name.n > 0;
}

static bool is_text(struct bytes value)
{
    for (size_t i = 0; i < value.n; i++)
        if ((value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7f)
            return false;
    return true;
}

/* Lines of headers up to the empty one (RFC 9112 section 5: no folding, no blank before the colon). */
static int read_headers(struct bytes in, struct head *h)
{
    *h = (struct head){0};
    for (int lines = 0; in.n; lines++) {
        struct bytes line = take_line(&in);
        if (!line.n)
            return 0;
        const uint8_t *colon = memchr(line.p, ':', line.n);
        if (!colon || lines == WS_UPGRADE_LINES)
            return -EBADMSG;
        struct bytes name = bytes_of(line.p, (size_t)(colon - line.p));
        struct bytes value = trim(bytes_of(colon + 1, line.n - name.n - 1));
        if (!is_token(name) || !is_text(value))
            return -EBADMSG;
        take_header(h, name, value);
    }
    return 0;
}

static bool upgrades(const struct head *h)
{
    return word_is(h->upgrade, "websocket") && list_has(h->connection, "upgrade") && !h->twice && !h->body;
}

static bool is_key(struct bytes key)
{
    if (key.n != WS_UPGRADE_KEY_LEN || key.p[22] != '=' || key.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++)
        if (!key.p[i] || !strchr(base64, key.p[i]))
            return false;
    return true;
}

int ws_upgrade_read_request(struct bytes in, char key[WS_UPGRADE_KEY_LEN + 1])
{
    struct head h;
    int n = whole(in);
    if (n <= 0)
        return n;
    struct bytes rest = bytes_of(in.p, (size_t)n);
    if (!bytes_equal(take_line(&rest), bytes_of_str("GET " WS_UPGRADE_PATH " HTTP/1.1")))
        return -EBADMSG;
    /* A request may offer extensions; the answer names none. */
    if (read_headers(rest, &h) < 0 || !upgrades(&h) || !h.host || !word_is(h.version, "13") || !is_key(h.key))
        return -EBADMSG;
    memcpy(key, h.key.p, WS_UPGRADE_KEY_LEN);
    key[WS_UPGRADE_KEY_LEN] = 0;
    return n;
}

int ws_upgrade_read_answer(struct bytes in, const char *key)
{
    static const char status[] = "HTTP/1.1 101";
    char accept[WEBSOCKET_ACCEPT_LEN + 1];
    struct head h;
    int n = whole(in);
    if (n <= 0)
        return n;
    struct bytes rest = bytes_of(in.p, (size_t)n), first = take_line(&rest);
    if (first.n < sizeof status - 1 || memcmp(first.p, status, sizeof status - 1) ||
        (first.n > sizeof status - 1 && first.p[sizeof status - 1] != ' '))
        return -EBADMSG;
    websocket_accept(accept, key);
    if (read_headers(rest, &h) < 0 || !upgrades(&h) || h.extended ||
        !bytes_equal(h.accept, bytes_of_str(accept)))
        return -EBADMSG;
    return n;
}
