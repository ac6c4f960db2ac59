/* New lists, filled by whole arrays, without a call for each item. */
#ifndef JOBSTORE_LISTS_H
#define JOBSTORE_LISTS_H

#include <Python.h>
#include <string.h>

/* Make a list of `count` references, in an array allocated for `room`, and take over both. Return
   NULL with a MemoryError.

   With the GIL the list gets the array itself, in the way of list_new_prealloc() in CPython's
   Objects/listobject.c: PyList_New(count) first sets its array to NULL, a fifth of the whole cost
   of such a call. If the rest of the array can't be released, the list keeps it as room to grow.
   On a free-threaded build a list's array begins with its size, so the references are copied. */
static PyObject *list_of(PyObject **items, Py_ssize_t count, Py_ssize_t room)
{
#ifdef Py_GIL_DISABLED
    PyObject *list = PyList_New(count);
    (void)room;
    if (list != NULL && count > 0)
        memcpy(((PyListObject *)list)->ob_item, items, (size_t)count * sizeof *items);
#else
    PyObject *list = PyList_New(0);
    if (list != NULL && count > 0) {
        PyObject **fitting = items;
        if (count < room)
            fitting = PyMem_Realloc(items, (size_t)count * sizeof *items);
        ((PyListObject *)list)->ob_item = fitting != NULL ? fitting : items;
        ((PyListObject *)list)->allocated = fitting != NULL ? count : room;
        Py_SET_SIZE(list, count);
        return list;
    }
#endif
    if (list == NULL)
        while (count > 0)
            Py_DECREF(items[--count]);
    PyMem_Free(items);
    return list;
}

/* Make an empty list with room for `room` items, which list_append() then can't lack. */
static PyObject *list_with_room(Py_ssize_t room)
{
    PyObject *list = PyList_New(room);
    if (list != NULL)
        Py_SET_SIZE(list, 0);
    return list;
}

/* Append to a list with room left. */
static inline void list_append(PyObject *list, PyObject *item)
{
    Py_ssize_t count = Py_SIZE(list);
    ((PyListObject *)list)->ob_item[count] = Py_NewRef(item);
    Py_SET_SIZE(list, count + 1);
}

#endif
