#include <stdlib.h>
#include <string.h>

#include "wire/hs.h"

static uint8_t out[HS_MESSAGE_MAX];

static void same(const struct wr *w, struct bytes in)
{
    if (!wr_ok(w) || !bytes_equal(wr_done(w), in))
        abort();
}

static void messages(struct bytes in)
{
    struct hs_hello hello;
    struct hs_challenge challenge;
    struct hs_response response;
    struct hs_established established;
    struct hs_reject reject;
    struct wr w = wr_of(out, sizeof out);
    int taken = 0;
    if (hs_hello_read(&hello, in) == 0) {
        hs_hello_write(&w, &hello);
        same(&w, hello.signed_part);
        taken++;
    }
    if (hs_challenge_read(&challenge, in) == 0) {
        hs_challenge_write(&w, &challenge);
        same(&w, challenge.signed_part);
        taken++;
    }
    if (hs_response_read(&response, in) == 0) {
        hs_response_write(&w, &response);
        same(&w, response.prefix);
        taken++;
    }
    if (hs_established_read(&established, in) == 0) {
        hs_established_write(&w, &established);
        same(&w, established.prefix);
        taken++;
    }
    if (hs_reject_read(&reject, in) == 0) {
        hs_reject_write(&w, &reject);
        same(&w, in);
        taken++;
    }
    /* No bytes are two messages, and none where the number says otherwise. */
    if (taken > 1 || (taken == 1 && hs_message_of(in) < 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct hs_response_payload response;
    struct hs_established_payload established;
    messages(in);
    if (hs_response_payload_read(&response, in) == 0) {
        struct wr w = wr_of(out, sizeof out);
        hs_response_payload_write(&w, &response);
        same(&w, in);
    }
    if (hs_established_payload_read(&established, in) == 0) {
        struct wr w = wr_of(out, sizeof out);
        hs_established_payload_write(&w, &established);
        same(&w, in);
    }
    return 0;
}
