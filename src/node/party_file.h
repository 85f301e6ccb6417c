/* The file in which a node keeps a party (doc/protocol/node.md section 2): records that are only ever added
 * to.
 *
 *   file:   "WNP" | version u8 (2) | records
 *   record: kind u8 | length u16 | check 8 | body      check: the first bytes of SHA-256(kind || length ||
 * body) kinds:  1 settings: flags u8 (1: a device is wanted, 2: this node was removed) | MTU u16 (0: the
 * default); the last one counts 2 entry: one entry of the log, in order
 *
 * The file is written in pieces of at most PARTY_PIECE_MAX bytes, each of which is on the disk before the
 * next one is begun. So what a power cut spoils lies in the last piece: there the file ends at the first
 * record that is not whole, and the next piece is written over the rest. What is missing then is fetched
 * again, as after any absence. A fault further up is damage, and refused. Pure: bytes come through a
 * callback. */
#ifndef WARREN_NODE_PARTY_FILE_H
#define WARREN_NODE_PARTY_FILE_H

#include <sys/types.h>

#include "base/buf.h"
#include "wire/entry.h"

#define PARTY_FILE_VERSION 2
#define PARTY_FILE_HEAD    4
#define PARTY_RECORD_HEAD  11
#define PARTY_PIECE_MAX    (128u * 1024)

/* Reads back what was saved: up to n bytes of file `name` from `at` on, fewer only where it ends. Their
 * number, or a negative errno. */
struct node_disk {
    ssize_t (*read)(void *arg, const char *name, uint64_t at, uint8_t *p, size_t n);
    void *arg;
};

struct party_settings {
    bool device, removed;
    uint16_t mtu;
};

/* Writers; each adds to out. 0, -E2BIG or -ENOMEM, and out is as before. */
int party_file_begin(struct buf *out);
int party_file_settings(struct buf *out, const struct party_settings *s);
int party_file_entry(struct buf *out, struct bytes entry);

enum party_record {
    PARTY_RECORD_END,      /* the file ends here */
    PARTY_RECORD_SETTINGS, /* in r->settings */
    PARTY_RECORD_ENTRY,    /* in r->entry, which lies at r->entry_at of the file, until the next call */
    PARTY_RECORD_TORN,     /* what follows r->at was cut short while it was written: the file ends there */
    PARTY_RECORD_DAMAGED,
    PARTY_RECORD_FAILED /* it cannot be read: r->error */
};
struct party_reader {
    struct node_disk disk;
    const char *name;
    uint64_t at; /* up to where it is good */
    struct party_settings settings;
    struct bytes entry;
    uint64_t entry_at;
    int error;
    uint8_t room[PARTY_RECORD_HEAD + ENTRY_MAX];
};
/* 0, -EBADMSG: no such file of any version, -ENOTSUP: of another version, or what the disk said. */
int party_file_open(struct party_reader *r, const struct node_disk *disk, const char *name);
enum party_record party_file_next(struct party_reader *r);
/* Exactly n bytes. 0, -EIO where the file ends before, or what the disk said. */
int party_file_read(const struct node_disk *disk, const char *name, uint64_t at, uint8_t *p, size_t n);

#endif
