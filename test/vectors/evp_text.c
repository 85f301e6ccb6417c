#include "evp_text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/text.h"

#define VALUE_MAX (1u << 20)
#define PEM_MAX   4096

const char *evp_missing(void)
{
    const char *folder = getenv("WARREN_VECTORS");
    struct stat st;
    if (!folder || !*folder)
        return "WARREN_VECTORS is not set";
    if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode))
        return "the folder of WARREN_VECTORS does not exist (the system's own OpenSSL comes without its "
               "vectors)";
    return NULL;
}

void evp_open(struct evp_file *f, const char *name)
{
    char path[1024];
    *f = (struct evp_file){0};
    snprintf(path, sizeof path, "%s/%s", getenv("WARREN_VECTORS"), name);
    FILE *in = fopen(path, "rb");
    if (!in)
        fail_msg("%s is missing", path);
    fseek(in, 0, SEEK_END);
    long len = ftell(in);
    assert_true(len > 0);
    rewind(in);
    f->text = f->at = calloc(1, (size_t)len + 1);
    assert_non_null(f->text);
    assert_int_equal(fread(f->text, 1, (size_t)len, in), len);
    fclose(in);
}

void evp_close(struct evp_file *f, const char *name)
{
    printf("# %s: %u checked, %u passed over\n", name, f->checked, f->passed_over);
    unsigned checked = f->checked;
    for (size_t i = 0; i < f->key_count; i++)
        buf_done(&f->keys[i].raw);
    free(f->text);
    if (checked == 0)
        fail_msg("%s has no case that can be used", name);
}

/* The next line, its line break and the white space at its ends cut off; NULL at the end of the text. */
static char *next_line(struct evp_file *f)
{
    char *line = f->at;
    if (!*line)
        return NULL;
    size_t n = strcspn(line, "\n");
    f->at = line + n + (line[n] == '\n');
    line[n] = 0;
    while (n > 0 && isspace((unsigned char)line[n - 1]))
        line[--n] = 0;
    while (isspace((unsigned char)*line))
        line++;
    return line;
}

static void key_add(struct evp_file *f, const char *name, const char *algorithm, struct bytes raw)
{
    assert_true(f->key_count < EVP_KEYS_MAX);
    struct evp_key *k = &f->keys[f->key_count++];
    k->name = name;
    k->algorithm = algorithm;
    buf_init(&k->raw, VALUE_MAX);
    assert_int_equal(buf_add(&k->raw, raw), 0);
}

/* NAME:ALGORITHM:HEX */
static void key_raw(struct evp_file *f, char *value)
{
    char *algorithm = strchr(value, ':');
    char *hex = algorithm ? strchr(algorithm + 1, ':') : NULL;
    assert_non_null(hex);
    *algorithm++ = *hex++ = 0;
    struct buf raw;
    buf_init(&raw, VALUE_MAX);
    evp_bytes(&raw, hex);
    key_add(f, value, algorithm, buf_bytes(&raw));
    buf_done(&raw);
}

/* RFC 8410: the last 32 bytes of a DER of 48 (private) or 44 (public) bytes are the key; the object
 * identifier 1.3.101.110 or .112 says which. Keys of other algorithms are dropped, and so not found later. */
static void key_pem(struct evp_file *f, const char *name)
{
    char text[PEM_MAX];
    size_t n = 0;
    for (char *line; (line = next_line(f)) && strncmp(line, "-----END", 8) != 0;)
        for (; *line && *line != '='; line++) {
            assert_true(n < sizeof text);
            text[n++] = *line == '+' ? '-' : *line == '/' ? '_' : *line;
        }
    uint8_t der[PEM_MAX];
    size_t len;
    assert_int_equal(base64url_get(der, sizeof der, &len, text, n), 0);
    size_t oid = len == 48 ? 9 : len == 44 ? 6 : 0;
    if (!oid || memcmp(der + oid, "\x2b\x65", 2) != 0)
        return;
    const char *algorithm = der[oid + 2] == 110 ? "X25519" : der[oid + 2] == 112 ? "ED25519" : "";
    key_add(f, name, algorithm, bytes_of(der + len - 32, 32));
}

static void take_line(struct evp_file *f, char *line)
{
    char *value = strchr(line, '=');
    if (!value)
        fail_msg("not a field: %.40s", line);
    char *end = value;
    *value++ = 0;
    while (end > line && isspace((unsigned char)end[-1]))
        *--end = 0;
    while (isspace((unsigned char)*value))
        value++;
    assert_true(f->field_count < EVP_FIELDS_MAX);
    f->fields[f->field_count++] = (struct evp_field){line, value};
    if (strcmp(line, "PrivateKeyRaw") == 0 || strcmp(line, "PublicKeyRaw") == 0)
        key_raw(f, value);
}

bool evp_next(struct evp_file *f)
{
    f->field_count = 0;
    for (char *line; (line = next_line(f));) {
        if (*line == '#')
            continue;
        if (strncmp(line, "-----BEGIN", 10) == 0) {
            assert_true(f->field_count > 0);
            key_pem(f, f->fields[f->field_count - 1].value);
        } else if (*line) {
            take_line(f, line);
        } else if (f->field_count > 0) {
            return true;
        }
    }
    return f->field_count > 0;
}

const char *evp_get(const struct evp_file *f, const char *name)
{
    for (size_t i = 0; i < f->field_count; i++)
        if (strcmp(f->fields[i].name, name) == 0)
            return f->fields[i].value;
    return NULL;
}

bool evp_is(const struct evp_file *f, const char *name, const char *value)
{
    const char *v = evp_get(f, name);
    return v && strcasecmp(v, value) == 0;
}

const char *evp_ctrl(const struct evp_file *f, const char *option)
{
    size_t n = strlen(option);
    for (size_t i = 0; i < f->field_count; i++) {
        const char *v = f->fields[i].value;
        if (strncmp(f->fields[i].name, "Ctrl", 4) == 0 && strncmp(v, option, n) == 0 && v[n] == ':')
            return v + n + 1;
    }
    return NULL;
}

void evp_bytes(struct buf *out, const char *value)
{
    size_t n = value ? strlen(value) : 0;
    buf_clear(out);
    if (n == 0)
        return;
    if (value[0] == '"') {
        assert_true(n >= 2 && value[n - 1] == '"' && !strchr(value, '\\'));
        assert_int_equal(buf_add(out, bytes_of(value + 1, n - 2)), 0);
        return;
    }
    uint8_t *room = buf_room(out, n / 2 + 1);
    size_t len;
    assert_non_null(room);
    assert_int_equal(hex_get(room, n / 2 + 1, &len, value, n), 0);
    buf_grow(out, len);
}

const struct evp_key *evp_key(const struct evp_file *f, const char *name, const char *algorithm, size_t len)
{
    for (size_t i = 0; name && i < f->key_count; i++) {
        const struct evp_key *k = &f->keys[i];
        if (strcmp(k->name, name) == 0 && strcmp(k->algorithm, algorithm) == 0 && k->raw.n == len)
            return k;
    }
    return NULL;
}
