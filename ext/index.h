/* What JobIndex does to one job, and to all: entries and blocks changed together.

   Each function either does the whole change or, without memory, nothing. None runs Python code
   before its change is complete; references that a change sets free are the caller's to drop. */
#ifndef JOBSTORE_INDEX_H
#define JOBSTORE_INDEX_H

#include "blocks.h"

#ifdef Py_GIL_DISABLED
#error "jobstore's compiled core does not support free-threaded builds of CPython yet"
#endif



static void index_init(Index *index, int block_size)
{
    memset(index, 0, sizeof *index);
    entries_init(&index->entries);
    index->block_size = block_size;
}

static int no_memory(void)
{
    PyErr_NoMemory();
    return -1;
}

/* Add an id that is not there; -1 with a MemoryError, and nothing changed. */
static int index_add(Index *index, PyObject *id, PyObject *job, int64_t key)
{
    Entries *entries = &index->entries;
    if (entries_reserve(entries, 1) < 0)
        return no_memory();
    uint32_t slot = entries_add(entries, id, hash_bits(id));
    if (blocks_insert(index, key, slot, job) < 0) {
        entries_hide(entries, slot);
        entries_free_slot(entries, slot);
        Py_DECREF(id); /* not the last reference: the caller has one */
        return no_memory();
    }
    Py_INCREF(job);
    entries->at[slot].job = job;
    entries->at[slot].key = key;
    return 0;
}

/* Ask for the leaf where the job in a slot is: it will be needed once its new time is known. */
PREFETCHING index_prefetch(const Index *index, uint32_t slot)
{
    if (index->height > 2)
        blocks_prefetch(index, index->entries.at[slot].key);
}

/* Replace the job in a slot; `*old` is the one replaced. The new place is taken before the old
   one is given up, so that failing memory leaves the old one. */
static int index_replace(Index *index, uint32_t slot, PyObject *job, int64_t key, PyObject **old)
{
    Entry *entry = &index->entries.at[slot];
    if (entry->key == key) {
        if (entry->job != job)
            blocks_set_job(index, key, slot, job);
    } else {
        if (blocks_insert(index, key, slot, job) < 0)
            return no_memory();
        blocks_remove(index, entry->key, slot);
        entry->key = key;
    }
    *old = entry->job;
    Py_INCREF(job);
    entry->job = job;
    return 0;
}

/* Give memory back: move the entries to an array that fits them. Without the memory to do so,
   all stays as it is. */
static void index_compact(Index *index)
{
    Entries *entries = &index->entries, smaller;
    entries_init(&smaller);
    if (entries_reserve(&smaller, entries->count) < 0) {
        entries_free(&smaller);
        return;
    }
    Step path[MAX_HEIGHT];
    for (Block *leaf = leaves_first(index, path); leaf != NULL; leaf = leaves_next(index, path)) {
        for (int i = 0; i < leaf->count; i++) {
            uint32_t slot = slots_of(leaf)[i];
            cells_put(smaller.cells, smaller.mask, hash_bits(entries->at[slot].id), smaller.used);
            smaller.at[smaller.used] = entries->at[slot];
            slots_of(leaf)[i] = smaller.used++;
        }
    }
    smaller.count = smaller.used;
    entries_free(entries);
    *entries = smaller;
}

/* After removals: when no job is left, or only an eighth of many, give memory back. */
static inline void index_shrink(Index *index)
{
    Entries *entries = &index->entries;
    if (entries->count == 0)
        entries_free(entries);
    else if (entries->count < entries->used / 8 && entries->used > 1024)
        index_compact(index);
}

/* Remove the entry that a cell leads to; its id and job are the caller's to drop. */
static void index_remove(Index *index, uint64_t *cell, PyObject **id, PyObject **job)
{
    Entries *entries = &index->entries;
    uint32_t slot = cell_slot(*cell);
    *id = entries->at[slot].id;
    *job = entries->at[slot].job;
    PREFETCH(*job); /* dropping it will be the next to wait for memory */
    blocks_remove(index, entries->at[slot].key, slot);
    entries_hide_cell(entries, cell);
    entries_free_slot(entries, slot);
    index_shrink(index);
}

/* Make the index empty, then drop what it held: any code that this runs finds it empty. */
static void index_clear(Index *index)
{
    Index old = *index;
    index_init(index, old.block_size);
    blocks_free(old.root);
    for (uint32_t slot = 0; slot < old.entries.used; slot++) {
        Py_XDECREF(old.entries.at[slot].job);
        Py_XDECREF(old.entries.at[slot].id);
    }
    entries_free(&old.entries);
}

static int index_traverse(const Index *index, visitproc visit, void *arg)
{
    for (uint32_t slot = 0; slot < index->entries.used; slot++)
        Py_VISIT(index->entries.at[slot].job);
    return 0;
}

/* Hand over an array of references, with room for more of them, to a list that is new and empty:
   as list_new_prealloc() of CPython's Objects/listobject.c does it. What is too much of the room
   is given back; if that fails, the list has room to grow. */
static void list_adopt(PyListObject *list, PyObject **items, Py_ssize_t count, Py_ssize_t room)
{
    if (count == 0) {
        PyMem_Free(items);
        return;
    }
    if (count < room) {
        PyObject **fitting = PyMem_Realloc(items, (size_t)count * sizeof *items);
        if (fitting != NULL) {
            items = fitting;
            room = count;
        }
    }
    list->ob_item = items;
    list->allocated = room;
    Py_SET_SIZE(list, count);
}

/* A list of the first jobs whose keys are at most `key`, at most `limit` of them. Making a list may
   start the garbage collector, and so run anything: therefore the list is made first, empty, and
   its array is filled only then, with nothing in between that could change the jobs.
   (PyList_New(count) would have to know the count, and would set all of it to NULL first, a fifth
   of the whole cost.) */
static PyObject *index_jobs(const Index *index, int64_t key, Py_ssize_t limit)
{
    Step path[MAX_HEIGHT];
    PyListObject *jobs = (PyListObject *)PyList_New(0);
    if (jobs == NULL || index->root == NULL || limit == 0)
        return (PyObject *)jobs;
    const Block *end_leaf, *leaf = leaves_first(index, path);
    int end;
    Py_ssize_t room = blocks_end(index, key, &end_leaf, &end), count = 0;
    if (room > limit)
        room = limit;
    PyObject **items = PyMem_New(PyObject *, room);
    if (items == NULL) {
        Py_DECREF(jobs);
        return PyErr_NoMemory();
    }
    for (;;) {
        PyObject **refs = (PyObject **)refs_of(leaf);
        int is_last = leaf == end_leaf, from_leaf = is_last ? end : leaf->count;
        if (from_leaf >= limit - count) {
            from_leaf = (int)(limit - count);
            is_last = 1;
        }
        if (!is_last) {
            leaf = leaves_next(index, path);
            if (index->height > 2)
                for (int i = 0; i < index->block_size; i += 8)
                    PREFETCH(keys_of(leaf) + index->block_size + i); /* its refs */
        }
        for (int i = 0; i < from_leaf; i++) {
            Py_INCREF(refs[i]);
            items[count + i] = refs[i];
        }
        count += from_leaf;
        if (is_last)
            break;
    }
    list_adopt(jobs, items, count, room);
    return (PyObject *)jobs;
}

static size_t blocks_bytes(const Block *block)
{
    if (block == NULL)
        return 0;
    size_t bytes = block_bytes(block->capacity, block->is_leaf);
    if (!block->is_leaf)
        for (int i = 0; i < block->count; i++)
            bytes += blocks_bytes(child_of(block, i));
    return bytes;
}

/* The memory that the index has taken beside the object itself. */
static size_t index_bytes(const Index *index)
{
    const Entries *entries = &index->entries;
    size_t cells = entries->cells == no_cells ? 0 : entries->mask + 1;
    return entries->capacity * sizeof(Entry) + cells * sizeof *entries->cells
        + blocks_bytes(index->root);
}

#endif
