/* Pickled states of jobs: where a state has its run time. */
#ifndef JOBSTORE_STATES_H
#define JOBSTORE_STATES_H

#include <Python.h>
#include <datetime.h>
#include <string.h>

#include "slots.h"

#define HEADER 11 /* bytes: the protocol, and the frame with its length */
#define PACKED _PyDateTime_DATETIME_DATASIZE
#define KEY "\x8c\rnext_run_time\x94"                /* SHORT_BINUNICODE, MEMOIZE */
#define NAME "\x8c\x08" "datetime\x94"               /* the same, of the module or the class */
#define CLASS_NAME NAME "\x93\x94"                   /* the class, then STACK_GLOBAL, MEMOIZE */
#define TAIL "\x86\x94R\x94u."                       /* TUPLE2, REDUCE, SETITEMS, STOP */
#define LENGTH(literal) ((Py_ssize_t)sizeof(literal) - 1)
#define REFERENCE_LENGTHS(length) for (Py_ssize_t length = 2; length <= 5; length += 3)

static int states_init(void)
{
    PyDateTime_IMPORT;
    return PyDateTimeAPI == NULL ? -1 : 0;
}

/* The bytes of a state that are not read yet; they are read from their end. */
typedef struct {
    const char *start, *end;
} Unread;

static inline int take_literal(Unread *unread, const char *literal, Py_ssize_t length)
{
    if (unread->end - unread->start < length || memcmp(unread->end - length, literal, length) != 0)
        return 0;
    unread->end -= length;
    return 1;
}

/* Take a memo reference of 2 bytes (BINGET) or 5 (LONG_BINGET). */
static inline int take_reference(Unread *unread, Py_ssize_t length)
{
    if (unread->end - unread->start < length || unread->end[-length] != (length == 2 ? 'h' : 'j'))
        return 0;
    unread->end -= length;
    return 1;
}

static inline int take_key(Unread unread)
{
    return take_literal(&unread, KEY, LENGTH(KEY));
}

/* Whether the rest ends in the key and the class: a reference, or the names of module and class,
   of which the module's may be a reference. */
static inline int take_key_and_class(Unread unread)
{
    int named = take_literal(&unread, CLASS_NAME, LENGTH(CLASS_NAME));
    Unread rest = unread;
    if (named && take_literal(&rest, NAME, LENGTH(NAME)) && take_key(rest))
        return 1;
    REFERENCE_LENGTHS(length)
    {
        rest = unread;
        if (take_reference(&rest, length) && take_key(rest))
            return 1;
    }
    return 0;
}

/* Return where a state has the packed run time, or -1 if that is not certain. */
static inline Py_ssize_t find_run_time(const char *state, Py_ssize_t size, const char *packed)
{
    uint64_t length = 0;
    if (size < HEADER || state[0] != '\x80' || (state[1] != 4 && state[1] != 5)
        || state[2] != '\x95')
        return -1;
    for (int i = HEADER - 1; i >= 3; i--)
        length = length << 8 | (unsigned char)state[i];
    if (length != (uint64_t)(size - HEADER))
        return -1;
    Unread unread = {state + HEADER, state + size}, rest;
    if (!take_literal(&unread, TAIL, LENGTH(TAIL)))
        return -1;
    REFERENCE_LENGTHS(zone)
    {
        rest = unread;
        if (take_reference(&rest, zone) && take_literal(&rest, "\x94", 1)
            && take_literal(&rest, packed, PACKED) && take_literal(&rest, "C\n", 2)
            && take_key_and_class(rest))
            return rest.end - state + 2;
    }
    return -1;
}

/* The packed form of protocols 4 and 5 has the fold in the high bit of the month. */
static inline void pack(PyObject *run_time, char *packed)
{
    memcpy(packed, ((PyDateTime_DateTime *)run_time)->data, PACKED);
    packed[2] |= (char)(PyDateTime_DATE_GET_FOLD(run_time) << 7);
}

/* Return the state with the new run time, None if that is not certain to be right, or NULL. */
static inline PyObject *state_advance(PyObject *state, PyObject *old, PyObject *new_)
{
    char packed[PACKED];
    if (!PyBytes_CheckExact(state) || !PyDateTime_CheckExact(old) || !PyDateTime_CheckExact(new_))
        Py_RETURN_NONE;
    PyObject *zone = PyDateTime_DATE_GET_TZINFO(old);
    if (zone == Py_None || zone != PyDateTime_DATE_GET_TZINFO(new_))
        Py_RETURN_NONE;
    pack(old, packed);
    Py_ssize_t size = PyBytes_GET_SIZE(state);
    Py_ssize_t at = find_run_time(PyBytes_AS_STRING(state), size, packed);
    if (at < 0)
        Py_RETURN_NONE;
    PyObject *advanced = PyBytes_FromStringAndSize(NULL, size);
    if (advanced == NULL)
        return NULL;
    memcpy(PyBytes_AS_STRING(advanced), PyBytes_AS_STRING(state), size);
    pack(new_, PyBytes_AS_STRING(advanced) + at);
    return advanced;
}

/* Return the slots' values as a new tuple; None if a slot is empty; NULL on error. */
static inline PyObject *slots_read(PyObject *owner, const Py_ssize_t *offsets, Py_ssize_t count)
{
    PyObject *values = PyTuple_New(count); /* may run code of finalizers */
    if (values != NULL && !slots_take(owner, offsets, count, &PyTuple_GET_ITEM(values, 0))) {
        Py_DECREF(values);
        Py_RETURN_NONE;
    }
    return values;
}

#endif
