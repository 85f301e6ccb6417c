#include "hub/token.h"

#include <errno.h>
#include <jansson.h>
#include <jose/b64.h>
#include <jose/jws.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "crypto/secret.h"

struct token_key {
    json_t *jwk;
};

struct token_key *token_key_new(const uint8_t secret[TOKEN_KEY_LEN])
{
    char k[BASE64_LEN(TOKEN_KEY_LEN) + 1];
    struct token_key *key = calloc(1, sizeof *key);
    if (!key)
        return NULL;
    base64url_put(k, bytes_of(secret, TOKEN_KEY_LEN));
    key->jwk = json_pack("{s:s, s:s, s:s}", "kty", "oct", "alg", "HS256", "k", k);
    wipe(k, sizeof k);
    if (!key->jwk) {
        free(key);
        return NULL;
    }
    return key;
}

void token_key_free(struct token_key *k)
{
    if (!k)
        return;
    /* jansson frees without wiping: the one string that is secret is overwritten where it lies. */
    json_t *secret = json_object_get(k->jwk, "k");
    wipe((char *)(uintptr_t)json_string_value(secret), json_string_length(secret));
    json_decref(k->jwk);
    free(k);
}

static json_t *signed_object(const struct token_key *k, const struct token_claims *c)
{
    char sub[HEX_LEN(NODE_ID_LEN) + 1];
    hex_put(sub, bytes_of(c->node, NODE_ID_LEN));
    json_t *claims = json_pack("{s:s, s:I, s:I, s:s}", "sub", sub, "iat", (json_int_t)c->issued, "exp",
                               (json_int_t)c->expires, "aud", TOKEN_AUDIENCE);
    json_t *jws = claims ? json_pack("{s:o}", "payload", jose_b64_enc_dump(claims)) : NULL;
    json_t *sig = json_pack("{s:{s:s, s:s}}", "protected", "alg", "HS256", "typ", "JWT");
    if (jws && (!sig || !jose_jws_sig(NULL, jws, sig, k->jwk))) {
        json_decref(jws);
        jws = NULL;
    }
    json_decref(sig);
    json_decref(claims);
    return jws;
}

int token_make(const struct token_key *k, const struct token_claims *claims, char out[SIGNAL_TOKEN_MAX + 1])
{
    const char *head, *body, *mac;
    int rc = -EIO;
    json_t *jws = signed_object(k, claims);
    if (jws &&
        json_unpack(jws, "{s:s, s:s, s:s}", "protected", &head, "payload", &body, "signature", &mac) == 0) {
        int n = snprintf(out, SIGNAL_TOKEN_MAX + 1, "%s.%s.%s", head, body, mac);
        rc = n > 0 && n <= SIGNAL_TOKEN_MAX ? 0 : -EIO;
    }
    json_decref(jws);
    return rc;
}

/* The three parts of a compact JWS as the flattened JSON form. */
static json_t *token_parse(const char *token)
{
    size_t n = strnlen(token, SIGNAL_TOKEN_MAX + 1);
    const char *dot = n <= SIGNAL_TOKEN_MAX ? strchr(token, '.') : NULL;
    const char *dot2 = dot ? strchr(dot + 1, '.') : NULL;
    if (!dot2 || strchr(dot2 + 1, '.'))
        return NULL;
    return json_pack("{s:s%, s:s%, s:s}", "protected", token, (size_t)(dot - token), "payload", dot + 1,
                     (size_t)(dot2 - dot - 1), "signature", dot2 + 1);
}

/* The algorithm is ours to choose, never the token's: anything but HS256 is refused before the key is
 * touched. */
static bool algorithm_is_ours(const json_t *jws)
{
    const char *alg;
    json_t *head = jose_b64_dec_load(json_object_get(jws, "protected"));
    bool ok = json_is_object(head) && json_unpack(head, "{s:s}", "alg", &alg) == 0 &&
              strcmp(alg, "HS256") == 0 && !json_object_get(head, "crit") && !json_object_get(head, "b64");
    json_decref(head);
    return ok;
}

static int claims_read(const json_t *jws, struct token_claims *c)
{
    const char *sub, *aud;
    json_int_t iat, exp;
    size_t got;
    json_t *claims = jose_b64_dec_load(json_object_get(jws, "payload"));
    int rc = -EBADMSG;
    if (json_is_object(claims) &&
        json_unpack(claims, "{s:s, s:s, s:I, s:I}", "sub", &sub, "aud", &aud, "iat", &iat, "exp", &exp) ==
            0 &&
        strcmp(aud, TOKEN_AUDIENCE) == 0 && iat >= 0 && exp >= 0 && strlen(sub) == HEX_LEN(NODE_ID_LEN) &&
        hex_get(c->node, NODE_ID_LEN, &got, sub, strlen(sub)) == 0) {
        c->issued = (uint64_t)iat;
        c->expires = (uint64_t)exp;
        rc = 0;
    }
    json_decref(claims);
    return rc;
}

int token_check(const struct token_key *k, const char *token, uint64_t now_unix_s,
                struct token_claims *claims)
{
    struct token_claims c = {0};
    int rc = -EBADMSG;
    json_t *jws = token_parse(token);
    if (jws && algorithm_is_ours(jws) && jose_jws_ver(NULL, jws, NULL, k->jwk, false))
        rc = claims_read(jws, &c);
    json_decref(jws);
    if (rc == 0 && now_unix_s >= c.expires)
        rc = -EKEYEXPIRED;
    if (rc == 0)
        *claims = c;
    return rc;
}
