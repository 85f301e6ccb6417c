/* The test vectors of OpenSSL's source package: text of stanzas with an empty line between them, each of
 * lines `name = value`. Values are hex or a string in quotation marks. Found in the folder that
 * WARREN_VECTORS names. */
#ifndef WARREN_TEST_VECTORS_EVP_TEXT_H
#define WARREN_TEST_VECTORS_EVP_TEXT_H

#include "base/buf.h"

#define EVP_FIELDS_MAX 32
#define EVP_KEYS_MAX   256

struct evp_field {
    const char *name, *value;
};

/* A key under a name, from PrivateKeyRaw, PublicKeyRaw or a PEM block of X25519 or Ed25519. */
struct evp_key {
    const char *name, *algorithm;
    struct buf raw;
};

struct evp_file {
    char *text, *at;
    struct evp_field fields[EVP_FIELDS_MAX]; /* of the stanza at hand */
    size_t field_count;
    struct evp_key keys[EVP_KEYS_MAX];
    size_t key_count;
    unsigned checked, passed_over;
};

/* Why the vectors are not there, NULL where they are. */
const char *evp_missing(void);
/* Ends the test (cmocka) where the file is missing. */
void evp_open(struct evp_file *f, const char *name);
/* Prints the counts; fails the test where nothing was checked. */
void evp_close(struct evp_file *f, const char *name);
/* The next stanza; false at the end. */
bool evp_next(struct evp_file *f);
/* The value of the stanza's field, NULL where it has none of this name. */
const char *evp_get(const struct evp_file *f, const char *name);
bool evp_is(const struct evp_file *f, const char *name, const char *value); /* without regard to case */
/* The value behind `option:` in Ctrl, CtrlOut and the like. */
const char *evp_ctrl(const struct evp_file *f, const char *option);
/* A value as bytes, hex or quoted; fails the test on anything else. NULL is empty. */
void evp_bytes(struct buf *out, const char *value);
/* The key of this name, NULL where there is none of that algorithm and length. */
const struct evp_key *evp_key(const struct evp_file *f, const char *name, const char *algorithm, size_t len);

#endif
