#include "wire/candidate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UFRAG_MIN       4 /* RFC 8839 section 5.4 */
#define PWD_MIN         22
#define COMPONENT_MAX   256
#define PORT_DIGITS     5
#define PRIORITY_DIGITS 10

/* ---- Words, parted by single spaces. */

static bool word_next(struct bytes *left, struct bytes *word)
{
    if (left->n == 0)
        return false;
    const uint8_t *space = memchr(left->p, ' ', left->n);
    size_t n = space ? (size_t)(space - left->p) : left->n;
    *word = bytes_of(left->p, n);
    *left = bytes_of(left->p + n + (space != NULL), left->n - n - (space != NULL));
    return n > 0;
}

static bool word_is(struct bytes word, const char *s)
{
    if (word.n != strlen(s))
        return false;
    for (size_t i = 0; i < word.n; i++)
        if ((word.p[i] | 0x20) != (uint8_t)s[i]) /* the grammar's words are letters, in either case */
            return false;
    return true;
}

static bool ice_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '/';
}

/* Visible, so that it can be copied into any line. */
static bool visible(struct bytes word)
{
    for (size_t i = 0; i < word.n; i++)
        if (word.p[i] <= ' ' || word.p[i] > '~')
            return false;
    return true;
}

static bool number(struct bytes word, size_t digits, uint64_t max, uint64_t *v)
{
    if (word.n == 0 || word.n > digits)
        return false;
    *v = 0;
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] < '0' || word.p[i] > '9')
            return false;
        *v = *v * 10 + word.p[i] - '0';
    }
    return *v <= max;
}

static bool number_next(struct bytes *left, size_t digits, uint64_t max, uint64_t *v)
{
    struct bytes word;
    return word_next(left, &word) && number(word, digits, max, v);
}

static void text_copy(char *out, struct bytes word)
{
    memcpy(out, word.p, word.n);
    out[word.n] = 0;
}

/* ---- Reading. */

static bool prefix_eat(struct bytes *text, const char *prefix)
{
    size_t n = strlen(prefix);
    if (text->n < n || memcmp(text->p, prefix, n) != 0)
        return false;
    *text = bytes_of(text->p + n, text->n - n);
    return true;
}

static struct bytes line_of(struct bytes text)
{
    while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    return text;
}

static bool foundation_read(char *out, struct bytes word)
{
    for (size_t i = 0; i < word.n; i++)
        if (!ice_char(word.p[i]))
            return false;
    if (word.n > CANDIDATE_FOUNDATION_MAX)
        return false;
    text_copy(out, word);
    return true;
}

static bool name_ok(struct bytes word)
{
    for (size_t i = 0; i < word.n; i++)
        if ((!ice_char(word.p[i]) && word.p[i] != '-' && word.p[i] != '.') || word.p[i] == '+' ||
            word.p[i] == '/')
            return false;
    return word.n > 0 && word.n <= CANDIDATE_NAME_MAX && memchr(word.p, '.', word.n) && word.p[0] != '.';
}

/* Only digits and dots: an address that is none, not a name. */
static bool like_ip4(struct bytes word)
{
    for (size_t i = 0; i < word.n; i++)
        if (word.p[i] != '.' && (word.p[i] < '0' || word.p[i] > '9'))
            return false;
    return true;
}

/* An address without port; a name where one may stand. */
static bool address_read(struct net_addr *addr, char *name, struct bytes word)
{
    char text[NET_ADDR_TEXT];
    if (word.n > 0 && word.n < sizeof text && visible(word) && word.p[0] != '[') {
        text_copy(text, word);
        if (net_addr_read(addr, text) == 0 && addr->port == 0 && (addr->family == 6 || !strchr(text, ':')))
            return true;
    }
    *addr = (struct net_addr){0};
    if (!name || !name_ok(word) || like_ip4(word))
        return false;
    text_copy(name, word);
    return true;
}

static int transport_read(enum candidate_transport *t, struct bytes word)
{
    *t = word_is(word, "tcp") ? CANDIDATE_TCP : CANDIDATE_UDP;
    return word_is(word, "udp") || word_is(word, "tcp") ? 0 : -ENOTSUP;
}

static const char *const type_names[] = {"host", "srflx", "prflx", "relay"};

static int type_read(enum candidate_type *t, struct bytes word)
{
    for (unsigned i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (word_is(word, type_names[i])) {
            *t = (enum candidate_type)i;
            return 0;
        }
    return -ENOTSUP;
}

static bool head_read(struct candidate *c, struct bytes *left, struct bytes *transport)
{
    struct bytes foundation, address;
    uint64_t component, priority, port;
    if (!word_next(left, &foundation) || !number_next(left, 3, COMPONENT_MAX, &component) ||
        !word_next(left, transport) || !number_next(left, PRIORITY_DIGITS, UINT32_MAX, &priority) ||
        !word_next(left, &address) || !number_next(left, PORT_DIGITS, UINT16_MAX, &port) ||
        !foundation_read(c->foundation, foundation) || !address_read(&c->addr, c->name, address) ||
        component == 0 || priority == 0)
        return false;
    c->component = (uint16_t)component;
    c->priority = (uint32_t)priority;
    c->addr.port = (uint16_t)port;
    return true;
}

/* raddr, rport and what we do not know, as pairs of words. */
static bool rest_read(struct candidate *c, struct bytes left)
{
    struct bytes key, value;
    struct net_addr related = {0};
    uint64_t port = 0;
    while (left.n > 0) {
        if (!word_next(&left, &key) || !word_next(&left, &value) || !visible(key) || !visible(value))
            return false;
        /* Browsers hide it behind a name or zeros: then it is not told. */
        if (word_is(key, "raddr") && !address_read(&related, NULL, value) && !name_ok(value))
            return false;
        if (word_is(key, "rport") && !number(value, PORT_DIGITS, UINT16_MAX, &port))
            return false;
    }
    related.port = (uint16_t)port;
    if (related.family != 0 && net_addr_scope(&related) != NET_NONE)
        c->related = related;
    return true;
}

int candidate_read(struct candidate *c, struct bytes text)
{
    struct candidate got = {0};
    struct bytes transport, typ, type;
    text = line_of(text);
    if (text.n > CANDIDATE_TEXT_MAX)
        return -EBADMSG;
    prefix_eat(&text, "a=");
    if (!prefix_eat(&text, "candidate:") || !head_read(&got, &text, &transport) || !word_next(&text, &typ) ||
        !word_is(typ, "typ") || !word_next(&text, &type) || !rest_read(&got, text))
        return -EBADMSG;
    int r = transport_read(&got.transport, transport);
    if (r == 0)
        r = type_read(&got.type, type);
    if (r == 0)
        *c = got;
    return r;
}

int candidate_write(char *out, size_t cap, const struct candidate *c)
{
    char ip[NET_ADDR_TEXT], related[NET_ADDR_TEXT], text[CANDIDATE_TEXT];
    struct candidate again;
    if ((unsigned)c->type >= sizeof type_names / sizeof *type_names || (unsigned)c->transport > CANDIDATE_TCP)
        return -EINVAL;
    net_ip_text(ip, &c->addr);
    net_ip_text(related, &c->related);
    int n = snprintf(text, sizeof text, "candidate:%s %u %s %u %s %u typ %s", c->foundation, c->component,
                     c->transport == CANDIDATE_UDP ? "udp" : "tcp", c->priority, c->name[0] ? c->name : ip,
                     c->addr.port, type_names[c->type]);
    if (c->related.family && n > 0 && (size_t)n < sizeof text)
        n += snprintf(text + n, sizeof text - (size_t)n, " raddr %s rport %u", related, c->related.port);
    if (n < 0 || (size_t)n >= sizeof text || candidate_read(&again, bytes_of_str(text)) != 0)
        return -EINVAL;
    if ((size_t)n >= cap)
        return -ENOBUFS;
    memcpy(out, text, (size_t)n + 1);
    return 0;
}

/* ---- Credentials. */

static bool credential_ok(struct bytes value, size_t min, size_t max)
{
    for (size_t i = 0; i < value.n; i++)
        if (!ice_char(value.p[i]))
            return false;
    return value.n >= min && value.n <= max;
}

int candidate_credentials_read(struct candidate_credentials *c, struct bytes line)
{
    line = line_of(line);
    bool ufrag = prefix_eat(&line, "a=ice-ufrag:");
    if (!ufrag && !prefix_eat(&line, "a=ice-pwd:"))
        return -ENOENT;
    if (!credential_ok(line, ufrag ? UFRAG_MIN : PWD_MIN, ufrag ? CANDIDATE_UFRAG_MAX : CANDIDATE_PWD_MAX))
        return -EBADMSG;
    text_copy(ufrag ? c->ufrag : c->pwd, line);
    return 0;
}

int candidate_credentials_write(char *out, size_t cap, const struct candidate_credentials *c)
{
    if (!credential_ok(bytes_of_str(c->ufrag), UFRAG_MIN, CANDIDATE_UFRAG_MAX) ||
        !credential_ok(bytes_of_str(c->pwd), PWD_MIN, CANDIDATE_PWD_MAX))
        return -EINVAL;
    size_t n = strlen("a=ice-ufrag:\r\n"
                      "a=ice-pwd:\r\n") +
               strlen(c->ufrag) + strlen(c->pwd);
    if (n >= cap)
        return -ENOBUFS;
    snprintf(out, cap, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", c->ufrag, c->pwd);
    return 0;
}
