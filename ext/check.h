/* Every invariant of the index, verified. */
#ifndef JOBSTORE_CHECK_H
#define JOBSTORE_CHECK_H

#include "index.h"

typedef struct {
    const Index *index;
    size_t count;           /* jobs visited so far */
    int64_t key;            /* of the last job visited */
    PyObject *id;           /* the same job's */
} Visit;

#define EXPECT(condition)            \
    do {                             \
        if (!(condition))            \
            return #condition;       \
    } while (0)

static const char *check_leaf(Visit *visit, const Block *leaf)
{
    const Entries *entries = &visit->index->entries;
    EXPECT(visit->count > 0 || visit->index->first == leaf);
    for (int i = 0; i < leaf->count; i++) {
        uint32_t slot = slots_of(leaf)[i];
        EXPECT(slot < entries->used);
        const Entry *entry = &entries->at[slot];
        EXPECT(entry->id != NULL && PyUnicode_CheckExact(entry->id));
        EXPECT(entry->job != NULL && entry->job == refs_of(leaf)[i]);
        EXPECT(entry->key == keys_of(leaf)[i]);
        EXPECT(entry->key == PAUSED || (FIRST_KEY <= entry->key && entry->key <= LAST_KEY));
        EXPECT(entries_find(entries, entry->id, hash_bits(entry->id)) == slot);
        EXPECT(visit->id == NULL || visit->key < entry->key
               || (visit->key == entry->key && PyUnicode_Compare(visit->id, entry->id) < 0));
        visit->key = entry->key;
        visit->id = entry->id;
        visit->count++;
    }
    return NULL;
}

static const char *check_block(Visit *visit, const Block *block, int height, int is_last)
{
    EXPECT(block->is_leaf == (height == 1));
    EXPECT(block->capacity == visit->index->block_size * (block->is_leaf ? 1 : 4));
    EXPECT(block->count <= block->capacity);
    /* The last block of a level may be new and small, the root is as small as it must. */
    EXPECT(block->count >= (is_last ? 2 - block->is_leaf : least_count(block)));
    if (block->is_leaf)
        return check_leaf(visit, block);
    for (int i = 0; i < block->count; i++) {
        int64_t bound = keys_of(block)[i];
        EXPECT(visit->id == NULL || visit->key <= bound);
        const Block *leaf = child_of(block, i);
        while (!leaf->is_leaf)
            leaf = child_of(leaf, 0);
        EXPECT(bound <= keys_of(leaf)[0]);
        const char *broken =
            check_block(visit, child_of(block, i), height - 1, is_last && i + 1 == block->count);
        if (broken != NULL)
            return broken;
    }
    return NULL;
}

/* The first invariant that is broken, in words, or NULL. */
static const char *index_check(const Index *index)
{
    const Entries *entries = &index->entries;
    Visit visit = {index, 0, 0, NULL};
    if (index->root != NULL) {
        const char *broken = check_block(&visit, index->root, index->height, 1);
        if (broken != NULL)
            return broken;
    }
    EXPECT(index->height <= MAX_HEIGHT);
    EXPECT((index->root == NULL) == (index->first == NULL));
    EXPECT((index->root == NULL) == (entries->count == 0));
    EXPECT(visit.count == entries->count);
    size_t free_slots = 0, taken_cells = 0;
    for (uint32_t slot = entries->free; slot != NO_SLOT; slot = (uint32_t)entries->at[slot].key) {
        EXPECT(slot < entries->used && entries->at[slot].id == NULL);
        EXPECT(++free_slots <= entries->used);
    }
    EXPECT(entries->count + free_slots == entries->used);
    EXPECT(entries->used <= entries->capacity);
    for (size_t i = 0; i <= entries->mask; i++)
        taken_cells += entries->cells[i] != 0;
    EXPECT(taken_cells == entries->count);
    EXPECT((size_t)entries->count * 3 <= (entries->mask + 1) * 2);
    return NULL;
}

#endif
