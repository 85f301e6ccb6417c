#include <stdlib.h>

#include "wire/resume.h"

static void same(const struct wr *w, struct bytes in)
{
    if (!wr_ok(w) || !bytes_equal(wr_done(w), in))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t out[RESUME_MESSAGE_MAX];
    struct bytes in = bytes_of(data, size);
    struct wr w = wr_of(out, sizeof out);
    struct resume_request request;
    struct resume_response response;
    struct resume_complete complete;
    if (resume_request_read(&request, in) == 0) {
        resume_request_write(&w, &request);
        same(&w, request.covered);
    } else if (resume_response_read(&response, in) == 0) {
        resume_response_write(&w, &response);
        same(&w, response.covered);
    } else if (resume_complete_read(&complete, in) == 0) {
        resume_complete_write(&w, &complete);
        same(&w, complete.covered);
    }
    return 0;
}
