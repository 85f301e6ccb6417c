#include "hub/store_int.h"

void store_close(struct store *s)
{
    if (s->ops)
        s->ops->close(s->ctx);
    *s = (struct store){0};
}

/* version 1, type 1, party 32, sequence number 8, previous 32, time 8 */
#define AUTHOR_AT 82

void store_genesis_author(uint8_t author[NODE_ID_LEN], struct bytes genesis)
{
    struct rd r = rd_of(genesis);
    rd_bytes(&r, AUTHOR_AT);
    rd_copy(&r, author, NODE_ID_LEN);
}
