/* What the parts of the compiled module share. */
#ifndef WS4PY_SPEEDUPS_H
#define WS4PY_SPEEDUPS_H

#include "_frames.h"
#include "_turns.h"

/* What the module keeps; each interpreter has its own. */
typedef struct {
    PyObject *empty;      /* () */
    PyObject *bare;       /* "_bare" */
    PyObject *data;       /* "_data" */
    PyObject *completed;  /* "completed" */
    Turns turns;
} State;

/* What messages of one kind are made of: whether __init__ does no more than what is done here. */
typedef struct {
    PyObject *cls;
    int is_bare;  /* -1: not known yet */
} Kind;

PyObject *ws4py_make_message(State *state, Kind *kind, PyObject *payload);
int ws4py_read_most(PyObject *number, Py_ssize_t *most);

PyObject *ws4py_hasten(PyObject *module, PyObject *function);
int ws4py_turns_exec(PyObject *module, State *state);
int ws4py_turns_traverse(State *state, visitproc visit, void *arg);
void ws4py_turns_clear(State *state);

#endif
