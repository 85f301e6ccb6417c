/* What is kept on the disk: the hub's address as one file, each party as a file that grows (party_file.h). An
 * entry is in memory until it is on the disk, and from then on where it is needed it is read back. Whoever
 * asked for a change hears "ok" only behind the save. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "node/engine_int.h"

void np_file_name(char out[80], const struct node_party *np)
{
    memcpy(out, "party-", 6);
    hex_put(out + 6, bytes_of(np->id, PARTY_ID_LEN));
}

bool np_file_id(uint8_t id[PARTY_ID_LEN], const char *name)
{
    size_t n;
    return strncmp(name, "party-", 6) == 0 &&
           hex_get(id, PARTY_ID_LEN, &n, name + 6, strlen(name + 6)) == 0 && n == PARTY_ID_LEN;
}

static int entry_read_back(void *arg, uint64_t at, uint8_t *p, size_t n)
{
    const struct node_party *np = arg;
    char name[80];
    np_file_name(name, np);
    return party_file_read(&np->file.disk, name, at, p, n);
}

void np_entry_saved(struct node_party *np, uint64_t at)
{
    const struct party_store store = {.read = entry_read_back, .arg = np};
    np->file.entries++;
    if (!np->file.disk.read)
        return; /* what cannot be read back stays */
    if (party_stored_count(np->log) == 0)
        party_store_use(np->log, &store);
    party_stored(np->log, at);
}

/* ---- Writing. */

static bool save_hub(struct node *n, struct node_out *out)
{
    struct link *l = &n->link;
    char url[HUB_HOST_MAX + 128];
    l->save_due = false;
    hub_address_write(url, sizeof url, &l->hub);
    buf_clear(&n->out.save);
    if (buf_printf(&n->out.save, "%s", url) < 0)
        return false;
    *out = (struct node_out){.kind = NODE_SAVE, .data = buf_bytes(&n->out.save)};
    snprintf(out->name, sizeof out->name, "hub");
    return true;
}

static struct party_settings settings_of(const struct node_party *np)
{
    return (struct party_settings){
        .device = np->device_wanted, .removed = np->state == NP_REMOVED, .mtu = np->mtu};
}

static bool settings_same(const struct party_settings *a, const struct party_settings *b)
{
    return a->device == b->device && a->removed == b->removed && a->mtu == b->mtu;
}

/* The next piece of what the file has not yet. 0; nothing was added where the file has everything. */
static int piece_make(const struct node_party *np, struct buf *out, struct saving *s)
{
    const struct np_file *f = &np->file;
    int rc = 0;
    *s = (struct saving){.party_ref = np->ref, .settings = settings_of(np)};
    if (f->size == 0)
        rc = party_file_begin(out);
    if (rc == 0 && (f->size == 0 || !settings_same(&s->settings, &f->settings)))
        rc = party_file_settings(out, &s->settings);
    while (rc == 0 && s->entries < SAVE_PIECE_ENTRIES && f->entries + s->entries <= party_seq(np->log)) {
        struct bytes entry = party_entry(np->log, f->entries + s->entries);
        if (out->n + PARTY_RECORD_HEAD + entry.n > PARTY_PIECE_MAX)
            break;
        s->at[s->entries] = f->size + out->n + PARTY_RECORD_HEAD;
        rc = party_file_entry(out, entry);
        s->entries += rc == 0;
    }
    s->size = out->n;
    return rc;
}

static bool save_party(struct node *n, struct node_party *np, struct node_out *out, usec_t now)
{
    char name[80];
    np_file_name(name, np);
    buf_clear(&n->out.save);
    if (piece_make(np, &n->out.save, &n->saving) < 0) {
        n->saving.party_ref = 0;
        node_save_failed(n, name, "not enough memory", now);
        return false;
    }
    if (n->saving.size == 0) {
        n->saving.party_ref = 0;
        np->save_due = false;
        return false;
    }
    *out = (struct node_out){.kind = np->file.size == 0 ? NODE_SAVE : NODE_APPEND,
                             .at = np->file.size,
                             .data = buf_bytes(&n->out.save)};
    memcpy(out->name, name, sizeof name);
    return true;
}

/* The edge has asked for more and did not say that the piece failed: it is on the disk. */
static void piece_done(struct node *n)
{
    struct saving *s = &n->saving;
    struct node_party *np = s->party_ref != 0 ? np_by_ref(n, s->party_ref) : NULL;
    if (np) {
        for (size_t i = 0; i < s->entries; i++)
            np_entry_saved(np, s->at[i]);
        np->file.size += s->size;
        np->file.settings = s->settings;
    }
    s->party_ref = 0;
    buf_done(&n->out.save);
}

bool out_save(struct node *n, usec_t now, struct node_out *out)
{
    piece_done(n);
    if (n->link.save_due && save_hub(n, out))
        return true;
    for (size_t i = 0; i < n->party_count; i++)
        if (n->parties[i]->save_due && save_party(n, n->parties[i], out, now))
            return true;
    return false;
}

void node_save_failed(struct node *n, const char *name, const char *why, usec_t now)
{
    count(n, COUNT_SAVES_FAILED);
    out_log(n, LOG_ERROR, "save-failed", "name=%s why=\"%s\"", name, why);
    if (strcmp(name, "hub") == 0)
        return;
    for (size_t i = 0; i < n->party_count; i++) {
        struct node_party *np = n->parties[i];
        char own[80];
        np_file_name(own, np);
        if (strcmp(own, name) != 0)
            continue;
        if (n->saving.party_ref == np->ref)
            n->saving.party_ref = 0;
        np->save_due = false;
        np->save_retry = now + SAVE_RETRY;
        node_due(n, np->save_retry);
        alert_raise(n, np, "save_failed", "this machine", now, "the party's log could not be saved (%s)",
                    why);
        replies_spoil(n, np->ref, why);
    }
}

/* ---- Reading. */

/* false: *v says why the entry was refused. */
static bool entry_load(struct node_party *np, const struct party_reader *r, enum party_verdict *v)
{
    if (np->log) {
        *v = party_append(np->log, r->entry, 0);
        /* In a chain every entry stands once. */
        if (*v == PARTY_KNOWN)
            *v = PARTY_MALFORMED;
    } else {
        np->log = party_open(r->entry, 0, v);
    }
    if (!np->log || *v != PARTY_OK)
        return false;
    np_entry_saved(np, r->entry_at);
    return true;
}

static int records_load(struct node *n, struct node_party *np, struct party_reader *r, const char **why)
{
    enum party_record what;
    enum party_verdict v = PARTY_OK;
    while ((what = party_file_next(r)) == PARTY_RECORD_ENTRY || what == PARTY_RECORD_SETTINGS)
        if (what == PARTY_RECORD_ENTRY && !entry_load(np, r, &v)) {
            *why = party_verdict_text(v);
            return -EBADMSG;
        }
    *why = what == PARTY_RECORD_FAILED ? "the file cannot be read" : "the file is damaged";
    if (what == PARTY_RECORD_FAILED || what == PARTY_RECORD_DAMAGED || !np->log)
        return -EBADMSG;
    if (what == PARTY_RECORD_TORN)
        out_log(n, LOG_WARN, "party-file-cut", "party=\"%s\" entries=%llu", party_name(np->log),
                (unsigned long long)np->file.entries);
    return 0;
}

int np_file_load(struct node *n, struct node_party *np, const char **why)
{
    char name[80];
    struct party_reader r;
    np_file_name(name, np);
    *why = "the file is not a saved party";
    if (!np->file.disk.read)
        return -EBADMSG;
    int rc = party_file_open(&r, &np->file.disk, name);
    if (rc == -ENOTSUP)
        *why = "the file was written by another version of Warren: let this node be invited again";
    if (rc < 0)
        return -EBADMSG;
    *why = "the file holds another party than its name says";
    if (records_load(n, np, &r, why) < 0 || memcmp(party_id(np->log), np->id, PARTY_ID_LEN) != 0)
        return -EBADMSG;
    np->file.size = r.at;
    np->file.settings = r.settings;
    return 0;
}
