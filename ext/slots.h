/* The slots of objects, read without attribute look-ups. */
#ifndef JOBSTORE_SLOTS_H
#define JOBSTORE_SLOTS_H

#include <Python.h>
#include <structmember.h> /* for Python before 3.12 */

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

static inline PyObject **slot_at(PyObject *object, Py_ssize_t offset)
{
    return (PyObject **)((char *)object + offset);
}

#endif
