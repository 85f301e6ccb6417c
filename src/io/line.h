/* Lines out of a byte stream, for the control socket: what was read is fed, whole lines come out without
 * their newline. A line is at most LINE_MAX_BYTES. */
#ifndef WARREN_IO_LINE_H
#define WARREN_IO_LINE_H

#include "base/buf.h"

#define LINE_MAX_BYTES (64 * 1024)

struct line_reader {
    struct buf in;
    size_t taken; /* bytes of in that line_next has given out */
};

void line_init(struct line_reader *r);
void line_done(struct line_reader *r); /* wipes: a line may hold an invite */
/* 0, -EMSGSIZE where a line is too long, -ENOMEM. After a failure only line_done is allowed. */
int line_feed(struct line_reader *r, struct bytes in);
/* The next whole line, valid until the next line_feed or line_done; false: none yet. */
bool line_next(struct line_reader *r, struct bytes *line);

#endif
