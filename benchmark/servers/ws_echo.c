/* A WebSocket echo on epoll in C, frame by frame: what clients are measured at, and a ceiling.
 * It trusts its peers: no limits, and no check of UTF-8. Usage: ws_echo PORT */
#define _GNU_SOURCE
#include "../load/accept.h"
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, CLOSE = 8, PING = 9, PONG = 10 };

struct buffer { uint8_t *data; size_t pos, end, capacity; };
struct peer { int fd; bool open, closing, wants_out; struct buffer in, out; };

static int epoll_fd;

static void die(const char *text)
{
    perror(text);
    exit(1);
}

/* Make room for `n` bytes at the end. */
static uint8_t *room(struct buffer *b, size_t n)
{
    if (b->pos > 0) {
        memmove(b->data, b->data + b->pos, b->end - b->pos);
        b->end -= b->pos;
        b->pos = 0;
    }
    if (b->capacity - b->end < n) {
        b->capacity = 2 * b->capacity + n;
        if (!(b->data = realloc(b->data, b->capacity)))
            die("realloc");
    }
    return b->data + b->end;
}

static void append(struct buffer *b, const void *data, size_t n)
{
    memcpy(room(b, n), data, n);
    b->end += n;
}

static void unmask(uint8_t *to, const uint8_t *from, size_t n, const uint8_t key[4])
{
    uint64_t word, twice;
    memcpy(&twice, (uint8_t[]){key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]}, 8);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= twice;
        memcpy(to + i, &word, 8);
    }
    for (; i < n; i++)
        to[i] = from[i] ^ key[i & 3];
}

/* Answer the request at the head of what came; false when there is no whole one, or none of ours. */
static bool answer_request(struct peer *p)
{
    static const char NAME[] = "\r\nsec-websocket-key:";
    *room(&p->in, 1) = 0;
    const char *head = (char *)p->in.data, *end = strstr(head, "\r\n\r\n");
    const char *key = strcasestr(head, NAME);
    if (!end || !key)
        return false;
    char accept[ACCEPT_SIZE], response[160];
    key += sizeof NAME - 1;
    accept_for(key + strspn(key, " "), accept);
    int n = snprintf(response, sizeof response,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    append(&p->out, response, (size_t)n);
    p->in.pos = (size_t)(end + 4 - head);
    return p->open = true;
}

/* Answer a frame of which all has come. */
static void answer_frame(struct peer *p, unsigned length_size, uint64_t length)
{
    uint8_t *frame = p->in.data + p->in.pos, *payload = frame + 2 + length_size + 4;
    int opcode = frame[0] & 15;
    p->in.pos = (size_t)(payload + length - p->in.data);
    if (opcode == PONG)
        return;
    p->closing = opcode == CLOSE;
    uint8_t *reply = room(&p->out, 2 + length_size + length);
    memcpy(reply, frame, 2 + length_size);
    reply[0] = (uint8_t)((frame[0] & 0xf0) | (opcode == PING ? PONG : opcode));
    reply[1] &= 0x7f;
    unmask(reply + 2 + length_size, payload, length, payload - 4);
    p->out.end += 2 + length_size + length;
}

/* Answer all frames that have come; return how many bytes the next one lacks, at least. */
static size_t answer_frames(struct peer *p)
{
    while (!p->closing) {
        const uint8_t *at = p->in.data + p->in.pos;
        size_t have = p->in.end - p->in.pos;
        if (have < 2)
            break;
        uint64_t length = at[1] & 0x7f;
        unsigned length_size = length < 126 ? 0 : length == 126 ? 2 : 8;
        if (have < 2 + length_size + 4)
            break;
        if (length_size == 2)
            length = (uint64_t)at[2] << 8 | at[3];
        else if (length_size == 8) {
            memcpy(&length, at + 2, 8);
            length = be64toh(length);
        }
        if (have < 2 + length_size + 4 + length)
            return 2 + length_size + 4 + length - have;
        answer_frame(p, length_size, length);
    }
    return 1;
}

static void watch(struct peer *p, int operation, bool wants_out)
{
    struct epoll_event e = {.events = wants_out ? EPOLLOUT : EPOLLIN, .data.ptr = p};
    p->wants_out = wants_out;
    if (epoll_ctl(epoll_fd, operation, p->fd, &e) != 0)
        die("epoll_ctl");
}

/* Send what can be sent; false when the connection is over. */
static bool flush(struct peer *p)
{
    struct buffer *b = &p->out;
    while (b->pos < b->end) {
        ssize_t n = send(p->fd, b->data + b->pos, b->end - b->pos, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n < 0)
            break;
        b->pos += (size_t)n;
    }
    bool unsent = b->pos < b->end;
    if (unsent != p->wants_out)
        watch(p, EPOLL_CTL_MOD, unsent);
    return unsent || !p->closing;
}

static bool readable(struct peer *p)
{
    size_t wanted = p->open ? answer_frames(p) : 1;
    wanted = wanted < CHUNK ? CHUNK : wanted;
    ssize_t n = recv(p->fd, room(&p->in, wanted), wanted, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    p->in.end += (size_t)n;
    if (p->open || answer_request(p))
        answer_frames(p);
    return flush(p);
}

static void drop(struct peer *p)
{
    close(p->fd);
    free(p->in.data);
    free(p->out.data);
    free(p);
}

static void accept_peer(int listener)
{
    int one = 1;
    struct peer *p = calloc(1, sizeof *p);
    if (!p || (p->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
        die("accept4");
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(p, EPOLL_CTL_ADD, false);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "9000"))};
    struct epoll_event events[256], e = {.events = EPOLLIN, .data.ptr = NULL};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1024) != 0)
        die("cannot listen");
    epoll_fd = epoll_create1(0);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e) != 0)
        die("epoll_ctl");
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            if (!p)
                accept_peer(listener);
            else if (!(p->wants_out ? flush(p) : readable(p)))
                drop(p);
        }
    }
}
