# cython: language_level=3, always_allow_keywords=False, auto_pickle=False, binding=False
# cython: freethreading_compatible=True
"""`JobIndex`, compiled. Its twin, `jobstore/_index_py.py`, has the full documentation.

Each call makes its whole change, or raises and changes nothing. So every call that changes the
index takes its steps in this order:

1. read the id and look it up: lookup errors come before all others;
2. read the run time and convert it: the last step that may run Python code;
3. in one function of `index.h` or `bulk.h`, look the id up again, because that code may have added
   or removed it, and change the index. The function makes its whole change or, if memory is short,
   none;
4. drop references, which may run Python code again.

Each function of these headers is atomic: by the GIL or, without it, by the index's mutex.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from cpython.pyport cimport PY_SSIZE_T_MAX
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_FromObject
from libc.stdint cimport int64_t, uint32_t

from apscheduler.jobstores.base import ConflictingIdError, JobLookupError

cdef extern from "run_time.h":
    enum: KEY_OK, KEY_NO_DATETIME
    int64_t PAUSED
    int run_time_init() except -1
    int key_of(object run_time, int64_t *key) except -1

cdef extern from "entries.h":
    const uint32_t NO_SLOT
    ctypedef struct Entry:
        PyObject *id
        PyObject *job
        int64_t key
    int id_make_ready(object id) except -1
    uint32_t hash_bits(object id)

cdef extern from "lists.h":
    list list_with_room(Py_ssize_t room)

cdef extern from "index.h":
    ctypedef struct Index:
        pass
    void index_init(Index *index, int leaf_capacity)
    bint index_has(Index *index, object id)
    object index_get(Index *index, object id)
    object index_first(Index *index)
    uint32_t index_count(Index *index)
    bint index_add(Index *index, object id, object job, int64_t key) except -1
    bint index_expect(Index *index, object id)
    bint index_replace(
        Index *index, object id, object job, int64_t key, PyObject **old) except -1
    bint index_remove(Index *index, object id, Entry *removed)
    void index_clear(Index *index)
    list index_jobs(Index *index, int64_t key, Py_ssize_t limit)
    Py_ssize_t index_page(
        Index *index, int64_t key, object id, bint is_included, Entry *page, Py_ssize_t room)
    size_t index_bytes(Index *index)

cdef extern from "bulk.h":
    const int64_t NO_KEY
    ctypedef struct Item:
        PyObject *id
        PyObject *job
        int64_t key
        PyObject *removed_id
        uint32_t slot
        uint32_t hash
    int index_put_items(
        Index *index, Item *items, size_t count, int add, int replace, list report) except -1
    void index_remove_items(Index *index, Item *items, size_t count, list report)

cdef extern from "check.h":
    const char *index_check(Index *index)

cdef extern from "gc.h":
    void gc_install(PyTypeObject *type, Py_ssize_t offset)

run_time_init()


cdef inline object exact_id(object given):
    """Return the id as an exact str of the same characters, or None if it is no str."""
    if PyUnicode_CheckExact(given):
        id_make_ready(given)
        return given
    if isinstance(given, str):
        return PyUnicode_FromObject(given)
    hash(given)  # raises the TypeError of an unhashable id, as a dict does
    return None


cdef inline int64_t checked_key(object run_time, object job_id) except? -1:
    """Return the key of a run time; an error names the job, or `now` if the id is None."""
    cdef int64_t key
    cdef int outcome = key_of(run_time, &key)
    if outcome == KEY_OK:
        return key
    owner = "now" if job_id is None else f"next_run_time of job {job_id!r}"
    if outcome == KEY_NO_DATETIME:
        kinds = "a datetime" if job_id is None else "a datetime or None"
        raise TypeError(f"{owner} must be {kinds}, not {run_time!r}")
    raise OverflowError(f"{owner} is outside the years 1 to 9999 in UTC: {run_time!r}")


@cython.final
cdef class Items:
    """The jobs or ids given to one bulk call, all read before the first change."""

    cdef Item *items
    cdef size_t count
    cdef bint put  # the change is complete: the items own their jobs now
    cdef bint removed  # likewise, and their removed ids

    def __cinit__(self, tuple given):
        self.items = <Item *> PyMem_Malloc((len(given) + 1) * sizeof(Item))
        if self.items == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef size_t i
        for i in range(self.count):
            Py_XDECREF(self.items[i].id)
            if self.removed:
                Py_XDECREF(self.items[i].removed_id)
            if self.put or self.removed:
                Py_XDECREF(self.items[i].job)
        PyMem_Free(self.items)

    cdef Item *append(self, object job_id):
        cdef Item *item = &self.items[self.count]
        self.count += 1
        Py_INCREF(job_id)
        item.id = <PyObject *> job_id
        item.job = NULL
        item.key = NO_KEY
        item.slot = NO_SLOT
        item.hash = 0
        return item

    cdef bint has(self, object job_id):
        """Whether an item before the last one has that id and was accepted."""
        cdef size_t i
        for i in range(self.count - 1):
            if self.items[i].key != NO_KEY and <object> self.items[i].id == job_id:
                return True
        return False


@cython.final
cdef class Page:
    """Entries copied from an index, with references of their own."""

    cdef Entry *entries
    cdef Py_ssize_t count

    def __cinit__(self, Py_ssize_t room):
        self.entries = <Entry *> PyMem_Malloc((room + 1) * sizeof(Entry))
        if self.entries == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            Py_DECREF(<object> self.entries[i].id)
            Py_DECREF(<object> self.entries[i].job)
        PyMem_Free(self.entries)


@cython.final
cdef class JobIndex:
    cdef Index index
    cdef object gc  # unused: an object attribute makes Cython give the type a tp_traverse

    def __cinit__(self, int leaf_capacity=64):
        index_init(&self.index, leaf_capacity)
        if not 4 <= leaf_capacity <= 64:
            raise ValueError(f"leaf_capacity must be 4 to 64, not {leaf_capacity}")

    def __dealloc__(self):
        index_clear(&self.index)

    def add(self, job):
        given = job.id
        job_id = exact_id(given)
        if job_id is None:
            raise TypeError(f"the id of a job must be a str, not {given!r}")
        if index_has(&self.index, job_id):
            raise ConflictingIdError(job_id)
        cdef int64_t key = checked_key(job.next_run_time, job_id)
        if not index_add(&self.index, job_id, job, key):
            raise ConflictingIdError(job_id)

    def replace(self, job):
        cdef PyObject *old = NULL
        given = job.id
        job_id = exact_id(given)
        if job_id is None or not index_expect(&self.index, job_id):
            raise JobLookupError(given if job_id is None else job_id)
        cdef int64_t key = checked_key(job.next_run_time, job_id)
        if not index_replace(&self.index, job_id, job, key, &old):
            raise JobLookupError(job_id)
        Py_DECREF(<object> old)

    def remove(self, job_id):
        cdef Entry removed
        exact = exact_id(job_id)
        if exact is None or not index_remove(&self.index, exact, &removed):
            raise JobLookupError(job_id if exact is None else exact)
        job = <object> removed.job
        Py_DECREF(job)
        Py_DECREF(<object> removed.id)
        return job

    def get(self, job_id):
        exact = exact_id(job_id)
        return None if exact is None else index_get(&self.index, exact)

    def __contains__(self, job_id):
        exact = exact_id(job_id)
        return exact is not None and index_has(&self.index, exact)

    def __len__(self):
        return index_count(&self.index)

    def due(self, now, Py_ssize_t limit=PY_SSIZE_T_MAX):
        if now is None:
            raise TypeError("now must be a datetime, not None")
        if limit < 0:
            raise ValueError(f"limit must be 0 or more, not {limit}")
        return index_jobs(&self.index, checked_key(now, None), limit)

    def first_run_time(self):
        job = index_first(&self.index)
        return None if job is None else job.next_run_time

    def all(self):
        return index_jobs(&self.index, PAUSED, PY_SSIZE_T_MAX)

    def page(self, key, job_id, Py_ssize_t limit):
        cdef int64_t start
        given = PyNumber_Index(key)
        if not -PAUSED <= given <= PAUSED:
            raise OverflowError(f"key must be -2**62 to 2**62, not {given}")
        start = given
        exact = "" if job_id is None else exact_id(job_id)
        if exact is None:
            raise TypeError(f"the id of a job must be a str, not {job_id!r}")
        if limit < 0:
            raise ValueError(f"limit must be 0 or more, not {limit}")
        cdef Py_ssize_t room = min(limit, <Py_ssize_t> index_count(&self.index))
        cdef Page page = Page(room)
        page.count = index_page(&self.index, start, exact, job_id is None, page.entries, room)
        cdef Entry *entry
        cdef list found = []
        cdef Py_ssize_t i
        for i in range(page.count):
            entry = &page.entries[i]
            found.append((entry.key, <object> entry.id, <object> entry.job))
        return found

    def __iter__(self):
        return iter(self.all())

    def clear(self):
        index_clear(&self.index)

    def add_many(self, jobs):
        return put_many(&self.index, tuple(jobs), True, False)

    def replace_many(self, jobs):
        return put_many(&self.index, tuple(jobs), False, True)

    def put_many(self, jobs):
        put_many(&self.index, tuple(jobs), True, True)

    def remove_many(self, job_ids):
        cdef tuple all_given = tuple(job_ids)
        cdef Items items = Items(all_given)
        cdef Item *item
        for given in all_given:
            job_id = exact_id(given)
            if job_id is None:
                items.append(given)
            else:
                item = items.append(job_id)
                item.key = PAUSED  # any key but NO_KEY makes the call look the id up
                item.hash = hash_bits(job_id)
        cdef list refused = list_with_room(items.count)
        index_remove_items(&self.index, items.items, items.count, refused)
        items.removed = True
        return refused

    def _check(self):
        cdef const char *broken = index_check(&self.index)
        if broken != NULL:
            raise AssertionError(broken.decode())

    def __sizeof__(self):
        return object.__sizeof__(self) + index_bytes(&self.index)


cdef list put_many(Index *index, tuple jobs, bint add, bint replace):
    cdef Items items = Items(jobs)
    cdef Item *item
    for job in jobs:
        given = job.id
        job_id = exact_id(given)
        item = items.append(given if job_id is None else job_id)
        known = job_id is not None and index_has(index, job_id)
        if not (replace if known else add):
            continue  # refused, so nobody needs its run time
        if job_id is None:
            raise TypeError(f"the id of a job must be a str, not {given!r}")
        try:
            item.key = checked_key(job.next_run_time, job_id)
        except Exception:
            if replace or not items.has(job_id):
                raise
            continue  # refused: a second job with the same id
        item.job = <PyObject *> job
        item.hash = hash_bits(job_id)
    cdef list refused = list_with_room(items.count)
    index_put_items(index, items.items, items.count, add, replace, refused)
    items.put = True
    return refused


cdef JobIndex sample = JobIndex()
gc_install(<PyTypeObject *> JobIndex, <char *> &sample.index - <char *> <PyObject *> sample)
sample = None
