/* Operations on one job, and on all: each changes the entries and the B+ tree together.

   Each function makes its whole change or, if memory is short, none. None runs Python code before
   its change is complete. The caller drops the references that a change releases. */
#ifndef JOBSTORE_INDEX_H
#define JOBSTORE_INDEX_H

#include "btree.h"

#ifdef Py_GIL_DISABLED
#error "jobstore's compiled core does not support free-threaded builds of CPython yet"
#endif

static void index_init(Index *index, int leaf_capacity)
{
    memset(index, 0, sizeof *index);
    entries_init(&index->entries);
    index->leaf_capacity = leaf_capacity;
}

static int no_memory(void)
{
    PyErr_NoMemory();
    return -1;
}

/* Add an id that is not there. Return -1 with a MemoryError, and nothing changed. */
static int index_add(Index *index, PyObject *id, PyObject *job, int64_t key)
{
    Entries *entries = &index->entries;
    if (entries_reserve(entries, 1) < 0)
        return no_memory();
    uint32_t slot = entries_add(entries, id, hash_bits(id));
    if (btree_insert(index, key, slot, job) < 0) {
        entries_unlink(entries, slot);
        entries_free_slot(entries, slot);
        Py_DECREF(id); /* the caller has another reference */
        return no_memory();
    }
    Py_INCREF(job);
    entries->at[slot].job = job;
    entries->at[slot].key = key;
    return 0;
}

/* Prefetch the leaf of the job in a slot: replacing the job will change it. */
PREFETCHING index_prefetch(const Index *index, uint32_t slot)
{
    if (index->height > 2)
        btree_prefetch(index, index->entries.at[slot].key);
}

/* Replace the job in a slot; `*old` receives the previous job. The insertion at the new key comes
   before the removal at the old one, because only the insertion can lack memory. */
static int index_replace(Index *index, uint32_t slot, PyObject *job, int64_t key, PyObject **old)
{
    Entry *entry = &index->entries.at[slot];
    if (entry->key == key) {
        if (entry->job != job)
            btree_set_job(index, key, slot, job);
    } else {
        if (btree_insert(index, key, slot, job) < 0)
            return no_memory();
        btree_remove(index, entry->key, slot);
        entry->key = key;
    }
    *old = entry->job;
    Py_INCREF(job);
    entry->job = job;
    return 0;
}

/* Release memory: move the entries to an array that fits them. If there is no memory for that
   array, change nothing. */
static void index_compact(Index *index)
{
    Entries *entries = &index->entries, smaller;
    entries_init(&smaller);
    if (entries_reserve(&smaller, entries->count) < 0) {
        entries_free(&smaller);
        return;
    }
    Step path[MAX_HEIGHT];
    for (Node *leaf = btree_first_leaf(index, path); leaf != NULL;
         leaf = btree_next_leaf(index, path)) {
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

/* After removals: release memory when no job is left, or only an eighth of many. */
static inline void index_shrink(Index *index)
{
    Entries *entries = &index->entries;
    if (entries->count == 0)
        entries_free(entries);
    else if (entries->count < entries->used / 8 && entries->used > 1024)
        index_compact(index);
}

/* Remove the entry of a cell; the caller drops its id and its job. */
static void index_remove(Index *index, uint64_t *cell, PyObject **id, PyObject **job)
{
    Entries *entries = &index->entries;
    uint32_t slot = cell_slot(*cell);
    *id = entries->at[slot].id;
    *job = entries->at[slot].job;
    PREFETCH(*job); /* the caller drops it next */
    btree_remove(index, entries->at[slot].key, slot);
    entries_unlink_cell(entries, cell);
    entries_free_slot(entries, slot);
    index_shrink(index);
}

/* Empty the index, then drop its references: any code that this runs finds an empty index. */
static void index_clear(Index *index)
{
    Index old = *index;
    index_init(index, old.leaf_capacity);
    btree_free(old.root);
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

/* Hand an array of `count` references, allocated for `room`, to a new, empty list, in the way of
   list_new_prealloc() in CPython's Objects/listobject.c. The rest of the array is released; if
   that fails, the list keeps it as room to grow. */
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

/* Return a list of the jobs whose keys are `key` or less, in order, at most `limit` of them.

   Making a list may start the garbage collector, and so run any code. So the list is made first,
   empty; filling its array then runs nothing that could change the jobs. PyList_New(count) would
   need the count, and would first set its array to NULL, a fifth of the whole cost. */
static PyObject *index_jobs(const Index *index, int64_t key, Py_ssize_t limit)
{
    Step path[MAX_HEIGHT];
    PyListObject *jobs = (PyListObject *)PyList_New(0);
    if (jobs == NULL || index->root == NULL || limit == 0)
        return (PyObject *)jobs;
    const Node *end_leaf, *leaf = btree_first_leaf(index, path);
    int end;
    Py_ssize_t room = btree_end(index, key, &end_leaf, &end), count = 0;
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
            leaf = btree_next_leaf(index, path);
            if (index->height > 2)
                for (int i = 0; i < index->leaf_capacity; i += 8)
                    PREFETCH(keys_of(leaf) + index->leaf_capacity + i); /* its refs */
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

static size_t btree_bytes(const Node *node)
{
    if (node == NULL)
        return 0;
    size_t bytes = node_bytes(node->capacity, node->is_leaf);
    if (!node->is_leaf)
        for (int i = 0; i < node->count; i++)
            bytes += btree_bytes(child_of(node, i));
    return bytes;
}

/* Return the bytes that the index has allocated, without the object itself. */
static size_t index_bytes(const Index *index)
{
    const Entries *entries = &index->entries;
    size_t cells = entries->cells == no_cells ? 0 : entries->mask + 1;
    return entries->capacity * sizeof(Entry) + cells * sizeof *entries->cells
        + btree_bytes(index->root);
}

#endif
