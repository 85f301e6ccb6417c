#include "crypto/init.h"

#include <stdio.h>
#include <stdlib.h>
#include <threads.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "crypto/algorithms_int.h"

/* The only statics of this folder that hold a state: OpenSSL looks algorithms up by name under locks and with
 * string comparisons, which costs more than a small hash. They are constant once made and live as long as the
 * process. */
static struct algorithms table;
static once_flag table_once = ONCE_FLAG_INIT;

_Noreturn void crypto_die(const char *what)
{
    char reason[160] = "no reason given";
    unsigned long code = ERR_peek_last_error();
    if (code)
        ERR_error_string_n(code, reason, sizeof reason);
    fprintf(stderr, "warren: OpenSSL failed at %s: %s\n", what, reason);
    abort();
}

static EVP_MAC_CTX *hmac_template(const char *digest)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    char name[16];
    snprintf(name, sizeof name, "%s", digest);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_end()};
    if (!ctx || !EVP_MAC_CTX_set_params(ctx, params))
        crypto_die("HMAC");
    EVP_MAC_free(mac);
    return ctx;
}

static void table_fill(void)
{
    if (!OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL))
        crypto_die("its start");
    table.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    table.sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
    table.hmac_sha256 = hmac_template("SHA256");
    table.hmac_sha384 = hmac_template("SHA384");
    table.aes256gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    table.chacha20poly1305 = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
    table.mldsa87 = EVP_SIGNATURE_fetch(NULL, "ML-DSA-87", NULL);
    if (!table.sha256 || !table.sha384 || !table.aes256gcm || !table.chacha20poly1305)
        crypto_die("the look-up of its algorithms");
    if (!table.mldsa87)
        crypto_die("ML-DSA-87 (OpenSSL 3.5 or newer is needed)");
}

const struct algorithms *algorithms(void)
{
    call_once(&table_once, table_fill);
    return &table;
}

void crypto_init(void)
{
    algorithms();
}
