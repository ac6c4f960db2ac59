/* What JobIndex does to many jobs at once: all of it or, without memory, nothing.

   Each item's id is an owned reference. Its job is borrowed until the change is complete; then
   it is the reference that the change has set free, or NULL, and the caller's to drop.

   The ids refused are collected in a plain array, made beforehand. Appending to a list could fail
   in the middle of the change, and making its MemoryError could start the garbage collector. */
#ifndef JOBSTORE_BULK_H
#define JOBSTORE_BULK_H

#include "index.h"

#define NO_KEY INT64_MIN /* the item was refused before its run time was read */
#define AHEAD 8          /* items, for which the cache is told what comes next */

typedef struct {
    PyObject *id;
    PyObject *job;
    int64_t key;
    uint32_t slot; /* to begin with, and where nothing is to be done: NO_SLOT */
    uint32_t hash; /* bits of the id's hash */
} Item;

static inline int item_before(const Item *a, const Item *b)
{
    return a->key != b->key ? a->key < b->key : PyUnicode_Compare(a->id, b->id) < 0;
}

/* Sort by (key, id): a merge sort from the bottom up, which passes over what is in order. */
static void items_sort(Item *items, Item *spare, size_t count)
{
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start + width < count; start += 2 * width) {
            Item *left = items + start, *right = left + width;
            size_t end = start + 2 * width < count ? start + 2 * width : count;
            if (!item_before(right, right - 1))
                continue;
            memcpy(spare, left, width * sizeof(Item));
            Item *out = left, *from = spare, *from_end = spare + width, *right_end = items + end;
            while (from < from_end && right < right_end)
                *out++ = item_before(right, from) ? *right++ : *from++;
            memcpy(out, from, (size_t)(from_end - from) * sizeof(Item));
        }
    }
}

/* The ids of the items without a slot, in order: a new array, of borrowed references until
   refused_report(); NULL without memory. */
static PyObject **refused_collect(const Item *items, size_t count, Py_ssize_t *refused)
{
    *refused = 0;
    for (size_t i = 0; i < count; i++)
        *refused += items[i].slot == NO_SLOT;
    PyObject **ids = PyMem_New(PyObject *, *refused);
    for (size_t i = 0, n = 0; i < count && ids != NULL; i++)
        if (items[i].slot == NO_SLOT)
            ids[n++] = items[i].id;
    return ids;
}

/* The change is complete: let a list that is new and empty have the ids refused. */
static void refused_report(PyObject *list, PyObject **ids, Py_ssize_t refused)
{
    for (Py_ssize_t i = 0; i < refused; i++)
        Py_INCREF(ids[i]);
    list_adopt((PyListObject *)list, ids, refused, refused);
}

/* Give each item the slot of its id, a new one if need be, or refuse it; -1 without memory. */
static int items_take_slots(Index *index, Item *items, size_t count, int add, int replace)
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
        if (i + AHEAD < count) {
            PREFETCH(items[i + AHEAD].id);
            PREFETCH(&entries->cells[items[i + AHEAD].hash & entries->mask]);
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
        }
        items[i].slot = slot;
    }
    return 0;
}

/* Entries added by items_take_slots() have no job yet: take them out again. */
static void items_free_slots(Index *index, const Item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].slot == NO_SLOT)
            continue;
        const Entry *entry = &index->entries.at[items[i].slot];
        if (entry->id != NULL && entry->job == NULL) {
            Py_DECREF(entry->id); /* not the last reference: the item has one */
            entries_hide(&index->entries, items[i].slot);
            entries_free_slot(&index->entries, items[i].slot);
        }
    }
}

/* Of several items with one slot keep the last, and move those kept to the front: how many. For
   the time of this function, the low bit of an entry's job marks that it has its item. */
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

/* Items are sorted by time; their entries and jobs lie anywhere. */
PREFETCHING item_prefetch(const Index *index, const Item *items, size_t i, size_t count)
{
    if (i + AHEAD < count) {
        PREFETCH(&index->entries.at[items[i + AHEAD].slot]);
        PREFETCH(items[i + AHEAD].job);
    }
}

static inline int item_moves(const Index *index, const Item *item)
{
    const Entry *entry = &index->entries.at[item->slot];
    return entry->job == NULL || entry->key != item->key;
}

/* Sort the items and take their new places in the order; how many got theirs: without memory,
   not all. */
static size_t items_take_places(Index *index, Item *items, Item *spare, size_t count)
{
    items_sort(items, spare, count);
    for (size_t i = 0; i < count; i++) {
        item_prefetch(index, items, i, count);
        if (item_moves(index, &items[i])
            && blocks_insert(index, items[i].key, items[i].slot, items[i].job) < 0)
            return i;
    }
    return count;
}

/* Undo items_take_places(): needs no memory. */
static void items_free_places(Index *index, const Item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (item_moves(index, &items[i]))
            blocks_remove(index, items[i].key, items[i].slot);
}

/* All memory is there: give up the old places and jobs. */
static void items_complete(Index *index, Item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        item_prefetch(index, items, i, count);
        Entry *entry = &index->entries.at[items[i].slot];
        PyObject *job = items[i].job;
        if (!item_moves(index, &items[i]))
            blocks_set_job(index, items[i].key, items[i].slot, job);
        else if (entry->job != NULL)
            blocks_remove(index, entry->key, items[i].slot);
        items[i].job = entry->job;
        Py_INCREF(job);
        entry->job = job;
        entry->key = items[i].key;
    }
}

/* Add the items whose ids are new, if `add`, and replace those whose ids are not, if `replace`;
   put the ids refused into the list `report`. -1 with a MemoryError, and nothing changed. */
static int index_put_items(Index *index, Item *items, size_t count, int add, int replace,
                           PyObject *report)
{
    size_t kept = 0, placed = 0;
    Py_ssize_t refused = 0;
    PyObject **ids = NULL;
    Item *spare = PyMem_New(Item, count);
    int done = spare != NULL && items_take_slots(index, items, count, add, replace) == 0
        && (ids = refused_collect(items, count, &refused)) != NULL;
    if (done) {
        kept = items_keep_last(index, items, count);
        placed = items_take_places(index, items, spare, kept);
        done = placed == kept;
    }
    PyMem_Free(spare);
    if (!done) {
        items_free_places(index, items, placed);
        items_free_slots(index, items, count);
        PyMem_Free(ids);
        return no_memory();
    }
    items_complete(index, items, kept);
    for (size_t i = kept; i < count; i++)
        items[i].job = NULL;
    refused_report(report, ids, refused);
    return 0;
}

/* Remove the items' ids; put those not found into the list `report`. -1 with a MemoryError, and
   nothing changed. */
static int index_remove_items(Index *index, Item *items, size_t count, PyObject *report)
{
    Entries *entries = &index->entries;
    for (size_t i = 0; i < count; i++) {
        if (items[i].key != NO_KEY)
            items[i].slot = entries_find(entries, items[i].id, items[i].hash);
        if (items[i].slot != NO_SLOT)
            entries_hide(entries, items[i].slot);
    }
    Py_ssize_t refused;
    PyObject **ids = refused_collect(items, count, &refused);
    if (ids == NULL) {
        for (size_t i = 0; i < count; i++)
            if (items[i].slot != NO_SLOT)
                entries_show(entries, items[i].slot);
        return no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].slot == NO_SLOT)
            continue;
        const Entry *entry = &entries->at[items[i].slot];
        blocks_remove(index, entry->key, items[i].slot);
        Py_DECREF(entry->id); /* an exact str: dropping it runs no code */
        items[i].job = entry->job;
        entries_free_slot(entries, items[i].slot);
    }
    index_shrink(index);
    refused_report(report, ids, refused);
    return 0;
}

#endif
