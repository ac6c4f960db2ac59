# cython: language_level=3, always_allow_keywords=False, auto_pickle=False, binding=False
# cython: freethreading_compatible=True
"""Functions about pickled states, compiled. Their twins in `jobstore/_states_py.py` document them.

Only `Slots` may call Python code, when it is made and when it makes a tuple. All else only compares
pointers and bytes: with the GIL held or, without it, in critical sections of the objects.
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject, PyTypeObject

cdef extern from "states.h":
    int states_init() except -1
    object state_advance(object state, object old, object new)
    object slots_read(object owner, const Py_ssize_t *offsets, Py_ssize_t count)

cdef extern from "slots.h":
    Py_ssize_t slot_offset(PyTypeObject *owner, object slot)
    bint slots_are_same(
        PyObject *owner, const Py_ssize_t *offsets, Py_ssize_t count, PyObject *values)
    bint dict_is_same(PyObject *dict, PyObject *items)
    bint list_is_same(PyObject *list, PyObject *items)

cdef extern from "Python.h":
    bint PyTuple_CheckExact(PyObject *object)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *tuple)
    PyObject *PyTuple_GET_ITEM(PyObject *tuple, Py_ssize_t place)
    PyTypeObject *Py_TYPE(PyObject *object)

states_init()


def advance(state, old_run_time, new_run_time):
    return state_advance(state, old_run_time, new_run_time)


@cython.final
cdef class Slots:
    cdef object _owner
    cdef Py_ssize_t _count
    cdef Py_ssize_t *_offsets

    def __cinit__(self, owner, names):
        cdef list slots = [getattr(owner, name) for name in names]
        cdef Py_ssize_t place
        if not isinstance(owner, type):
            raise TypeError(f"{owner!r} is no class")
        self._owner = owner
        self._count = len(slots)
        self._offsets = <Py_ssize_t *>PyMem_Calloc(len(slots), sizeof(Py_ssize_t))
        if self._offsets is NULL:
            raise MemoryError
        for place, slot in enumerate(slots):
            self._offsets[place] = slot_offset(<PyTypeObject *>owner, slot)
            if self._offsets[place] < 0:
                raise TypeError(f"{slot!r} is no slot of {owner.__name__}")

    def __dealloc__(self):
        PyMem_Free(self._offsets)

    def read(self, owner):
        if type(owner) is not self._owner:
            return None
        return slots_read(owner, self._offsets, self._count)


cdef bint has_slots(PyObject *owner, PyObject *slots, PyObject *values):
    cdef Slots checked
    if Py_TYPE(slots) is not <PyTypeObject *>Slots:
        return False
    checked = <Slots>slots
    if Py_TYPE(owner) is not <PyTypeObject *>checked._owner:
        return False
    return slots_are_same(owner, checked._offsets, checked._count, values)


def is_unchanged(job, parts):
    cdef PyObject *part = <PyObject *>parts
    cdef PyObject *listed
    cdef Py_ssize_t size, place
    if not PyTuple_CheckExact(part):
        return False
    size = PyTuple_GET_SIZE(part)
    if size < 4 or size % 5 != 4:
        return False
    if not has_slots(<PyObject *>job, PyTuple_GET_ITEM(part, 0), PyTuple_GET_ITEM(part, 1)):
        return False
    if not dict_is_same(PyTuple_GET_ITEM(part, 2), PyTuple_GET_ITEM(part, 3)):
        return False
    for place in range(4, size, 5):
        if not has_slots(
            PyTuple_GET_ITEM(part, place),
            PyTuple_GET_ITEM(part, place + 1),
            PyTuple_GET_ITEM(part, place + 2),
        ):
            return False
        listed = PyTuple_GET_ITEM(part, place + 3)
        if listed is not <PyObject *>None and not list_is_same(
            listed, PyTuple_GET_ITEM(part, place + 4)
        ):
            return False
    return True
