/* Sec-WebSocket-Accept (RFC 6455 4.2.2), for the load generator and for a server. */
#ifndef ACCEPT_H
#define ACCEPT_H
#include <stddef.h>
#include <stdint.h>

enum { ACCEPT_SIZE = 29 };

void base64(const uint8_t *in, size_t n, char *out);
void accept_for(const char *key, char accept[ACCEPT_SIZE]);
#endif
