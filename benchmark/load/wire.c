/* Sending bursts, and reading and checking every reply. */
#include "load.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { CHUNK = 256 * 1024 };
#define MEMORY_MAX (1ULL << 30)         /* of pre-built frames */

static const uint8_t KEY[4] = {0x37, 0xfa, 0x21, 0x3d};
static uint8_t *expected;               /* one payload; its counters are compared from the ring */
static size_t head_len, tail_len, frame_len, header_len;
static uint32_t next_counter;

static void watch(struct conn *c, bool wants_out)
{
    if (c->wants_out == wants_out)
        return;
    c->wants_out = wants_out;
    struct epoll_event e = {.events = EPOLLIN | (wants_out ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e) != 0)
        die_of_errno("epoll_ctl");
}

/* True once all of it is out; false when the kernel takes no more, or at an error. */
static bool flush(struct conn *c, const uint8_t *data, size_t *pos, size_t end)
{
    while (*pos < end) {
        ssize_t n = transport_send(c, data + *pos, end - *pos);
        if (n >= 0) {
            *pos += (size_t)n;
        } else if (errno == EAGAIN) {
            watch(c, true);
            return false;
        } else if (errno != EINTR) {
            error("send: %s", strerror(errno));
            drop(c);
            return false;
        }
    }
    return true;
}

static void put_header(uint8_t *at)
{
    uint64_t size = opt.size;
    unsigned extra = size < 126 ? 0 : size < 65536 ? 2 : 8;
    at[0] = (uint8_t)(0x80 | opt.opcode);
    at[1] = (uint8_t)(0x80 | (extra == 0 ? size : extra == 2 ? 126 : 127));
    for (unsigned i = 0; i < extra; i++)
        at[2 + i] = (uint8_t)(size >> (8 * (extra - 1 - i)));
    memcpy(at + 2 + extra, KEY, 4);
}

static void put_masked(uint8_t *at, const char *data, size_t n, size_t offset)
{
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)data[i] ^ (opt.raw ? 0 : KEY[(offset + i) & 3]);
}

static void *allocate(size_t n)
{
    void *p = calloc(1, n);
    if (!p)
        die("out of memory");
    return p;
}

static void prepare_connection(struct conn *c)
{
    c->ring = allocate(opt.window * sizeof *c->ring);
    c->due = opt.window;
    if (opt.broadcast && c != conns)
        return;                         /* it only receives */
    c->burst = allocate(opt.window * frame_len);
    for (unsigned i = 0; i < opt.window; i++) {
        uint8_t *frame = c->burst + i * frame_len;
        if (!opt.raw)
            put_header(frame);
        put_masked(frame + header_len, (const char *)expected, opt.size, 0);
    }
}

/* Build and mask all frames of all connections, once. */
void prepare_frames(void)
{
    head_len = opt.size < COUNTER ? opt.size : COUNTER;
    tail_len = opt.size < 2 * COUNTER ? 0 : COUNTER;
    header_len = opt.raw ? 0 : opt.size < 126 ? 6 : opt.size < 65536 ? 8 : 14;
    frame_len = header_len + opt.size;
    uint64_t senders = opt.broadcast ? 1 : (uint64_t)opt.connections;
    if ((uint64_t)frame_len * opt.window * senders > MEMORY_MAX)
        die("this would need more than 1 GiB of frames");
    expected = allocate(opt.size);
    uint32_t random = 1;                /* letters without a period, so that shifted bytes show */
    for (size_t i = 0; i < opt.size; i++) {
        random = random * 1664525u + 1013904223u;
        expected[i] = (uint8_t)('a' + (random >> 16) % 26);
    }
    for (int i = 0; i < opt.connections; i++)
        prepare_connection(&conns[i]);
}

void free_frames(void)
{
    for (int i = 0; i < opt.connections; i++) {
        free(conns[i].ring);
        free(conns[i].burst);
    }
    free(expected);
}

/* What one sends, all will receive. */
static void expect_broadcast(const struct conn *sender)
{
    totals.awaited += (uint64_t)opt.connections * sender->outstanding;
    for (int i = 0; i < opt.connections; i++) {
        struct conn *c = &conns[i];
        if (c == sender)
            continue;
        memcpy(c->ring, sender->ring, opt.window * sizeof *c->ring);
        c->oldest = sender->oldest;
        c->outstanding = sender->outstanding;
        c->due = 0;
    }
}

/* Number the next `due` messages and enter them into the ring. */
static void prepare_burst(struct conn *c)
{
    for (unsigned i = 0; i < c->due; i++) {
        struct slot *s = &c->ring[(c->oldest + c->outstanding + i) % opt.window];
        uint32_t value = next_counter++;
        for (int digit = COUNTER; digit-- > 0; value >>= 4)
            s->counter[digit] = "0123456789abcdef"[value & 15];
        s->sent_at = now;
        uint8_t *payload = c->burst + i * frame_len + header_len;
        put_masked(payload, s->counter + COUNTER - head_len, head_len, 0);
        put_masked(payload + opt.size - tail_len, s->counter, tail_len, opt.size - tail_len);
    }
    c->outstanding += c->due;
    c->burst_pos = 0;
    c->burst_end = c->due * frame_len;
    c->due = 0;
    if (opt.broadcast)
        expect_broadcast(c);
}

/* Whether it is time for the next burst of `c`. */
static bool may_send(const struct conn *c)
{
    if (phase >= DRAINING || c->due == 0)
        return false;
    return opt.broadcast ? c == conns && totals.awaited == 0 : c->due >= opt.refill;
}

static void queue_control(struct conn *c, int opcode, const uint8_t *data, size_t n)
{
    if (c->control_pos > 0 && c->control_pos < c->control_end)
        return;                         /* one is half sent: RFC 6455 5.5.3 lets a pong be left out */
    c->control[0] = (uint8_t)(0x80 | opcode);
    c->control[1] = (uint8_t)(0x80 | n);
    memcpy(c->control + 2, KEY, 4);
    put_masked(c->control + 6, (const char *)data, n, 0);
    c->control_pos = 0;
    c->control_end = 6 + n;
}

/* Send what can be sent now: the rest of a burst, a control frame, the next burst. */
void send_due(struct conn *c)
{
    if (c->fd < 0 || !flush(c, c->burst, &c->burst_pos, c->burst_end))
        return;
    if (phase >= DRAINING && c->outstanding == 0 && !c->close_sent) {
        c->close_sent = true;
        if (opt.raw)
            shutdown(c->fd, SHUT_WR);
        else
            queue_control(c, CLOSE, (const uint8_t *)"\x03\xe8", 2);
    }
    if (!flush(c, c->control, &c->control_pos, c->control_end))
        return;
    if (may_send(c)) {
        prepare_burst(c);
        if (!flush(c, c->burst, &c->burst_pos, c->burst_end))
            return;
    }
    watch(c, false);
}

static void reply_complete(struct conn *c)
{
    uint64_t sent_at = c->ring[c->oldest].sent_at;
    c->oldest = (c->oldest + 1) % opt.window;
    c->outstanding--;
    c->due++;
    c->message_got = 0;
    c->in_message = false;
    totals.replies++;
    totals.last_progress = now;
    if (opt.broadcast)
        totals.awaited--;
    if (phase == MEASURED) {
        totals.replies_measured++;
        record_latency(now - sent_at);
    }
}

/* Whether `n` bytes at `offset` of the message equal what was sent. */
static bool same(const struct conn *c, uint64_t offset, const uint8_t *p, size_t n)
{
    const char *counter = c->ring[c->oldest].counter;
    const struct { uint64_t from, to; const void *want; } parts[3] = {
        {0, head_len, counter + COUNTER - head_len},
        {head_len, opt.size - tail_len, expected + head_len},
        {opt.size - tail_len, opt.size, counter},
    };
    for (int i = 0; i < 3; i++) {
        uint64_t from = parts[i].from > offset ? parts[i].from : offset;
        uint64_t to = parts[i].to < offset + n ? parts[i].to : offset + n;
        if (from < to && memcmp(p + (from - offset),
                                (const uint8_t *)parts[i].want + (from - parts[i].from), to - from))
            return false;
    }
    return true;
}

/* Take `n` bytes of the current message; the caller made sure they are not too many. */
static void received_payload(struct conn *c, const uint8_t *p, size_t n)
{
    if (!same(c, c->message_got, p, n))
        error("reply differs from what was sent, at bytes %llu to %llu",
              (unsigned long long)c->message_got, (unsigned long long)(c->message_got + n));
    c->message_got += n;
}

static void received_raw(struct conn *c, const uint8_t *p, size_t n)
{
    while (n > 0 && c->outstanding > 0) {
        size_t left = opt.size - c->message_got, take = n < left ? n : left;
        received_payload(c, p, take);
        p += take;
        n -= take;
        if (c->message_got == opt.size)
            reply_complete(c);
    }
    if (n > 0) {
        error("%zu bytes nobody asked for", n);
        drop(c);
    }
}

static void received_control(struct conn *c, int opcode)
{
    if (opcode == PING && !c->close_sent)
        queue_control(c, PONG, c->control_in, c->control_in_len);
    if (opcode != CLOSE)
        return;
    c->close_received = true;
    if (c->close_sent) {
        totals.clean_closes++;
        return;
    }
    unsigned code = c->control_in_len < 2 ? 1005 : (unsigned)c->control_in[0] << 8 | c->control_in[1];
    error("the server closed with code %u", code);
    c->close_sent = true;
    queue_control(c, CLOSE, c->control_in, c->control_in_len < 2 ? 0 : 2);
    send_due(c);
    drop(c);
}

/* Length of the header as far as known, given its first two bytes. */
static unsigned header_wanted(const struct conn *c)
{
    unsigned length = c->header_len < 2 ? 0 : c->header[1] & 0x7f;
    return length == 127 ? 10 : length == 126 ? 4 : 2;
}

static const char *header_fault(const struct conn *c, uint64_t length)
{
    int opcode = c->header[0] & 0x0f;
    bool control = opcode >= 8;
    if (c->header[0] & 0x70)
        return "a reserved bit is set";
    if (c->header[1] & 0x80)
        return "a frame of the server is masked";
    if (control)
        return length > CONTROL_MAX || !(c->header[0] & 0x80) || opcode > PONG ? "bad control frame" : NULL;
    if (opcode != (c->in_message ? 0 : opt.opcode))
        return "unexpected opcode";
    if (c->outstanding == 0)
        return "a message nobody asked for";
    if (length > opt.size - c->message_got)
        return "reply is too long";
    if ((c->header[0] & 0x80) && length < opt.size - c->message_got)
        return "reply is too short";
    return NULL;
}

static void received_header(struct conn *c)
{
    uint64_t length = c->header[1] & 0x7f;
    if (length >= 126) {
        length = 0;
        for (unsigned i = 2; i < c->header_len; i++)
            length = length << 8 | c->header[i];
    }
    const char *fault = header_fault(c, length);
    if (fault) {
        error("%s (frame starts %02x %02x)", fault, c->header[0], c->header[1]);
        drop(c);
        return;
    }
    c->in_frame = true;
    c->frame_left = length;
    c->control_in_len = 0;
}

static void received_frame(struct conn *c)
{
    int opcode = c->header[0] & 0x0f;
    c->in_frame = false;
    c->header_len = 0;
    if (opcode >= 8)
        received_control(c, opcode);
    else if (c->header[0] & 0x80)
        reply_complete(c);
    else
        c->in_message = true;
}

/* What comes after a Close is discarded: RFC 6455 1.4. */
void received_frames(struct conn *c, const uint8_t *p, size_t n)
{
    while (n > 0 && c->fd >= 0 && !c->close_received) {
        if (!c->in_frame) {
            c->header[c->header_len++] = *p++;
            n--;
            if (c->header_len < 2 || c->header_len < header_wanted(c))
                continue;
            received_header(c);
        } else {
            size_t take = n < c->frame_left ? n : c->frame_left;
            if ((c->header[0] & 0x0f) < 8) {
                received_payload(c, p, take);
            } else {
                memcpy(c->control_in + c->control_in_len, p, take);
                c->control_in_len += (unsigned)take;
            }
            p += take;
            n -= take;
            c->frame_left -= take;
        }
        if (c->in_frame && c->frame_left == 0 && c->fd >= 0)
            received_frame(c);
    }
}

static ssize_t receive(struct conn *c)
{
    static uint8_t chunk[CHUNK];
    ssize_t n = transport_recv(c, chunk, sizeof chunk);
    now = monotonic();
    if (n > 0) {
        (opt.raw ? received_raw : received_frames)(c, chunk, (size_t)n);
        send_due(c);
        if (opt.broadcast && totals.awaited == 0)
            send_due(conns);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        if (!c->close_sent)
            error("connection lost: %s", n == 0 ? "end of stream" : strerror(errno));
        else if (opt.raw)
            totals.clean_closes++;
        drop(c);
    }
    return n;
}

void readable(struct conn *c)
{
    while (receive(c) > 0 && transport_holds_more(c)) {
    }
}
