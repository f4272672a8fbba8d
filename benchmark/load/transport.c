/* What moves bytes: a socket or, where OpenSSL was there at compile time (-DTLS), TLS on it. */
#include "load.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef TLS
#include <openssl/ssl.h>

enum { RECORDS = 256 * 1024 };          /* bytes that OpenSSL may read in advance */

static SSL_CTX *context(void)
{
    static SSL_CTX *made;
    if (made)
        return made;
    if (!(made = SSL_CTX_new(TLS_client_method())))
        die("cannot start OpenSSL");
    /* The certificate is of the benchmark's own making: that it is the right one is not in question. */
    SSL_CTX_set_verify(made, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(made, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(made, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_read_ahead(made, 1);
    SSL_CTX_set_default_read_buffer_len(made, RECORDS);
    return made;
}

void start_tls(struct conn *c)
{
    SSL *tls = SSL_new(context());
    if (!tls || !SSL_set_fd(tls, c->fd) || SSL_connect(tls) != 1)
        die("no TLS");
    c->tls = tls;
}

/* What a socket would say for the result of OpenSSL. */
static ssize_t as_of_socket(SSL *tls, int n)
{
    if (n > 0)
        return n;
    int why = SSL_get_error(tls, n);
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return -1;
}

static int at_most(size_t n)
{
    return n < RECORDS ? (int)n : RECORDS;
}

/* All that is there: OpenSSL gives one record, of 16 KiB at most, at a time. */
static ssize_t receive_records(SSL *tls, uint8_t *data, size_t n)
{
    size_t got = 0;
    ssize_t more = 0;
    do {
        more = as_of_socket(tls, SSL_read(tls, data + got, at_most(n - got)));
        if (more > 0)
            got += (size_t)more;
    } while (more > 0 && got < n && SSL_has_pending(tls));
    return got > 0 ? (ssize_t)got : more;
}

static ssize_t send_records(SSL *tls, const void *data, size_t n)
{
    return as_of_socket(tls, SSL_write(tls, data, at_most(n)));
}

/* Data, or the end of the stream. */
static bool holds_more(const SSL *tls)
{
    return SSL_has_pending(tls) || (SSL_get_shutdown(tls) & SSL_RECEIVED_SHUTDOWN);
}

static void free_tls(SSL *tls)
{
    SSL_free(tls);
}
#else
typedef void SSL;

void start_tls(struct conn *c)
{
    (void)c;
    die("compiled without TLS");
}

static ssize_t receive_records(SSL *tls, uint8_t *data, size_t n)
{
    (void)tls, (void)data, (void)n;
    return -1;
}

static ssize_t send_records(SSL *tls, const void *data, size_t n)
{
    (void)tls, (void)data, (void)n;
    return -1;
}

static bool holds_more(const SSL *tls)
{
    (void)tls;
    return false;
}

static void free_tls(SSL *tls)
{
    (void)tls;
}
#endif

ssize_t transport_send(struct conn *c, const void *data, size_t n)
{
    return c->tls ? send_records(c->tls, data, n) : send(c->fd, data, n, MSG_NOSIGNAL);
}

ssize_t transport_recv(struct conn *c, void *data, size_t n)
{
    return c->tls ? receive_records(c->tls, data, n) : recv(c->fd, data, n, 0);
}

/* Whether there is something that epoll will not tell, as it has left the kernel already. */
bool transport_holds_more(const struct conn *c)
{
    return c->tls && holds_more(c->tls);
}

void transport_close(struct conn *c)
{
    if (c->tls)
        free_tls(c->tls);
    c->tls = NULL;
    close(c->fd);
}
