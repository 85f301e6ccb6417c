/* RESUME: three messages that open a new path with the keys that exist (doc/protocol/session.md section 7).
 * All begin: type 5, message number, version 16 bits, receiver index 32 bits. path is the requester's own
 * number for the path, echoed by the responder. Each ends in an HMAC-SHA-256; covered is everything before
 * it. */
#ifndef WARREN_WIRE_RESUME_H
#define WARREN_WIRE_RESUME_H

#include "wire/data.h"

#define RESUME_VERSION       1
#define RESUME_CHALLENGE_LEN 32
#define RESUME_VIEW_MAX      64
#define RESUME_MAC_LEN       32
#define RESUME_MESSAGE_MAX   (20 + RESUME_CHALLENGE_LEN + 2 + RESUME_VIEW_MAX + RESUME_MAC_LEN)

enum resume_message { RESUME_REQUEST = 1, RESUME_RESPONSE = 2, RESUME_COMPLETE = 3 };

struct resume_request {
    uint32_t receiver, path;
    uint64_t
        number; /* counts up with every new request of this end in this session: an old one is recognised */
    uint8_t challenge[RESUME_CHALLENGE_LEN];
    struct bytes view;  /* how the sender sees the path; at most RESUME_VIEW_MAX */
    const uint8_t *mac; /* RESUME_MAC_LEN; a view */
    struct bytes covered;
};

struct resume_response {
    uint32_t receiver, path;
    uint8_t challenge[RESUME_CHALLENGE_LEN];
    struct bytes view;
    const uint8_t *mac;
    struct bytes covered;
};

struct resume_complete {
    uint32_t receiver, path;
    const uint8_t *mac;
    struct bytes covered;
};

/* enum resume_message; -EBADMSG; -EPROTONOSUPPORT for another version. */
int resume_message_of(struct bytes in);
int resume_request_read(struct resume_request *m, struct bytes in);
int resume_response_read(struct resume_response *m, struct bytes in);
int resume_complete_read(struct resume_complete *m, struct bytes in);
/* Without the mac, which the caller appends. */
void resume_request_write(struct wr *w, const struct resume_request *m);
void resume_response_write(struct wr *w, const struct resume_response *m);
void resume_complete_write(struct wr *w, const struct resume_complete *m);

#endif
