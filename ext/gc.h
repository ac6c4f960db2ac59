/* Shows the jobs to the garbage collector; Cython's own traversal shows only Python attributes. */
#ifndef JOBSTORE_GC_H
#define JOBSTORE_GC_H

#include "index.h"

static traverseproc base_traverse;
static inquiry base_clear;
static Py_ssize_t index_offset; /* of the Index within a JobIndex object */

static Index *index_in(PyObject *self) { return (Index *)((char *)self + index_offset); }

static int gc_traverse(PyObject *self, visitproc visit, void *arg)
{
    int outcome = base_traverse(self, visit, arg);
    return outcome ? outcome : index_traverse(index_in(self), visit, arg);
}

static int gc_clear(PyObject *self)
{
    index_clear(index_in(self));
    return base_clear(self);
}

/* Wrap the type's tp_traverse and tp_clear. */
static void gc_install(PyTypeObject *type, Py_ssize_t offset)
{
    base_traverse = type->tp_traverse;
    base_clear = type->tp_clear;
    index_offset = offset;
    type->tp_traverse = gc_traverse;
    type->tp_clear = gc_clear;
    PyType_Modified(type);
}

#endif
