#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/secret.h"
#include "session/session_int.h"

/* Each role has its half of the table: what the peer asks cannot crowd out what we ask. */
static struct resume *half(const struct session *s, bool asker)
{
    return s->resumes ? s->resumes + (asker ? 0 : RESUMES_MAX) : NULL;
}

static int table_make(struct session *s)
{
    if (!s->resumes)
        s->resumes = calloc(2 * RESUMES_MAX, sizeof *s->resumes);
    return s->resumes ? 0 : -ENOBUFS;
}

void resumes_free(struct session *s)
{
    free(s->resumes);
    s->resumes = NULL;
}

static void clear(struct resume *r)
{
    *r = (struct resume){0};
}

/* The sender's handshake role is under the mac, so no message is any use in the other direction; the earlier
 * messages are, so that RESPONSE and COMPLETE prove both challenges and both views. */
static void mac_make(const struct session *s, uint8_t mac[RESUME_MAC_LEN], bool by_initiator,
                     const struct bytes *messages, size_t count)
{
    uint8_t role = by_initiator ? 1 : 2, lengths[3][4];
    struct bytes parts[3 + 2 * 3] = {bytes_of_str("warren resume v1"), bytes_of(&role, 1),
                                     bytes_of(s->id, sizeof s->id)};
    size_t n = 3;
    for (size_t i = 0; i < count && i < 3; i++) {
        struct wr w = wr_of(lengths[i], 4);
        wr_u32(&w, (uint32_t)messages[i].n);
        parts[n++] = wr_done(&w);
        parts[n++] = messages[i];
    }
    hmac_sha256(mac, bytes_of(s->resume_key, sizeof s->resume_key), parts, n);
}

static bool mac_good(const struct session *s, const uint8_t *mac, const struct bytes *messages, size_t count)
{
    uint8_t want[RESUME_MAC_LEN];
    mac_make(s, want, !s->initiator, messages, count);
    return secret_equal(want, mac, RESUME_MAC_LEN);
}

/* Appends the mac over the earlier messages and what w holds. */
static void mac_put(const struct session *s, struct wr *w, struct bytes first, struct bytes second)
{
    struct bytes messages[3], all[] = {first, second, wr_done(w)};
    size_t count = 0;
    for (size_t i = 0; i < 3; i++)
        if (all[i].n > 0)
            messages[count++] = all[i];
    uint8_t *mac = wr_take(w, RESUME_MAC_LEN);
    if (mac)
        mac_make(s, mac, s->initiator, messages, count);
}

static struct bytes request_of(const struct resume *r)
{
    return bytes_of(r->request, r->request_n);
}

static struct bytes response_of(const struct resume *r)
{
    return bytes_of(r->response, r->response_n);
}

/* False: memory failed. Then nothing may have happened, so that the peer's next message or the timer brings it
 * again. */
static bool event(struct session *s, enum session_event_kind kind, uint32_t path)
{
    return queue_event(s, &(struct session_event){.kind = kind, .path = path}, bytes_of(NULL, 0));
}

static void timer_start(struct resume *r, usec_t now)
{
    r->tries = 1;
    r->resend_at = now + RESUME_RETRY;
    r->until = now + RESUME_LIFE;
}

/* ---- asking ---- */

int session_resume(struct session *s, uint32_t path, struct bytes view, usec_t now)
{
    if (s->state != SESSION_UP_STATE)
        return -ENOTCONN;
    if (view.n > RESUME_VIEW_MAX)
        return -EMSGSIZE;
    if (table_make(s) < 0)
        return -ENOBUFS;
    struct resume *r = NULL, *table = half(s, true);
    for (size_t i = RESUMES_MAX; i-- > 0;) {
        if (table[i].used && table[i].path == path && !table[i].proven)
            return -EALREADY;
        /* One that is proven only waits for a RESPONSE sent again; the same path asked anew replaces it. */
        if (!table[i].used || (table[i].path == path && table[i].proven))
            r = &table[i];
    }
    if (!r)
        return -ENOBUFS;
    struct resume_request m = {
        .receiver = s->peer_index, .path = path, .number = ++s->resume_number, .view = view};
    rng_fill(&s->rng, m.challenge, sizeof m.challenge);
    clear(r);
    struct wr w = wr_of(r->request, sizeof r->request);
    resume_request_write(&w, &m);
    mac_put(s, &w, bytes_of(NULL, 0), bytes_of(NULL, 0));
    r->request_n = w.n;
    r->used = r->asker = true;
    r->path = r->peer_path = path;
    timer_start(r, now);
    queue_out(s, path, false, request_of(r));
    return 0;
}

int session_view(struct session *s, struct bytes view)
{
    if (view.n > RESUME_VIEW_MAX)
        return -EMSGSIZE;
    if (view.n > 0)
        memcpy(s->view, view.p, view.n);
    s->view_n = view.n;
    return 0;
}

static void complete_send(struct session *s, const struct resume *r)
{
    uint8_t text[RESUME_MESSAGE_MAX];
    const struct resume_complete m = {.receiver = s->peer_index, .path = r->path};
    struct wr w = wr_of(text, sizeof text);
    resume_complete_write(&w, &m);
    mac_put(s, &w, request_of(r), response_of(r));
    queue_out(s, r->path, false, wr_done(&w));
}

static struct resume *asked(const struct session *s, uint32_t path)
{
    struct resume *table = half(s, true);
    for (size_t i = 0; table && i < RESUMES_MAX; i++)
        if (table[i].used && table[i].path == path)
            return &table[i];
    return NULL;
}

static enum session_drop response_input(struct session *s, uint32_t path, struct bytes in, usec_t now)
{
    struct resume_response m;
    if (resume_response_read(&m, in) < 0)
        return DROP_TRUNCATED;
    if (m.receiver != s->index)
        return DROP_UNKNOWN_INDEX;
    /* An answer that comes by another way proves nothing about this one. */
    struct resume *r = m.path == path ? asked(s, path) : NULL;
    if (!r)
        return DROP_WRONG_STATE;
    if (r->proven) {
        if (!bytes_equal(in, response_of(r)))
            return DROP_REPLAYED;
        complete_send(s, r);
        return DROP_NONE;
    }
    const struct bytes messages[] = {request_of(r), m.covered};
    if (!mac_good(s, m.mac, messages, 2))
        return DROP_BAD_MAC;
    if (!event(s, SESSION_PATH_PROVEN, path))
        return DROP_NONE;
    memcpy(r->response, in.p, in.n);
    r->response_n = in.n;
    r->proven = true;
    r->until = now + RESUME_LIFE;
    complete_send(s, r);
    return DROP_NONE;
}

/* ---- answering ---- */

/* Whether a request's number was seen: the highest, and a bitmap of the 64 up to it. */
static bool number_seen(const struct session *s, uint64_t number)
{
    if (number > s->resume_seen_top)
        return false;
    uint64_t back = s->resume_seen_top - number;
    return back >= 64 || (s->resume_seen & (uint64_t)1 << back);
}

static void number_mark(struct session *s, uint64_t number)
{
    if (number > s->resume_seen_top) {
        uint64_t ahead = number - s->resume_seen_top;
        s->resume_seen = ahead < 64 ? s->resume_seen << ahead : 0;
        s->resume_seen_top = number;
    }
    uint64_t back = s->resume_seen_top - number;
    if (back < 64)
        s->resume_seen |= (uint64_t)1 << back;
}

/* Where the answer's state goes: the same path asked anew, else unused, else the oldest. */
static struct resume *answer_slot(const struct session *s, uint32_t path, uint32_t peer_path)
{
    struct resume *table = half(s, false), *best = &table[0];
    for (size_t i = 0; i < RESUMES_MAX; i++) {
        struct resume *r = &table[i];
        if (r->used && r->path == path && r->peer_path == peer_path)
            return r;
        if (best->used && (!r->used || r->until < best->until))
            best = r;
    }
    return best;
}

static void answer(struct session *s, struct resume *r, uint32_t path, const struct resume_request *req,
                   struct bytes in, usec_t now)
{
    struct resume_response m = {
        .receiver = s->peer_index, .path = req->path, .view = bytes_of(s->view, s->view_n)};
    rng_fill(&s->rng, m.challenge, sizeof m.challenge);
    clear(r);
    memcpy(r->request, in.p, in.n);
    r->request_n = in.n;
    struct wr w = wr_of(r->response, sizeof r->response);
    resume_response_write(&w, &m);
    mac_put(s, &w, in, bytes_of(NULL, 0));
    r->response_n = w.n;
    r->used = true;
    r->path = path;
    r->peer_path = req->path;
    timer_start(r, now);
    queue_out(s, path, false, response_of(r));
}

static enum session_drop request_input(struct session *s, uint32_t path, struct bytes in, usec_t now)
{
    struct resume_request m;
    if (resume_request_read(&m, in) < 0)
        return DROP_TRUNCATED;
    if (m.receiver != s->index)
        return DROP_UNKNOWN_INDEX;
    bool known = false;
    struct resume *table = half(s, false);
    for (size_t i = 0; table && i < RESUMES_MAX; i++) {
        struct resume *r = &table[i];
        if (!r->used || !bytes_equal(in, request_of(r)))
            continue;
        if (r->path == path) {
            queue_out(s, path, false, response_of(r));
            return DROP_NONE;
        }
        /* The same request by another way while it is fresh: whoever copied it must not keep the true way
         * from being proven. */
        known = true;
    }
    const struct bytes covered = m.covered;
    if (!mac_good(s, m.mac, &covered, 1))
        return DROP_BAD_MAC;
    if (!known && number_seen(s, m.number))
        return DROP_REPLAYED;
    if (table_make(s) < 0)
        return DROP_NONE;
    number_mark(s, m.number);
    answer(s, answer_slot(s, path, m.path), path, &m, in, now);
    return DROP_NONE;
}

static enum session_drop complete_input(struct session *s, uint32_t path, struct bytes in)
{
    struct resume_complete m;
    if (resume_complete_read(&m, in) < 0)
        return DROP_TRUNCATED;
    if (m.receiver != s->index)
        return DROP_UNKNOWN_INDEX;
    struct resume *table = half(s, false), *r = NULL;
    for (size_t i = 0; table && i < RESUMES_MAX; i++)
        if (table[i].used && table[i].path == path && table[i].peer_path == m.path)
            r = &table[i];
    if (!r)
        return DROP_WRONG_STATE;
    const struct bytes messages[] = {request_of(r), response_of(r), m.covered};
    if (!mac_good(s, m.mac, messages, 3))
        return DROP_BAD_MAC;
    if (r->proven)
        return DROP_REPLAYED;
    r->proven = event(s, SESSION_PATH_PROVEN, path);
    return DROP_NONE;
}

enum session_drop resume_input(struct session *s, uint32_t path, struct bytes in, usec_t now)
{
    int message = resume_message_of(in);
    if (message == -EPROTONOSUPPORT)
        return DROP_VERSION;
    if (message < 0)
        return DROP_TRUNCATED;
    if (s->state != SESSION_UP_STATE)
        return DROP_WRONG_STATE;
    switch ((enum resume_message)message) {
    case RESUME_REQUEST:
        return request_input(s, path, in, now);
    case RESUME_RESPONSE:
        return response_input(s, path, in, now);
    default:
        return complete_input(s, path, in);
    }
}

/* ---- time ---- */

static usec_t wake_of(const struct resume *r)
{
    if (!r->used)
        return USEC_NEVER;
    /* The asker gives up one interval after its last try; the answerer only forgets. */
    bool waits = !r->proven && (r->asker || r->tries < RESUME_TRIES);
    return waits ? r->resend_at : r->until;
}

usec_t resume_wake(const struct session *s)
{
    usec_t first = USEC_NEVER;
    for (size_t i = 0; s->resumes && i < 2 * RESUMES_MAX; i++)
        first = usec_min(first, wake_of(&s->resumes[i]));
    return first;
}

static void tick_one(struct session *s, struct resume *r, usec_t now)
{
    if (r->proven || (!r->asker && now >= r->until)) {
        clear(r);
        return;
    }
    if (r->tries >= RESUME_TRIES) {
        if (event(s, SESSION_PATH_FAILED, r->path))
            clear(r);
        else
            r->resend_at = now + RESUME_RETRY;
        return;
    }
    r->tries++;
    r->resend_at = now + RESUME_RETRY;
    queue_out(s, r->path, false, r->asker ? request_of(r) : response_of(r));
}

void resume_tick(struct session *s, usec_t now)
{
    for (size_t i = 0; s->resumes && i < 2 * RESUMES_MAX; i++)
        if (now >= wake_of(&s->resumes[i]))
            tick_one(s, &s->resumes[i], now);
}
