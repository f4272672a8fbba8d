/* What the compiled module keeps of classes that are written in Python; see _turns.c. */
#ifndef WS4PY_TURNS_H
#define WS4PY_TURNS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

enum { ROOM = 64 * 1024 };  /* bytes that are read at once, at most */

/* Slots of a WebSocket, of a Stream and of a PlainTransport; SLOTS in _turns.c has their names. */
enum {
    ALIVE, ANSWERS, BROKEN, BUSY, CLOSE_RECEIVED, CLOSE_SENT, CONNECTED, BUF, CAME, DEFERRED, DEFLATER,
    DISCARDING, DRAINING, DRIVER, ENDING, FAILED, FRAGMENTER, GATHERED, GATHERED_SIZE, GATHERER, LOCK,
    OUTGOING, OVER, SEALED, STREAM, TRANSPORT, WEBSOCKET_SLOTS,
};
enum { ALWAYS_MASK, EXPECT_MASKING, RESTS, STREAM_SLOTS };
enum { BLOCKS, SOCK, TRANSPORT_SLOTS };

/* Where the slots of a class are; of its subclasses, too. */
typedef struct {
    PyTypeObject *cls;
    Py_ssize_t offsets[WEBSOCKET_SLOTS];
} Shape;

/* Names that are looked up. */
enum {
    N_AWAITS, N_CRASHED, N_FILENO, N_FLUSH, N_GATHER, N_GET_IDENT, N_HAS_ROOM, N_IS_DONE, N_KEEP, N_LIMITS,
    N_LOCKED, N_ACQUIRE, N_RELEASE, N_MAX_FRAGMENTS, N_MAX_MESSAGE_SIZE, N_PENDING, N_PROCESS,
    N_READING_BUFFER_SIZE, N_READ_FAILED, N_RECEIVED_MESSAGE, N_SETTLE, NAMES,
};

typedef struct {
    PyObject *hastened;            /* the type of what hasten() returns */
    PyObject *names[NAMES];
    Shape websocket, stream, transport;
    PyTypeObject *socket;          /* socket.socket */
    PyObject *text, *binary;       /* TextMessage, BinaryMessage */
    PyObject *parse, *process;     /* WebSocket._parse and process, as they are written in Python */
    PyObject *limits;              /* those that were met last, and what they say */
    Py_ssize_t most;
    unsigned int plain;            /* the version of the class that was found plain last */
    uint8_t *room;
} Turns;

#endif
