/* A TCP echo on epoll in C: what the kernel alone costs. Usage: tcp_echo PORT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
    int fd;
    char *unsent;                       /* NULL unless the kernel refused some */
    size_t pos, end;
};

static int epoll_fd;

static void die(const char *text)
{
    perror(text);
    exit(1);
}

static void watch(struct peer *p, int operation, unsigned events)
{
    struct epoll_event e = {.events = events, .data.ptr = p};
    if (epoll_ctl(epoll_fd, operation, p->fd, &e) != 0)
        die("epoll_ctl");
}

/* Send data[*pos..end); false when the connection is over. */
static bool send_some(struct peer *p, const char *data, size_t *pos, size_t end)
{
    ssize_t n = send(p->fd, data + *pos, end - *pos, MSG_NOSIGNAL);
    if (n > 0)
        *pos += (size_t)n;
    return n >= 0 || errno == EAGAIN;
}

static bool resume(struct peer *p)
{
    if (!send_some(p, p->unsent, &p->pos, p->end))
        return false;
    if (p->pos == p->end) {
        free(p->unsent);
        p->unsent = NULL;
        watch(p, EPOLL_CTL_MOD, EPOLLIN);
    }
    return true;
}

static bool echo(struct peer *p)
{
    static char chunk[65536];
    ssize_t n = recv(p->fd, chunk, sizeof chunk, 0);
    size_t pos = 0;
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    if (!send_some(p, chunk, &pos, (size_t)n))
        return false;
    if (pos == (size_t)n)
        return true;
    if (!(p->unsent = malloc((size_t)n)))
        die("malloc");
    memcpy(p->unsent, chunk, (size_t)n);
    p->pos = pos;
    p->end = (size_t)n;
    watch(p, EPOLL_CTL_MOD, EPOLLOUT);
    return true;
}

static void add(int fd)
{
    int one = 1;
    struct peer *p = calloc(1, sizeof *p);
    if (fd < 0 || !p)
        die("accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    p->fd = fd;
    watch(p, EPOLL_CTL_ADD, EPOLLIN);
}

static int listen_on(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 1024) != 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    struct peer listener = {.fd = listen_on(atoi(argv[1]))};
    struct epoll_event events[256];
    epoll_fd = epoll_create1(0);
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            if (p == &listener) {
                add(accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK));
            } else if (!(p->unsent ? resume(p) : echo(p))) {
                close(p->fd);
                free(p->unsent);
                free(p);
            }
        }
    }
}
