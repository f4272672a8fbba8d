/* The opening handshake, client side (RFC 6455 4.1). */
#include "load.h"
#include "accept.h"
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
    char accept[ACCEPT_SIZE];
    accept_for(key, accept);
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

static void send_request(struct conn *c)
{
    uint8_t nonce[16];
    char request[256];
    if (getrandom(nonce, sizeof nonce, 0) != (ssize_t)sizeof nonce)
        die_of_errno("getrandom");
    base64(nonce, sizeof nonce, c->key);
    int n = snprintf(request, sizeof request,
                     "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", opt.port, c->key);
    if (transport_send(c, request, (size_t)n) != n)
        die_of_errno("cannot send the opening handshake");
}

static void await_response(struct conn *c)
{
    char head[HEAD_MAX + 1];
    size_t got = 0;
    char *end = NULL;
    while (!end) {
        ssize_t more = transport_recv(c, head + got, HEAD_MAX - got);
        if (more <= 0)
            die("no complete answer to the opening handshake");
        got += (size_t)more;
        head[got] = 0;
        end = strstr(head, "\r\n\r\n");
    }
    const char *fault = response_fault(head, c->key);
    if (fault)
        die(fault);
    end += 4;
    received_frames(c, (uint8_t *)end, got - (size_t)(end - head));
}

/* Connect and ask for a websocket; the socket blocks until it is open. */
static void begin_opening(struct conn *c)
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
    if (opt.tls)
        start_tls(c);
    if (!opt.raw)
        send_request(c);
}

static void finish_opening(struct conn *c)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0)
        die_of_errno("epoll_ctl");
    if (!opt.raw)
        await_response(c);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0)
        die_of_errno("fcntl");
}

/* Open all connections, `together` at a time: all of these ask before an answer is read. */
void open_connections(int total)
{
    for (int first = 0; first < total; first += opt.together) {
        int end = first + opt.together < total ? first + opt.together : total;
        for (int i = first; i < end; i++)
            begin_opening(&conns[i]);
        for (int i = first; i < end; i++)
            finish_opening(&conns[i]);
    }
}
