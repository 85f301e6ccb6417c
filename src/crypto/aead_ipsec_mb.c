#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

#include "base/cache.h"
#include "crypto/aead_int.h"
#include "crypto/secret.h"

/* What the library's fast code needs beside AVX-512; without, OpenSSL is about as fast. */
#define VECTOR_AES  (IMB_FEATURE_AVX512_SKX | IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ)
#define VECTOR_IFMA (IMB_FEATURE_AVX512_SKX | IMB_FEATURE_AVX512_IFMA)

struct mb_key {
    struct aead a;
    enum aead_alg alg;
    uint8_t chacha[AEAD_KEY_LEN];
    struct gcm_context_data context; /* of the packet under way */
    _Alignas(CACHE_LINE) struct gcm_key_data
        gcm; /* of AES alone; wants 64, which its header says only where LINUX is defined */
};

/* ---- The library's tables: one for what needs functions alone, and one a thread for what goes by jobs. */

static once_flag once = ONCE_FLAG_INIT;
static tss_t of_thread;
static IMB_MGR *shared; /* NULL: not on this machine */

static IMB_MGR *manager(void)
{
    IMB_MGR *m = alloc_mb_mgr(0);
    IMB_ARCH arch = IMB_ARCH_NONE;
    if (!m)
        return NULL;
    init_mb_mgr_auto(m, &arch);
    bool good = imb_get_errno(m) == 0 && arch >= IMB_ARCH_AVX512;
#ifdef IMB_FEATURE_SELF_TEST_PASS
    good = good && (m->features & IMB_FEATURE_SELF_TEST_PASS);
#endif
    if (good)
        return m;
    free_mb_mgr(m);
    return NULL;
}

static void thread_ends(void *m)
{
    free_mb_mgr(m);
}

static void begin(void)
{
    if (tss_create(&of_thread, thread_ends) == thrd_success)
        shared = manager();
}

static IMB_MGR *mine(void)
{
    IMB_MGR *m = tss_get(of_thread);
    if (m)
        return m;
    m = manager();
    if (m && tss_set(of_thread, m) != thrd_success) {
        free_mb_mgr(m);
        return NULL;
    }
    return m;
}

static bool mb_wanted(enum aead_alg alg)
{
    uint64_t needs = alg == AEAD_AES256GCM ? VECTOR_AES : VECTOR_IFMA;
    call_once(&once, begin);
    return shared && (shared->features & needs) == needs;
}

/* ---- Keys. */

static struct aead *mb_make(enum aead_alg alg, const uint8_t key[AEAD_KEY_LEN])
{
    struct mb_key *k = mb_wanted(alg) ? cache_calloc(sizeof *k) : NULL;
    if (!k)
        return NULL;
    k->alg = alg;
    if (alg == AEAD_AES256GCM)
        IMB_AES256_GCM_PRE(shared, key, &k->gcm);
    else
        memcpy(k->chacha, key, AEAD_KEY_LEN);
    return &k->a;
}

static void mb_drop(struct aead *a)
{
    wipe(a, sizeof(struct mb_key));
    free(a);
}

/* ---- Packets. */

static int chacha(struct mb_key *k, IMB_CIPHER_DIRECTION direction, const uint8_t *nonce, struct bytes ad,
                  const uint8_t *in, uint8_t *out, size_t n, uint8_t tag[AEAD_TAG_LEN])
{
    IMB_MGR *m = mine();
    IMB_JOB *j = m ? IMB_GET_NEXT_JOB(m) : NULL;
    if (!j)
        return -EIO;
    /* All that this cipher reads; zeroing the rest first costs 2 %. */
    j->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
    j->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
    j->cipher_direction = direction;
    j->chain_order = direction == IMB_DIR_ENCRYPT ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    j->enc_keys = j->dec_keys = k->chacha;
    j->key_len_in_bytes = AEAD_KEY_LEN;
    j->iv = nonce;
    j->iv_len_in_bytes = AEAD_NONCE_LEN;
    j->u.CHACHA20_POLY1305.aad = ad.p;
    j->u.CHACHA20_POLY1305.aad_len_in_bytes = ad.n;
    j->src = in;
    j->dst = out;
    j->cipher_start_src_offset_in_bytes = j->hash_start_src_offset_in_bytes = 0;
    j->msg_len_to_cipher_in_bytes = j->msg_len_to_hash_in_bytes = n;
    j->auth_tag_output = tag;
    j->auth_tag_output_len_in_bytes = AEAD_TAG_LEN;
    /* This cipher is done at once, with no other packet; were it ever not so, nothing may stay in the table.
     */
    j = IMB_SUBMIT_JOB_NOCHECK(m);
    if (!j)
        j = IMB_FLUSH_JOB(m);
    return j && j->status == IMB_STATUS_COMPLETED ? 0 : -EIO;
}

static int mb_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, const uint8_t *in,
                   uint8_t *out, size_t n, uint8_t tag[AEAD_TAG_LEN])
{
    struct mb_key *k = (struct mb_key *)a;
    if (k->alg == AEAD_CHACHA20POLY1305)
        return chacha(k, IMB_DIR_ENCRYPT, nonce, ad, in, out, n, tag);
    IMB_AES256_GCM_ENC(shared, &k->gcm, &k->context, out, in, n, nonce, ad.p, ad.n, tag, AEAD_TAG_LEN);
    return 0;
}

static int mb_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_LEN], struct bytes ad, const uint8_t *in,
                   uint8_t *out, size_t n, const uint8_t tag[AEAD_TAG_LEN])
{
    struct mb_key *k = (struct mb_key *)a;
    uint8_t right[AEAD_TAG_LEN];
    if (k->alg == AEAD_AES256GCM)
        IMB_AES256_GCM_DEC(shared, &k->gcm, &k->context, out, in, n, nonce, ad.p, ad.n, right, AEAD_TAG_LEN);
    else if (chacha(k, IMB_DIR_DECRYPT, nonce, ad, in, out, n, right) < 0)
        return -EBADMSG;
    return CRYPTO_memcmp(right, tag, AEAD_TAG_LEN) == 0 ? 0 : -EBADMSG;
}

const struct aead_impl aead_ipsec_mb = {"ipsec-mb", mb_wanted, mb_make, mb_drop, mb_seal, mb_open};
