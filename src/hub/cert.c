#include "hub/cert.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "crypto/secret.h"
#include "io/file.h"

#define PEM_MAX   (256 * 1024) /* a chain of the operator's */
#define LIFE_DAYS 3650

static int read_pem(const char *path, struct buf *out, char *why, size_t cap)
{
    buf_clear(out);
    int rc = file_read(path, PEM_MAX, out);
    if (rc < 0 && rc != -ENOENT)
        snprintf(why, cap, "cannot read %s: %s", path, strerror(-rc));
    return rc;
}

static int write_pem(const char *path, const struct buf *pem, char *why, size_t cap)
{
    int rc = file_write_atomic(path, buf_bytes(pem), 0600);
    if (rc < 0)
        snprintf(why, cap, "cannot write %s: %s", path, strerror(-rc));
    return rc;
}

/* One of ours. The certificate is written last: where it stands, its key does. A certificate that is there is
 * never replaced, because invites that are out in the world pin it. */
static int own_pair(enum cert_kind kind, const char *state, const char *host, uint64_t unix_s,
                    struct buf *cert, struct buf *key, char *why, size_t cap)
{
    const char *name = kind == CERT_MLDSA87 ? "hub-mldsa87" : "hub-ecdsa";
    char cert_path[PATH_MAX], key_path[PATH_MAX];
    if (snprintf(cert_path, sizeof cert_path, "%s/%s.crt", state, name) >= PATH_MAX ||
        snprintf(key_path, sizeof key_path, "%s/%s.key", state, name) >= PATH_MAX) {
        snprintf(why, cap, "the name of the state directory is too long");
        return -ENAMETOOLONG;
    }
    int rc = read_pem(cert_path, cert, why, cap);
    if (rc == 0) {
        rc = read_pem(key_path, key, why, cap);
        if (rc == -ENOENT)
            snprintf(why, cap,
                     "%s is missing; restore it, or remove %s for a new certificate (old invites end)",
                     key_path, cert_path);
        return rc;
    }
    if (rc != -ENOENT)
        return rc;
    rc = x509_self_signed(kind, host, unix_s > 86400 ? unix_s - 86400 : 0, LIFE_DAYS, cert, key);
    if (rc < 0) {
        snprintf(why, cap, "cannot make a certificate for %s; check --name", host);
        return rc;
    }
    rc = write_pem(key_path, key, why, cap);
    return rc < 0 ? rc : write_pem(cert_path, cert, why, cap);
}

static int given_pair(struct hub_certs *c, const char *cert, const char *key, char *why, size_t cap)
{
    int rc = read_pem(cert, &c->ecdsa_cert, why, cap);
    if (rc == -ENOENT)
        snprintf(why, cap, "there is no certificate %s; check --cert", cert);
    if (rc < 0)
        return rc;
    rc = read_pem(key, &c->ecdsa_key, why, cap);
    if (rc == -ENOENT)
        snprintf(why, cap, "there is no key %s; check --key", key);
    return rc;
}

int hub_certs_open(struct hub_certs *c, const char *state, const char *host, const char *cert,
                   const char *key, uint64_t unix_s, char *why, size_t cap)
{
    buf_init(&c->mldsa_cert, PEM_MAX);
    buf_init(&c->mldsa_key, PEM_MAX);
    buf_init(&c->ecdsa_cert, PEM_MAX);
    buf_init(&c->ecdsa_key, PEM_MAX);
    if (!cert != !key) {
        snprintf(why, cap, "--cert and --key belong together: give both or none");
        return -EINVAL;
    }
    int rc = own_pair(CERT_MLDSA87, state, host, unix_s, &c->mldsa_cert, &c->mldsa_key, why, cap);
    if (rc == 0)
        rc = cert ? given_pair(c, cert, key, why, cap)
                  : own_pair(CERT_ECDSA_P256, state, host, unix_s, &c->ecdsa_cert, &c->ecdsa_key, why, cap);
    if (rc < 0)
        return rc;
    if (x509_fingerprint(buf_bytes(&c->mldsa_cert), c->fingerprint) < 0) {
        snprintf(why, cap, "%s/hub-mldsa87.crt is damaged; restore a copy of it", state);
        return -EBADMSG;
    }
    if (x509_not_after(buf_bytes(&c->ecdsa_cert), &c->ecdsa_not_after) < 0) {
        snprintf(why, cap, "%s is no PEM certificate", cert ? cert : "hub-ecdsa.crt in the state directory");
        return -EBADMSG;
    }
    return 0;
}

static void done(struct buf *b)
{
    wipe(b->p, b->n);
    buf_done(b);
}

void hub_certs_done(struct hub_certs *c)
{
    done(&c->mldsa_cert);
    done(&c->mldsa_key);
    done(&c->ecdsa_cert);
    done(&c->ecdsa_key);
}
