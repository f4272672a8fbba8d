/* What WebSocket.send does with a message that is not long: see turns.h. */
#include "turns.h"

#if HASTENS

enum {
    SHORT = 16 * 1024,      /* bytes from which on a payload that does not gather is written beside its header */
    LITTLE = 512,           /* bytes of a frame that is not counted, as long as those that gather are FEW */
    FEW = 64,
    MUCH = 64 * 1024,       /* bytes that gather here, of those that are counted */
};

/* A frame, or its header and a payload beside it. */
typedef struct {
    PyObject *bytes;
    const char *payload;
    Py_ssize_t size;  /* of what is beside it */
} Frame;

enum { WRITTEN = 1, REFUSED };  /* what has become of frames; refused is what the kernel has not taken, and kept */

/* Return the descriptor of a socket of the standard library without TLS; -1 if it is anything else. */
int ws4py_descriptor(Turns *turns, PyObject *transport)
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

/* Queue what the kernel has not taken, where nothing was: what _keep does, and before others can run. -1 on errors. */
static int keep_rest(Turns *turns, PyObject *self, const Frame *frame, Py_ssize_t sent)
{
    Py_ssize_t first = PyBytes_GET_SIZE(frame->bytes), size = first + frame->size - sent;
    Py_ssize_t left = sent < first ? first - sent : 0;  /* of the first part */
    PyObject *rest = PyBytes_FromStringAndSize(NULL, size);

    if (rest == NULL)
        return -1;
    memcpy(PyBytes_AS_STRING(rest), PyBytes_AS_STRING(frame->bytes) + first - left, (size_t)left);
    if (frame->size > 0)
        memcpy(PyBytes_AS_STRING(rest) + left, frame->payload + frame->size - (size - left), (size_t)(size - left));
    put(&OF(OUTGOING), rest);
    Py_DECREF(rest);
    if (OF(BUSY) == Py_None || PyLong_AsUnsignedLongMask(OF(BUSY)) != PyThread_get_thread_ident())
        return PyErr_Occurred() ? -1 : 0;
    size += PyLong_AsSsize_t(OF(ANSWERS));
    return PyErr_Occurred() ? -1 : put_number(&OF(ANSWERS), size);
}

/* Return what has gathered, and a frame behind it if there is one; NULL without an exception if not all of it
 * are frames. */
static PyObject *join(PyObject *gathered, PyObject *frame)
{
    Py_ssize_t i, count = PyList_GET_SIZE(gathered), size = frame == NULL ? 0 : PyBytes_GET_SIZE(frame);
    PyObject *joined;
    char *out;

    if (count == 0)
        return frame == NULL ? NULL : Py_NewRef(frame);
    for (i = 0; i < count; i++) {
        if (!PyBytes_CheckExact(PyList_GET_ITEM(gathered, i)))
            return NULL;
        size += PyBytes_GET_SIZE(PyList_GET_ITEM(gathered, i));
    }
    if ((joined = PyBytes_FromStringAndSize(NULL, size)) == NULL)
        return NULL;
    out = PyBytes_AS_STRING(joined);
    for (i = 0; i < count + (frame != NULL); i++) {
        PyObject *part = i < count ? PyList_GET_ITEM(gathered, i) : frame;

        memcpy(out, PyBytes_AS_STRING(part), (size_t)PyBytes_GET_SIZE(part));
        out += PyBytes_GET_SIZE(part);
    }
    return joined;
}

static Py_ssize_t write_parts(int fd, const Frame *frame)
{
    struct iovec parts[2] = {{PyBytes_AS_STRING(frame->bytes), (size_t)PyBytes_GET_SIZE(frame->bytes)},
                             {(char *)frame->payload, (size_t)frame->size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Write what is all that gathered holds and more; 0 if the kernel takes nothing, -1 on errors. */
static int write_bytes(Turns *turns, PyObject *self, int fd, const Frame *frame)
{
    PyObject *gathered = OF(GATHERED);
    Py_ssize_t size = PyBytes_GET_SIZE(frame->bytes);
    Py_ssize_t sent = frame->size > 0
                          ? write_parts(fd, frame)
                          : send(fd, PyBytes_AS_STRING(frame->bytes), (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    int error = sent < 0 ? errno : 0;

    if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR)
        return 0;
    if (PyList_GET_SIZE(gathered) != 0 && PyList_SetSlice(gathered, 0, PyList_GET_SIZE(gathered), NULL) < 0)
        return -1;
    if (sent == size + frame->size)
        return WRITTEN;
    if (sent >= 0)
        return keep_rest(turns, self, frame, sent) < 0 ? -1 : REFUSED;
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);  /* The kernel says it only once. */
    return tell_of_error(self, NAME(WRITE_FAILED)) < 0 ? -1 : REFUSED;
}

/* Write what has gathered, and a frame behind it if there is one; 0 if it is not the time for that, -1 on errors. */
static int write_frames(Turns *turns, PyObject *self, const Frame *frame)
{
    Frame all = frame != NULL ? *frame : (Frame){0};
    int result, fd = ws4py_descriptor(turns, OF(TRANSPORT));  /* which may let others run: the state comes after it */

    if (fd < 0 || OF(LOCK) == NULL || OF(BUSY) == NULL || OF(ANSWERS) == NULL || !IS_FALSE(OVER) ||
        OF(FRAGMENTER) != Py_None || !PyList_CheckExact(OF(GATHERED)) || !PyBytes_CheckExact(OF(OUTGOING)) ||
        PyBytes_GET_SIZE(OF(OUTGOING)) != 0 || OF(DEFERRED) != Py_None || !IS_FALSE(SEALED) || !IS_FALSE(BROKEN) ||
        !IS_FALSE(ENDING))
        return 0;
    if (PyList_GET_SIZE(OF(GATHERED)) != 0 && PyLong_AsUnsignedLongMask(OF(BUSY)) != PyThread_get_thread_ident()) {
        PyErr_Clear();  /* They are answers of callbacks that have returned, and counted as such elsewhere. */
        return 0;
    }
    if ((result = ask(OF(LOCK), NAME(LOCKED))) != 0)
        return result < 0 ? -1 : 0;
    if ((all.bytes = join(OF(GATHERED), all.bytes)) == NULL)
        return PyErr_Occurred() ? -1 : 0;
    result = write_bytes(turns, self, fd, &all);
    Py_DECREF(all.bytes);
    return result;
}

/* flush(), at the end of a turn, or what else is to be done about what is queued then; -1 on errors. */
int ws4py_flush(Turns *turns, PyObject *self)
{
    int done;

    if (OF(GATHERED) == NULL || OF(OUTGOING) == NULL)
        return ask(self, NAME(FLUSH));  /* which complains */
    if (PyList_CheckExact(OF(GATHERED)) && PyList_GET_SIZE(OF(GATHERED)) == 0) {
        if ((PyBytes_CheckExact(OF(OUTGOING)) && PyBytes_GET_SIZE(OF(OUTGOING)) == 0) || !IS_FALSE(DRAINING))
            return 0;
        return ask(self, NAME(SETTLE));  /* A callback has taken the connection from who would have drained it. */
    }
    done = write_frames(turns, self, NULL);
    if (done == WRITTEN || done < 0)
        return done;
    return ask(self, done == REFUSED ? NAME(SETTLE) : NAME(FLUSH));
}

/* Count a frame, but the first short ones: they are never much. 0 if it is too much, -1 on errors. */
static int count_frame(Turns *turns, PyObject *self, Py_ssize_t size)
{
    if (size <= LITTLE && PyList_GET_SIZE(OF(GATHERED)) < FEW)
        return 1;
    size += PyLong_AsSsize_t(OF(GATHERED_SIZE));
    if (size > MUCH || PyErr_Occurred())
        return PyErr_Occurred() ? -1 : 0;
    return put_number(&OF(GATHERED_SIZE), size) < 0 ? -1 : 1;
}

/* Append a frame to others that this thread sends together; 0 if it cannot be done here. */
static int gather(Turns *turns, PyObject *self, PyObject *frame)
{
    PyObject *driver, *result;
    int counted, begins = PyList_GET_SIZE(OF(GATHERED)) == 0;

    if (PyLong_AsUnsignedLongMask(OF(GATHERER)) != PyThread_get_thread_ident())
        return PyErr_Occurred() ? -1 : 0;
    if (begins && put_number(&OF(GATHERED_SIZE), 0) < 0)
        return -1;
    if ((counted = count_frame(turns, self, PyBytes_GET_SIZE(frame))) <= 0)
        return counted;
    if (PyList_Append(OF(GATHERED), frame) < 0)
        return -1;
    if (!begins)
        return WRITTEN;
    driver = Py_NewRef(OF(DRIVER));
    result = PyObject_CallMethodOneArg(driver, NAME(GATHERS), self);
    Py_DECREF(driver);
    Py_XDECREF(result);
    return result == NULL ? -1 : WRITTEN;
}

/* Make the frame of what is passed to send(), in one part up to a payload that long; 0 if it is not plain, -1 on
 * errors. */
static int make_frame(Frame *frame, PyObject *payload, int is_binary, Py_ssize_t whole)
{
    const char *data;
    Py_ssize_t size;
    uint8_t head[10];
    int length, is_whole;

    if (PyBytes_CheckExact(payload)) {
        data = PyBytes_AS_STRING(payload);
        size = PyBytes_GET_SIZE(payload);
    }
    else if (!is_binary && PyUnicode_CheckExact(payload) && PyUnicode_READY(payload) == 0 &&
             PyUnicode_IS_ASCII(payload)) {
        data = PyUnicode_DATA(payload);
        size = PyUnicode_GET_LENGTH(payload);
    }
    else
        return 0;
    if (size > LONGEST)
        return 0;
    is_whole = size <= whole;
    length = write_header(head, FIN | (is_binary ? BINARY : TEXT), size, 0);
    *frame = (Frame){PyBytes_FromStringAndSize(NULL, length + (is_whole ? size : 0)), data, is_whole ? 0 : size};
    if (frame->bytes == NULL)
        return -1;
    memcpy(PyBytes_AS_STRING(frame->bytes), head, (size_t)length);
    if (is_whole)
        memcpy(PyBytes_AS_STRING(frame->bytes) + length, data, (size_t)size);
    return 1;
}

/* Whether a message can become a frame that is neither compressed nor masked, and be written now. */
static int takes_frames(Turns *turns, PyObject *self)
{
    PyObject *stream;

    if (!ws4py_fits(turns, self) || !ws4py_writes(turns, Py_TYPE(self)))
        return 0;
    if (!IS_FALSE(OVER) || OF(CONNECTED) != Py_True || !IS_FALSE(CLOSE_SENT) || OF(FRAGMENTER) != Py_None ||
        OF(DEFLATER) != Py_None || OF(DRIVER) == NULL || OF(GATHERER) == NULL || OF(GATHERED) == NULL ||
        OF(OUTGOING) == NULL)
        return 0;
    stream = OF(STREAM);
    return stream != NULL && Py_IS_TYPE(stream, turns->stream.cls) &&
           *slot(&turns->stream, stream, ALWAYS_MASK) == Py_False;
}

/* send(self, payload, binary=False, compress=True) */
PyObject *ws4py_send(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    Turns *turns = &hastened->state->turns;
    PyObject *self = args[0], *binary = count > 2 ? args[2] : Py_False;
    Frame frame;
    int gathers, done;

    if (count < 2 || count > 4 || (binary != Py_True && binary != Py_False) || !takes_frames(turns, self))
        return NULL;
    if (OF(GATHERER) == Py_None ? OF(TRANSPORT) == NULL || !Py_IS_TYPE(OF(TRANSPORT), turns->transport.cls)
                                : !PyList_CheckExact(OF(GATHERED)))
        return NULL;
    gathers = OF(GATHERER) != Py_None;
    if (make_frame(&frame, args[1], binary == Py_True, gathers ? LONGEST : SHORT - 1) <= 0)
        return NULL;
    done = gathers ? gather(turns, self, frame.bytes) : write_frames(turns, self, &frame);
    Py_DECREF(frame.bytes);
    return done == REFUSED ? call(self, NAME(SETTLE_REFUSED)) : done == WRITTEN ? Py_NewRef(Py_None) : NULL;
}

/* Whether send() is the one of Sender, and what it calls. */
static int sends_plainly(Turns *turns, PyObject *self)
{
    PyObject *send = PyObject_GetAttr(self, NAME(SEND));
    PyObject *send_frame = PyObject_GetAttr((PyObject *)Py_TYPE(self), NAME(SEND_FRAME));
    PyObject *function = send != NULL && PyMethod_Check(send) ? PyMethod_GET_FUNCTION(send) : NULL;
    int plain = function != NULL && PyMethod_GET_SELF(send) == self && send_frame == turns->send_frame &&
                Py_IS_TYPE(function, (PyTypeObject *)turns->hastened) && ((Hastened *)function)->fast == ws4py_send;

    Py_XDECREF(send);
    Py_XDECREF(send_frame);
    PyErr_Clear();
    return plain;
}

/* write_each(websockets, frame, begun) */
PyObject *ws4py_write_each(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    Turns *turns = &hastened->state->turns;
    Frame frame = {0};
    PyObject *others;
    Py_ssize_t i;
    int done = 0;

    if (count != 3 || !PyList_CheckExact(args[0]) || !PyBytes_CheckExact(args[1]) ||
        PyBytes_GET_SIZE(args[1]) > SHORT || !PyList_CheckExact(args[2]) || (others = PyList_New(0)) == NULL)
        return NULL;
    frame.bytes = args[1];
    for (i = 0; done >= 0 && i < PyList_GET_SIZE(args[0]); i++) {
        PyObject *self = Py_NewRef(PyList_GET_ITEM(args[0], i));

        /* The state comes last: to look an attribute up may let others run. */
        done = ws4py_fits(turns, self) && sends_plainly(turns, self) && takes_frames(turns, self) &&
                       OF(GATHERER) == Py_None
                   ? write_frames(turns, self, &frame)
                   : 0;
        if (done == 0 || done == REFUSED)
            done = PyList_Append(done == 0 ? others : args[2], self);
        Py_DECREF(self);
    }
    if (done < 0)
        Py_CLEAR(others);
    return others;
}

#endif
