/* Compiled counterparts of three functions, for what Python is slow at: masking.mask,
 * framing.encode_frame and framing.take_messages. Each does what the pure one does, which stands in
 * the module of that name; test/test_framing_compiled.py runs the same cases on both.
 *
 * What is read is held as a Py_buffer meanwhile, so that no bytearray can be resized under it. Nothing
 * is read beyond its end: each index is compared with the size before it is used. Whatever a peer
 * sends, the worst that comes of it is "no message here"; judging it is left to the slow path.
 */
#include "turns.h"

enum {
    FREE_FROM = 64 * 1024,    /* bytes from which on other threads may run meanwhile */
    AT_ONCE = 64,             /* messages, see framing.AT_ONCE */
};

static State *state_of(PyObject *module)
{
    return (State *)PyModule_GetState(module);
}

/* Masking (RFC 6455 5.3) */

/* Copy in to out, masked if there is a key; let other threads run if that takes long. */
static void copy(uint8_t *out, const Py_buffer *in, const uint8_t *key)
{
    PyThreadState *thread = in->len >= FREE_FROM ? PyEval_SaveThread() : NULL;

    if (key != NULL)
        mask_bytes(out, in->buf, in->len, key);
    else if (in->len)
        memcpy(out, in->buf, (size_t)in->len);
    if (thread != NULL)
        PyEval_RestoreThread(thread);
}

/* Read a masking key; return its size, which is 4, or 0 where it may be empty; -1 on errors. */
static int read_key(PyObject *object, int may_be_empty, uint8_t key[KEY_SIZE])
{
    Py_buffer buffer;
    Py_ssize_t size;

    if (PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) < 0)
        return -1;
    size = buffer.len;
    if (size == KEY_SIZE)
        memcpy(key, buffer.buf, KEY_SIZE);
    PyBuffer_Release(&buffer);
    if (size == KEY_SIZE || (may_be_empty && !size))
        return (int)size;
    PyErr_Format(PyExc_ValueError, "a masking key is 4 bytes long and not %zd", size);
    return -1;
}

static int check_count(const char *name, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most)
{
    if (least <= count && count <= most)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments and not %zd", name, most, count);
    return -1;
}

PyDoc_STRVAR(mask_doc,
"mask($module, data, key, /)\n--\n\n"
"Return ``data`` XORed with the four bytes of ``key``: see ``ws4py.masking.mask``.");

static PyObject *speedups_mask(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t key[KEY_SIZE];
    Py_buffer data;
    PyObject *masked;

    if (check_count("mask", count, 2, 2) < 0 || read_key(args[1], 0, key) < 0 ||
        PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    masked = PyBytes_FromStringAndSize(NULL, data.len);
    if (masked != NULL)
        copy((uint8_t *)PyBytes_AS_STRING(masked), &data, key);
    PyBuffer_Release(&data);
    return masked;
}

/* Building frames (RFC 6455 5.2) */

static PyObject *build_frame(uint8_t first, const Py_buffer *payload, const uint8_t *key)
{
    uint8_t head[10 + KEY_SIZE], *out;
    int size = write_header(head, first, payload->len, key != NULL);
    PyObject *frame;

    if (key != NULL) {
        memcpy(head + size, key, KEY_SIZE);
        size += KEY_SIZE;
    }
    if (payload->len > PY_SSIZE_T_MAX - size)
        return PyErr_NoMemory();
    frame = PyBytes_FromStringAndSize(NULL, size + payload->len);
    if (frame == NULL)
        return NULL;
    out = (uint8_t *)PyBytes_AS_STRING(frame);
    memcpy(out, head, (size_t)size);
    copy(out + size, payload, key);
    return frame;
}

PyDoc_STRVAR(encode_frame_doc,
"encode_frame($module, first, payload, key=b'', /)\n--\n\n"
"Return a whole frame: see ``ws4py.framing.encode_frame``.");

static PyObject *speedups_encode_frame(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint8_t key[KEY_SIZE];
    int overflow, key_size = 0;
    Py_buffer payload;
    PyObject *frame;
    long first;

    if (check_count("encode_frame", count, 2, 3) < 0)
        return NULL;
    first = PyLong_AsLongAndOverflow(args[0], &overflow);
    if (first == -1 && PyErr_Occurred())
        return NULL;
    if (overflow || first < 0 || first > 0xFF)
        return PyErr_Format(PyExc_ValueError, "the first byte of a header is 0 to 255 and not %R", args[0]);
    if (count == 3 && (key_size = read_key(args[2], 1, key)) < 0)
        return NULL;
    if (PyObject_GetBuffer(args[1], &payload, PyBUF_SIMPLE) < 0)
        return NULL;
    frame = build_frame((uint8_t)first, &payload, key_size ? key : NULL);
    PyBuffer_Release(&payload);
    return frame;
}

/* Taking messages out of a buffer */

/* A class says so by a true _bare of its own; a subclass, which may have another __init__, does not
 * inherit that. */
static int is_bare(State *state, PyObject *cls)
{
    PyTypeObject *type = (PyTypeObject *)cls;
    PyObject *said;

    if (!PyType_CheckExact(cls) || !PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) ||
        type->tp_new != PyBaseObject_Type.tp_new)
        return 0;
    said = PyDict_GetItemWithError(type->tp_dict, state->bare);
    if (said == NULL)
        return PyErr_Occurred() ? -1 : 0;
    return PyObject_IsTrue(said);
}

/* Set what __init__ would; where the slots are known, without looking them up. */
int ws4py_fill_message(State *state, PyObject *message, PyObject *payload)
{
    const Shape *shape = &state->turns.message;

    if (shape->cls == NULL || !PyObject_TypeCheck(message, shape->cls))
        return PyObject_SetAttr(message, state->data, payload) < 0 ||
               PyObject_SetAttr(message, state->completed, Py_True) < 0;
    put(slot(shape, message, DATA), payload);
    put(slot(shape, message, COMPLETED), Py_True);
    return 0;
}

PyObject *ws4py_make_message(State *state, Kind *kind, PyObject *payload)
{
    PyObject *message;
    int failed;

    if (kind->is_bare < 0 && (kind->is_bare = is_bare(state, kind->cls)) < 0)
        return NULL;
    if (kind->is_bare)
        message = ((PyTypeObject *)kind->cls)->tp_alloc((PyTypeObject *)kind->cls, 0);
    else
        message = PyObject_CallFunctionObjArgs(kind->cls, payload, NULL);
    if (message == NULL)
        return NULL;
    failed = kind->is_bare ? ws4py_fill_message(state, message, payload)
                           : PyObject_SetAttr(message, state->completed, Py_True);
    if (failed)
        Py_CLEAR(message);
    return message;
}

/* Append messages to a list, and advance pos beyond them. */
static int take(State *state, const Py_buffer *buf, Py_ssize_t *pos, int is_masked, Py_ssize_t most, Kind *text,
                Kind *binary, PyObject *messages)
{
    Place place;

    while (PyList_GET_SIZE(messages) < AT_ONCE && find_message(buf->buf, buf->len, *pos, is_masked, most, &place)) {
        PyObject *message, *payload = read_payload(buf->buf, &place, is_masked);
        int failed;

        if (payload == NULL)
            return PyErr_Occurred() ? -1 : 0;
        message = ws4py_make_message(state, place.is_text ? text : binary, payload);
        Py_DECREF(payload);
        if (message == NULL)
            return -1;
        failed = PyList_Append(messages, message);
        Py_DECREF(message);
        if (failed)
            return -1;
        *pos = place.end;
    }
    return 0;
}

/* A limit may be a float; beyond what a message here can have, they are all the same. */
int ws4py_read_most(PyObject *number, Py_ssize_t *most)
{
    int overflow;
    long whole;

    if (PyFloat_Check(number)) {
        double value = PyFloat_AS_DOUBLE(number);
        *most = value >= LONGEST ? LONGEST : value >= 0 ? (Py_ssize_t)value : -1;
        return 0;
    }
    whole = PyLong_AsLongAndOverflow(number, &overflow);
    if (whole == -1 && PyErr_Occurred())
        return -1;
    *most = overflow ? overflow * LONGEST : whole;
    return 0;
}

PyDoc_STRVAR(take_messages_doc,
"take_messages($module, buf, pos, is_masked, most, text, binary, /)\n--\n\n"
"Return the messages that stand in ``buf`` from ``pos`` on, and where they end: see\n"
"``ws4py.framing.take_messages``.");

static PyObject *speedups_take_messages(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Kind text, binary;
    Py_buffer buf;
    Py_ssize_t pos, most;
    PyObject *messages;
    int is_masked, failed;

    if (check_count("take_messages", count, 6, 6) < 0)
        return NULL;
    pos = PyLong_AsSsize_t(args[1]);
    if ((pos == -1 && PyErr_Occurred()) || (is_masked = PyObject_IsTrue(args[2])) < 0 ||
        ws4py_read_most(args[3], &most) < 0 || PyObject_GetBuffer(args[0], &buf, PyBUF_SIMPLE) < 0)
        return NULL;
    text = (Kind){args[4], -1};
    binary = (Kind){args[5], -1};
    messages = PyList_New(0);
    failed = messages == NULL ||
             take(state_of(module), &buf, &pos, is_masked, most, &text, &binary, messages) < 0;
    PyBuffer_Release(&buf);
    if (failed) {
        Py_XDECREF(messages);
        return NULL;
    }
    return Py_BuildValue("Nn", messages, pos);
}

/* Methods */

PyDoc_STRVAR(hasten_doc,
"hasten($module, method, /)\n--\n\n"
"Return a method that does what ``method`` does: see ``ws4py.masking.hasten``.");

static PyObject *speedups_hasten(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    return check_count("hasten", count, 1, 1) < 0 ? NULL : ws4py_hasten(module, args[0]);
}

/* The module */

static int speedups_exec(PyObject *module)
{
    State *state = state_of(module);

    state->bare = PyUnicode_InternFromString("_bare");
    state->data = PyUnicode_InternFromString("data");
    state->completed = PyUnicode_InternFromString("completed");
    if (!state->bare || !state->data || !state->completed)
        return -1;
    return ws4py_turns_exec(module, state);
}

static int speedups_traverse(PyObject *module, visitproc visit, void *arg)
{
    return ws4py_turns_traverse(state_of(module), visit, arg);
}

static int speedups_clear(PyObject *module)
{
    State *state = state_of(module);

    Py_CLEAR(state->bare);
    Py_CLEAR(state->data);
    Py_CLEAR(state->completed);
    ws4py_turns_clear(state);
    return 0;
}

static void speedups_free(void *module)
{
    speedups_clear((PyObject *)module);
}

#define FUNCTION(name) \
    {#name, (PyCFunction)(void (*)(void))speedups_##name, METH_FASTCALL, name##_doc}

static PyMethodDef functions[] = {
    FUNCTION(mask),
    FUNCTION(encode_frame),
    FUNCTION(take_messages),
    FUNCTION(hasten),
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)speedups_exec},
#ifdef Py_MOD_PER_INTERPRETER_GIL_SUPPORTED
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "ws4py._speedups",
    .m_doc = "Compiled counterparts of functions of ws4py.masking and ws4py.framing.",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = speedups_traverse,
    .m_clear = speedups_clear,
    .m_free = speedups_free,
};

PyMODINIT_FUNC PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
