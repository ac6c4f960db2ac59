/* Operations on many jobs: each makes its whole change or, if memory is short, none.

   Each item owns its reference to the id. It borrows its job until the change is complete; then
   its job is the reference that the change released, or NULL, and the caller drops it. No reference
   is dropped under the mutex: even that of an id may make CPython wait for another thread.

   The refused ids go into a list that the caller has made with room for all. So appending to it
   can't fail in the middle of the change, nor start the garbage collector. */
#ifndef JOBSTORE_BULK_H
#define JOBSTORE_BULK_H

#include "index.h"

#define NO_KEY INT64_MIN    /* the item was refused, so its run time was not read */
#define PREFETCH_DISTANCE 8 /* in items */

typedef struct {
    PyObject *id;
    PyObject *job;
    union {
        int64_t key;
        PyObject *removed_id; /* after a removal: another reference to drop, or NULL */
    };
    uint32_t slot; /* NO_SLOT at first, and for a refused or superseded item */
    uint32_t hash; /* bits of the id's hash */
} Item;

static inline int item_is_before(const Item *a, const Item *b)
{
    return a->key != b->key ? a->key < b->key : PyUnicode_Compare(a->id, b->id) < 0;
}

/* Sort by (key, id): a bottom-up merge sort that skips runs already in order. */
static void items_sort(Item *items, Item *spare, size_t count)
{
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start + width < count; start += 2 * width) {
            Item *left = items + start, *right = left + width;
            size_t end = start + 2 * width < count ? start + 2 * width : count;
            if (!item_is_before(right, right - 1))
                continue;
            memcpy(spare, left, width * sizeof(Item));
            Item *out = left, *from = spare, *from_end = spare + width, *right_end = items + end;
            while (from < from_end && right < right_end)
                *out++ = item_is_before(right, from) ? *right++ : *from++;
            memcpy(out, from, (size_t)(from_end - from) * sizeof(Item));
        }
    }
}

/* Append the refused ids to a list with room, in the order given: those of the items without a
   slot. */
static void refused_report(PyObject *report, const Item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (items[i].slot == NO_SLOT)
            list_append(report, items[i].id);
}

/* Give each item the slot of its id, adding an entry for a new id, or refuse the item. Return -1
   if memory is short. */
static int items_assign_slots(Index *index, Item *items, size_t count, int add, int replace)
{
    Entries *entries = &index->entries;
    size_t to_add = 0;
    for (size_t i = 0; i < count; i++)
        to_add += !replace && items[i].key != NO_KEY;
    if (entries_reserve(entries, to_add) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        uint32_t slot = NO_SLOT;
        int allowed = 0;
        if (i + PREFETCH_DISTANCE < count) {
            PREFETCH(items[i + PREFETCH_DISTANCE].id);
            PREFETCH(&entries->cells[items[i + PREFETCH_DISTANCE].hash & entries->mask]);
        }
        if (items[i].key != NO_KEY) {
            slot = entries_find(entries, items[i].id, items[i].hash);
            allowed = slot == NO_SLOT ? add : replace;
        }
        if (!allowed)
            continue;
        if (slot == NO_SLOT) {
            if (entries_reserve(entries, 1) < 0)
                return -1;
            slot = entries_add(entries, items[i].id, items[i].hash);
            Py_INCREF(items[i].id);
        }
        items[i].slot = slot;
    }
    return 0;
}

/* Undo items_assign_slots(): remove the entries that it added. They have no job yet. */
static void items_undo_slots(Index *index, Item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        items[i].removed_id = NULL;
        if (items[i].slot == NO_SLOT)
            continue;
        const Entry *entry = &index->entries.at[items[i].slot];
        if (entry->id != NULL && entry->job == NULL) {
            items[i].removed_id = entry->id;
            entries_unlink(&index->entries, items[i].slot);
            entries_free_slot(&index->entries, items[i].slot);
        }
    }
}

/* Keep the last of several items with the same slot, and move the kept items to the front; return
   their number. Within this function the low bit of an entry's job marks a slot already seen. */
static size_t items_keep_last(Index *index, Item *items, size_t count)
{
    size_t kept = 0;
    for (size_t i = count; i-- > 0;) {
        if (items[i].slot == NO_SLOT)
            continue;
        PyObject **job = &index->entries.at[items[i].slot].job;
        if ((uintptr_t)*job & 1)
            items[i].slot = NO_SLOT;
        else
            *job = (PyObject *)((uintptr_t)*job | 1);
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].slot == NO_SLOT)
            continue;
        PyObject **job = &index->entries.at[items[i].slot].job;
        *job = (PyObject *)((uintptr_t)*job & ~(uintptr_t)1);
        Item swap = items[kept];
        items[kept++] = items[i];
        items[i] = swap;
    }
    return kept;
}

/* Prefetch a later item's entry and job: the items are sorted by time, so these lie anywhere. */
PREFETCHING item_prefetch(const Index *index, const Item *items, size_t i, size_t count)
{
    if (i + PREFETCH_DISTANCE < count) {
        PREFETCH(&index->entries.at[items[i + PREFETCH_DISTANCE].slot]);
        PREFETCH(items[i + PREFETCH_DISTANCE].job);
    }
}

/* Whether the change puts the item's job at a key where its id is not yet. */
static inline int item_moves(const Index *index, const Item *item)
{
    const Entry *entry = &index->entries.at[item->slot];
    return entry->job == NULL || entry->key != item->key;
}

/* Sort the items, then insert those that move into the tree. Return how many were dealt with:
   fewer than `count` if memory is short. */
static size_t items_insert(Index *index, Item *items, Item *spare, size_t count)
{
    items_sort(items, spare, count);
    for (size_t i = 0; i < count; i++) {
        item_prefetch(index, items, i, count);
        if (item_moves(index, &items[i])
            && btree_insert(index, items[i].key, items[i].slot, items[i].job) < 0)
            return i;
    }
    return count;
}

/* Undo items_insert(); this needs no memory. */
static void items_undo_insert(Index *index, const Item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (item_moves(index, &items[i]))
            btree_remove(index, items[i].key, items[i].slot);
}

/* Nothing can fail any more: remove the old positions, and exchange the jobs. */
static void items_commit(Index *index, Item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        item_prefetch(index, items, i, count);
        Entry *entry = &index->entries.at[items[i].slot];
        PyObject *job = items[i].job;
        if (!item_moves(index, &items[i]))
            btree_set_job(index, items[i].key, items[i].slot, job);
        else if (entry->job != NULL)
            btree_remove(index, entry->key, items[i].slot);
        items[i].job = entry->job;
        Py_INCREF(job);
        entry->job = job;
        entry->key = items[i].key;
    }
}

/* Add the items with new ids, if `add`, and replace the jobs of the other ids, if `replace`. Put
   the refused ids into the list `report`. Return -1 with a MemoryError, and nothing changed. */
static int index_put_items(Index *index, Item *items, size_t count, int add, int replace,
                           PyObject *report)
{
    size_t kept = 0, placed = 0;
    Item *spare = PyMem_New(Item, count);
    if (spare == NULL)
        return no_memory();
    LOCK(index);
    int done = items_assign_slots(index, items, count, add, replace) == 0;
    if (done) {
        refused_report(report, items, count);
        kept = items_keep_last(index, items, count);
        placed = items_insert(index, items, spare, kept);
        done = placed == kept;
    }
    if (done) {
        items_commit(index, items, kept);
    } else {
        items_undo_insert(index, items, placed);
        items_undo_slots(index, items, count);
    }
    UNLOCK(index);
    PyMem_Free(spare);
    if (done) {
        for (size_t i = kept; i < count; i++)
            items[i].job = NULL;
        return 0;
    }
    for (size_t i = 0; i < count; i++)
        Py_XDECREF(items[i].removed_id);
    return no_memory();
}

/* Remove the jobs of the items' ids. Put the ids not found into the list `report`. */
static void index_remove_items(Index *index, Item *items, size_t count, PyObject *report)
{
    Entries *entries = &index->entries;
    LOCK(index);
    for (size_t i = 0; i < count; i++) {
        if (items[i].key != NO_KEY)
            items[i].slot = entries_find(entries, items[i].id, items[i].hash);
        if (items[i].slot != NO_SLOT)
            entries_unlink(entries, items[i].slot);
    }
    refused_report(report, items, count);
    for (size_t i = 0; i < count; i++) {
        items[i].removed_id = NULL;
        if (items[i].slot == NO_SLOT)
            continue;
        Entry *entry = &entries->at[items[i].slot];
        btree_remove(index, entry->key, items[i].slot);
        items[i].removed_id = entry->id;
        items[i].job = entry->job;
        entries_free_slot(entries, items[i].slot);
    }
    index_shrink(index);
    UNLOCK(index);
}

#endif
