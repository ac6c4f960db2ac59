/* The ordered part: a B+ tree of (key, id), with the keys inline in its blocks.

   Neither a comparison of keys nor a scan follows a pointer; ids are compared, through the
   entries, only where keys are equal. Nothing here runs Python code, and all memory comes from
   PyMem_*. Only blocks_insert() asks for memory, all of it before its first change. */
#ifndef JOBSTORE_BLOCKS_H
#define JOBSTORE_BLOCKS_H

#include "clock.h"
#include "entries.h"

#define MAX_HEIGHT 40 /* blocks hold at least 2: enough for 2**32 jobs */

/* A header, followed by `capacity` keys, as many refs and, in a leaf, as many slots. A leaf's
   refs are jobs; an inner block's are its children, and keys[i] is at most the first key of
   child i, and at least the last key of child i - 1. */
typedef struct {
    int16_t count;
    int16_t capacity;
    int32_t is_leaf;
} Block;

typedef struct {
    Entries entries;
    Block *root;  /* NULL if there are no jobs */
    Block *first; /* the first leaf */
    int height;   /* levels, leaves included */
    int block_size;
} Index;

typedef struct {
    Block *block;
    int at;
} Step;

static inline int64_t *keys_of(const Block *block) { return (int64_t *)(block + 1); }
static inline void **refs_of(const Block *block)
{
    return (void **)(keys_of(block) + block->capacity);
}
static inline uint32_t *slots_of(const Block *block)
{
    return (uint32_t *)(refs_of(block) + block->capacity);
}
static inline Block *child_of(const Block *block, int at) { return refs_of(block)[at]; }

static size_t block_bytes(int capacity, int is_leaf)
{
    return sizeof(Block)
        + (size_t)capacity * (sizeof(int64_t) + sizeof(void *) + (is_leaf ? sizeof(uint32_t) : 0));
}

/* An inner block is larger: it is searched often and changed seldom. */
static Block *block_new(const Index *index, int is_leaf)
{
    int capacity = is_leaf ? index->block_size : index->block_size * 4;
    Block *block = PyMem_Malloc(block_bytes(capacity, is_leaf));
    if (block != NULL) {
        block->count = 0;
        block->capacity = (int16_t)capacity;
        block->is_leaf = is_leaf;
    }
    return block;
}

static void blocks_free(Block *block)
{
    if (block == NULL)
        return;
    if (!block->is_leaf)
        for (int i = 0; i < block->count; i++)
            blocks_free(child_of(block, i));
    PyMem_Free(block);
}

/* ---- within a block ---- */

static void block_copy(Block *to, int at, const Block *from, int start, int count)
{
    memmove(keys_of(to) + at, keys_of(from) + start, (size_t)count * sizeof(int64_t));
    memmove(refs_of(to) + at, refs_of(from) + start, (size_t)count * sizeof(void *));
    if (to->is_leaf)
        memmove(slots_of(to) + at, slots_of(from) + start, (size_t)count * sizeof(uint32_t));
}

static inline void block_insert(Block *block, int at, int64_t key, void *ref, uint32_t slot)
{
    block_copy(block, at + 1, block, at, block->count - at);
    keys_of(block)[at] = key;
    refs_of(block)[at] = ref;
    if (block->is_leaf)
        slots_of(block)[at] = slot;
    block->count++;
}

static inline void block_erase(Block *block, int at)
{
    block_copy(block, at, block, at + 1, block->count - at - 1);
    block->count--;
}

/* How many of `count` sorted keys are less than `key`. First the last key of each group of eight
   is looked at, then one group: none of these comparisons waits for another one, and none is a
   branch to mispredict, as those of a binary search are. */
static inline int keys_below(const int64_t *keys, int count, int64_t key)
{
    int groups = 0;
    for (int i = 7; i < count; i += 8)
        groups += keys[i] < key;
    int below = groups * 8;
    for (int i = below, end = Py_MIN(below + 8, count); i < end; i++)
        below += keys[i] < key;
    return below;
}

/* ---- finding (key, id) ---- */

static inline int entry_before(const Index *index, const Block *leaf, int at, PyObject *id)
{
    return PyUnicode_Compare(index->entries.at[slots_of(leaf)[at]].id, id) < 0;
}

/* The position in the leaf of (key, id), or where it belongs. */
static inline int leaf_find(const Index *index, const Block *leaf, int64_t key, PyObject *id)
{
    const int64_t *keys = keys_of(leaf);
    int low = keys_below(keys, leaf->count, key);
    if (low == leaf->count || keys[low] != key)
        return low;
    if (index->entries.at[slots_of(leaf)[low]].id == id)
        return low; /* the very job, and no other before it: the usual case */
    int high = low + keys_below(keys + low, leaf->count - low, key + 1);
    while (low < high) {
        int middle = (low + high) / 2;
        if (entry_before(index, leaf, middle, id))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether all of this part of the tree comes after (key, id). */
static int comes_after(const Index *index, const Block *block, int64_t key, PyObject *id)
{
    while (!block->is_leaf)
        block = child_of(block, 0);
    if (keys_of(block)[0] != key)
        return keys_of(block)[0] > key;
    return PyUnicode_Compare(index->entries.at[slots_of(block)[0]].id, id) > 0;
}

/* The child that has (key, id), or in which it belongs. */
static inline int child_find(const Index *index, const Block *block, int64_t key, PyObject *id)
{
    const int64_t *keys = keys_of(block) + 1; /* child 0 needs no bound */
    int count = block->count - 1;
    int low = keys_below(keys, count, key);
    if (low == count || keys[low] != key)
        return low;
    int high = low + keys_below(keys + low, count - low, key + 1);
    while (low < high) { /* the last child, of those bounded by the same key, that has begun */
        int middle = (low + high + 1) / 2;
        if (comes_after(index, child_of(block, middle), key, id))
            high = middle - 1;
        else
            low = middle;
    }
    return low;
}

/* A leaf of a large tree is not in the cache: ask for all of it at once. */
PREFETCHING leaf_prefetch(const Index *index, const Block *leaf)
{
    if (index->height > 2)
        for (size_t i = 0; i < block_bytes(index->block_size, 1); i += 64)
            PREFETCH((const char *)leaf + i);
}

/* Ask for the leaf of a key that will be needed soon. */
PREFETCHING blocks_prefetch(const Index *index, int64_t key)
{
    const Block *block = index->root;
    for (int level = index->height - 1; level > 0; level--)
        block = child_of(block, keys_below(keys_of(block) + 1, block->count - 1, key));
    leaf_prefetch(index, block);
}

/* Fill in the steps from the leaf, at path[0], up to the root. */
static inline void blocks_find(const Index *index, int64_t key, PyObject *id, Step *path)
{
    Block *block = index->root;
    for (int level = index->height - 1; level > 0; level--) {
        path[level].block = block;
        path[level].at = child_find(index, block, key, id);
        block = child_of(block, path[level].at);
    }
    leaf_prefetch(index, block);
    path[0].block = block;
    path[0].at = leaf_find(index, block, key, id);
}

/* ---- changing ---- */

/* Take as many new blocks as the insertion needs: one for each full block from the leaf
   upwards, and a root above if all are full. */
static int blocks_reserve(const Index *index, const Step *path, Block **fresh)
{
    int level = 0, count = 0;
    while (level < index->height && path[level].block->count == path[level].block->capacity)
        level++;
    for (int i = 0; i < level + (level == index->height); i++) {
        fresh[count] = block_new(index, i == 0);
        if (fresh[count] == NULL) {
            while (count > 0)
                PyMem_Free(fresh[--count]);
            return -1;
        }
        count++;
    }
    return 0;
}

/* Split a full block into itself and `right`, and insert into the half where `at` belongs. At
   the very end of the tree the left part stays nearly full, as later jobs go to the right. */
static void block_split(Block *block, Block *right, int at, int at_end, int64_t key, void *ref,
                        uint32_t slot)
{
    int keep = at_end ? block->count - 1 : block->count / 2;
    block_copy(right, 0, block, keep, block->count - keep);
    right->count = (int16_t)(block->count - keep);
    block->count = (int16_t)keep;
    if (at <= keep)
        block_insert(block, at, key, ref, slot);
    else
        block_insert(right, at - keep, key, ref, slot);
}

/* Put a job at (key, id of its slot); -1 without memory, with nothing changed. */
static int blocks_insert(Index *index, int64_t key, uint32_t slot, PyObject *job)
{
    Step path[MAX_HEIGHT];
    Block *fresh[MAX_HEIGHT + 1];
    if (index->root == NULL) {
        Block *leaf = block_new(index, 1);
        if (leaf == NULL)
            return -1;
        index->root = index->first = leaf;
        index->height = 1;
    }
    blocks_find(index, key, index->entries.at[slot].id, path);
    Block *block = path[0].block;
    int at = path[0].at;
    if (block->count < block->capacity) {
        block_insert(block, at, key, job, slot);
        return 0;
    }
    if (blocks_reserve(index, path, fresh) < 0)
        return -1;
    int at_end = at == block->count;
    for (int level = 1; level < index->height; level++)
        at_end &= path[level].at == path[level].block->count - 1;
    void *ref = job;
    for (int level = 0;; level++) {
        Block *right = fresh[level];
        block_split(block, right, at, at_end, key, ref, slot);
        key = keys_of(right)[0];
        ref = right;
        if (level + 1 == index->height) {
            Block *root = fresh[level + 1];
            block_insert(root, 0, INT64_MIN, block, 0);
            block_insert(root, 1, key, right, 0);
            index->root = root;
            index->height++;
            return 0;
        }
        block = path[level + 1].block;
        at = path[level + 1].at + 1;
        if (block->count < block->capacity) {
            block_insert(block, at, key, ref, 0);
            return 0;
        }
    }
}

/* Let child i and the one after it share their content evenly, or become one. */
static void children_combine(Block *parent, int i)
{
    Block *left = child_of(parent, i), *right = child_of(parent, i + 1);
    int total = left->count + right->count;
    int goal = total <= left->capacity * 3 / 4 ? total : total / 2;
    if (left->count < goal) {
        int moved = goal - left->count;
        block_copy(left, left->count, right, 0, moved);
        block_copy(right, 0, right, moved, right->count - moved);
    } else {
        int moved = left->count - goal;
        block_copy(right, moved, right, 0, right->count);
        block_copy(right, 0, left, goal, moved);
    }
    left->count = (int16_t)goal;
    right->count = (int16_t)(total - goal);
    if (right->count > 0) {
        keys_of(parent)[i + 1] = keys_of(right)[0];
        return;
    }
    block_erase(parent, i + 1);
    PyMem_Free(right);
}

static inline int least_count(const Block *block)
{
    return block->capacity < 8 ? 2 : block->capacity / 4;
}

/* Take out what stands at (key, id of its slot). */
static void blocks_remove(Index *index, int64_t key, uint32_t slot)
{
    Step path[MAX_HEIGHT];
    blocks_find(index, key, index->entries.at[slot].id, path);
    block_erase(path[0].block, path[0].at);
    for (int level = 0; level + 1 < index->height; level++) {
        if (path[level].block->count >= least_count(path[level].block))
            return;
        int at = path[level + 1].at;
        children_combine(path[level + 1].block, at > 0 ? at - 1 : 0);
    }
    Block *root = index->root;
    if (root->is_leaf && root->count == 0) {
        index->root = index->first = NULL;
        index->height = 0;
        PyMem_Free(root);
    } else if (!root->is_leaf && root->count == 1) {
        index->root = child_of(root, 0);
        index->height--;
        PyMem_Free(root);
    }
}

/* Let another job stand at (key, id of its slot). */
static void blocks_set_job(Index *index, int64_t key, uint32_t slot, PyObject *job)
{
    Step path[MAX_HEIGHT];
    blocks_find(index, key, index->entries.at[slot].id, path);
    refs_of(path[0].block)[path[0].at] = job;
}

/* ---- going through the leaves, in order ---- */

/* Fill in the steps down to the first leaf, and return it; NULL if there is none. */
static Block *leaves_first(const Index *index, Step *path)
{
    Block *block = index->root;
    for (int level = index->height - 1; level > 0; level--) {
        path[level].block = block;
        path[level].at = 0;
        block = child_of(block, 0);
    }
    return block;
}

/* The leaf after the one that the steps lead to, or NULL. Leaves are found through the blocks
   above them, so that the cache can fetch several at a time; a chain would be one at a time. */
static inline Block *leaves_next(const Index *index, Step *path)
{
    int level = 1;
    while (level < index->height && path[level].at + 1 == path[level].block->count)
        level++;
    if (level >= index->height)
        return NULL;
    path[level].at++;
    while (level > 1) {
        Block *below = child_of(path[level].block, path[level].at);
        path[--level].block = below;
        path[level].at = 0;
    }
    return child_of(path[1].block, path[1].at);
}

/* Where the jobs with at most that key end: the leaf of the first later one, and its position
   there. Returns how many such jobs there are at most: exactly, if it is all of them. */
static Py_ssize_t blocks_end(const Index *index, int64_t key, const Block **end_leaf, int *end)
{
    const Block *block = index->root;
    Py_ssize_t most = 0;
    for (int level = index->height - 1; level > 0; level--) {
        int at = keys_below(keys_of(block) + 1, block->count - 1, key + 1);
        block = child_of(block, at);
        most = (most + at) * block->capacity;
    }
    *end_leaf = block;
    *end = keys_below(keys_of(block), block->count, key + 1);
    return Py_MIN(most + *end, (Py_ssize_t)index->entries.count);
}

#endif
