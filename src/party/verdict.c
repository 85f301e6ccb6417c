#include "party/party.h"

static const struct {
    const char *name, *text;
} verdicts[PARTY_VERDICT_COUNT] = {
    [PARTY_OK] = {"ok", "The entry was taken."},
    [PARTY_KNOWN] = {"known", "The log has this entry already; nothing is to be done."},
    [PARTY_MALFORMED] =
        {"malformed",
         "The entry is damaged or of a newer version: update Warren on both machines and try again."},
    [PARTY_OTHER] = {"other_party", "The entry belongs to another party: check which party is meant."},
    [PARTY_GAP] = {"gap", "Entries before this one are missing here: fetch the log and try again."},
    [PARTY_STALE] = {"stale", "The party changed in the meantime: try again."},
    [PARTY_FORK] = {"fork", "Two different logs of this party are being shown: do not trust this hub before "
                            "its operator explains it."},
    [PARTY_ROLLBACK] =
        {"rollback",
         "The hub's log of this party is shorter than ours: it lost or hides entries; ask its operator."},
    [PARTY_BAD_SIGNATURE] =
        {"bad_signature",
         "A signature is wrong: the entry was changed on its way or forged, and was refused."},
    [PARTY_BAD_TIME] =
        {"bad_time",
         "The time does not fit: set the clock of the machine, and let an invite last at most 366 days."},
    [PARTY_NOT_ALLOWED] = {"not_allowed",
                           "The role in the party does not allow this: ask an owner or admin."},
    [PARTY_NO_MEMBER] = {"no_member", "No such member is in the party: look at `warren peers`."},
    [PARTY_ALREADY_MEMBER] = {"already_member", "This node is in the party already."},
    [PARTY_WAS_REMOVED] =
        {"was_removed",
         "This node was removed from the party: an owner or admin has to admit it, no invite can."},
    [PARTY_BAD_ADDRESS] = {"bad_address",
                           "The address is taken or not the one that the rule gives: choose a free one."},
    [PARTY_INVITE_UNKNOWN] = {"invite_unknown", "The party does not know this invite: ask for a new one."},
    [PARTY_INVITE_REVOKED] = {"invite_revoked", "This invite was revoked: ask for a new one."},
    [PARTY_INVITE_EXPIRED] = {"invite_expired", "This invite has expired: ask for a new one."},
    [PARTY_INVITE_USED_UP] = {"invite_used_up", "This invite is used up: ask for a new one."},
    [PARTY_LAST_OWNER] = {"last_owner", "The last owner cannot go: make somebody else owner first."},
    [PARTY_FULL] = {"full", "The party is full: remove members or revoke invites first."},
    [PARTY_UNREADABLE] = {"unreadable",
                          "This machine's copy of the party's log cannot be read: look at its disk, and "
                          "restart Warren."},
    [PARTY_NO_MEMORY] = {"no_memory", "There is not enough memory: close something and try again."},
};

const char *party_verdict_name(enum party_verdict v)
{
    return v < PARTY_VERDICT_COUNT ? verdicts[v].name : "unknown";
}

const char *party_verdict_text(enum party_verdict v)
{
    return v < PARTY_VERDICT_COUNT
               ? verdicts[v].text
               : "The party refused this for a reason that this version does not know: update Warren.";
}
