/* Frames as a TUN or TAP device with IFF_VNET_HDR speaks them: super-frames of up to 64 kB that stand for many segments, and
 * checksums that nobody has computed yet. Pure functions on bytes. The header before each frame is virtio_net_hdr of
 * <linux/virtio_net.h> (VIRTIO 1.2 section 5.1.6), 10 bytes in host order, which this file reads and writes itself.
 *
 * What the kernel hands us is believed as little as what a peer sends: every length is checked against the bytes. */
#ifndef WARREN_PUMP_OFFLOAD_H
#define WARREN_PUMP_OFFLOAD_H

#include <sys/uio.h>

#include "base/bytes.h"

#define VNET_HDR_LEN      10
#define OFFLOAD_FRAME_MAX 65553 /* the longest super-frame: 65535 bytes of IP and an Ethernet header with a tag */
#define OFFLOAD_HEADERS_MAX 142 /* Ethernet with a tag, IPv6, TCP with options; longer ones (extension headers) are not offloaded */

enum offload_gso { OFFLOAD_NONE, OFFLOAD_TCP4, OFFLOAD_TCP6, OFFLOAD_UDP /* UDP_L4: datagrams, kernels from 6.2 on */ };

struct vnet_hdr {
    bool partial;      /* NEEDS_CSUM: the upper checksum holds the pseudo-header's sum alone */
    enum offload_gso gso;
    bool ecn;          /* of TCP: CWR stands in the first segment only */
    uint16_t gso_size; /* payload bytes of each segment but the last */
    uint16_t hdr_len, csum_start, csum_offset;
};
/* 0 or -EBADMSG: an unknown kind, a gso without size, a partial checksum that lies outside `frame` bytes of frame. */
int vnet_hdr_read(struct vnet_hdr *h, struct bytes in, size_t frame);
void vnet_hdr_write(const struct vnet_hdr *h, uint8_t out[VNET_HDR_LEN]);

/* Where the headers of one simple frame lie: (Ethernet with at most one 802.1Q tag,) IPv4 or IPv6 without extension headers, no fragment; any upper
 * protocol, TCP with a whole header, UDP whose length is that of the packet. Offsets from the first byte. */
struct inner_frame {
    uint8_t version; /* 4 or 6 */
    uint8_t proto;   /* IP_TCP, IP_UDP ...; else only addresses are known */
    uint8_t tcp_flags;
    uint16_t ip, upper; /* offsets */
    uint16_t headers;   /* up to the payload of TCP or UDP; otherwise as upper */
    uint16_t src_port, dst_port;
    size_t n; /* of the whole frame by its IP header: padding behind it is not counted */
};
/* tap: with an Ethernet header. super: IPv4's and IPv6's length may be 0 or too small where the frame is a super-frame (the length of the
 * frame counts then). 0 or -EBADMSG: anything else than such a simple frame, which is no verdict about it. */
int inner_frame_read(struct inner_frame *f, const uint8_t *p, size_t n, bool tap, bool super);

/* ---- One super-frame (or plain frame) to segments. */
struct segments {
    const uint8_t *p;
    struct inner_frame f;
    struct vnet_hdr h;
    size_t at, size; /* payload bytes done, payload bytes a segment */
    uint32_t count, k;
    uint16_t partial_sum, ip_sum, id; /* of the pseudo-header without its length; of the IPv4 header; of the first segment */
    bool foreign_sum;                 /* a plain frame's partial checksum that no hint could describe: it is made whole */
    uint8_t headers[OFFLOAD_HEADERS_MAX]; /* of the super-frame */
};
/* 0, or -EBADMSG: headers and vnet_hdr do not fit each other. p must live as long as *s. A plain frame (gso NONE) is one segment.
 * Afterwards s->h.partial says whether the segments' checksums stay partial: not where that of a plain frame is another than TCP's or UDP's
 * of a simple frame (a tunnel's inner one, one behind extension headers), which is always made whole.
 * *segment: bytes of each segment but the last, headers included; *count: how many. */
int segments_begin(struct segments *s, const struct vnet_hdr *h, const uint8_t *p, size_t n, bool tap, size_t *segment, size_t *count);
/* Writes the next one to out (at least *segment bytes), with lengths, IPv4 id and checksum, TCP sequence and flags (FIN and PSH on the last
 * alone, CWR on the first alone) as the kernel's own segmentation makes them. The upper checksum stays partial (the pseudo-header's sum for
 * this segment's length) where h->partial, as a hint is sent beside it; `whole` computes it instead. Returns bytes written, 0 when done (and
 * for an empty plain frame). out must not lie in p. */
size_t segments_next(struct segments *s, uint8_t *out, bool whole);
/* Of a super-frame: as segments_next without `whole`, but no payload is copied. p: where the super-frame lies; the segment's headers are
 * written before its payload, over those that are done with. Where it begins, good until the next call; NULL when done. */
uint8_t *segments_next_here(struct segments *s, uint8_t *p, size_t *n);

/* A partial checksum of a plain frame made whole in place (for a device or peer that cannot take the hint). 0 or -EBADMSG. */
int checksum_complete(uint8_t *p, size_t n, bool tap);
/* Whether the upper checksum of a simple TCP or UDP frame is right (UDP over IPv4 without one: right; other protocols: not). */
bool checksum_right(const uint8_t *p, const struct inner_frame *f);
/* RFC 1071 sum of n bytes, not folded to 16 bits, not inverted; add to `sum`. Fast: this runs over payload. Words are read, and a folded sum
 * is stored, in host order (RFC 1071 section 2 B); an odd n is only right for the last part. */
uint64_t checksum_add(uint64_t sum, const uint8_t *p, size_t n);

/* ---- Segments to super-frames (GRO). Frames are pushed in the order in which they came; of one flow they leave in that order. They are not
 * copied: the pieces point at the caller's bytes, which must stay until coalesce_flush. Headers of the first frame of a run are changed in
 * place when the run is written. */
#define COALESCE_FLOWS    8  /* runs that are open at a time; a further flow writes the oldest run */
#define COALESCE_SEGMENTS 64 /* frames of a run */

struct coalesce_ops {
    /* One write to the device: the header, then the pieces. */
    void (*write)(void *arg, const struct vnet_hdr *h, const struct iovec *pieces, size_t count, size_t bytes);
};
struct coalesce_run {
    struct inner_frame first;
    uint8_t *p;             /* its bytes */
    uint64_t pseudo;        /* sum of the pseudo-header without its length */
    uint32_t next_seq;      /* TCP */
    uint16_t size, next_id; /* payload of each but the last; IPv4 id of the next */
    bool partial, right;    /* the first frame's checksum: as it came; known to be right */
    uint8_t last_flags;     /* FIN and PSH of the last frame */
    size_t count, piece_count, bytes;
    struct iovec pieces[COALESCE_SEGMENTS];
};
struct coalesce {
    bool tap, tcp, udp; /* what the device takes: TSO, USO */
    const struct coalesce_ops *ops;
    void *arg;
    struct coalesce_run runs[COALESCE_FLOWS]; /* through `order`, whose first `open` are in the order in which they began */
    uint8_t order[COALESCE_FLOWS];
    size_t open;
    struct coalesce_run *last; /* that a frame began or joined last; NULL: it is written */
    uint64_t frames, writes; /* counted */
};
void coalesce_init(struct coalesce *c, bool tap, bool tcp, bool udp, const struct coalesce_ops *ops, void *arg);
/* One plain frame of n bytes; f: as inner_frame_read found it, NULL where that refused. partial: its upper checksum is the pseudo-header's sum
 * alone (the sender's hint). What cannot join a run is written alone at once, but never before an earlier frame of its own flow: the run of that flow is
 * written first; where f is NULL, all runs are. Frames whose checksum is whole join a run only when it is right (then the run's becomes partial);
 * frames join only where the kernel's segmentation of the run would give back the very same packets: same addresses, ports, type of service, hop limit,
 * flow label, DF, options, ack, window and flags (PSH, FIN on the last), next sequence number, IPv4 ids that count up (or stay, with DF, for all),
 * payload of one size, the last one smaller or equal, no empty ones, at most 65535 bytes of IP in all. UDP: same size, ids as above, checksum there. */
void coalesce_push(struct coalesce *c, uint8_t *p, size_t n, const struct inner_frame *f, bool partial);
void coalesce_flush(struct coalesce *c);

/* A frame whose payload lies right behind that of the frame before needs no piece of its own, and the kernel copies one large piece faster than
 * many small ones. Where the payload of the next frame of the last run would have to lie for that; *headers: how long its headers will be;
 * *before: as many bytes before that place nobody reads until the run is written, so those headers may lie there. NULL: nowhere. */
uint8_t *coalesce_end(const struct coalesce *c, size_t *headers, size_t *before);
/* coalesce_push for a frame that lies there, if it joins that run; before the run is written, what its headers lie over must be again as it was
 * (ops->write of this call is too early to read it). False: nothing was done, and the frame is to be pushed from elsewhere. */
bool coalesce_extend(struct coalesce *c, uint8_t *p, size_t n, const struct inner_frame *f, bool partial);

#endif
