/* The slots of objects, read without attribute look-ups, and comparisons that run no Python code.

   Other threads may change the objects meanwhile: on a free-threaded build each is read in a
   critical section, in which CPython changes them, too. */
#ifndef JOBSTORE_SLOTS_H
#define JOBSTORE_SLOTS_H

#include <Python.h>
#include <structmember.h> /* for Python before 3.12 */

#include "lock.h"

/* Return the offset of a slot in the objects of a class, or -1 if it is none. */
static inline Py_ssize_t slot_offset(PyTypeObject *owner, PyObject *slot)
{
    if (!Py_IS_TYPE(slot, &PyMemberDescr_Type))
        return -1;
    PyMemberDef *member = ((PyMemberDescrObject *)slot)->d_member;
    PyTypeObject *definer = ((PyMemberDescrObject *)slot)->d_common.d_type;
    if (member->type != T_OBJECT_EX || !PyType_HasFeature(definer, Py_TPFLAGS_HEAPTYPE)
        || !PyType_IsSubtype(owner, definer))
        return -1;
    return member->offset;
}

static inline PyObject *slot_at(PyObject *owner, Py_ssize_t offset)
{
    return *(PyObject **)((char *)owner + offset);
}

/* Take references to the values of slots. Empty slots give NULL; return whether there are none. */
static inline int slots_take(PyObject *owner, const Py_ssize_t *offsets, Py_ssize_t count,
                             PyObject **values)
{
    int filled = 1;
    Py_BEGIN_CRITICAL_SECTION(owner);
    for (Py_ssize_t i = 0; i < count; i++) {
        values[i] = slot_at(owner, offsets[i]);
        Py_XINCREF(values[i]);
        filled &= values[i] != NULL;
    }
    Py_END_CRITICAL_SECTION();
    return filled;
}

/* Whether the slots have the values of a tuple. An empty slot is NULL, and no item of it is. */
static inline int slots_are_same(PyObject *owner, const Py_ssize_t *offsets, Py_ssize_t count,
                                 PyObject *values)
{
    if (!PyTuple_CheckExact(values) || PyTuple_GET_SIZE(values) != count)
        return 0;
    Py_ssize_t same = 0;
    Py_BEGIN_CRITICAL_SECTION(owner);
    while (same < count && slot_at(owner, offsets[same]) == PyTuple_GET_ITEM(values, same))
        same++;
    Py_END_CRITICAL_SECTION();
    return same == count;
}

/* Whether a list has the items of a tuple. */
static inline int list_is_same(PyObject *list, PyObject *items)
{
    if (!PyList_CheckExact(list) || !PyTuple_CheckExact(items))
        return 0;
    Py_ssize_t count = PyTuple_GET_SIZE(items), same = 0;
    Py_BEGIN_CRITICAL_SECTION(list);
    if (PyList_GET_SIZE(list) != count)
        same = -1;
    else
        while (same < count && PyList_GET_ITEM(list, same) == PyTuple_GET_ITEM(items, same))
            same++;
    Py_END_CRITICAL_SECTION();
    return same == count;
}

/* Whether a dict has the keys and values of a tuple, in turn. */
static inline int dict_is_same(PyObject *dict, PyObject *items)
{
    if (!PyDict_CheckExact(dict) || !PyTuple_CheckExact(items))
        return 0;
    Py_ssize_t count = PyTuple_GET_SIZE(items), place = 0, same = 0;
    Py_BEGIN_CRITICAL_SECTION(dict);
    if (PyDict_GET_SIZE(dict) * 2 != count)
        same = -1;
    else
        for (PyObject *key, *value; PyDict_Next(dict, &place, &key, &value); same += 2)
            if (key != PyTuple_GET_ITEM(items, same) || value != PyTuple_GET_ITEM(items, same + 1))
                break;
    Py_END_CRITICAL_SECTION();
    return same == count;
}

#endif
