/* DNS messages (RFC 1035 section 4, with the bits of RFC 6762 section 18): the subset that discovery on a LAN
 * needs. Decoded whole and bounded. Records of other types are kept as bytes. */
#ifndef WARREN_WIRE_DNS_H
#define WARREN_WIRE_DNS_H

#include "base/bytes.h"

#define DNS_HEADER_LEN    12
#define DNS_NAME_MAX      255 /* bytes on the wire with the root label */
#define DNS_LABEL_MAX     63
#define DNS_POINTERS_MAX  16 /* followed in one name; each must also point backwards */
#define DNS_QUESTIONS_MAX 32
#define DNS_RECORDS_MAX   64 /* in all three sections together */
#define DNS_NAME_TEXT     (4 * DNS_NAME_MAX + 1)

#define DNS_FLAG_RESPONSE      0x8000u
#define DNS_FLAG_AUTHORITATIVE 0x0400u
#define DNS_FLAG_TRUNCATED     0x0200u
#define DNS_OPCODE_MASK        0x7800u
#define DNS_RCODE_MASK         0x000Fu

enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_TXT = 16, DNS_AAAA = 28, DNS_SRV = 33, DNS_ANY = 255 };
#define DNS_IN        1u
#define DNS_CLASS_ANY 255u

/* Labels as on the wire, each with its length before it, without compression; the last is the root's 0. n =
 * 0: no name. */
struct dns_name {
    uint8_t n;
    uint8_t wire[DNS_NAME_MAX];
};
/* From text with dots and without escapes: "_warren._udp.local". 0 or -EINVAL. "" is the root. */
int dns_name_set(struct dns_name *name, const char *text);
/* label before rest: "x" and "local" give "x.local". 0 or -EINVAL. out may be rest. */
int dns_name_prefix(struct dns_name *out, struct bytes label, const struct dns_name *rest);
/* The first label and what is behind it; false for the root. rest may be NULL, or name itself. */
bool dns_name_first(const struct dns_name *name, struct bytes *label, struct dns_name *rest);
/* ASCII letters without case (RFC 1035 section 2.3.3). */
bool dns_name_equal(const struct dns_name *a, const struct dns_name *b);
/* For people: dots between, other than letters, digits, '-' and '_' as \DDD (RFC 1035 section 5.1); "." for
 * the root. */
void dns_name_text(char out[DNS_NAME_TEXT], const struct dns_name *name);

struct dns_question {
    struct dns_name name;
    uint16_t type, class; /* class without the bit: */
    bool unicast;         /* RFC 6762 section 5.4: an answer by unicast is welcome */
};
enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };
struct dns_record {
    enum dns_section section;
    struct dns_name name;
    uint16_t type, class; /* class without the bit: */
    bool flush;           /* RFC 6762 section 10.2 */
    uint32_t ttl;
    struct bytes data; /* as it stands in the message: A (4 bytes), AAAA (16), TXT and unknown types; writers
                          fill it for those */
    struct dns_name target;          /* PTR, SRV */
    uint16_t priority, weight, port; /* SRV */
};
struct dns_message {
    uint16_t id, flags;
    struct dns_question questions[DNS_QUESTIONS_MAX];
    size_t question_count;
    struct dns_record records[DNS_RECORDS_MAX];
    size_t record_count;
};
/* 0 or -EBADMSG: shorter than it says, bytes left over, too many questions or records, a name too long or in
 * a loop, A, AAAA, PTR, SRV or TXT of a wrong form. Large (some 40 kB): not for small stacks. in outlives m.
 */
int dns_read(struct dns_message *m, struct bytes in);
/* The next text of a TXT record's data (RFC 6763 section 6); false at the end. */
bool dns_txt_next(struct rd *r, struct bytes *text);

/* Writer: begin, questions, records in the order of the sections, end. */
struct dns_writer {
    struct wr w;
    uint16_t counts[4];
    bool failed;
};
void dns_begin(struct dns_writer *d, void *out, size_t cap, uint16_t id, uint16_t flags);
void dns_put_question(struct dns_writer *d, const struct dns_question *q);
void dns_put_record(struct dns_writer *d, const struct dns_record *r);
/* The message; empty where it did not fit or sections were out of order. */
struct bytes dns_end(struct dns_writer *d);

#endif
