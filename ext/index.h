/* Operations on one job, and on all: each changes the entries and the B+ tree together.

   Each function holds the index's mutex from its first look to its last change. So on a
   free-threaded build, too, it makes its whole change or, if memory is short, none. None runs
   Python code before that: errors are raised, and references dropped, after the mutex. */
#ifndef JOBSTORE_INDEX_H
#define JOBSTORE_INDEX_H

#include "btree.h"
#include "lists.h"

static void index_empty(Index *index)
{
    entries_init(&index->entries);
    index->root = index->first_leaf = NULL;
    index->height = 0;
}

static void index_init(Index *index, int leaf_capacity)
{
    memset(index, 0, sizeof *index);
    index_empty(index);
    index->leaf_capacity = leaf_capacity;
}

static int no_memory(void)
{
    PyErr_NoMemory();
    return -1;
}

static inline int index_has(Index *index, PyObject *id)
{
    uint32_t hash = hash_bits(id);
    LOCK(index);
    int found = entries_find(&index->entries, id, hash) != NO_SLOT;
    UNLOCK(index);
    return found;
}

/* Return the job with that id, or None. */
static inline PyObject *index_get(Index *index, PyObject *id)
{
    uint32_t hash = hash_bits(id);
    LOCK(index);
    uint32_t slot = entries_find(&index->entries, id, hash);
    PyObject *job = Py_NewRef(slot == NO_SLOT ? Py_None : index->entries.at[slot].job);
    UNLOCK(index);
    return job;
}

/* Return the first job, or None if all jobs are paused. */
static inline PyObject *index_first(Index *index)
{
    LOCK(index);
    const Node *leaf = index->first_leaf;
    int none = leaf == NULL || keys_of(leaf)[0] == PAUSED;
    PyObject *job = Py_NewRef(none ? Py_None : refs_of(leaf)[0]);
    UNLOCK(index);
    return job;
}

static inline uint32_t index_count(Index *index)
{
    LOCK(index);
    uint32_t count = index->entries.count;
    UNLOCK(index);
    return count;
}

/* Insert an id that is not there. Return -1, with nothing changed, if memory is short. */
static inline int index_insert(Index *index, PyObject *id, uint32_t hash, PyObject *job,
                               int64_t key)
{
    Entries *entries = &index->entries;
    if (entries_reserve(entries, 1) < 0)
        return -1;
    uint32_t slot = entries_add(entries, id, hash);
    if (btree_insert(index, key, slot, job) < 0) {
        entries_unlink(entries, slot);
        entries_free_slot(entries, slot);
        return -1;
    }
    Py_INCREF(id);
    Py_INCREF(job);
    entries->at[slot].job = job;
    entries->at[slot].key = key;
    return 1;
}

/* Add a job. Return 1; 0 if its id is there; -1 with a MemoryError, and nothing changed. */
static int index_add(Index *index, PyObject *id, PyObject *job, int64_t key)
{
    uint32_t hash = hash_bits(id);
    LOCK(index);
    int is_new = entries_find(&index->entries, id, hash) == NO_SLOT;
    int outcome = is_new ? index_insert(index, id, hash, job, key) : 0;
    UNLOCK(index);
    return outcome < 0 ? no_memory() : outcome;
}

/* Return whether an id is there, and prefetch the leaf of its job: replacing it will change it. */
static inline int index_expect(Index *index, PyObject *id)
{
    uint32_t hash = hash_bits(id);
    LOCK(index);
    uint32_t slot = entries_find(&index->entries, id, hash);
    if (slot != NO_SLOT && index->height > 2)
        btree_prefetch(index, index->entries.at[slot].key);
    UNLOCK(index);
    return slot != NO_SLOT;
}

/* Replace the job in a slot; `*old` receives the previous job. The insertion at the new key comes
   before the removal at the old one, because only the insertion can lack memory. */
static inline int index_exchange(Index *index, uint32_t slot, PyObject *job, int64_t key,
                                 PyObject **old)
{
    Entry *entry = &index->entries.at[slot];
    if (entry->key == key) {
        if (entry->job != job)
            btree_set_job(index, key, slot, job);
    } else {
        if (btree_insert(index, key, slot, job) < 0)
            return -1;
        btree_remove(index, entry->key, slot);
        entry->key = key;
    }
    *old = entry->job;
    Py_INCREF(job);
    entry->job = job;
    return 1;
}

/* Replace the job with that id; the caller drops `*old`, the previous job. Return 1; 0 if there is
   none; -1 with a MemoryError, and nothing changed. */
static int index_replace(Index *index, PyObject *id, PyObject *job, int64_t key, PyObject **old)
{
    uint32_t hash = hash_bits(id);
    LOCK(index);
    uint32_t slot = entries_find(&index->entries, id, hash);
    int outcome = slot == NO_SLOT ? 0 : index_exchange(index, slot, job, key, old);
    UNLOCK(index);
    return outcome < 0 ? no_memory() : outcome;
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

/* Remove the job with that id; the caller drops the references of `*entry`. Return 0 if there is
   none. */
static int index_remove(Index *index, PyObject *id, Entry *removed)
{
    Entries *entries = &index->entries;
    uint32_t hash = hash_bits(id);
    LOCK(index);
    uint64_t *cell = entries_find_cell(entries, id, hash);
    int found = *cell != 0;
    if (found) {
        uint32_t slot = cell_slot(*cell);
        *removed = entries->at[slot];
        PREFETCH(removed->job); /* the caller drops it next */
        btree_remove(index, removed->key, slot);
        entries_unlink_cell(entries, cell);
        entries_free_slot(entries, slot);
        index_shrink(index);
    }
    UNLOCK(index);
    return found;
}

/* Empty the index, then drop its references: any code that this runs finds an empty index. */
static void index_clear(Index *index)
{
    LOCK(index);
    Node *root = index->root; /* a copy of all would read the mutex, which others change */
    Entries entries = index->entries;
    index_empty(index);
    UNLOCK(index);
    btree_free(root);
    for (uint32_t slot = 0; slot < entries.used; slot++) {
        Py_XDECREF(entries.at[slot].job);
        Py_XDECREF(entries.at[slot].id);
    }
    entries_free(&entries);
}

/* The garbage collector calls this while no other thread runs. */
static int index_traverse(const Index *index, visitproc visit, void *arg)
{
    for (uint32_t slot = 0; slot < index->entries.used; slot++)
        Py_VISIT(index->entries.at[slot].job);
    return 0;
}

/* Return a new array of references to the jobs whose keys are `key` or less, in order, at most
   `limit` of them; NULL if memory is short. */
static inline PyObject **index_collect(const Index *index, int64_t key, Py_ssize_t limit,
                                       Py_ssize_t *collected, Py_ssize_t *allocated)
{
    Step path[MAX_HEIGHT];
    const Node *end_leaf = NULL, *leaf = btree_first_leaf(index, path);
    int end = 0;
    Py_ssize_t count = 0, room = 0;
    if (leaf != NULL && limit > 0)
        room = btree_end(index, key, &end_leaf, &end);
    if (room > limit)
        room = limit;
    PyObject **items = PyMem_New(PyObject *, room);
    for (int is_last = items == NULL || room == 0; !is_last;) {
        PyObject **refs = (PyObject **)refs_of(leaf);
        is_last = leaf == end_leaf;
        int from_leaf = is_last ? end : leaf->count;
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
    }
    *collected = count;
    *allocated = room;
    return items;
}

/* Return a list of the jobs whose keys are `key` or less, in order, at most `limit` of them.
   Making a list may start the garbage collector, and so run any code: it comes last. */
static PyObject *index_jobs(Index *index, int64_t key, Py_ssize_t limit)
{
    Py_ssize_t count, room;
    LOCK(index);
    PyObject **items = index_collect(index, key, limit, &count, &room);
    UNLOCK(index);
    return items == NULL ? PyErr_NoMemory() : list_of(items, count, room);
}

/* Copy the entries after (key, id) to `page`, in order, at most `room`, with new references to their
   ids and jobs; with `is_included`, an entry at that very place, too. Return their number. */
static Py_ssize_t index_page(Index *index, int64_t key, PyObject *id, int is_included, Entry *page,
                             Py_ssize_t room)
{
    Step path[MAX_HEIGHT];
    Py_ssize_t count = 0;
    LOCK(index);
    const Node *leaf = index->root;
    int at = 0;
    if (leaf != NULL) {
        btree_find(index, key, id, path);
        leaf = path[0].node;
        at = path[0].at;
        if (!is_included && at < leaf->count && keys_of(leaf)[at] == key
            && PyUnicode_Compare(index->entries.at[slots_of(leaf)[at]].id, id) == 0)
            at++;
    }
    while (leaf != NULL && count < room) {
        if (at == leaf->count) {
            leaf = btree_next_leaf(index, path);
            at = 0;
            continue;
        }
        page[count] = index->entries.at[slots_of(leaf)[at++]];
        Py_INCREF(page[count].id);
        Py_INCREF(page[count].job);
        count++;
    }
    UNLOCK(index);
    return count;
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
static size_t index_bytes(Index *index)
{
    const Entries *entries = &index->entries;
    LOCK(index);
    size_t cells = entries->cells == no_cells ? 0 : entries->mask + 1;
    size_t bytes = entries->capacity * sizeof(Entry) + cells * sizeof *entries->cells
        + btree_bytes(index->root);
    UNLOCK(index);
    return bytes;
}

#endif
