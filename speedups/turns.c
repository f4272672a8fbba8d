/* What WebSocket._parse does with plain messages: see turns.h. */
#include "turns.h"

#if HASTENS

enum { GATHER_TIME = 1000 * 1000 };  /* ns after which _goes_on is asked again, where messages came together */

/* Look up how long a message may be, which is kept, as Limits do not change; -1 if none is plain, -2 on errors. */
static Py_ssize_t find_most(Turns *turns, PyObject *self)
{
    PyObject *fragments, *size, *limits = PyObject_GetAttr(self, NAME(LIMITS));
    Py_ssize_t most = -2;

    if (limits == NULL)
        return -2;
    if (limits == turns->limits) {
        Py_DECREF(limits);
        return turns->most;
    }
    fragments = PyObject_GetAttr(limits, NAME(MAX_FRAGMENTS));
    size = fragments == NULL ? NULL : PyObject_GetAttr(limits, NAME(MAX_MESSAGE_SIZE));
    if (size != NULL && fragments != Py_None && PyObject_Not(fragments))
        most = -1;
    else if (size == Py_None)
        most = PY_SSIZE_T_MAX;
    else if (size != NULL && ws4py_read_most(size, &most) < 0)
        most = -2;
    Py_XDECREF(fragments);
    Py_XDECREF(size);
    if (most != -2 && Py_IS_TYPE(limits, turns->limits_class)) {
        turns->most = most;
        Py_XSETREF(turns->limits, Py_NewRef(limits));
    }
    Py_DECREF(limits);
    return most;
}

/* Give a message to the application; what that raises closes the connection. */
static int give(Turns *turns, PyObject *self, PyObject *message)
{
    PyObject *args[2] = {self, message};
    PyObject *result = PyObject_VectorcallMethod(NAME(RECEIVED_MESSAGE), args, 2, NULL);

    Py_XDECREF(result);
    if (result != NULL)
        return 0;
    return PyErr_ExceptionMatches(PyExc_Exception) ? tell_of_error(self, NAME(CRASHED)) : -1;
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

/* Say whether nothing that follows matters here any more: others may have taken it. */
static int has_ended(const Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;

    return OF(CHUNK) != (turn->rest != NULL ? turn->chunk : Py_None) ||
           !IS_FALSE(ENDING) || !IS_FALSE(OVER) || !IS_FALSE(DISCARDING) || !IS_FALSE(CLOSE_RECEIVED);
}

/* Say whether this turn has lasted long enough, and what has gathered is sent; -1 on errors. */
static int ask_to_go_on(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *took, *answer = NULL;
    int is_true;

    turn->took = now() - turn->begun;
    if (turn->took < turn->due)
        return 1;
    if ((took = PyFloat_FromDouble((double)turn->took / 1e9)) != NULL)
        answer = PyObject_CallMethodOneArg(turn->self, NAME(GOES_ON), took);
    Py_XDECREF(took);
    is_true = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    turn->due = now() - turn->begun + GATHER_TIME;
    return is_true;
}

/* Say whether to go on here with what has come together; -1 on errors. */
static int goes_on(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;
    int may = 1;

    if (!has_ended(turn) && OF(ANSWERS) != NULL && PyObject_IsTrue(OF(ANSWERS)))
        may = ask(self, NAME(HAS_ROOM));
    if (may == 1 && turn->pos < turn->size && !has_ended(turn))
        may = ask_to_go_on(turn);
    if (has_ended(turn))
        turn->pos = turn->size;
    turn->waits = may == 0 && turn->pos < turn->size;
    if (may <= 0)
        return may;
    return turn->pos < turn->size && IS_FALSE(FAILED) && *slot(&turns->stream, turn->stream, RESTS) == Py_None;
}

/* Show what waits behind a message to whoever parses while the application has that; -1 on errors. */
static int show_rest(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;

    if (turn->rest == NULL) {
        if ((turn->rest = PyMem_Malloc(sizeof(Rest))) == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        *turn->rest = (Rest){turns->rests, self, turn->chunk, 0};
        turns->rests = turn->rest;
        put(&OF(CHUNK), turn->chunk);
        put(slot(&turns->stream, turn->stream, RESTS), Py_None);
    }
    turn->rest->at = turn->pos;
    return 0;
}

/* Set _at, if what waits is still shown; -1 on errors. */
static int note_rest(Turns *turns, const Rest *rest)
{
    PyObject *self = rest->self;

    return OF(CHUNK) == rest->chunk ? put_number(&OF(AT), rest->at) : 0;
}

/* Set _at of a WebSocket that is about to parse, if something waits there; -1 on errors. */
static int note_rest_of(Turns *turns, PyObject *self)
{
    Rest *rest = turns->rests;

    while (rest != NULL && rest->self != self)
        rest = rest->next;
    return rest == NULL ? 0 : note_rest(turns, rest);
}

static void forget_rest(Turn *turn)
{
    Rest **place = &turn->state->turns.rests;

    while (*place != turn->rest)
        place = &(*place)->next;
    *place = turn->rest->next;
    PyMem_Free(turn->rest);
    turn->rest = NULL;
}

/* Take back what has been shown: it is handled, or about to be. */
static void hide_rest(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;

    if (turn->rest == NULL)
        return;
    forget_rest(turn);
    if (OF(CHUNK) == turn->chunk) {
        put(&OF(CHUNK), Py_None);
        if (*slot(&turns->stream, turn->stream, RESTS) == Py_None)
            put(slot(&turns->stream, turn->stream, RESTS), Py_True);
    }
}

/* Let what is shown stay: it waits, or there is an exception. */
static void leave_rest(Turn *turn)
{
    if (turn->rest == NULL)
        return;
    note_rest(&turn->state->turns, turn->rest);
    forget_rest(turn);
}

/* Note that more has come than a message; return whether what is sent is to gather, -1 on errors. */
static int begin_many(Turn *turn)
{
    PyObject *wanted;
    int gathers;

    if (turn->chunk == NULL && copy_chunk(turn) < 0)
        return -1;
    turn->begun = now();
    turn->due = GATHER_TIME;
    wanted = PyObject_GetAttr(turn->self, turn->state->turns.names[N_GATHER]);
    gathers = wanted == NULL ? -1 : PyObject_IsTrue(wanted);
    Py_XDECREF(wanted);
    return gathers;
}

static PyObject *make_message(Turn *turn, Kind *kind, PyObject *payload)
{
    PyObject *message = turn->spare;

    if (message == NULL || !Py_IS_TYPE(message, (PyTypeObject *)kind->cls))
        return ws4py_make_message(turn->state, kind, payload);
    turn->spare = NULL;
    if (ws4py_fill_message(turn->state, message, payload))
        Py_CLEAR(message);
    return message;
}

/* Let go of a message that has been handled. If nobody has it, has added to it or given it attributes, it can serve
 * once more. */
static void release_message(Turn *turn, const Kind *kind, PyObject *message)
{
    const Shape *shape = &turn->state->turns.message;

    if (Py_REFCNT(message) == 1 && kind->is_bare && *slot(shape, message, PIECES) == NULL &&
        *PyObject_GET_WEAKREFS_LISTPTR(message) == NULL &&
        *_PyObject_GetDictPtr(message) == NULL)
        Py_XSETREF(turn->spare, message);
    else
        Py_DECREF(message);
}

/* Let the application handle a message; return whether to go on with what has come with it, -1 on errors. */
static int hand_out(Turn *turn, Kind *kind, PyObject *payload, PyObject *gatherer)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self, *message = make_message(turn, kind, payload);
    int failed;

    if (message == NULL)
        return -1;
    put(&OF(GATHERER), gatherer);
    failed = give(turns, self, message);
    release_message(turn, kind, message);
    return failed ? -1 : goes_on(turn);
}

/* Handle plain messages as far as they go; -1 on errors. */
static int handle(Turn *turn, Place *place)
{
    Turns *turns = &turn->state->turns;
    Kind text = {turns->text, -1}, binary = {turns->binary, -1};
    int gathers = -1, going = 1;

    do {
        Kind *kind = place->is_text ? &text : &binary;
        PyObject *payload = read_payload(turn->data, place, turn->is_masked);

        if (payload == NULL)
            return PyErr_Occurred() ? -1 : 0;
        turn->pos = place->end;
        if (turn->pos < turn->size &&
            ((gathers < 0 && (gathers = begin_many(turn)) < 0) || show_rest(turn) < 0)) {
            Py_DECREF(payload);
            return -1;
        }
        if (turn->pos == turn->size)
            hide_rest(turn);
        if (turn->room != NULL && *turn->room != NULL)
            ws4py_leave_room(turns, turn->room);
        going = hand_out(turn, kind, payload, turn->pos < turn->size && gathers > 0 ? turn->me : Py_None);
        Py_DECREF(payload);
        if (going < 0)
            return -1;
    } while (going && find_message(turn->data, turn->size, turn->pos, turn->is_masked, turn->most, place));
    return 0;
}

/* Send what has gathered; an exception that is there stays. */
static int end_turn(Turns *turns, PyObject *self)
{
    PyObject *type, *error, *traceback;
    int failed;

    PyErr_Fetch(&type, &error, &traceback);
    put(&OF(GATHERER), Py_None);
    failed = ws4py_flush(turns, self) < 0 ? -1 : 0;
    put(&OF(BUSY), Py_None);
    if (type != NULL) {
        PyErr_Clear();
        PyErr_Restore(type, error, traceback);
        return -1;
    }
    return failed;
}

/* Let WebSocket._parse handle the rest, and return what that does. */
static PyObject *hand_over(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *result = NULL, *rest = rest_of(turn), *seconds = PyFloat_FromDouble((double)turn->took / 1e9);

    if (rest != NULL && seconds != NULL) {
        PyObject *args[3] = {turn->self, rest, seconds};
        result = PyObject_Vectorcall(turns->parse, args, 3, NULL);
    }
    else
        end_turn(turns, turn->self);
    Py_XDECREF(rest);
    Py_XDECREF(seconds);
    return result;
}

static int is_at_rest(Turns *turns, PyObject *self)
{
    PyObject *stream = OF(STREAM);

    return stream != NULL && Py_IS_TYPE(stream, turns->stream.cls) &&
           *slot(&turns->stream, stream, RESTS) == Py_True && *slot(&turns->stream, stream, MESSAGE) == Py_None &&
           IS_FALSE(UNHANDLED) && IS_FALSE(OVER) && IS_FALSE(FAILED) && OF(CHUNK) != NULL && OF(ANSWERS) != NULL &&
           OF(GATHERED) != NULL && OF(DRIVER) != NULL;
}

/* Keep what has come of a message behind others, if once() can read on at it; 0 if it is not kept, -1 on errors. */
static int keep_next(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;

    if ((turn->most = find_most(turns, self)) == -2)
        return -1;
    if (ws4py_descriptor_to_read(turns, self) < 0 || !is_at_rest(turns, self) || OF(STREAM) != turn->stream ||
        OF(CHUNK) != Py_None || !IS_FALSE(ENDING) || !IS_FALSE(CLOSE_RECEIVED))
        return 0;
    return ws4py_keep_next(turn);
}

/* End a turn, or have what is left of it handled; return what WebSocket._parse would. */
static PyObject *finish_turn(Turn *turn, int failed)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;
    int done = 0, kept = 0;

    if (failed || turn->waits) {
        leave_rest(turn);
        turn->pos = turn->size;
    }
    hide_rest(turn);
    if (turn->pos < turn->size && (kept = keep_next(turn)) == 0)
        return hand_over(turn);
    if (end_turn(turns, self) < 0 || failed || kept < 0)
        return NULL;
    if (!IS_FALSE(ENDING) || !IS_FALSE(CLOSE_SENT) || !IS_FALSE(OVER))
        done = ask(self, NAME(IS_DONE));
    return done < 0 ? NULL : Py_NewRef(done ? Py_False : Py_True);
}

/* Handle what begins with a plain message; NULL without an exception: there is none at the beginning. */
PyObject *ws4py_take_turn(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;
    Place place;

    if (turn->most < 0 || !find_message(turn->data, turn->size, 0, turn->is_masked, turn->most, &place))
        return NULL;
    put(&OF(BUSY), turn->me);
    return finish_turn(turn, handle(turn, &place) < 0);
}

/* Handle a message behind which nothing has been read, unless the connection has ended meanwhile. */
PyObject *ws4py_take_alone(Turn *turn, PyObject *payload, int is_text)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;
    Kind kind = {is_text ? turns->text : turns->binary, -1};

    put(&OF(BUSY), turn->me);
    return finish_turn(turn, !has_ended(turn) && hand_out(turn, &kind, payload, Py_None) < 0);
}

/* Look up what may call Python, before the state is looked at; 0 if there is no plain turn, -1 on errors. */
int ws4py_begin_turn(Turn *turn, Hastened *hastened, PyObject *self)
{
    Turns *turns = &hastened->state->turns;
    PyObject *driver;

    if (!ws4py_fits(turns, self) || !ws4py_is_plain(turns, Py_TYPE(self)) || !is_at_rest(turns, self))
        return 0;
    turn->state = hastened->state;
    turn->self = self;
    if ((turn->most = find_most(turns, self)) == -2)
        return -1;
    driver = Py_NewRef(OF(DRIVER));
    turn->me = call(driver, NAME(GET_IDENT));
    Py_DECREF(driver);
    return turn->me == NULL ? -1 : 1;
}

/* Take the stream, if the turn can begin now. */
int ws4py_is_ready(Turn *turn)
{
    Turns *turns = &turn->state->turns;
    PyObject *self = turn->self;

    if (!is_at_rest(turns, self))
        return 0;
    turn->stream = Py_NewRef(OF(STREAM));
    turn->is_masked = *slot(&turns->stream, turn->stream, EXPECT_MASKING) == Py_True;
    return 1;
}

void ws4py_drop_turn(Turn *turn)
{
    Py_XDECREF(turn->me);
    Py_XDECREF(turn->stream);
    Py_XDECREF(turn->chunk);
    Py_XDECREF(turn->spare);
}

/* _parse(self, data) */
PyObject *ws4py_parse(Hastened *hastened, PyObject *const *args, Py_ssize_t count)
{
    Turns *turns = &hastened->state->turns;
    PyObject *self = args[0], *result = NULL;
    Turn turn = {0};

    if (note_rest_of(turns, self) < 0 || count != 2 || !PyBytes_CheckExact(args[1]))
        return NULL;
    if (ws4py_begin_turn(&turn, hastened, self) == 1 && ws4py_is_ready(&turn) && OF(CHUNK) == Py_None) {
        turn.chunk = Py_NewRef(args[1]);
        turn.data = (uint8_t *)PyBytes_AS_STRING(args[1]);
        turn.size = PyBytes_GET_SIZE(args[1]);
        result = ws4py_take_turn(&turn);
    }
    ws4py_drop_turn(&turn);
    return result;
}

#endif
