#include "wire/resume.h"

#include <errno.h>

int resume_message_of(struct bytes in)
{
    struct rd r = rd_of(in);
    uint8_t type = rd_u8(&r), message = rd_u8(&r);
    uint16_t version = rd_u16(&r);
    if (!rd_ok(&r) || in.n > RESUME_MESSAGE_MAX || type != WIRE_RESUME)
        return -EBADMSG;
    if (version != RESUME_VERSION)
        return -EPROTONOSUPPORT;
    if (message < RESUME_REQUEST || message > RESUME_COMPLETE)
        return -EBADMSG;
    return message;
}

static struct rd begin_read(struct bytes in, enum resume_message message, uint32_t *receiver, uint32_t *path)
{
    struct rd r = rd_of(in);
    if (resume_message_of(in) != (int)message)
        rd_fail(&r);
    rd_u32(&r);
    *receiver = rd_u32(&r);
    *path = rd_u32(&r);
    return r;
}

static void begin_write(struct wr *w, enum resume_message message, uint32_t receiver, uint32_t path)
{
    wr_u8(w, WIRE_RESUME);
    wr_u8(w, (uint8_t)message);
    wr_u16(w, RESUME_VERSION);
    wr_u32(w, receiver);
    wr_u32(w, path);
}

/* The end of all three: what the mac covers, and the mac. */
static int end_read(struct rd *r, struct bytes in, struct bytes *covered, const uint8_t **mac)
{
    *covered = bytes_of(in.p, in.n - rd_left(r));
    *mac = rd_bytes(r, RESUME_MAC_LEN).p;
    return rd_done(r) ? 0 : -EBADMSG;
}

int resume_request_read(struct resume_request *m, struct bytes in)
{
    struct resume_request got = {0};
    struct rd r = begin_read(in, RESUME_REQUEST, &got.receiver, &got.path);
    got.number = rd_u64(&r);
    rd_copy(&r, got.challenge, sizeof got.challenge);
    got.view = rd_block16(&r, RESUME_VIEW_MAX);
    if (end_read(&r, in, &got.covered, &got.mac) < 0)
        return -EBADMSG;
    *m = got;
    return 0;
}

void resume_request_write(struct wr *w, const struct resume_request *m)
{
    begin_write(w, RESUME_REQUEST, m->receiver, m->path);
    wr_u64(w, m->number);
    wr_copy(w, m->challenge, sizeof m->challenge);
    wr_block16(w, m->view);
}

int resume_response_read(struct resume_response *m, struct bytes in)
{
    struct resume_response got = {0};
    struct rd r = begin_read(in, RESUME_RESPONSE, &got.receiver, &got.path);
    rd_copy(&r, got.challenge, sizeof got.challenge);
    got.view = rd_block16(&r, RESUME_VIEW_MAX);
    if (end_read(&r, in, &got.covered, &got.mac) < 0)
        return -EBADMSG;
    *m = got;
    return 0;
}

void resume_response_write(struct wr *w, const struct resume_response *m)
{
    begin_write(w, RESUME_RESPONSE, m->receiver, m->path);
    wr_copy(w, m->challenge, sizeof m->challenge);
    wr_block16(w, m->view);
}

int resume_complete_read(struct resume_complete *m, struct bytes in)
{
    struct resume_complete got = {0};
    struct rd r = begin_read(in, RESUME_COMPLETE, &got.receiver, &got.path);
    if (end_read(&r, in, &got.covered, &got.mac) < 0)
        return -EBADMSG;
    *m = got;
    return 0;
}

void resume_complete_write(struct wr *w, const struct resume_complete *m)
{
    begin_write(w, RESUME_COMPLETE, m->receiver, m->path);
}
