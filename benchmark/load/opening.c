/* The opening handshake, client side (RFC 6455 4.1), with the SHA-1 it needs. */
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { HEAD_MAX = 8192 };

static uint32_t rol(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1_block(uint32_t h[5], const uint8_t *p)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? ((b & c) | (~b & d)) + 0x5A827999u
                   : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1u
                   : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDCu
                            : (b ^ c ^ d) + 0xCA62C1D6u;
        uint32_t t = rol(a, 5) + f + e + w[i];
        e = d; d = c; c = rol(b, 30); b = a; a = t;
    }
    h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e;
}

/* Of 60 bytes, which is what a key and the GUID of RFC 6455 are together. */
static void sha1_of_60(const char *text, uint8_t digest[20])
{
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t padded[128] = {0};
    memcpy(padded, text, 60);
    padded[60] = 0x80;
    padded[126] = 60 * 8 >> 8;
    padded[127] = (uint8_t)(60 * 8);
    sha1_block(h, padded);
    sha1_block(h, padded + 64);
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const uint8_t *in, size_t n, char *out)
{
    static const char A[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0) |
                     (i + 2 < n ? in[i + 2] : 0);
        *out++ = A[v >> 18];
        *out++ = A[v >> 12 & 63];
        *out++ = i + 1 < n ? A[v >> 6 & 63] : '=';
        *out++ = i + 2 < n ? A[v & 63] : '=';
    }
    *out = 0;
}

/* Value of a header in `head`, up to the end of its line, or NULL. */
static const char *header_value(const char *head, const char *name)
{
    for (const char *line = strstr(head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        size_t n = strlen(name);
        if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') {
            const char *value = line + 3 + n;
            return value + strspn(value, " \t");
        }
    }
    return NULL;
}

/* Whether a comma-separated header holds `token`. */
static bool header_has(const char *head, const char *name, const char *token)
{
    const char *value = header_value(head, name);
    while (value && *value != '\r') {
        value += strspn(value, " \t,");
        size_t n = strcspn(value, " \t,\r");
        if (n == strlen(token) && strncasecmp(value, token, n) == 0)
            return true;
        value += n;
    }
    return false;
}

static const char *response_fault(const char *head, const char *key)
{
    char text[80], accept[32];
    uint8_t digest[20];
    snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1_of_60(text, digest);
    base64(digest, sizeof digest, accept);
    const char *value = header_value(head, "Sec-WebSocket-Accept");
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0)
        return "status is not 101";
    if (!header_has(head, "Upgrade", "websocket") || !header_has(head, "Connection", "Upgrade"))
        return "Upgrade or Connection is wrong";
    if (!value || strncmp(value, accept, 28) != 0 || strcspn(value, " \t\r") != 28)
        return "Sec-WebSocket-Accept is wrong";
    if (header_value(head, "Sec-WebSocket-Extensions") || header_value(head, "Sec-WebSocket-Protocol"))
        return "an extension or subprotocol nobody offered";
    return NULL;
}

static void open_websocket(struct conn *c)
{
    uint8_t nonce[16];
    char key[32], request[256], head[HEAD_MAX + 1];
    size_t got = 0;
    char *end = NULL;
    if (getrandom(nonce, sizeof nonce, 0) != (ssize_t)sizeof nonce)
        die_of_errno("getrandom");
    base64(nonce, sizeof nonce, key);
    int n = snprintf(request, sizeof request,
                     "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", opt.port, key);
    if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
        die_of_errno("cannot send the opening handshake");
    while (!end) {
        ssize_t more = recv(c->fd, head + got, HEAD_MAX - got, 0);
        if (more <= 0)
            die("no complete answer to the opening handshake");
        got += (size_t)more;
        head[got] = 0;
        end = strstr(head, "\r\n\r\n");
    }
    const char *fault = response_fault(head, key);
    if (fault)
        die(fault);
    end += 4;
    received_frames(c, (uint8_t *)end, got - (size_t)(end - head));
}

void open_connection(struct conn *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 10};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        die_of_errno("cannot connect");
    totals.alive++;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0)
        die_of_errno("epoll_ctl");
    if (!opt.raw)
        open_websocket(c);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0)
        die_of_errno("fcntl");
}
