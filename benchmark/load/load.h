/* What the parts of the load generator share; load.c says what it does. */
#ifndef LOAD_H
#define LOAD_H
#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum { COUNTER = 8, CONTROL_MAX = 125, MAX_PIDS = 64 };
enum phase { WARMUP, MEASURED, DRAINING };

struct options {
    int port, connections, idle, together, opcode, n_pids;
    unsigned window, refill;
    bool raw, tls, broadcast;
    size_t size;
    double settle, warmup, seconds;
    pid_t pids[MAX_PIDS];
};

struct slot { uint64_t sent_at; char counter[COUNTER]; };

struct conn {
    int fd;                             /* -1 once it is over */
    void *tls;                          /* NULL without TLS */
    char key[25];                       /* Sec-WebSocket-Key */
    bool wants_out, close_sent, close_received;
    /* out: the burst, WINDOW frames back to back, then at most one control frame */
    uint8_t *burst;
    size_t burst_pos, burst_end;
    uint8_t control[6 + CONTROL_MAX];
    size_t control_pos, control_end;
    /* messages in flight: a ring of WINDOW slots; and how many may be sent again */
    struct slot *ring;
    unsigned oldest, outstanding, due;
    /* in: the frame being read, and how much of its message came so far */
    uint8_t header[10];
    unsigned header_len;
    bool in_frame, in_message;
    uint64_t frame_left, message_got;
    uint8_t control_in[CONTROL_MAX];
    unsigned control_in_len;
};

struct totals {
    uint64_t replies, replies_measured, awaited, last_progress, errors;
    int alive, clean_closes;
    char first_error[160];
};

extern struct options opt;
extern struct totals totals;
extern struct conn *conns;              /* those that send, then the idle ones */
extern enum phase phase;
extern int epoll_fd;
extern uint64_t now;                    /* ns, CLOCK_MONOTONIC, at the last event */

/* load.c */
_Noreturn void die(const char *text);
_Noreturn void die_of_errno(const char *text);
void error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void drop(struct conn *c);
uint64_t monotonic(void);            /* ns */
void record_latency(uint64_t ns);

/* wire.c */
void prepare_frames(void);
void free_frames(void);
void send_due(struct conn *c);
void received_frames(struct conn *c, const uint8_t *p, size_t n);
void readable(struct conn *c);

/* opening.c */
void open_connections(int total);

/* transport.c; both fail with EAGAIN like those of sockets */
void start_tls(struct conn *c);
ssize_t transport_send(struct conn *c, const void *data, size_t n);
ssize_t transport_recv(struct conn *c, void *data, size_t n);
bool transport_holds_more(const struct conn *c);
void transport_close(struct conn *c);
#endif
