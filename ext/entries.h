/* id -> entry: an array of entries, and a hash table of their positions (slots) in that array.

   The hash table uses open addressing with linear probing. Each cell holds 32 bits of the id's
   hash beside the slot, so probes and resizes follow no pointers to other ids. Nothing here runs
   Python code, and all memory comes from PyMem_*. */
#ifndef JOBSTORE_ENTRIES_H
#define JOBSTORE_ENTRIES_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(address) __builtin_prefetch(address)
/* GCC sees no effect in a function that only prefetches, and drops its calls unless inlined. */
#define PREFETCHING static inline __attribute__((always_inline)) void
#else
#define PREFETCH(address) ((void)(address))
#define PREFETCHING static inline void
#endif

#define NO_SLOT UINT32_MAX
#define MAX_JOBS (NO_SLOT - 1)

typedef struct {
    PyObject *id;  /* an exact str; NULL in a free slot */
    PyObject *job; /* NULL between entries_add() and the end of the call that adds the job */
    int64_t key;   /* its key in the B+ tree; in a free slot: the next free slot */
} Entry;

typedef struct {
    Entry *at;         /* by slot */
    uint32_t used;     /* slots below this one are taken, or in the free list */
    uint32_t capacity; /* slots that are allocated */
    uint32_t free;     /* head of the free list, or NO_SLOT */
    uint32_t count;    /* entries */
    uint64_t *cells;   /* 0 if empty, else hash bits << 32 | slot + 1 */
    size_t mask;       /* number of cells, a power of two, minus 1 */
} Entries;

static uint64_t no_cells[1]; /* the table of an empty index: one cell, never filled */

static void entries_init(Entries *entries)
{
    memset(entries, 0, sizeof *entries);
    entries->free = NO_SLOT;
    entries->cells = no_cells;
}

/* Free the memory, but drop no references. */
static void entries_free(Entries *entries)
{
    PyMem_Free(entries->at);
    if (entries->cells != no_cells)
        PyMem_Free(entries->cells);
    entries_init(entries);
}

/* Before CPython 3.12 a str may lack its canonical representation: make it. Return -1 on error. */
static inline int id_make_ready(PyObject *id)
{
#if PY_VERSION_HEX < 0x030C0000
    return PyUnicode_READY(id);
#else
    (void)id;
    return 0;
#endif
}

static inline uint32_t hash_bits(PyObject *id)
{
#ifdef Py_GIL_DISABLED
    Py_hash_t known = _Py_atomic_load_ssize_relaxed(&((PyASCIIObject *)id)->hash);
#else
    Py_hash_t known = ((PyASCIIObject *)id)->hash; /* -1 until it is computed */
#endif
    uint64_t hash = (uint64_t)(known != -1 ? known : PyObject_Hash(id)); /* can't fail for str */
    return (uint32_t)(hash ^ hash >> 32);
}

static inline uint32_t cell_slot(uint64_t cell) { return (uint32_t)cell - 1; }
static inline uint32_t cell_hash(uint64_t cell) { return (uint32_t)(cell >> 32); }

static inline int same_id(PyObject *a, PyObject *b)
{
    return a == b
        || (PyUnicode_GET_LENGTH(a) == PyUnicode_GET_LENGTH(b)
            && PyUnicode_KIND(a) == PyUnicode_KIND(b)
            && memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b),
                      (size_t)PyUnicode_GET_LENGTH(a) * PyUnicode_KIND(a)) == 0);
}

/* Return the cell of the entry with that id, or the empty cell where it belongs. */
static inline uint64_t *entries_find_cell(const Entries *entries, PyObject *id, uint32_t hash)
{
    for (size_t i = hash & entries->mask;; i = (i + 1) & entries->mask) {
        uint64_t *cell = &entries->cells[i];
        if (*cell == 0
            || (cell_hash(*cell) == hash && same_id(entries->at[cell_slot(*cell)].id, id)))
            return cell;
    }
}

/* Return the slot of the entry with that id, or NO_SLOT, to which an empty cell decodes. */
static inline uint32_t entries_find(const Entries *entries, PyObject *id, uint32_t hash)
{
    return cell_slot(*entries_find_cell(entries, id, hash));
}

static inline void cells_put(uint64_t *cells, size_t mask, uint32_t hash, uint32_t slot)
{
    size_t i = hash & mask;
    while (cells[i] != 0)
        i = (i + 1) & mask;
    cells[i] = (uint64_t)hash << 32 | (slot + 1);
}

/* Return how many cells `count` entries need: a power of two, filled to two thirds at most. */
static size_t cells_for(size_t count)
{
    size_t size = 16;
    while (size * 2 < count * 3)
        size *= 2;
    return size;
}

/* Reserve room for `more` calls of entries_add(), which then can't fail. Return -1 if memory is
   short. */
static int entries_reserve(Entries *entries, size_t more)
{
    size_t count = entries->count + more;
    if (count <= entries->capacity && count * 3 <= (entries->mask + 1) * 2
        && entries->cells != no_cells)
        return 0;
    if (count > MAX_JOBS)
        return -1;
    if (count > entries->capacity) {
        size_t capacity = count + count / 8 + 8;
        Entry *at = PyMem_Realloc(entries->at, capacity * sizeof(Entry));
        if (at == NULL)
            return -1;
        entries->at = at;
        entries->capacity = capacity > MAX_JOBS ? MAX_JOBS : (uint32_t)capacity;
    }
    size_t size = cells_for(count);
    if (entries->cells == no_cells || size > entries->mask + 1) {
        uint64_t *cells = PyMem_Calloc(size, sizeof *cells);
        if (cells == NULL)
            return -1;
        if (entries->cells != no_cells) {
            for (size_t i = 0; i <= entries->mask; i++)
                if (entries->cells[i] != 0)
                    cells_put(cells, size - 1, cell_hash(entries->cells[i]),
                              cell_slot(entries->cells[i]));
            PyMem_Free(entries->cells);
        }
        entries->cells = cells;
        entries->mask = size - 1;
    }
    return 0;
}

/* Add an entry, still without a job, in reserved room; the caller takes a reference to the id. */
static inline uint32_t entries_add(Entries *entries, PyObject *id, uint32_t hash)
{
    uint32_t slot = entries->free;
    if (slot != NO_SLOT)
        entries->free = (uint32_t)entries->at[slot].key;
    else
        slot = entries->used++;
    entries->at[slot].id = id;
    entries->at[slot].job = NULL;
    cells_put(entries->cells, entries->mask, hash, slot);
    entries->count++;
    return slot;
}

/* Take an entry out of the hash table, so that its id is no longer found; its slot stays taken. */
static inline void entries_unlink_cell(Entries *entries, uint64_t *cell)
{
    uint64_t *cells = entries->cells;
    size_t mask = entries->mask, hole = (size_t)(cell - cells);
    /* Shift later cells of the same run back into the gap, so that no probe ends too early. */
    for (size_t i = (hole + 1) & mask; cells[i] != 0; i = (i + 1) & mask) {
        size_t home = cell_hash(cells[i]) & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            cells[hole] = cells[i];
            hole = i;
        }
    }
    cells[hole] = 0;
    entries->count--;
}

static inline void entries_unlink(Entries *entries, uint32_t slot)
{
    PyObject *id = entries->at[slot].id;
    entries_unlink_cell(entries, entries_find_cell(entries, id, hash_bits(id)));
}

/* Free the slot of an unlinked entry; the caller now owns its references, if it had any. */
static inline void entries_free_slot(Entries *entries, uint32_t slot)
{
    entries->at[slot].id = NULL;
    entries->at[slot].job = NULL;
    entries->at[slot].key = entries->free;
    entries->free = slot;
}

#endif
