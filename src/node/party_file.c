#include "node/party_file.h"

#include <errno.h>
#include <string.h>

#include "crypto/hash.h"

#define MAGIC         "WNP"
#define CHECK_LEN     8
#define KIND_SETTINGS 1
#define KIND_ENTRY    2
#define SETTINGS_LEN  3
#define FLAG_DEVICE   1
#define FLAG_REMOVED  2

static void record_check(uint8_t check[CHECK_LEN], const uint8_t start[3], struct bytes body)
{
    uint8_t hash[SHA256_LEN];
    struct bytes parts[] = {bytes_of(start, 3), body};
    sha256(hash, parts, 2);
    memcpy(check, hash, CHECK_LEN);
}

static int record_add(struct buf *out, uint8_t kind, struct bytes body)
{
    uint8_t head[PARTY_RECORD_HEAD];
    struct wr w = wr_of(head, sizeof head);
    if (body.n > ENTRY_MAX)
        return -E2BIG;
    wr_u8(&w, kind);
    wr_u16(&w, (uint16_t)body.n);
    record_check(head + 3, head, body);
    uint8_t *to = buf_room(out, sizeof head + body.n);
    if (!to)
        return out->n + sizeof head + body.n > out->max ? -E2BIG : -ENOMEM;
    memcpy(to, head, sizeof head);
    memcpy(to + sizeof head, body.p, body.n);
    buf_grow(out, sizeof head + body.n);
    return 0;
}

int party_file_begin(struct buf *out)
{
    const uint8_t head[PARTY_FILE_HEAD] = {MAGIC[0], MAGIC[1], MAGIC[2], PARTY_FILE_VERSION};
    return buf_add(out, bytes_of(head, sizeof head));
}

int party_file_settings(struct buf *out, const struct party_settings *s)
{
    uint8_t body[SETTINGS_LEN];
    struct wr w = wr_of(body, sizeof body);
    wr_u8(&w, (uint8_t)((s->device ? FLAG_DEVICE : 0) | (s->removed ? FLAG_REMOVED : 0)));
    wr_u16(&w, s->mtu);
    return record_add(out, KIND_SETTINGS, wr_done(&w));
}

int party_file_entry(struct buf *out, struct bytes entry)
{
    return record_add(out, KIND_ENTRY, entry);
}

int party_file_open(struct party_reader *r, const struct node_disk *disk, const char *name)
{
    uint8_t head[PARTY_FILE_HEAD];
    *r = (struct party_reader){.disk = *disk, .name = name};
    ssize_t got = disk->read(disk->arg, name, 0, head, sizeof head);
    if (got < 0)
        return (int)got;
    if (got != sizeof head || memcmp(head, MAGIC, 3) != 0)
        return -EBADMSG;
    if (head[3] != PARTY_FILE_VERSION)
        return -ENOTSUP;
    r->at = sizeof head;
    return 0;
}

/* Whether no more than one piece follows the last good record, so that it may be one that was never finished.
 */
static enum party_record bad_record(struct party_reader *r)
{
    uint8_t beyond;
    ssize_t got = r->disk.read(r->disk.arg, r->name, r->at + PARTY_PIECE_MAX, &beyond, 1);
    if (got >= 0)
        return got == 0 ? PARTY_RECORD_TORN : PARTY_RECORD_DAMAGED;
    r->error = (int)got;
    return PARTY_RECORD_FAILED;
}

static bool settings_read(struct party_settings *s, struct bytes body)
{
    struct rd r = rd_of(body);
    uint8_t flags = rd_u8(&r);
    uint16_t mtu = rd_u16(&r);
    if (!rd_done(&r) || (flags & ~(FLAG_DEVICE | FLAG_REMOVED)) != 0)
        return false;
    *s = (struct party_settings){.device = flags & FLAG_DEVICE, .removed = flags & FLAG_REMOVED, .mtu = mtu};
    return true;
}

/* A record that is as it was written. */
static enum party_record record_take(struct party_reader *r, uint8_t kind, struct bytes body)
{
    uint64_t at = r->at;
    r->at += PARTY_RECORD_HEAD + body.n;
    if (kind == KIND_ENTRY) {
        r->entry = body;
        r->entry_at = at + PARTY_RECORD_HEAD;
        return PARTY_RECORD_ENTRY;
    }
    return kind == KIND_SETTINGS && settings_read(&r->settings, body) ? PARTY_RECORD_SETTINGS
                                                                      : PARTY_RECORD_DAMAGED;
}

enum party_record party_file_next(struct party_reader *r)
{
    ssize_t got = r->disk.read(r->disk.arg, r->name, r->at, r->room, sizeof r->room);
    if (got < 0) {
        r->error = (int)got;
        return PARTY_RECORD_FAILED;
    }
    if (got == 0)
        return PARTY_RECORD_END;
    struct rd in = rd_of(bytes_of(r->room, (size_t)got));
    uint8_t kind = rd_u8(&in), check[CHECK_LEN], right[CHECK_LEN];
    uint16_t n = rd_u16(&in);
    rd_copy(&in, check, sizeof check);
    struct bytes body = rd_bytes(&in, n);
    if (!rd_ok(&in) || n > ENTRY_MAX)
        return bad_record(r);
    record_check(right, r->room, body);
    return memcmp(check, right, sizeof check) == 0 ? record_take(r, kind, body) : bad_record(r);
}

int party_file_read(const struct node_disk *disk, const char *name, uint64_t at, uint8_t *p, size_t n)
{
    ssize_t got = disk->read(disk->arg, name, at, p, n);
    if (got < 0)
        return (int)got;
    return (size_t)got == n ? 0 : -EIO;
}
