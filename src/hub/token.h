/* The hub's access tokens: JWT (RFC 7519), HS256 and nothing else, signed with a key that never leaves the
 * hub. */
#ifndef WARREN_HUB_TOKEN_H
#define WARREN_HUB_TOKEN_H

#include "base/bytes.h"
#include "crypto/sign.h"
#include "wire/signal.h"

#define TOKEN_KEY_LEN  32
#define TOKEN_AUDIENCE "warren-hub"

struct token_claims {
    uint8_t node[NODE_ID_LEN]; /* sub, as hex */
    uint64_t issued, expires;  /* iat, exp: unix seconds */
};

struct token_key;
struct token_key *token_key_new(const uint8_t secret[TOKEN_KEY_LEN]); /* NULL when memory fails */
void token_key_free(struct token_key *k);

/* 0 or -EIO. */
int token_make(const struct token_key *k, const struct token_claims *claims, char out[SIGNAL_TOKEN_MAX + 1]);
/* 0; -EBADMSG: not ours, changed, another algorithm, another audience; -EKEYEXPIRED: it was, once. */
int token_check(const struct token_key *k, const char *token, uint64_t now_unix_s,
                struct token_claims *claims);

#endif
