/* warren://HUB/PARTY#SECRET (doc/protocol/invite.md): how a person is let in.
 *
 *   warren://HOST:PORT,FINGERPRINT/PARTY#SECRET.CHECK
 *
 * HOST is a DNS name, an IPv4 literal or a bracketed IPv6 literal; FINGERPRINT the SHA-256 of the hub's certificate,
 * absent where the system's authorities vouch for it; PARTY the genesis hash; SECRET the 32-byte seed of the one-off
 * signing key; CHECK the first 4 bytes of SHA-256 over everything before it (the dot included), so that a mistyped invite is
 * told from one for another hub. Binary parts are base64url, without padding. */
#ifndef WARREN_WIRE_INVITE_H
#define WARREN_WIRE_INVITE_H

#include "base/bytes.h"

#define INVITE_SECRET_LEN 32
#define INVITE_TEXT_MAX   512
#define HUB_HOST_MAX      255
#define HUB_ADDRESS_MAX   352 /* characters of the https form */

/* Where a hub is and how it is known. Also read from and written as https://HOST:PORT#sha256:HEX. */
struct hub_address {
    char host[HUB_HOST_MAX + 1]; /* without brackets; lower case, IPv6 as RFC 5952 writes it */
    uint16_t port;
    bool pinned;
    uint8_t fingerprint[32];
};

struct invite {
    struct hub_address hub;
    uint8_t party[32];
    uint8_t secret[INVITE_SECRET_LEN];
};

enum invite_error { INVITE_OK = 0, INVITE_NOT_ONE, INVITE_MISTYPED, INVITE_TOO_LONG };

/* Surrounding white space is ignored. On failure *inv is untouched. */
enum invite_error invite_read(struct invite *inv, const char *text);
/* Into out (INVITE_TEXT_MAX + 1); the text holds a secret. 0, or -EMSGSIZE for a host or port that no reader would take. */
int invite_write(char out[INVITE_TEXT_MAX + 1], const struct invite *inv);
const char *invite_error_text(enum invite_error e); /* one sentence that says what to do */

/* https://HOST[:PORT][#sha256:HEX] (port 443 by default; "HOST:PORT" without a scheme is taken as https). 0 or -EINVAL. */
int hub_address_read(struct hub_address *a, const char *url);
void hub_address_write(char *out, size_t cap, const struct hub_address *a);
bool hub_address_equal(const struct hub_address *a, const struct hub_address *b);

#endif
