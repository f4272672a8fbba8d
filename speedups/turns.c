/* What WebSocket.once and _parse do with short messages that come whole: see turns.h. */
#include "turns.h"

#if HASTENS

enum { BRIEFLY = 500 * 1000 };  /* ns that messages which came together are handled here */

/* A turn of a WebSocket: what it is given, and how far it has come. */
typedef struct {
    State *state;
    PyObject *self, *stream, *me;
    PyObject *chunk;      /* that has data; NULL: it is in the room */
    uint8_t **room;       /* NULL: there is none; else empty once it has been left */
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

/* Return room to read into, which is nobody else's until it is left: a call may let other threads run. */
static uint8_t *enter_room(Turns *turns)
{
    uint8_t *room = turns->room;

    turns->room = NULL;
    return room != NULL ? room : PyMem_Malloc(ROOM);
}

static void leave_room(Turns *turns, uint8_t **room)
{
    uint8_t *left = *room;

    *room = NULL;
    if (turns->room == NULL)
        turns->room = left;
    else
        PyMem_Free(left);
}

/* Copy what came together, so that the room can be left; -1 on errors. */
static int copy_chunk(Turn *turn)
{
    turn->chunk = PyBytes_FromStringAndSize((char *)turn->data, turn->size);
    if (turn->chunk == NULL)
        return -1;
    turn->data = (uint8_t *)PyBytes_AS_STRING(turn->chunk);
    return 0;
}

static PyObject *rest_of(const Turn *turn)
{
    return PyBytes_FromStringAndSize((char *)turn->data + turn->pos, turn->size - turn->pos);
}

/* Keep what cannot be handled until there is room for the answers; -1 on errors. */
static int put_away(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self, *rest = rest_of(turn), *buf = rest == NULL ? NULL : PyNumber_Add(OF(BUF), rest);

    if (buf != NULL)
        put(&OF(BUF), buf);
    Py_XDECREF(rest);
    Py_XDECREF(buf);
    turn->pos = turn->size;
    return buf == NULL ? -1 : 0;
}

/* Say whether nothing that follows matters any more. */
static int has_ended(const Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;

    return OF(STREAM) != turn->stream || !IS_FALSE(ENDING) || !IS_FALSE(OVER) || !IS_FALSE(DISCARDING) ||
           !IS_FALSE(CLOSE_RECEIVED);
}

/* Say whether to go on here with what has come together; -1 on errors. */
static int goes_on(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;

    if (!has_ended(turn) && PyObject_IsTrue(OF(ANSWERS))) {
        int has_room = ask(self, NAME(HAS_ROOM));

        if (has_room <= 0)
            return has_room < 0 ? -1 : put_away(turn);
    }
    if (has_ended(turn))
        turn->pos = turn->size;
    if (turn->pos == turn->size || !IS_FALSE(FAILED) || *slot(&turns->stream, turn->stream, RESTS) != Py_True)
        return 0;
    turn->took = now() - turn->begun;
    return turn->took < BRIEFLY;
}

/* Note that more has come than a message; return whether what is sent is to gather, -1 on errors. */
static int begin_gathering(Turn *turn)
{
    PyObject *wanted;
    int gathers;

    if (turn->chunk == NULL && copy_chunk(turn) < 0)
        return -1;
    turn->begun = now();
    wanted = PyObject_GetAttr(turn->self, turn->state->turns.names[N_GATHER]);
    gathers = wanted == NULL ? -1 : PyObject_IsTrue(wanted);
    Py_XDECREF(wanted);
    return gathers;
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
        if (place->end < turn->size && gathers < 0 && (gathers = begin_gathering(turn)) < 0) {
            Py_DECREF(payload);
            return -1;
        }
        if (turn->room != NULL && *turn->room != NULL)
            leave_room(turns, turn->room);
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
static PyObject *take_turn(State *state, PyObject *self, PyObject *chunk, const uint8_t *data, Py_ssize_t size,
                           uint8_t **room)
{
    Turns *turns = &state->turns;
    PyObject *stream = OF(STREAM), *result = NULL;
    Turn turn = {state, self, stream, NULL, chunk, room, data, size, 0, 0, 0, 0, 0};
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
        PyObject *rest = rest_of(&turn);

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
PyObject *ws4py_parse(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    Turns *turns = &hastened->state->turns;
    PyObject *self = args[0];

    if (count != 2 || !PyBytes_CheckExact(args[1]) || !ws4py_fits(turns, self) || !is_at_rest(turns, self) ||
        !is_plain(turns, Py_TYPE(self)))
        return NULL;
    return take_turn(hastened->state, self, args[1], (uint8_t *)PyBytes_AS_STRING(args[1]),
                     PyBytes_GET_SIZE(args[1]), NULL);
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
static PyObject *process(Turns *turns, PyObject *self, const uint8_t *read, Py_ssize_t size)
{
    PyObject *result, *came = PyLong_FromSsize_t(size), *data = PyBytes_FromStringAndSize((char *)read, size);

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

/* Read once, and handle what has come. */
static PyObject *receive(State *state, PyObject *self, int fd, uint8_t **room, Py_ssize_t size)
{
    Turns *turns = &state->turns;
    const uint8_t *read = *room;
    PyObject *result;

    size = recv(fd, *room, (size_t)size, MSG_DONTWAIT);
    if (size < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? Py_NewRef(Py_True)
                                                                        : fail_to_read(turns, self);
    if (size == 0)
        return process(turns, self, read, 0);
    put(&OF(ALIVE), Py_True);
    result = take_turn(state, self, NULL, read, size, room);
    return result != NULL || PyErr_Occurred() ? result : process(turns, self, read, size);
}

/* once(self) */
PyObject *ws4py_once(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    Turns *turns = &hastened->state->turns;
    PyObject *self = args[0], *result, *buf;
    uint8_t *room;
    Py_ssize_t size;
    int fd;

    if (count != 1 || !ws4py_fits(turns, self) || !is_at_rest(turns, self) || !IS_FALSE(DRAINING) ||
        !IS_FALSE(DISCARDING) || !is_plain(turns, Py_TYPE(self)))
        return NULL;
    buf = OF(BUF);
    if (buf == NULL || !PyBytes_CheckExact(buf) || PyBytes_GET_SIZE(buf) != 0 ||
        (fd = ws4py_descriptor(turns, OF(TRANSPORT))) < 0 ||
        *slot(&turns->transport, OF(TRANSPORT), BLOCKS) != Py_False || (size = find_reading_size(turns, self)) <= 0)
        return NULL;
    if ((room = enter_room(turns)) == NULL)
        return PyErr_NoMemory();
    result = receive(hastened->state, self, fd, &room, size);
    if (room != NULL)
        leave_room(turns, &room);
    if (result == Py_True && PyObject_IsTrue(OF(BUF))) {
        int pending = ask(self, NAME(PENDING));

        if (pending) {
            Py_DECREF(result);
            return pending < 0 ? NULL : PyObject_CallOneArg(hastened->function, self);
        }
    }
    return result;
}

/* data(self), of a Message */
PyObject *ws4py_data(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    const Shape *shape = &hastened->state->turns.message;
    PyObject *data;

    if (count != 1 || shape->cls == NULL || !PyObject_TypeCheck(args[0], shape->cls))
        return NULL;
    data = *slot(shape, args[0], DATA);
    return data != NULL && PyBytes_CheckExact(data) ? Py_NewRef(data) : NULL;
}

#endif
