/* Every text reader on anything: no crash, and one text for one value. */
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef int get_fn(uint8_t *out, size_t cap, size_t *n, const char *s, size_t len);
typedef void put_fn(char *out, struct bytes in);

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static bool same_but_for_case(const char *a, const char *b, size_t n)
{
    return strncasecmp(a, b, n) == 0;
}

static void reversible(put_fn *put, get_fn *get, const char *s, size_t len)
{
    uint8_t out[256];
    char again[HEX_LEN(sizeof out) + 1];
    size_t n;
    if (get(out, sizeof out, &n, s, len) < 0)
        return;
    expect(n <= sizeof out);
    put(again, bytes_of(out, n));
    expect(strlen(again) == len);
    expect(put == hex_put ? same_but_for_case(again, s, len) : memcmp(again, s, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 600)
        return 0;
    char *s = malloc(size + 1);
    memcpy(s, data, size);
    s[size] = 0;
    reversible(hex_put, hex_get, s, size);
    reversible(base32_put, base32_get, s, size);
    reversible(base64url_put, base64url_get, s, size);
    uint64_t seconds = 1;
    expect(duration_get(&seconds, s) < 0 || (seconds > 0 && seconds <= 10ull * 365 * 86400));
    char out[128];
    text_escape(out, size % sizeof out + 1, s);
    for (size_t i = 0; out[i]; i++)
        expect((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
    expect(utf8_valid(bytes_of_str(out)));
    if (name_valid(s)) {
        char name[NAME_CAP * 4];
        text_escape(name, sizeof name, s);
        expect(strcmp(name, s) == 0);
    }
    free(s);
    return 0;
}
