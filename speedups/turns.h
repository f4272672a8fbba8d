/* What a WebSocket does with most messages, without a call in between but those of the application.
 *
 * hasten() wraps what is written in Python: WebSocket.once, WebSocket._parse, Sender.send and
 * sending._write_each. The compiled function of the same name does the plain case, and only that: a
 * data message in one frame, nothing queued, no compression, no end in sight. Whatever else there is,
 * it calls the method, which decides. So it needs no rule of its own, but has to know what is plain.
 *
 * State is in slots, whose places are looked up once; an object is read at these places only if it is
 * an instance of the class that was looked at.
 *
 * A message that has come in part is read on into the bytes that become its payload, and unmasked
 * there. Until all of it has come, these hold the frame as it came, so that anybody can parse it from
 * the beginning.
 *
 * The GIL is held from the look at the state to the end of a write, which does not wait. So no lock is
 * needed, if nobody holds it.
 */
#ifndef WS4PY_TURNS_H
#define WS4PY_TURNS_H

#include "frames.h"

#ifndef MS_WINDOWS
#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#endif

/* Elsewhere nothing is hastened. */
#if !defined(MS_WINDOWS) && !defined(Py_GIL_DISABLED) && defined(MSG_DONTWAIT) && defined(CLOCK_MONOTONIC)
#define HASTENS 1
#else
#define HASTENS 0
#endif

#ifndef Py_TPFLAGS_DISALLOW_INSTANTIATION
#define Py_TPFLAGS_DISALLOW_INSTANTIATION 0
#endif
#ifndef Py_TPFLAGS_IMMUTABLETYPE
#define Py_TPFLAGS_IMMUTABLETYPE 0
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

enum { ROOM = 64 * 1024 };  /* bytes that are read at once, at most */

/* Slots of a WebSocket, a Stream, a PlainTransport and a Message; hasten.c has their names. */
enum {
    ALIVE, ANSWERS, AT, BROKEN, BUSY, CHUNK, CLOSE_RECEIVED, CLOSE_SENT, CONNECTED, BUF, CAME, DEFERRED, DEFLATER,
    DISCARDING, DRAINING, DRIVER, ENDING, FAILED, FRAGMENTER, GATHERED, GATHERED_SIZE, GATHERER, LOCK, OUTGOING,
    OVER, SEALED, STREAM, TRANSPORT, UNHANDLED, WANTED, WEBSOCKET_SLOTS,
};
enum { ALWAYS_MASK, EXPECT_MASKING, MESSAGE, RESTS, STREAM_SLOTS };
enum { BLOCKS, SOCK, TRANSPORT_SLOTS };
enum { COMPLETED, DATA, PIECES, MESSAGE_SLOTS };

/* Where the slots of a class are; of its subclasses, too. */
typedef struct {
    PyTypeObject *cls;
    Py_ssize_t offsets[WEBSOCKET_SLOTS];
} Shape;

/* Names that are looked up. */
enum {
    N_AWAITS, N_CRASHED, N_FILENO, N_FLUSH, N_GATHER, N_GATHERS, N_GET_IDENT, N_GOES_ON, N_HAS_ROOM, N_IS_DONE,
    N_LIMITS, N_LOCKED, N_NAME, N_PARSE, N_MAX_FRAGMENTS, N_MAX_MESSAGE_SIZE, N_PENDING, N_PROCESS,
    N_READING_BUFFER_SIZE, N_READ_FAILED, N_RECEIVED_MESSAGE, N_SEND, N_SEND_FRAME, N_SETTLE, N_SETTLE_REFUSED,
    N_WRITE, N_WRITE_FAILED, NAMES,
};

typedef struct Rest Rest;

typedef struct {
    PyObject *hastened;            /* the type of what hasten() returns */
    PyObject *names[NAMES];
    Shape websocket, stream, transport, message;
    int has_looked;                /* at these classes */
    PyTypeObject *socket;          /* socket.socket */
    PyTypeObject *limits_class;    /* Limits */
    PyObject *text, *binary;       /* TextMessage, BinaryMessage */
    PyObject *parse, *process, *send_frame, *write;  /* the methods, as they are written in Python */
    PyObject *limits;              /* those that were met last, and what they say */
    Py_ssize_t most;
    unsigned int plain, writing;   /* the version of the class that was found plain last, and of one that writes so */
    Rest *rests;                   /* what waits in turns that have not ended, the latest first */
    uint8_t *room;
} Turns;

/* What the module keeps; each interpreter has its own. */
typedef struct {
    PyObject *bare;       /* "_bare" */
    PyObject *data;       /* "data" */
    PyObject *completed;  /* "completed" */
    Turns turns;
} State;

/* What messages of one kind are made of: whether __init__ does no more than what is done here. */
typedef struct {
    PyObject *cls;
    int is_bare;  /* -1: not known yet */
} Kind;

/* What waits behind a message while the application has that: shown in _chunk, from at on, which _at says at need.
 * It is not on the stack, which greenlets move. */
struct Rest {
    Rest *next;
    PyObject *self, *chunk;  /* which the turn holds */
    Py_ssize_t at;
};

/* A turn of a WebSocket: what it is given, and how far it has come. */
typedef struct {
    State *state;
    PyObject *self, *stream, *me;
    PyObject *spare;      /* a message that has been handled, for the next one; NULL: there is none */
    PyObject *chunk;      /* that has data; NULL: it is in the room */
    uint8_t **room;       /* NULL: there is none; else empty once it has been left */
    const uint8_t *data;
    Py_ssize_t size, pos, most;
    int is_masked;
    Rest *rest;           /* NULL: none is shown */
    int waits;            /* Whether the rest has to: it stays shown. */
    int64_t begun, took, due;  /* ns, if there is more than one message; when _goes_on is to be asked */
} Turn;

typedef struct Hastened Hastened;

/* Does the plain case; NULL without an exception: this is none, and nothing has been done. */
typedef PyObject *(*Fast)(Hastened *, PyObject *const *, Py_ssize_t);

struct Hastened {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function;  /* written in Python */
    PyObject *module;
    PyObject *weakrefs;
    State *state;        /* of the module */
    Fast fast;
};

/* Slots. An object is known to fit its shape where these are used. */

static inline PyObject **slot(const Shape *shape, PyObject *object, int index)
{
    return (PyObject **)((char *)object + shape->offsets[index]);
}

static inline void put(PyObject **place, PyObject *value)
{
    PyObject *old = *place;

    Py_INCREF(value);
    *place = value;
    Py_XDECREF(old);
}

/* Put a number; -1 on errors. */
static inline int put_number(PyObject **place, Py_ssize_t value)
{
    PyObject *number = PyLong_FromSsize_t(value);

    if (number == NULL)
        return -1;
    put(place, number);
    Py_DECREF(number);
    return 0;
}

#define OF(index) (*slot(&turns->websocket, self, index))
#define IS_FALSE(index) (OF(index) == Py_False)
#define NAME(name) (turns->names[N_##name])

/* Calls */

static inline PyObject *call(PyObject *self, PyObject *name)
{
    return PyObject_CallMethodNoArgs(self, name);
}

/* Call a method; return whether what it returns is true, -1 on errors. */
static inline int ask(PyObject *self, PyObject *name)
{
    PyObject *answer = call(self, name);
    int is_true = answer == NULL ? -1 : PyObject_IsTrue(answer);

    Py_XDECREF(answer);
    return is_true;
}

/* Call a method with the exception that is set, while that is being handled; -1 on errors. */
static inline int tell_of_error(PyObject *self, PyObject *name)
{
    PyObject *type, *error, *traceback, *old_type, *old_error, *old_traceback, *answer;

    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    PyErr_GetExcInfo(&old_type, &old_error, &old_traceback);
    Py_INCREF(error);
    PyErr_SetExcInfo(type, error, traceback);
    answer = PyObject_CallMethodOneArg(self, name, error);
    Py_DECREF(error);
    PyErr_SetExcInfo(old_type, old_error, old_traceback);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

#if HASTENS
static inline int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}
#endif

/* What the files do for each other */

int ws4py_fits(Turns *turns, PyObject *self);
int ws4py_is_plain(Turns *turns, PyTypeObject *cls);  /* whether it handles what is received as WebSocket does */
int ws4py_writes(Turns *turns, PyTypeObject *cls);  /* whether it writes frames as WebSocket does */
int ws4py_descriptor(Turns *turns, PyObject *transport);
int ws4py_flush(Turns *turns, PyObject *self);
PyObject *ws4py_send(Hastened *hastened, PyObject *const *args, Py_ssize_t count);
PyObject *ws4py_write_each(Hastened *hastened, PyObject *const *args, Py_ssize_t count);
int ws4py_keep_next(Turn *turn);  /* for once() to read on at it */
int ws4py_descriptor_to_read(Turns *turns, PyObject *self);  /* where once() reads; -1 if it is to be the one in Python */
void ws4py_leave_room(Turns *turns, uint8_t **room);
int ws4py_begin_turn(Turn *turn, Hastened *hastened, PyObject *self);
int ws4py_is_ready(Turn *turn);
PyObject *ws4py_take_turn(Turn *turn);
PyObject *ws4py_take_alone(Turn *turn, PyObject *payload, int is_text);
void ws4py_drop_turn(Turn *turn);
PyObject *ws4py_once(Hastened *hastened, PyObject *const *args, Py_ssize_t count);
PyObject *ws4py_parse(Hastened *hastened, PyObject *const *args, Py_ssize_t count);

int ws4py_fill_message(State *state, PyObject *message, PyObject *payload);
PyObject *ws4py_make_message(State *state, Kind *kind, PyObject *payload);
int ws4py_read_most(PyObject *number, Py_ssize_t *most);

PyObject *ws4py_hasten(PyObject *module, PyObject *function);
int ws4py_turns_exec(PyObject *module, State *state);
int ws4py_turns_traverse(State *state, visitproc visit, void *arg);
void ws4py_turns_clear(State *state);

#endif
