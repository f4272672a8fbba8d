/* hasten(), and what has to be known of the classes: see turns.h. */
#include "turns.h"
#include "structmember.h"

static const char *const NAMED[NAMES] = {
    "_awaits", "_crashed", "fileno", "flush", "gather", "gathers", "get_ident", "_goes_on", "_has_room", "_is_done",
    "limits", "locked", "__name__", "_parse", "max_fragments", "max_message_size", "_pending", "process",
    "reading_buffer_size", "_read_failed", "received_message", "send", "_send_frame", "_settle", "_settle_refused",
    "_write", "_write_failed",
};
static const char *const OF_WEBSOCKET[WEBSOCKET_SLOTS] = {
    "_alive", "_answers", "_at", "_broken", "_busy", "_chunk", "close_received", "_close_sent", "_connected", "buf",
    "_came", "_deferred", "_deflater", "_discarding", "_draining", "_driver", "_ending", "_failed", "_fragmenter",
    "_gathered", "_gathered_size", "_gatherer", "_lock", "_outgoing", "_over", "_sealed", "stream", "_transport",
    "_unhandled", "_wanted",
};
static const char *const OF_STREAM[STREAM_SLOTS] = {"always_mask", "expect_masking", "message", "_rests"};
static const char *const OF_MESSAGE[MESSAGE_SLOTS] = {"completed", "data", "_pieces"};
static const char *const OF_TRANSPORT[TRANSPORT_SLOTS] = {"_blocks", "sock"};

/* Note where a class has its slots; 0 if these are not what is expected here. */
static int find_slots(Py_ssize_t *offsets, PyObject *cls, const char *const *names, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        PyObject *found = PyObject_GetAttrString(cls, names[i]);
        PyMemberDescrObject *member = (PyMemberDescrObject *)found;
        int is_slot = found != NULL && Py_IS_TYPE(found, &PyMemberDescr_Type) &&
                      member->d_member->type == T_OBJECT_EX && !(member->d_member->flags & READONLY);

        if (is_slot)
            offsets[i] = member->d_member->offset;
        Py_XDECREF(found);
        PyErr_Clear();
        if (!is_slot)
            return 0;
    }
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

static int find_shape(Shape *shape, const char *module, const char *name, const char *const *names, int count)
{
    PyObject *cls = import_from(module, name);

    if (cls == NULL || !PyType_Check(cls) || !find_slots(shape->offsets, cls, names, count)) {
        Py_XDECREF(cls);
        return 0;
    }
    shape->cls = (PyTypeObject *)cls;
    return 1;
}

/* Look at the classes, once all are there: at the first call. */
static void look(Turns *turns)
{
    turns->has_looked = 1;
    turns->socket = (PyTypeObject *)import_from("socket", "socket");
    turns->limits_class = (PyTypeObject *)import_from("ws4py.limits", "Limits");
    turns->text = import_from("ws4py.messaging", "TextMessage");
    turns->binary = import_from("ws4py.messaging", "BinaryMessage");
    if (turns->socket == NULL || turns->limits_class == NULL || turns->text == NULL || turns->binary == NULL ||
        !find_shape(&turns->message, "ws4py.messaging", "Message", OF_MESSAGE, MESSAGE_SLOTS) ||
        !find_shape(&turns->stream, "ws4py.streaming", "Stream", OF_STREAM, STREAM_SLOTS) ||
        !find_shape(&turns->transport, "ws4py.transport", "PlainTransport", OF_TRANSPORT, TRANSPORT_SLOTS) ||
        !find_shape(&turns->websocket, "ws4py.websocket", "WebSocket", OF_WEBSOCKET, WEBSOCKET_SLOTS))
        PyErr_Clear();
}

int ws4py_fits(Turns *turns, PyObject *self)
{
    if (!turns->has_looked)
        look(turns);
    return turns->websocket.cls != NULL && PyObject_TypeCheck(self, turns->websocket.cls);
}

static int has_version(PyTypeObject *cls)
{
#if PY_VERSION_HEX < 0x030D0000
    if (!PyType_HasFeature(cls, Py_TPFLAGS_VALID_VERSION_TAG))
        return 0;
#endif
    return cls->tp_version_tag != 0;
}

int ws4py_is_plain(Turns *turns, PyTypeObject *cls)
{
    Py_ssize_t offsets[WEBSOCKET_SLOTS];
    PyObject *awaits, *process;
    int plain;

    if (has_version(cls) && cls->tp_version_tag == turns->plain)
        return 1;
    awaits = PyObject_GetAttr((PyObject *)cls, NAME(AWAITS));
    process = PyObject_GetAttr((PyObject *)cls, NAME(PROCESS));
    plain = awaits == Py_False && process == turns->process &&
            find_slots(offsets, (PyObject *)cls, OF_WEBSOCKET, WEBSOCKET_SLOTS) &&
            memcmp(offsets, turns->websocket.offsets, sizeof(offsets)) == 0;
    Py_XDECREF(awaits);
    Py_XDECREF(process);
    PyErr_Clear();
    if (plain && has_version(cls))
        turns->plain = cls->tp_version_tag;
    return plain;
}

int ws4py_writes(Turns *turns, PyTypeObject *cls)
{
    PyObject *write;

    if (has_version(cls) && cls->tp_version_tag == turns->writing)
        return 1;
    write = PyObject_GetAttr((PyObject *)cls, NAME(WRITE));
    Py_XDECREF(write);
    PyErr_Clear();
    if (write != turns->write)
        return 0;
    if (has_version(cls))
        turns->writing = cls->tp_version_tag;
    return 1;
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
    if (((Hastened *)self)->weakrefs != NULL)
        PyObject_ClearWeakRefs(self);
    hastened_clear(self);
    Py_CLEAR(((Hastened *)self)->module);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef hastened_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Hastened, vectorcall), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Hastened, weakrefs), READONLY, NULL},
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
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,  /* or the interpreter does not specialize */
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
    if (PyUnicode_CompareWithASCIIString(name, "_write_each") == 0)
        return ws4py_write_each;
    if (PyUnicode_CompareWithASCIIString(name, "once") == 0)
        return ws4py_once;
    if (PyUnicode_CompareWithASCIIString(name, "_parse") == 0)
        return ws4py_parse;
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
    else if (PyUnicode_Compare(name, turns->names[N_SEND_FRAME]) == 0)
        Py_XSETREF(turns->send_frame, Py_NewRef(function));
    else if (PyUnicode_Compare(name, turns->names[N_WRITE]) == 0)
        Py_XSETREF(turns->write, Py_NewRef(function));
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
#if PY_VERSION_HEX < 0x030A0000
    if (turns->hastened != NULL)
        ((PyTypeObject *)turns->hastened)->tp_new = NULL;
#endif
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
    act(turns->limits_class); \
    act(turns->text); \
    act(turns->binary); \
    act(turns->parse); \
    act(turns->process); \
    act(turns->send_frame); \
    act(turns->write); \
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
