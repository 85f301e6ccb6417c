/* What goes to people: tables, units, strangers' names made harmless. */
#ifndef WARREN_CLI_OUTPUT_H
#define WARREN_CLI_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include "base/bytes.h"
#include "cli/cli.h"

#define TABLE_COLUMNS_MAX 14
#define TABLE_ROWS_MAX    4096

/* A table is filled cell by cell and printed with columns as wide as their widest cell; columns whose title
 * begins with '>' are aligned to the right (the '>' is not shown). Cells are escaped by table_cell. */
struct table {
    const char *title[TABLE_COLUMNS_MAX];
    size_t columns, cells, cap;
    char **cell;
};
void table_init(struct table *t, const char *const *titles); /* NULL-terminated */
void table_cell(struct table *t, const char *text);
void table_cellf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Titles are for people: table_print leaves them away where out is no terminal, so that scripts get rows
 * only; table_print_all does not. */
void table_print(const struct table *t, FILE *out, const char *indent);
void table_print_all(const struct table *t, FILE *out, const char *indent);
bool is_terminal(FILE *f);
void table_done(struct table *t);
/* Columns that text takes on a terminal: one for each character of UTF-8. */
size_t text_width(const char *s);

/* Escaped text on a stream. */
void put_escaped(FILE *out, const char *text);
/* "1.4 MiB", "12 B"; "3 s", "5 min", "2 h", "4 d"; out holds 32 bytes. */
const char *human_bytes(char out[32], uint64_t n);
const char *human_seconds(char out[32], uint64_t s);
/* The id as people read it: its first 12 characters and three dots. */
const char *short_id(char out[32], const char *id);

/* Members of a JSON object with a fallback: never NULL, never a crash on a reply of another version. */
const char *json_text(const json_t *o, const char *key);           /* "" */
double json_number(const json_t *o, const char *key, double none); /* integers and reals */
bool json_yes(const json_t *o, const char *key);
/* "12.3", or "-" where it is missing or negative. */
const char *json_ms(char out[32], const json_t *o, const char *key);
/* Pretty JSON in ASCII and a newline. */
void put_json(FILE *out, const json_t *j);

/* A QR code of text in UTF-8 half blocks, with its quiet zone; color: black on white by escape sequences. 0
 * or -1 where it does not fit. */
int put_qr(FILE *out, const char *text, bool color);

#endif
