#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "wire/invite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool equal(const struct invite *a, const struct invite *b)
{
    return hub_address_equal(&a->hub, &b->hub) && memcmp(a->party, b->party, sizeof a->party) == 0 &&
           memcmp(a->secret, b->secret, sizeof a->secret) == 0;
}

static void same_again(const struct invite *inv)
{
    char text[INVITE_TEXT_MAX + 1];
    struct invite back;
    if (invite_write(text, inv) < 0 || invite_read(&back, text) != INVITE_OK || !equal(&back, inv))
        abort();
}

static void address(const char *text)
{
    struct hub_address a, back;
    char url[HUB_ADDRESS_MAX + 1];
    if (hub_address_read(&a, text) < 0)
        return;
    hub_address_write(url, sizeof url, &a);
    if (hub_address_read(&back, url) < 0 || !hub_address_equal(&a, &back))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[1024];
    struct invite inv;
    if (size > sizeof text - 16)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    address(text);
    if (invite_read(&inv, text) == INVITE_OK)
        same_again(&inv);
    /* With the check that the mutator cannot guess. */
    uint8_t hash[SHA256_LEN];
    size_t n = strlen(text);
    text[n++] = '.';
    struct bytes part = bytes_of(text, n);
    sha256(hash, &part, 1);
    base64url_put(text + n, bytes_of(hash, 4));
    if (invite_read(&inv, text) == INVITE_OK)
        same_again(&inv);
    return 0;
}
