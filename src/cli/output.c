#include "cli/output.h"

#include <qrencode.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#define CELL_MAX 512

void table_init(struct table *t, const char *const *titles)
{
    *t = (struct table){0};
    while (titles[t->columns] && t->columns < TABLE_COLUMNS_MAX) {
        t->title[t->columns] = titles[t->columns];
        t->columns++;
    }
}

void table_cell(struct table *t, const char *text)
{
    char safe[CELL_MAX];
    if (t->cells == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        char **more =
            cap <= (size_t)TABLE_ROWS_MAX * TABLE_COLUMNS_MAX ? realloc(t->cell, cap * sizeof *more) : NULL;
        if (!more)
            return;
        t->cell = more;
        t->cap = cap;
    }
    text_escape(safe, sizeof safe, text);
    t->cell[t->cells] = strdup(safe);
    if (t->cell[t->cells])
        t->cells++;
}

void table_cellf(struct table *t, const char *fmt, ...)
{
    char text[CELL_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    table_cell(t, text);
}

size_t text_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void put_padded(FILE *out, const char *s, size_t width, bool right, bool last)
{
    int pad = (int)(width - text_width(s));
    if (right)
        fprintf(out, "%*s%s", pad, "", s);
    else
        fprintf(out, "%s%*s", s, last ? 0 : pad, "");
    fputs(last ? "\n" : "  ", out);
}

bool is_terminal(FILE *f)
{
    int fd = fileno(f);
    return fd >= 0 && isatty(fd);
}

static void print(const struct table *t, FILE *out, const char *indent, bool titles)
{
    size_t width[TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; titles && i < t->columns; i++)
        width[i] = text_width(t->title[i] + (t->title[i][0] == '>'));
    for (size_t i = 0; i < t->cells; i++)
        if (text_width(t->cell[i]) > width[i % t->columns])
            width[i % t->columns] = text_width(t->cell[i]);
    for (size_t i = titles ? 0 : t->columns; i < t->columns + t->cells; i++) {
        size_t col = i % t->columns;
        bool right = t->title[col][0] == '>';
        if (!col)
            fputs(indent, out);
        const char *text = i < t->columns ? t->title[col] + right : t->cell[i - t->columns];
        put_padded(out, text, width[col], right, col + 1 == t->columns);
    }
}

void table_print(const struct table *t, FILE *out, const char *indent)
{
    print(t, out, indent, is_terminal(out));
}

void table_print_all(const struct table *t, FILE *out, const char *indent)
{
    print(t, out, indent, true);
}

void table_done(struct table *t)
{
    for (size_t i = 0; i < t->cells; i++)
        free(t->cell[i]);
    free(t->cell);
    *t = (struct table){0};
}

void put_escaped(FILE *out, const char *text)
{
    size_t cap = 4 * strlen(text) + 1;
    char *safe = malloc(cap);
    if (!safe)
        return;
    text_escape(safe, cap, text);
    fputs(safe, out);
    free(safe);
}

const char *human_bytes(char out[32], uint64_t n)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1023.95 && u + 1 < sizeof unit / sizeof *unit) {
        v /= 1024;
        u++;
    }
    snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return out;
}

const char *human_seconds(char out[32], uint64_t s)
{
    if (s < 120)
        snprintf(out, 32, "%llu s", (unsigned long long)s);
    else if (s < 120 * 60)
        snprintf(out, 32, "%llu min", (unsigned long long)s / 60);
    else if (s < 48 * 3600)
        snprintf(out, 32, "%llu h", (unsigned long long)s / 3600);
    else
        snprintf(out, 32, "%llu d", (unsigned long long)s / 86400);
    return out;
}

const char *short_id(char out[32], const char *id)
{
    snprintf(out, 32, strlen(id) > 15 ? "%.12s..." : "%s", id);
    return out;
}

const char *json_text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

double json_number(const json_t *o, const char *key, double none)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : none;
}

bool json_yes(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

const char *json_ms(char out[32], const json_t *o, const char *key)
{
    double v = json_number(o, key, -1);
    if (v < 0)
        snprintf(out, 32, "-");
    else
        snprintf(out, 32, v < 100 ? "%.1f" : "%.0f", v);
    return out;
}

void put_json(FILE *out, const json_t *j)
{
    json_dumpf(j, out, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
    fputc('\n', out);
}

/* The quiet zone counts as light. */
static bool dark(const QRcode *q, int x, int y)
{
    return x >= 0 && y >= 0 && x < q->width && y < q->width && (q->data[y * q->width + x] & 1);
}

int put_qr(FILE *out, const char *text, bool color)
{
    QRcode *q = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
    if (!q)
        return -1;
    /* Without colours we draw the light modules, because most terminals are dark. */
    static const char *const block[2][2] = {{" ", "\u2584"}, {"\u2580", "\u2588"}};
    for (int y = -2; y < q->width + 2; y += 2) {
        if (color)
            fputs("\033[30;47m", out);
        for (int x = -2; x < q->width + 2; x++)
            fputs(block[dark(q, x, y) == color][dark(q, x, y + 1) == color], out);
        fputs(color ? "\033[0m\n" : "\n", out);
    }
    explicit_bzero(q->data, (size_t)q->width * (size_t)q->width);
    QRcode_free(q);
    return 0;
}
