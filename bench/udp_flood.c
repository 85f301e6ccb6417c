/* UDP through a tunnel, offered faster than it takes or at a steady rate, and counted where it arrives.
 * Ordinary sockets, so that the tunnel and not the load is measured; many datagrams per system call, so that
 * one core offers more than any tunnel takes.
 *
 *   udp_flood receive PORT
 *       says `ready`; each line on standard input is answered by what came since the one before:
 *       {"packets", "bytes", "seconds" (first to last), "late" (behind one that was sent later), "run" (of
 * the newest)} udp_flood send ADDRESS PORT SIZE SECONDS RATE RUN SIZE bytes of UDP payload, RATE datagrams a
 * second (0: as many as go); prints {"packets", "seconds"}.
 *
 * A datagram begins with the number of its run and its own: what is late from an earlier run is not counted.
 * No library of ours. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH        64
#define DATAGRAM_MAX 2048
#define HEADER       8 /* run, number */
#define BUFFER       (8 << 20)
#define PACE_NS      200000 /* a paced sender sends what is due so often */
#define DEBT_S       0.005  /* what it could not send in time is forgiven beyond this */
#define AT_A_TIME    16     /* batches between two looks at standard input */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int die(const char *what)
{
    perror(what);
    return 1;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static struct {
    uint8_t data[BATCH][DATAGRAM_MAX];
    struct iovec iov[BATCH];
    struct mmsghdr msg[BATCH];
} batch;

static void batch_init(size_t size)
{
    for (int i = 0; i < BATCH; i++) {
        batch.iov[i] = (struct iovec){batch.data[i], size};
        batch.msg[i].msg_hdr = (struct msghdr){.msg_iov = &batch.iov[i], .msg_iovlen = 1};
    }
}

static int open_socket(int option, struct sockaddr_in *a, const char *address, const char *port)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = BUFFER;
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (fd < 0 || inet_pton(AF_INET, address, &a->sin_addr) != 1)
        return -1;
    setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
    return fd;
}

/* ---- receive ---- */

struct tally {
    uint64_t packets, bytes, late;
    int64_t first, last;
    uint32_t run, next;
};

static void count_one(struct tally *t, const uint8_t *p, size_t n, int64_t now)
{
    if (n < HEADER)
        return;
    uint32_t run = get_u32(p), number = get_u32(p + 4);
    if (run < t->run)
        return;
    if (run > t->run)
        *t = (struct tally){.run = run};
    if (t->packets++ == 0)
        t->first = now;
    t->last = now;
    t->bytes += n;
    t->late += number < t->next;
    if (number >= t->next)
        t->next = number + 1;
}

/* Takes what there is, but not for ever. */
static void drain(int fd, struct tally *t)
{
    for (int turn = 0; turn < AT_A_TIME; turn++) {
        int n = recvmmsg(fd, batch.msg, BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0)
            return;
        int64_t now = now_ns();
        for (int i = 0; i < n; i++)
            count_one(t, batch.data[i], batch.msg[i].msg_len, now);
    }
}

static void answer(struct tally *t)
{
    printf("{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"seconds\":%.6f,\"late\":%" PRIu64
           ",\"run\":%" PRIu32 "}\n",
           t->packets, t->bytes, (double)(t->last - t->first) / 1e9, t->late, t->run);
    fflush(stdout);
    *t = (struct tally){.run = t->run, .next = t->next};
}

static int receive(const char *port)
{
    struct sockaddr_in a;
    struct tally t = {0};
    char line[64];
    int fd = open_socket(SO_RCVBUFFORCE, &a, "0.0.0.0", port);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
        return die("udp_flood: bind");
    batch_init(DATAGRAM_MAX);
    puts("ready");
    fflush(stdout);
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    while (poll(p, 2, -1) >= 0 || errno == EINTR) {
        drain(fd, &t);
        if (p[1].revents) {
            ssize_t n = read(STDIN_FILENO, line, sizeof line); /* the lines come one at a time */
            if (n <= 0)
                return 0;
            answer(&t);
        }
    }
    return die("udp_flood: poll");
}

/* ---- send ---- */

struct load {
    int fd;
    size_t size;
    int segments; /* datagrams in a message */
    uint32_t run;
    uint64_t sent;
};

/* Sends up to `want`; how many went. A full queue is a drop of the sender's own: not offered, not counted. */
static int send_some(struct load *l, int want)
{
    for (int i = 0; i < want; i++)
        put_u32(batch.data[i] + 4, (uint32_t)(l->sent + (uint64_t)i));
    int n = sendmmsg(l->fd, batch.msg, (unsigned)(want / l->segments), 0);
    if (n > 0)
        l->sent += (uint64_t)(n * l->segments);
    return n > 0 ? n * l->segments : n;
}

/* Joins the datagrams of the batch into messages that the kernel takes apart. */
static int join_segments(struct load *l)
{
    int size = (int)l->size;
    for (int i = 0; i < BATCH / l->segments; i++) {
        batch.msg[i].msg_hdr.msg_iov = &batch.iov[i * l->segments];
        batch.msg[i].msg_hdr.msg_iovlen = (size_t)l->segments;
    }
    return setsockopt(l->fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
}

static bool may_go_on(int sent)
{
    return sent >= 0 || errno == ENOBUFS || errno == EAGAIN || errno == EINTR;
}

static void flood(struct load *l, int64_t end)
{
    while (now_ns() < end && may_go_on(send_some(l, BATCH)))
        continue;
}

static void pace(struct load *l, double rate, int64_t end)
{
    struct timespec t;
    double owed = 0;
    int64_t last = now_ns(), now;
    prctl(PR_SET_TIMERSLACK, 1UL);
    while ((now = now_ns()) < end) {
        owed += rate * (double)(now - last) / 1e9;
        if (owed > rate * DEBT_S + 1)
            owed = rate * DEBT_S + 1;
        last = now;
        while (owed >= 1) {
            int want = owed < BATCH ? (int)owed : BATCH;
            int sent = send_some(l, want);
            if (!may_go_on(sent))
                return;
            owed -= sent > 0 ? sent : want;
        }
        int64_t next = now + PACE_NS;
        t = (struct timespec){next / 1000000000, next % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    }
}

static int send_all(int argc, char **argv)
{
    struct sockaddr_in a;
    struct load l = {.size = (size_t)atoi(argv[2]), .run = (uint32_t)atoi(argv[5])};
    double seconds = atof(argv[3]), rate = atof(argv[4]);
    l.segments = argc == 7 ? atoi(argv[6]) : 1;
    if (l.size < HEADER || l.size > DATAGRAM_MAX || seconds <= 0 || l.segments < 1 || BATCH % l.segments ||
        (l.segments > 1 && rate > 0))
        return 2;
    l.fd = open_socket(SO_SNDBUFFORCE, &a, argv[0], argv[1]);
    if (l.fd < 0 || connect(l.fd, (struct sockaddr *)&a, sizeof a) < 0)
        return die("udp_flood: connect");
    batch_init(l.size);
    if (l.segments > 1 && join_segments(&l) < 0)
        return die("udp_flood: UDP_SEGMENT");
    for (int i = 0; i < BATCH; i++)
        put_u32(batch.data[i], l.run);
    int64_t start = now_ns(), end = start + (int64_t)(seconds * 1e9);
    rate > 0 ? pace(&l, rate, end) : flood(&l, end);
    printf("{\"packets\":%" PRIu64 ",\"seconds\":%.6f}\n", l.sent, (double)(now_ns() - start) / 1e9);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "receive"))
        return receive(argv[2]);
    if ((argc == 8 || argc == 9) && !strcmp(argv[1], "send"))
        return send_all(argc - 2, argv + 2);
    fprintf(stderr,
            "usage: udp_flood receive PORT | udp_flood send ADDRESS PORT SIZE SECONDS RATE RUN [SEGMENTS]\n");
    return 2;
}
