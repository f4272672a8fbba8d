/* What WebSocket.once does: see turns.h. */
#include "turns.h"

#if HASTENS

enum {
    LARGEST = 1024 * 1024,  /* bytes that are read at once of a message that has come in part, at most */
    LEAST = 512,            /* what is allocated for it, unless it is shorter */
    GROWTH = 5,             /* or else, at most, for a byte that has come */
};

/* Return room to read into, which is nobody else's until it is left: a call may let other threads run. */
static uint8_t *enter_room(Turns *turns)
{
    uint8_t *room = turns->room;

    turns->room = NULL;
    return room != NULL ? room : PyMem_Malloc(ROOM);
}

void ws4py_leave_room(Turns *turns, uint8_t **room)
{
    uint8_t *left = *room;

    *room = NULL;
    if (turns->room == NULL)
        turns->room = left;
    else
        PyMem_Free(left);
}

static Py_ssize_t find_reading_size(Turns *turns, PyObject *self)
{
    PyObject *size = PyObject_GetAttr(self, NAME(READING_BUFFER_SIZE));
    Py_ssize_t number = size != NULL && PyLong_CheckExact(size) ? PyLong_AsSsize_t(size) : -1;

    Py_XDECREF(size);
    PyErr_Clear();
    return number < ROOM ? number : ROOM;
}

/* Let WebSocket.process handle bytes, which may be NULL on errors. */
static PyObject *process(Turns *turns, PyObject *self, PyObject *data)
{
    PyObject *result = NULL;

    if (data != NULL && put_number(&OF(CAME), PyBytes_GET_SIZE(data)) == 0)
        result = PyObject_CallMethodOneArg(self, NAME(PROCESS), data);
    Py_XDECREF(data);
    return result;
}

/* A read has brought nothing: there is nothing, or the end (0), or an error. */
static PyObject *find_nothing(Turns *turns, PyObject *self, Py_ssize_t size)
{
    if (size == 0)
        return process(turns, self, PyBytes_FromStringAndSize(NULL, 0));
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return Py_NewRef(Py_True);
    PyErr_SetFromErrno(PyExc_OSError);
    return tell_of_error(self, NAME(READ_FAILED)) < 0 ? NULL : Py_NewRef(Py_False);
}

/* Return how many bytes are allocated for a message of which some have come: one of a few sizes, each GROWTH times the
 * one before, so that no peer can have its bytes copied again and again. */
static Py_ssize_t capacity(Py_ssize_t has, const Place *place)
{
    Py_ssize_t size = LEAST;

    while (size <= has && size < place->end / GROWTH)
        size *= GROWTH;
    return size <= has || size > place->end ? place->end : size;
}

/* Allocate that. What bytes hold beyond their size is nobody else's business. */
static int reserve(PyObject **chunk, const Place *place)
{
    return _PyBytes_Resize(chunk, capacity(PyBytes_GET_SIZE(*chunk), place));
}

static void set_size(PyObject *chunk, Py_ssize_t size)
{
    Py_SET_SIZE((PyVarObject *)chunk, size);
    PyBytes_AS_STRING(chunk)[size] = 0;
}

/* Keep what has come of a message, as it came: who parses anything else finds it in _chunk. -1 on errors. */
static int keep_begun(Turns *turns, PyObject *self, PyObject *chunk, Py_ssize_t came, const Place *place)
{
    int failed = put_number(&OF(AT), 0) < 0 || put_number(&OF(CAME), came) < 0 ||
                 put_number(&OF(WANTED), place->end - PyBytes_GET_SIZE(chunk)) < 0;

    if (!failed)
        put(&OF(CHUNK), chunk);
    Py_DECREF(chunk);
    return failed ? -1 : 0;
}

/* Say whether what a message has from some byte on can be kept: text is looked at as it comes. */
static int is_plain_from(const uint8_t *data, Py_ssize_t from, Py_ssize_t size, const Place *place, int is_masked)
{
    uint64_t keys = is_masked ? keystream(data + place->start - KEY_SIZE, from - place->start) : 0;

    return !place->is_text || is_ascii(data + from, size - from, keys);
}

/* Keep what has come of a message to which the turn has come, if it is a plain one; 0 if it is none, -1 on errors. */
int ws4py_keep_next(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self, *chunk;
    const uint8_t *data = turn->data + turn->pos;
    Py_ssize_t size = turn->size - turn->pos;
    Place place;

    if (!find_begun(data, size, turn->is_masked, turn->most, &place) ||
        !is_plain_from(data, place.start, size, &place, turn->is_masked))
        return 0;
    chunk = PyBytes_FromStringAndSize(NULL, capacity(size, &place));
    if (chunk == NULL)
        return -1;
    memcpy(PyBytes_AS_STRING(chunk), data, (size_t)size);
    set_size(chunk, size);
    return keep_begun(turns, self, chunk, turn->size, &place) < 0 ? -1 : 1;
}

/* Read once, and handle what has come. */
static PyObject *receive(Turn *turn, int fd, Py_ssize_t size)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self, *result;
    const uint8_t *read = *turn->room;
    int kept;

    size = recv(fd, *turn->room, (size_t)size, MSG_DONTWAIT);
    if (size <= 0)
        return find_nothing(turns, self, size);
    put(&OF(ALIVE), Py_True);
    turn->data = read;
    turn->size = size;
    result = ws4py_take_turn(turn);
    if (result != NULL || PyErr_Occurred())
        return result;
    if ((kept = ws4py_keep_next(turn)) != 0)
        return kept < 0 ? NULL : Py_NewRef(Py_True);
    return process(turns, self, PyBytes_FromStringAndSize((char *)read, size));
}

/* Read into the room, which may be left before this returns. */
static PyObject *receive_new(Turn *turn, int fd, Py_ssize_t size)
{
    Turns *turns = &turn->state->turns;
    uint8_t *room = enter_room(turns);
    PyObject *result;

    turn->room = &room;
    result = room == NULL ? PyErr_NoMemory() : receive(turn, fd, size);
    if (room != NULL)
        ws4py_leave_room(turns, &room);
    return result;
}

/* Make what has come of a message, with its header, the payload of that, in its place. Others may run meanwhile, if
 * it is long. */
static int unmask_whole(PyObject **chunk, const Place *place, int is_masked)
{
    uint8_t *data = (uint8_t *)PyBytes_AS_STRING(*chunk);
    PyThreadState *thread = place->length > LONGEST ? PyEval_SaveThread() : NULL;

    if (is_masked)
        mask_bytes(data, data + place->start, place->length, data + place->start - KEY_SIZE);
    else
        memmove(data, data + place->start, (size_t)place->length);
    if (thread != NULL)
        PyEval_RestoreThread(thread);
    return _PyBytes_Resize(chunk, place->length);
}

/* Handle a message with what has come of it now. */
static PyObject *take_begun(Turn *turn, PyObject *chunk, Py_ssize_t came, const Place *place)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self, *result = NULL;
    Py_ssize_t size = PyBytes_GET_SIZE(chunk);

    put(&OF(ALIVE), Py_True);
    if (!is_plain_from((uint8_t *)PyBytes_AS_STRING(chunk), size - came, size, place, turn->is_masked))
        return process(turns, self, chunk);
    if (size < place->end)
        return keep_begun(turns, self, chunk, came, place) < 0 ? NULL : Py_NewRef(Py_True);
    put(&OF(BUSY), turn->me);
    if (unmask_whole(&chunk, place, turn->is_masked) == 0 && put_number(&OF(WANTED), 0) == 0)
        result = ws4py_take_alone(turn, chunk, place->is_text);
    Py_XDECREF(chunk);
    return result;
}

/* Read on at a message that has begun, into the bytes that are to be its payload. */
static PyObject *receive_more(Turn *turn, int fd, Py_ssize_t most)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self, *chunk = OF(CHUNK);
    Py_ssize_t had, room, came;
    Place place;

    if (!PyBytes_CheckExact(chunk) || Py_REFCNT(chunk) != 1 || OF(AT) == NULL || PyObject_IsTrue(OF(AT)) ||
        !find_begun((uint8_t *)PyBytes_AS_STRING(chunk), PyBytes_GET_SIZE(chunk), turn->is_masked, PY_SSIZE_T_MAX,
                    &place))
        return NULL;
    OF(CHUNK) = Py_NewRef(Py_None);
    had = PyBytes_GET_SIZE(chunk);
    if (reserve(&chunk, &place) < 0)
        return NULL;
    room = PyBytes_GET_SIZE(chunk) - had;
    most = most < ROOM ? most : LARGEST;
    came = recv(fd, PyBytes_AS_STRING(chunk) + had, (size_t)(room < most ? room : most), MSG_DONTWAIT);
    set_size(chunk, came > 0 ? had + came : had);
    if (came > 0)
        return take_begun(turn, chunk, came, &place);
    put(&OF(CHUNK), chunk);
    Py_DECREF(chunk);
    return find_nothing(turns, self, came);
}

/* Go on with what has been put away, if that may be handled now. */
static PyObject *read_on(Hastened *hastened, PyObject *self, PyObject *result)
{
    Turns *turns = &hastened->state->turns;
    int pending;

    if (result != Py_True || OF(BUF) == NULL || !PyObject_IsTrue(OF(BUF)) || (pending = ask(self, NAME(PENDING))) == 0)
        return result;
    Py_DECREF(result);
    return pending < 0 ? NULL : PyObject_CallOneArg(hastened->function, self);
}

/* Look up the descriptor, which may let others run; the state comes after it. -1 if once() is not to read here. */
int ws4py_descriptor_to_read(Turns *turns, PyObject *self)
{
    int fd = ws4py_descriptor(turns, OF(TRANSPORT));

    if (OF(TRANSPORT) == NULL || !Py_IS_TYPE(OF(TRANSPORT), turns->transport.cls) || !IS_FALSE(DRAINING) ||
        !IS_FALSE(DISCARDING) || OF(BUF) == NULL || !PyBytes_CheckExact(OF(BUF)) || PyBytes_GET_SIZE(OF(BUF)) != 0 ||
        *slot(&turns->transport, OF(TRANSPORT), BLOCKS) != Py_False)
        return -1;
    return fd;
}

/* once(self) */
PyObject *ws4py_once(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    Turns *turns = &hastened->state->turns;
    PyObject *self = args[0], *result = NULL;
    Turn turn = {0};
    Py_ssize_t size;
    int fd;

    if (count == 1 && ws4py_begin_turn(&turn, hastened, self) == 1 && (size = find_reading_size(turns, self)) > 0 &&
        (fd = ws4py_descriptor_to_read(turns, self)) >= 0 && ws4py_is_ready(&turn)) {
        result = OF(CHUNK) == Py_None ? receive_new(&turn, fd, size) : receive_more(&turn, fd, size);
        result = read_on(hastened, self, result);
    }
    ws4py_drop_turn(&turn);
    return result;
}

#endif
