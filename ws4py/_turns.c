/* What a WebSocket does with most messages, without a call in between but those of the application.
 *
 * hasten() wraps a method that is written in Python: WebSocket.once, WebSocket._parse and Sender.send.
 * The compiled function of the same name does the plain case, and only that: a whole short data
 * message, nothing queued, no compression, no fragments, no end in sight. Whatever else there is, it
 * calls the method, which decides. So it needs no rule of its own, but has to know what is plain.
 *
 * State is in slots, whose places are looked up once; an object is read at these places only if it is
 * an instance of the class that was looked at.
 *
 * The GIL is held from the look at the state to the end of a write, which does not wait. So no lock is
 * needed, if nobody holds it.
 */
#include "_speedups.h"
#include "structmember.h"

#ifndef MS_WINDOWS
#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#endif

#if !defined(MS_WINDOWS) && !defined(Py_GIL_DISABLED) && defined(MSG_DONTWAIT) && defined(CLOCK_MONOTONIC)
#define HASTENS 1
#else
#define HASTENS 0
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

enum {
    SHORT = 16 * 1024,      /* bytes of a payload that is sent here */
    FEW = 32 * 1024,        /* bytes that gather here */
    BRIEFLY = 500 * 1000,   /* ns that messages which came together are handled here */
};

static const char *const NAMED[NAMES] = {
    "_awaits", "_crashed", "fileno", "flush", "gather", "get_ident", "_has_room", "_is_done", "_keep", "limits",
    "locked", "acquire", "release", "max_fragments", "max_message_size", "_pending", "process",
    "reading_buffer_size", "_read_failed", "received_message", "_settle",
};
static const char *const SLOTS[WEBSOCKET_SLOTS] = {
    "_alive", "_answers", "_broken", "_busy", "close_received", "_close_sent", "_connected", "buf", "_came",
    "_deferred", "_deflater", "_discarding", "_draining", "_driver", "_ending", "_failed", "_fragmenter",
    "_gathered", "_gathered_size", "_gatherer", "_lock", "_outgoing", "_over", "_sealed", "stream", "_transport",
};
static const char *const OF_STREAM[STREAM_SLOTS] = {"always_mask", "expect_masking", "_rests"};
static const char *const OF_TRANSPORT[TRANSPORT_SLOTS] = {"_blocks", "sock"};

typedef struct Hastened Hastened;

/* Do the plain case; NULL without an exception: this is none, and nothing has been done. */
typedef PyObject *(*Fast)(Hastened *, PyObject *const *, Py_ssize_t);

struct Hastened {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *function;  /* written in Python */
    PyObject *module;
    State *state;        /* of the module */
    Fast fast;
};

/* Slots */

static PyObject **slot(const Shape *shape, PyObject *object, int index)
{
    return (PyObject **)((char *)object + shape->offsets[index]);
}

static void put(PyObject **place, PyObject *value)
{
    PyObject *old = *place;

    Py_INCREF(value);
    *place = value;
    Py_XDECREF(old);
}

#define OF(index) (*slot(&turns->websocket, self, index))
#define IS_FALSE(index) (OF(index) == Py_False)
#define NAME(name) (turns->names[N_##name])

/* Note where a class has its slots; 0 if these are not what is expected here. */
static int find_shape(Shape *shape, PyTypeObject *cls, const char *const *names, int count)
{
    PyTypeObject *owner = NULL;
    int i;

    for (i = 0; i < count; i++) {
        PyObject *found = PyObject_GetAttrString((PyObject *)cls, names[i]);
        PyMemberDescrObject *member = (PyMemberDescrObject *)found;
        int is_slot = found != NULL && Py_IS_TYPE(found, &PyMemberDescr_Type) &&
                      member->d_member->type == T_OBJECT_EX && !(member->d_member->flags & READONLY);

        if (is_slot) {
            shape->offsets[i] = member->d_member->offset;
            if (owner == NULL || PyType_IsSubtype(PyDescr_TYPE(found), owner))
                owner = PyDescr_TYPE(found);
        }
        Py_XDECREF(found);
        if (!is_slot) {
            PyErr_Clear();
            return 0;
        }
    }
    Py_INCREF(owner);
    shape->cls = owner;
    return 1;
}

static PyObject *import_from(const char *module, const char *name)
{
    PyObject *found = NULL, *imported = PyImport_ImportModule(module);

    if (imported != NULL)
        found = PyObject_GetAttrString(imported, name);
    Py_XDECREF(imported);
    return found;
}

/* Look at the classes, once all are there: at the first call. */
static int prepare(Turns *turns, PyTypeObject *cls)
{
    PyObject *stream = import_from("ws4py.streaming", "Stream");
    PyObject *transport = import_from("ws4py.transport", "PlainTransport");
    int done = stream != NULL && transport != NULL &&
               (turns->socket = (PyTypeObject *)import_from("socket", "socket")) != NULL &&
               (turns->text = import_from("ws4py.messaging", "TextMessage")) != NULL &&
               (turns->binary = import_from("ws4py.messaging", "BinaryMessage")) != NULL &&
               find_shape(&turns->stream, (PyTypeObject *)stream, OF_STREAM, STREAM_SLOTS) &&
               find_shape(&turns->transport, (PyTypeObject *)transport, OF_TRANSPORT, TRANSPORT_SLOTS);

    if (done) {
        Py_DECREF(turns->transport.cls);
        turns->transport.cls = (PyTypeObject *)Py_NewRef(transport);
        done = find_shape(&turns->websocket, cls, SLOTS, WEBSOCKET_SLOTS);
    }
    Py_XDECREF(stream);
    Py_XDECREF(transport);
    return done;
}

static int fits(Turns *turns, PyObject *self)
{
    if (turns->websocket.cls == NULL && !prepare(turns, Py_TYPE(self)))
        return 0;
    return PyObject_TypeCheck(self, turns->websocket.cls);
}

static PyObject *call(PyObject *self, PyObject *name)
{
    return PyObject_CallMethodNoArgs(self, name);
}

/* Call a method; return whether what it returns is true, -1 on errors. */
static int ask(PyObject *self, PyObject *name)
{
    PyObject *answer = call(self, name);
    int is_true = answer == NULL ? -1 : PyObject_IsTrue(answer);

    Py_XDECREF(answer);
    return is_true;
}

static int tell(PyObject *self, PyObject *name, PyObject *argument)
{
    PyObject *answer = argument == NULL ? call(self, name) : PyObject_CallMethodOneArg(self, name, argument);

    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* The socket */

/* Return the descriptor of a socket of the standard library without TLS; -1 if it is anything else. */
static int descriptor(Turns *turns, PyObject *transport)
{
    PyObject *sock, *number;
    long fd;

    if (transport == NULL || !Py_IS_TYPE(transport, turns->transport.cls))
        return -1;
    sock = *slot(&turns->transport, transport, SOCK);
    if (sock == NULL || !Py_IS_TYPE(sock, turns->socket))
        return -1;
    number = call(sock, NAME(FILENO));  /* It may have been closed, and its number used again. */
    fd = number == NULL ? -1 : PyLong_AsLong(number);
    Py_XDECREF(number);
    PyErr_Clear();
    return (int)fd;
}

/* Queue what the kernel has not taken of a frame, as the next one may come from another thread. */
static int keep_rest(Turns *turns, PyObject *self, PyObject *frame, Py_ssize_t sent)
{
    PyObject *lock = Py_NewRef(OF(LOCK)), *kept = NULL, *taken = call(lock, NAME(ACQUIRE));

    if (taken != NULL) {
        PyObject *rest = PyBytes_FromStringAndSize(PyBytes_AS_STRING(frame) + sent, PyBytes_GET_SIZE(frame) - sent);

        if (rest != NULL)
            kept = PyObject_CallMethodOneArg(self, NAME(KEEP), rest);
        Py_XDECREF(rest);
        if (tell(lock, NAME(RELEASE), NULL) < 0)
            Py_CLEAR(kept);
    }
    Py_XDECREF(taken);
    Py_DECREF(lock);
    Py_XDECREF(kept);
    return kept == NULL ? -1 : tell(self, NAME(SETTLE), NULL);
}

/* Write a frame, behind what has gathered; 0 if it is not the time for that, -1 on errors. */
static int write_frame(Turns *turns, PyObject *self, PyObject *frame)
{
    PyObject *gathered = OF(GATHERED);
    Py_ssize_t sent;
    int fd, result = 1;

    if (!PyList_CheckExact(gathered) || PyList_GET_SIZE(gathered) != 0 || !PyBytes_CheckExact(OF(OUTGOING)) ||
        PyBytes_GET_SIZE(OF(OUTGOING)) != 0 || OF(DEFERRED) != Py_None || !IS_FALSE(SEALED) || !IS_FALSE(BROKEN) ||
        !IS_FALSE(ENDING))
        return 0;
    if ((fd = descriptor(turns, OF(TRANSPORT))) < 0)
        return 0;
    if ((result = ask(OF(LOCK), NAME(LOCKED))) != 0)
        return result < 0 ? -1 : 0;
    sent = send(fd, PyBytes_AS_STRING(frame), (size_t)PyBytes_GET_SIZE(frame), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0)
        return 0;
    if (sent < PyBytes_GET_SIZE(frame) && keep_rest(turns, self, frame, sent) < 0)
        return -1;
    return 1;
}

/* Sending */

/* Append a frame to others that this thread sends together; 0 if it cannot be done here. */
static int gather(Turns *turns, PyObject *self, PyObject *frame)
{
    PyObject *gathered = OF(GATHERED), *size;
    Py_ssize_t all;

    if (PyLong_AsUnsignedLongMask(OF(GATHERER)) != PyThread_get_thread_ident() || PyErr_Occurred())
        return PyErr_Occurred() ? -1 : 0;
    if (!PyList_CheckExact(gathered) || PyList_GET_SIZE(gathered) == 0)
        return 0;
    all = PyLong_AsSsize_t(OF(GATHERED_SIZE));
    if (all < 0 || (all += PyBytes_GET_SIZE(frame)) > FEW)
        return PyErr_Occurred() ? -1 : 0;
    if ((size = PyLong_FromSsize_t(all)) == NULL)
        return -1;
    put(&OF(GATHERED_SIZE), size);
    Py_DECREF(size);
    return PyList_Append(gathered, frame) < 0 ? -1 : 1;
}

/* Return the frame of what is passed to send(); NULL without an exception if that is not plain. */
static PyObject *make_frame(PyObject *payload, int is_binary)
{
    const char *data;
    Py_ssize_t size;
    uint8_t head[10];
    PyObject *frame;
    int length;

    if (PyBytes_CheckExact(payload)) {
        data = PyBytes_AS_STRING(payload);
        size = PyBytes_GET_SIZE(payload);
    }
    else if (!is_binary && PyUnicode_CheckExact(payload) && PyUnicode_READY(payload) == 0 && PyUnicode_IS_ASCII(payload)) {
        data = PyUnicode_DATA(payload);
        size = PyUnicode_GET_LENGTH(payload);
    }
    else
        return NULL;
    if (size >= SHORT)
        return NULL;
    length = write_header(head, FIN | (is_binary ? BINARY : TEXT), size, 0);
    frame = PyBytes_FromStringAndSize(NULL, length + size);
    if (frame != NULL) {
        memcpy(PyBytes_AS_STRING(frame), head, (size_t)length);
        memcpy(PyBytes_AS_STRING(frame) + length, data, (size_t)size);
    }
    return frame;
}

/* send(self, payload, binary=False, compress=True) */
static PyObject *fast_send(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    Turns *turns = &hastened->state->turns;
    PyObject *self = args[0], *binary = count > 2 ? args[2] : Py_False, *stream, *frame;
    int done;

    if (count < 2 || count > 4 || (binary != Py_True && binary != Py_False) || !fits(turns, self))
        return NULL;
    if (!IS_FALSE(OVER) || OF(CONNECTED) != Py_True || !IS_FALSE(CLOSE_SENT) || OF(FRAGMENTER) != Py_None ||
        OF(DEFLATER) != Py_None || OF(GATHERER) == NULL || OF(GATHERED) == NULL || OF(OUTGOING) == NULL)
        return NULL;
    stream = OF(STREAM);
    if (stream == NULL || !Py_IS_TYPE(stream, turns->stream.cls) ||
        *slot(&turns->stream, stream, ALWAYS_MASK) != Py_False)
        return NULL;
    if ((frame = make_frame(args[1], binary == Py_True)) == NULL)
        return NULL;
    done = OF(GATHERER) == Py_None ? write_frame(turns, self, frame) : gather(turns, self, frame);
    Py_DECREF(frame);
    return done == 1 ? Py_NewRef(Py_None) : NULL;
}

/* Receiving */

/* A turn of a WebSocket: what it is given, and how far it has come. */
typedef struct {
    State *state;
    PyObject *self, *stream, *me;
    PyObject *chunk;      /* that has data; NULL as long as that is in the room */
    const uint8_t *data;
    Py_ssize_t size, pos, most;
    int is_masked;
    int64_t begun, took;  /* ns, if there is more than one message */
} Turn;

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Look up how long a message may be; -1 if none is plain, -2 on errors. */
static Py_ssize_t find_most(Turns *turns, PyObject *self)
{
    PyObject *fragments, *size, *limits = PyObject_GetAttr(self, NAME(LIMITS));

    if (limits == NULL)
        return -2;
    if (limits == turns->limits) {
        Py_DECREF(limits);
        return turns->most;
    }
    fragments = PyObject_GetAttr(limits, NAME(MAX_FRAGMENTS));
    size = PyObject_GetAttr(limits, NAME(MAX_MESSAGE_SIZE));
    if (fragments == NULL || size == NULL)
        turns->most = -2;
    else if (fragments != Py_None && PyObject_Not(fragments))
        turns->most = -1;
    else if (size == Py_None)
        turns->most = LONGEST;
    else if (ws4py_read_most(size, &turns->most) < 0)
        turns->most = -2;
    Py_XDECREF(fragments);
    Py_XDECREF(size);
    Py_XSETREF(turns->limits, limits);
    if (turns->most == -2)
        Py_CLEAR(turns->limits);
    return turns->most;
}

/* Give a message to the application; what that raises closes the connection. */
static int give(Turns *turns, PyObject *self, PyObject *message)
{
    PyObject *type, *error, *traceback, *args[2] = {self, message};
    PyObject *result = PyObject_VectorcallMethod(NAME(RECEIVED_MESSAGE), args, 2, NULL);
    int failed;

    Py_XDECREF(result);
    if (result != NULL)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    failed = tell(self, NAME(CRASHED), error);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return failed;
}

/* Say whether to go on here with what has come together; -1 on errors. */
static int goes_on(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;

    if (OF(STREAM) != turn->stream || !IS_FALSE(ENDING) || !IS_FALSE(OVER) || !IS_FALSE(DISCARDING) ||
        !IS_FALSE(CLOSE_RECEIVED)) {
        turn->pos = turn->size;  /* Nothing that follows matters any more. */
        return 0;
    }
    if (PyObject_IsTrue(OF(ANSWERS))) {
        int has_room = ask(self, NAME(HAS_ROOM));

        if (has_room == 0) {
            PyObject *rest = PyBytes_FromStringAndSize((char *)turn->data + turn->pos, turn->size - turn->pos);
            PyObject *buf = rest == NULL ? NULL : PyNumber_Add(OF(BUF), rest);

            if (buf != NULL)
                put(&OF(BUF), buf);
            Py_XDECREF(rest);
            Py_XDECREF(buf);
            turn->pos = turn->size;
            return buf == NULL ? -1 : 0;
        }
        if (has_room < 0)
            return -1;
    }
    if (turn->pos == turn->size || !IS_FALSE(FAILED) || *slot(&turns->stream, turn->stream, RESTS) != Py_True)
        return 0;
    turn->took = now() - turn->begun;
    if (turn->took < BRIEFLY)
        return 1;
    return PyList_GET_SIZE(OF(GATHERED)) == 0 ? 0 : tell(self, NAME(FLUSH), NULL);
}

/* Handle plain messages as far as they go; -1 on errors. */
static int handle(Turn *turn, Place *place)
{
    State *state = turn->state;
    Turns *turns = &state->turns;
    PyObject *self = turn->self;
    Kind text = {turns->text, -1}, binary = {turns->binary, -1};
    int gathers = -1, going = 1;

    do {
        PyObject *message, *payload = read_payload(turn->data, place, turn->is_masked);
        int failed;

        if (payload == NULL)
            return PyErr_Occurred() ? -1 : 0;
        if (place->end < turn->size) {
            if (turn->chunk == NULL) {  /* What is called may read into the room. */
                turn->chunk = PyBytes_FromStringAndSize((char *)turn->data, turn->size);
                if (turn->chunk == NULL) {
                    Py_DECREF(payload);
                    return -1;
                }
                turn->data = (uint8_t *)PyBytes_AS_STRING(turn->chunk);
            }
            if (gathers < 0) {
                PyObject *wanted = PyObject_GetAttr(self, NAME(GATHER));

                turn->begun = now();
                gathers = wanted == NULL ? -1 : PyObject_IsTrue(wanted);
                Py_XDECREF(wanted);
            }
        }
        message = ws4py_make_message(state, place->is_text ? &text : &binary, payload);
        Py_DECREF(payload);
        if (message == NULL)
            return -1;
        put(&OF(GATHERER), place->end < turn->size && gathers > 0 ? turn->me : Py_None);
        failed = give(turns, self, message);
        Py_DECREF(message);
        turn->pos = place->end;
        if (failed || (going = goes_on(turn)) < 0)
            return -1;
    } while (going && find_message(turn->data, turn->size, turn->pos, turn->is_masked, turn->most, place));
    return 0;
}

/* Send what has gathered; an exception that is there stays. */
static int end_turn(Turns *turns, PyObject *self)
{
    PyObject *type, *error, *traceback;
    int failed = 0;

    PyErr_Fetch(&type, &error, &traceback);
    put(&OF(GATHERER), Py_None);
    if (!PyList_CheckExact(OF(GATHERED)) || PyList_GET_SIZE(OF(GATHERED)) != 0)
        failed = tell(self, NAME(FLUSH), NULL);
    put(&OF(BUSY), Py_None);
    if (type != NULL) {
        PyErr_Clear();
        PyErr_Restore(type, error, traceback);
        return -1;
    }
    return failed;
}

/* Handle what begins with a plain message, and let WebSocket._parse handle the rest; return what that
 * does. NULL without an exception: there is no plain message at the beginning. */
static PyObject *take_turn(State *state, PyObject *self, PyObject *chunk, const uint8_t *data, Py_ssize_t size)
{
    Turns *turns = &state->turns;
    PyObject *stream = OF(STREAM), *result = NULL;
    Turn turn = {state, self, stream, NULL, chunk, data, size, 0, 0, 0, 0, 0};
    Place place;

    turn.is_masked = *slot(&turns->stream, stream, EXPECT_MASKING) == Py_True;
    turn.most = find_most(turns, self);
    if (turn.most < 0 || !find_message(data, size, 0, turn.is_masked, turn.most, &place))
        return NULL;
    if ((turn.me = call(OF(DRIVER), NAME(GET_IDENT))) == NULL)
        return NULL;
    Py_INCREF(stream);
    Py_XINCREF(chunk);
    put(&OF(BUSY), turn.me);
    if (handle(&turn, &place) < 0)
        end_turn(turns, self);
    else if (turn.pos < turn.size) {
        PyObject *rest = PyBytes_FromStringAndSize((char *)turn.data + turn.pos, turn.size - turn.pos);

        if (rest != NULL) {
            PyObject *seconds = PyFloat_FromDouble((double)turn.took / 1e9), *args[3] = {self, rest, seconds};

            result = seconds == NULL ? NULL : PyObject_Vectorcall(turns->parse, args, 3, NULL);
            Py_XDECREF(seconds);
            Py_DECREF(rest);
        }
        else
            end_turn(turns, self);
    }
    else if (end_turn(turns, self) == 0) {
        int done = IS_FALSE(ENDING) && IS_FALSE(CLOSE_SENT) && IS_FALSE(OVER) ? 0 : ask(self, NAME(IS_DONE));
        result = done < 0 ? NULL : Py_NewRef(done ? Py_False : Py_True);
    }
    Py_DECREF(stream);
    Py_XDECREF(turn.chunk);
    Py_DECREF(turn.me);
    return result;
}

/* Say whether a class handles what is received as WebSocket does. */
static int is_plain(Turns *turns, PyTypeObject *cls)
{
    PyObject *awaits, *process;
    int plain;

    if (cls->tp_version_tag != 0 && PyType_HasFeature(cls, Py_TPFLAGS_VALID_VERSION_TAG) &&
        cls->tp_version_tag == turns->plain)
        return 1;
    awaits = PyObject_GetAttr((PyObject *)cls, NAME(AWAITS));
    process = PyObject_GetAttr((PyObject *)cls, NAME(PROCESS));
    plain = awaits == Py_False && process == turns->process;
    Py_XDECREF(awaits);
    Py_XDECREF(process);
    PyErr_Clear();
    if (plain)
        turns->plain = cls->tp_version_tag;
    return plain;
}

static int is_at_rest(Turns *turns, PyObject *self)
{
    PyObject *stream = OF(STREAM);

    return stream != NULL && Py_IS_TYPE(stream, turns->stream.cls) &&
           *slot(&turns->stream, stream, RESTS) == Py_True && IS_FALSE(OVER) && IS_FALSE(FAILED) &&
           OF(ANSWERS) != NULL && OF(GATHERED) != NULL && OF(DRIVER) != NULL;
}

/* _parse(self, data) */
static PyObject *fast_parse(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    Turns *turns = &hastened->state->turns;
    PyObject *self = args[0];

    if (count != 2 || !PyBytes_CheckExact(args[1]) || !fits(turns, self) || !is_at_rest(turns, self) ||
        !is_plain(turns, Py_TYPE(self)))
        return NULL;
    return take_turn(hastened->state, self, args[1], (uint8_t *)PyBytes_AS_STRING(args[1]), PyBytes_GET_SIZE(args[1]));
}

static Py_ssize_t find_reading_size(Turns *turns, PyObject *self)
{
    PyObject *size = PyObject_GetAttr(self, NAME(READING_BUFFER_SIZE));
    Py_ssize_t number = size != NULL && PyLong_CheckExact(size) ? PyLong_AsSsize_t(size) : -1;

    Py_XDECREF(size);
    PyErr_Clear();
    return number < ROOM ? number : ROOM;
}

static PyObject *fail_to_read(Turns *turns, PyObject *self)
{
    PyObject *type, *error, *traceback;
    int failed;

    PyErr_SetFromErrno(PyExc_OSError);
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    failed = tell(self, NAME(READ_FAILED), error);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return failed ? NULL : Py_NewRef(Py_False);
}

/* Process what has been read, as bytes. */
static PyObject *process(Turns *turns, PyObject *self, Py_ssize_t size)
{
    PyObject *result, *came = PyLong_FromSsize_t(size), *data = PyBytes_FromStringAndSize((char *)turns->room, size);

    if (came == NULL || data == NULL) {
        Py_XDECREF(came);
        Py_XDECREF(data);
        return NULL;
    }
    put(&OF(CAME), came);
    result = PyObject_CallMethodOneArg(self, NAME(PROCESS), data);
    Py_DECREF(came);
    Py_DECREF(data);
    return result;
}

/* once(self) */
static PyObject *fast_once(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    Turns *turns = &hastened->state->turns;
    PyObject *self = args[0], *result, *buf;
    Py_ssize_t size;
    int fd;

    if (count != 1 || !fits(turns, self) || !is_at_rest(turns, self) || !IS_FALSE(DRAINING) ||
        !IS_FALSE(DISCARDING) || !is_plain(turns, Py_TYPE(self)))
        return NULL;
    buf = OF(BUF);
    if (buf == NULL || !PyBytes_CheckExact(buf) || PyBytes_GET_SIZE(buf) != 0 ||
        (fd = descriptor(turns, OF(TRANSPORT))) < 0 ||
        *slot(&turns->transport, OF(TRANSPORT), BLOCKS) != Py_False || (size = find_reading_size(turns, self)) <= 0)
        return NULL;
    size = recv(fd, turns->room, (size_t)size, MSG_DONTWAIT);
    if (size < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? Py_NewRef(Py_True)
                                                                        : fail_to_read(turns, self);
    if (size > 0)
        put(&OF(ALIVE), Py_True);
    result = size == 0 ? NULL : take_turn(hastened->state, self, NULL, turns->room, size);
    if (result == NULL && !PyErr_Occurred())
        result = process(turns, self, size);
    if (result == Py_True && PyObject_IsTrue(OF(BUF))) {
        int pending = ask(self, NAME(PENDING));

        if (pending) {
            Py_DECREF(result);
            return pending < 0 ? NULL : PyObject_CallOneArg(hastened->function, self);
        }
    }
    return result;
}

/* What is hastened */

static PyObject *hastened_call(PyObject *callable, PyObject *const *args, size_t count, PyObject *names)
{
    Hastened *self = (Hastened *)callable;

    if (names == NULL && PyVectorcall_NARGS(count) > 0) {
        PyObject *result = self->fast(self, args, PyVectorcall_NARGS(count));

        if (result != NULL || PyErr_Occurred())
            return result;
    }
    return PyObject_Vectorcall(self->function, args, count, names);
}

static PyObject *hastened_get(PyObject *self, PyObject *instance, PyObject *Py_UNUSED(owner))
{
    return instance == NULL ? Py_NewRef(self) : PyMethod_New(self, instance);
}

/* For those who ask for the name, the documentation or the signature. */
static PyObject *hastened_getattro(PyObject *self, PyObject *name)
{
    PyObject *found = PyObject_GenericGetAttr(self, name);

    if (found != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return found;
    PyErr_Clear();
    return PyObject_GetAttr(((Hastened *)self)->function, name);
}

static PyObject *hastened_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<hastened %R>", ((Hastened *)self)->function);
}

static int hastened_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Hastened *)self)->function);
    Py_VISIT(((Hastened *)self)->module);
    return 0;
}

static int hastened_clear(PyObject *self)
{
    Py_CLEAR(((Hastened *)self)->function);
    return 0;
}

static void hastened_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    hastened_clear(self);
    Py_CLEAR(((Hastened *)self)->module);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef hastened_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Hastened, vectorcall), READONLY, NULL},
    {"__wrapped__", T_OBJECT, offsetof(Hastened, function), READONLY, "The method that is written in Python."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot hastened_slots[] = {
    {Py_tp_call, (void *)PyVectorcall_Call},
    {Py_tp_descr_get, (void *)hastened_get},
    {Py_tp_getattro, (void *)hastened_getattro},
    {Py_tp_repr, (void *)hastened_repr},
    {Py_tp_traverse, (void *)hastened_traverse},
    {Py_tp_clear, (void *)hastened_clear},
    {Py_tp_dealloc, (void *)hastened_dealloc},
    {Py_tp_members, hastened_members},
    {0, NULL},
};

static PyType_Spec hastened_spec = {
    .name = "ws4py._speedups.Hastened",
    .basicsize = sizeof(Hastened),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = hastened_slots,
};

static PyObject *make_hastened(PyObject *module, Turns *turns, PyObject *function, Fast fast)
{
    PyTypeObject *type = (PyTypeObject *)turns->hastened;
    Hastened *made = (Hastened *)type->tp_alloc(type, 0);

    if (made == NULL)
        return NULL;
    made->vectorcall = hastened_call;
    made->function = Py_NewRef(function);
    made->module = Py_NewRef(module);
    made->state = (State *)PyModule_GetState(module);
    made->fast = fast;
    return (PyObject *)made;
}

PyObject *ws4py_hasten(PyObject *module, PyObject *function)
{
    Turns *turns = &((State *)PyModule_GetState(module))->turns;
    PyObject *name = PyObject_GetAttrString(function, "__name__");
    PyObject *hastened = NULL;

    if (name == NULL)
        return NULL;
    if (!HASTENS)
        hastened = Py_NewRef(function);
    else if (PyUnicode_CompareWithASCIIString(name, "send") == 0)
        hastened = make_hastened(module, turns, function, fast_send);
    else if (PyUnicode_CompareWithASCIIString(name, "once") == 0)
        hastened = make_hastened(module, turns, function, fast_once);
    else if (PyUnicode_CompareWithASCIIString(name, "_parse") == 0) {
        Py_XSETREF(turns->parse, Py_NewRef(function));
        hastened = make_hastened(module, turns, function, fast_parse);
    }
    else if (PyUnicode_CompareWithASCIIString(name, "process") == 0) {
        Py_XSETREF(turns->process, Py_NewRef(function));
        hastened = Py_NewRef(function);
    }
    else
        PyErr_Format(PyExc_ValueError, "there is no compiled counterpart of %R", function);
    Py_DECREF(name);
    return hastened;
}

/* The module's part */

int ws4py_turns_exec(PyObject *module, State *state)
{
    Turns *turns = &state->turns;
    int i;

    turns->hastened = PyType_FromSpec(&hastened_spec);
    turns->room = PyMem_Malloc(ROOM);
    for (i = 0; i < NAMES; i++)
        if ((turns->names[i] = PyUnicode_InternFromString(NAMED[i])) == NULL)
            return -1;
    if (turns->room == NULL)
        PyErr_NoMemory();
    (void)module;
    return turns->hastened == NULL || turns->room == NULL ? -1 : 0;
}

#define EACH(act) \
    act(turns->hastened); \
    act(turns->websocket.cls); \
    act(turns->stream.cls); \
    act(turns->transport.cls); \
    act(turns->socket); \
    act(turns->text); \
    act(turns->binary); \
    act(turns->parse); \
    act(turns->process); \
    act(turns->limits)

int ws4py_turns_traverse(State *state, visitproc visit, void *arg)
{
    Turns *turns = &state->turns;

    EACH(Py_VISIT);
    return 0;
}

void ws4py_turns_clear(State *state)
{
    Turns *turns = &state->turns;
    int i;

    EACH(Py_CLEAR);
    for (i = 0; i < NAMES; i++)
        Py_CLEAR(turns->names[i]);
    PyMem_Free(turns->room);
    turns->room = NULL;
}
