/* hasten(), and what has to be known of the classes: see turns.h. */
#include "turns.h"
#include "structmember.h"

static const char *const NAMED[NAMES] = {
    "_awaits", "_crashed", "fileno", "flush", "gather", "get_ident", "_has_room", "_is_done", "_keep", "limits",
    "locked", "__name__", "_parse", "acquire", "release", "max_fragments", "max_message_size", "_pending", "process",
    "reading_buffer_size", "_read_failed", "received_message", "_settle",
};
static const char *const SLOTS[WEBSOCKET_SLOTS] = {
    "_alive", "_answers", "_broken", "_busy", "close_received", "_close_sent", "_connected", "buf", "_came",
    "_deferred", "_deflater", "_discarding", "_draining", "_driver", "_ending", "_failed", "_fragmenter",
    "_gathered", "_gathered_size", "_gatherer", "_lock", "_outgoing", "_over", "_sealed", "stream", "_transport",
};
static const char *const OF_STREAM[STREAM_SLOTS] = {"always_mask", "expect_masking", "_rests"};
static const char *const OF_MESSAGE[MESSAGE_SLOTS] = {"completed", "_data"};
static const char *const OF_TRANSPORT[TRANSPORT_SLOTS] = {"_blocks", "sock"};

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
               find_shape(&turns->message, (PyTypeObject *)turns->text, OF_MESSAGE, MESSAGE_SLOTS) &&
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

int ws4py_fits(Turns *turns, PyObject *self)
{
    if (turns->websocket.cls == NULL && !prepare(turns, Py_TYPE(self)))
        return 0;
    return PyObject_TypeCheck(self, turns->websocket.cls);
}

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
    PyObject *function = ((Hastened *)self)->function, *found;

    if (PyUnicode_CompareWithASCIIString(name, "__doc__") == 0 ||
        PyUnicode_CompareWithASCIIString(name, "__module__") == 0)
        return PyObject_GetAttr(function, name);
    found = PyObject_GenericGetAttr(self, name);
    if (found != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return found;
    PyErr_Clear();
    return PyObject_GetAttr(function, name);
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

/* Return the compiled function of a method; NULL: it has none. */
static Fast find_fast(PyObject *name)
{
#if HASTENS
    if (PyUnicode_CompareWithASCIIString(name, "send") == 0)
        return ws4py_send;
    if (PyUnicode_CompareWithASCIIString(name, "once") == 0)
        return ws4py_once;
    if (PyUnicode_CompareWithASCIIString(name, "_parse") == 0)
        return ws4py_parse;
    if (PyUnicode_CompareWithASCIIString(name, "data") == 0)
        return ws4py_data;
#else
    (void)name;
#endif
    return NULL;
}

PyObject *ws4py_hasten(PyObject *module, PyObject *function)
{
    Turns *turns = &((State *)PyModule_GetState(module))->turns;
    PyObject *name = PyObject_GetAttr(function, turns->names[N_NAME]), *hastened;
    Fast fast = NULL;

    if (name == NULL)
        return NULL;
    fast = find_fast(name);
    if (PyUnicode_Compare(name, turns->names[N_PARSE]) == 0)
        Py_XSETREF(turns->parse, Py_NewRef(function));
    else if (PyUnicode_Compare(name, turns->names[N_PROCESS]) == 0)
        Py_XSETREF(turns->process, Py_NewRef(function));
    hastened = fast == NULL ? Py_NewRef(function) : make_hastened(module, turns, function, fast);
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
    act(turns->message.cls); \
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
