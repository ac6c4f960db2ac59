/* Verifies every invariant of the index. */
#ifndef JOBSTORE_CHECK_H
#define JOBSTORE_CHECK_H

#include "index.h"

typedef struct {
    const Index *index;
    size_t count;           /* jobs visited so far */
    int64_t key;            /* of the last job visited */
    PyObject *id;           /* of the last job visited, or NULL */
} Visit;

#define EXPECT(condition)            \
    do {                             \
        if (!(condition))            \
            return #condition;       \
    } while (0)

static const char *check_leaf(Visit *visit, const Node *leaf)
{
    const Entries *entries = &visit->index->entries;
    EXPECT(visit->count > 0 || visit->index->first_leaf == leaf);
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

static const char *check_node(Visit *visit, const Node *node, int height, int is_last)
{
    EXPECT(node->is_leaf == (height == 1));
    EXPECT(node->capacity == visit->index->leaf_capacity * (node->is_leaf ? 1 : 4));
    EXPECT(node->count <= node->capacity);
    /* Only the root and the last node of each level may hold fewer than min_count(). */
    EXPECT(node->count >= (is_last ? 2 - node->is_leaf : min_count(node)));
    if (node->is_leaf)
        return check_leaf(visit, node);
    for (int i = 0; i < node->count; i++) {
        int64_t separator = keys_of(node)[i];
        EXPECT(visit->id == NULL || visit->key <= separator);
        const Node *leaf = child_of(node, i);
        while (!leaf->is_leaf)
            leaf = child_of(leaf, 0);
        EXPECT(separator <= keys_of(leaf)[0]);
        const char *broken =
            check_node(visit, child_of(node, i), height - 1, is_last && i + 1 == node->count);
        if (broken != NULL)
            return broken;
    }
    return NULL;
}

static const char *check_index(const Index *index)
{
    const Entries *entries = &index->entries;
    Visit visit = {index, 0, 0, NULL};
    if (index->root != NULL) {
        const char *broken = check_node(&visit, index->root, index->height, 1);
        if (broken != NULL)
            return broken;
    }
    EXPECT(index->height <= MAX_HEIGHT);
    EXPECT((index->root == NULL) == (index->first_leaf == NULL));
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

/* Return the text of the first broken invariant, or NULL. */
static const char *index_check(Index *index)
{
    LOCK(index);
    const char *broken = check_index(index);
    UNLOCK(index);
    return broken;
}

#endif
