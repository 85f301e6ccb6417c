/* Bytes as text and back: hex, base32 (RFC 4648, lower case, no padding), base64url (no padding), durations,
 * and the cleaning of names that come from strangers. Writers need their capacity to hold the NUL. */
#ifndef WARREN_BASE_TEXT_H
#define WARREN_BASE_TEXT_H

#include "base/bytes.h"
#include "base/time.h"

#define HEX_LEN(n)    ((n)*2)
#define BASE32_LEN(n) (((n)*8 + 4) / 5)
#define BASE64_LEN(n) (((n)*4 + 2) / 3)

/* Each writes exactly *_LEN(in.n) characters and a NUL into out. */
void hex_put(char *out, struct bytes in);
void base32_put(char *out, struct bytes in);
void base64url_put(char *out, struct bytes in);
/* base64 (RFC 4648 section 4) with padding, for what others read: (n + 2) / 3 * 4 letters and a NUL. */
void base64_put(char *out, struct bytes in);
/* The reverse: exact length and canonical form demanded (no white space, no stray bits); hex in either case.
 * 0 and *n bytes in out (cap of them at most), or -EINVAL. */
int hex_get(uint8_t *out, size_t cap, size_t *n, const char *s, size_t len);
int base32_get(uint8_t *out, size_t cap, size_t *n, const char *s, size_t len);
int base64url_get(uint8_t *out, size_t cap, size_t *n, const char *s, size_t len);

/* "90", "90s", "15m", "24h", "7d" to seconds. 0 or -EINVAL (also on 0 and on more than 10 years). */
int duration_get(uint64_t *seconds, const char *s);

bool utf8_valid(struct bytes in);
/* Whether s can be a name: 1 to 64 bytes of UTF-8, no control characters, no direction overrides or invisible
 * format characters, no white space at the ends. Names are labels, never identity. */
bool name_valid(const char *s);
#define NAME_MAX_BYTES 64
#define NAME_CAP       (NAME_MAX_BYTES + 1)

/* Writes text for a terminal: C0, C1, DEL, bidirectional and invisible characters as \xNN. Always terminates.
 */
void text_escape(char *out, size_t cap, const char *s);

#endif
