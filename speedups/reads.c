/* What WebSocket.once does: see turns.h. */
#include "turns.h"

#if HASTENS

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
static PyObject *receive(Turn *turn, int fd, Py_ssize_t size)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self, *result;
    const uint8_t *read = *turn->room;

    size = recv(fd, *turn->room, (size_t)size, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return Py_NewRef(Py_True);
    if (size < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return tell_of_error(self, NAME(READ_FAILED)) < 0 ? NULL : Py_NewRef(Py_False);
    }
    if (size == 0)
        return process(turns, self, read, 0);
    put(&OF(ALIVE), Py_True);
    turn->data = read;
    turn->size = size;
    result = ws4py_take_turn(turn);
    return result != NULL || PyErr_Occurred() ? result : process(turns, self, read, size);
}

/* Go on with what has been put away, if that may be handled now. */
static PyObject *read_on(Hastened *hastened, PyObject *self, PyObject *result)
{
    Turns *turns = &hastened->state->turns;
    int pending;

    if (result != Py_True || !PyObject_IsTrue(OF(BUF)) || (pending = ask(self, NAME(PENDING))) == 0)
        return result;
    Py_DECREF(result);
    return pending < 0 ? NULL : PyObject_CallOneArg(hastened->function, self);
}

/* once(self) */
PyObject *ws4py_once(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    Turns *turns = &hastened->state->turns;
    PyObject *self = args[0], *result = NULL;
    Turn turn = {0};
    Py_ssize_t size;
    uint8_t *room = NULL;
    int fd;

    if (count == 1 && ws4py_begin_turn(&turn, hastened, self) == 1 && (size = find_reading_size(turns, self)) > 0 &&
        ws4py_is_ready(&turn) && IS_FALSE(DRAINING) && IS_FALSE(DISCARDING) && OF(BUF) != NULL &&
        PyBytes_CheckExact(OF(BUF)) && PyBytes_GET_SIZE(OF(BUF)) == 0 &&
        (fd = ws4py_descriptor(turns, OF(TRANSPORT))) >= 0 &&
        *slot(&turns->transport, OF(TRANSPORT), BLOCKS) == Py_False) {
        room = enter_room(turns);
        turn.room = &room;
        result = room == NULL ? PyErr_NoMemory() : receive(&turn, fd, size);
        if (room != NULL)
            ws4py_leave_room(turns, &room);
        result = read_on(hastened, self, result);
    }
    ws4py_drop_turn(&turn);
    return result;
}

#endif
