/* The order of the jobs: a B+ tree of (key, id).

   Each node holds its keys inline, so neither comparisons of keys nor scans follow a pointer. Ids
   are compared only where keys are equal, and are read from the entries. Nothing here runs Python
   code. All memory comes from PyMem_*; only btree_insert() allocates, before its first change. */
#ifndef JOBSTORE_BTREE_H
#define JOBSTORE_BTREE_H

#include "entries.h"
#include "lock.h"
#include "run_time.h"

#define MAX_HEIGHT 40 /* enough for 2**32 jobs: each node holds at least 2 */

/* A header, then `capacity` keys, `capacity` refs and, in a leaf, `capacity` slots. The refs of a
   leaf are jobs, the refs of an inner node its children. In an inner node keys[i] is a separator:
   at least the last key of child i - 1, and at most the first key of child i. */
typedef struct {
    int16_t count;
    int16_t capacity;
    int32_t is_leaf;
} Node;

typedef struct {
    Entries entries;
    Node *root; /* NULL if there are no jobs */
    Node *first_leaf;
    int height; /* levels, leaves included */
    int leaf_capacity;
    MUTEX
} Index;

typedef struct { /* one level of a path from the root to a leaf */
    Node *node;
    int at;
} Step;

static inline int64_t *keys_of(const Node *node) { return (int64_t *)(node + 1); }
static inline void **refs_of(const Node *node) { return (void **)(keys_of(node) + node->capacity); }
static inline uint32_t *slots_of(const Node *node)
{
    return (uint32_t *)(refs_of(node) + node->capacity);
}
static inline Node *child_of(const Node *node, int at) { return refs_of(node)[at]; }

static size_t node_bytes(int capacity, int is_leaf)
{
    return sizeof(Node)
        + (size_t)capacity * (sizeof(int64_t) + sizeof(void *) + (is_leaf ? sizeof(uint32_t) : 0));
}

/* An inner node is larger than a leaf: it is searched often and changed seldom. */
static Node *node_new(const Index *index, int is_leaf)
{
    int capacity = is_leaf ? index->leaf_capacity : index->leaf_capacity * 4;
    Node *node = PyMem_Malloc(node_bytes(capacity, is_leaf));
    if (node != NULL) {
        node->count = 0;
        node->capacity = (int16_t)capacity;
        node->is_leaf = is_leaf;
    }
    return node;
}

static void btree_free(Node *node)
{
    if (node == NULL)
        return;
    if (!node->is_leaf)
        for (int i = 0; i < node->count; i++)
            btree_free(child_of(node, i));
    PyMem_Free(node);
}

/* ---- one node ---- */

static void node_copy(Node *to, int at, const Node *from, int start, int count)
{
    memmove(keys_of(to) + at, keys_of(from) + start, (size_t)count * sizeof(int64_t));
    memmove(refs_of(to) + at, refs_of(from) + start, (size_t)count * sizeof(void *));
    if (to->is_leaf)
        memmove(slots_of(to) + at, slots_of(from) + start, (size_t)count * sizeof(uint32_t));
}

static inline void node_insert(Node *node, int at, int64_t key, void *ref, uint32_t slot)
{
    node_copy(node, at + 1, node, at, node->count - at);
    keys_of(node)[at] = key;
    refs_of(node)[at] = ref;
    if (node->is_leaf)
        slots_of(node)[at] = slot;
    node->count++;
}

static inline void node_erase(Node *node, int at)
{
    node_copy(node, at, node, at + 1, node->count - at - 1);
    node->count--;
}

/* Count the keys less than `key` among `count` sorted ones. The first loop compares the last key
   of each group of eight, the second loop the keys of one group. No comparison waits for another
   one, and none is a branch that the processor may mispredict, as in a binary search. */
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

/* ---- search ---- */

static inline int leaf_id_is_before(const Index *index, const Node *leaf, int at, PyObject *id)
{
    return PyUnicode_Compare(index->entries.at[slots_of(leaf)[at]].id, id) < 0;
}

/* Return the position of (key, id) in the leaf, or the position where it belongs. */
static inline int leaf_find(const Index *index, const Node *leaf, int64_t key, PyObject *id)
{
    const int64_t *keys = keys_of(leaf);
    int low = keys_below(keys, leaf->count, key);
    if (low == leaf->count || keys[low] != key)
        return low;
    if (index->entries.at[slots_of(leaf)[low]].id == id)
        return low; /* the usual case: this job is the first one with the key */
    int high = low + keys_below(keys + low, leaf->count - low, key + 1);
    while (low < high) {
        int middle = (low + high) / 2;
        if (leaf_id_is_before(index, leaf, middle, id))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether every job of this subtree comes after (key, id). */
static int subtree_is_after(const Index *index, const Node *node, int64_t key, PyObject *id)
{
    while (!node->is_leaf)
        node = child_of(node, 0);
    if (keys_of(node)[0] != key)
        return keys_of(node)[0] > key;
    return PyUnicode_Compare(index->entries.at[slots_of(node)[0]].id, id) > 0;
}

/* Return the position of the child that holds (key, id), or in which it belongs. */
static inline int child_find(const Index *index, const Node *node, int64_t key, PyObject *id)
{
    const int64_t *keys = keys_of(node) + 1; /* child 0 needs none */
    int count = node->count - 1;
    int low = keys_below(keys, count, key);
    if (low == count || keys[low] != key)
        return low;
    int high = low + keys_below(keys + low, count - low, key + 1);
    /* Several separators equal the key: find the last child that does not come after (key, id). */
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (subtree_is_after(index, child_of(node, middle), key, id))
            high = middle - 1;
        else
            low = middle;
    }
    return low;
}

/* Prefetch a whole leaf: that of a large tree is not in the cache. */
PREFETCHING leaf_prefetch(const Index *index, const Node *leaf)
{
    if (index->height > 2)
        for (size_t i = 0; i < node_bytes(index->leaf_capacity, 1); i += 64)
            PREFETCH((const char *)leaf + i);
}

/* Prefetch the leaf of a key that a later call will need. */
PREFETCHING btree_prefetch(const Index *index, int64_t key)
{
    const Node *node = index->root;
    for (int level = index->height - 1; level > 0; level--)
        node = child_of(node, keys_below(keys_of(node) + 1, node->count - 1, key));
    leaf_prefetch(index, node);
}

/* Descend to (key, id) and record the path: path[0] is the leaf, the last step the root. */
static inline void btree_find(const Index *index, int64_t key, PyObject *id, Step *path)
{
    Node *node = index->root;
    for (int level = index->height - 1; level > 0; level--) {
        path[level].node = node;
        path[level].at = child_find(index, node, key, id);
        node = child_of(node, path[level].at);
    }
    leaf_prefetch(index, node);
    path[0].node = node;
    path[0].at = leaf_find(index, node, key, id);
}

/* ---- changes ---- */

/* Allocate the nodes that an insertion needs: one for each full node from the leaf upwards, and
   a new root if the whole path is full. Return -1, with nothing allocated, if memory is short. */
static int btree_reserve(const Index *index, const Step *path, Node **new_nodes)
{
    int level = 0, count = 0;
    while (level < index->height && path[level].node->count == path[level].node->capacity)
        level++;
    for (int i = 0; i < level + (level == index->height); i++) {
        new_nodes[count] = node_new(index, i == 0);
        if (new_nodes[count] == NULL) {
            while (count > 0)
                PyMem_Free(new_nodes[--count]);
            return -1;
        }
        count++;
    }
    return 0;
}

/* Move the upper part of a full node to `right`, and insert into the part where `at` belongs. At
   the end of the tree only the last item moves: later jobs go to the right, so the left node
   would never fill up again. */
static void node_split(Node *node, Node *right, int at, int at_end, int64_t key, void *ref,
                       uint32_t slot)
{
    int keep = at_end ? node->count - 1 : node->count / 2;
    node_copy(right, 0, node, keep, node->count - keep);
    right->count = (int16_t)(node->count - keep);
    node->count = (int16_t)keep;
    if (at <= keep)
        node_insert(node, at, key, ref, slot);
    else
        node_insert(right, at - keep, key, ref, slot);
}

/* Insert a job at (key, id of its slot). Return -1, with nothing changed, if memory is short. */
static int btree_insert(Index *index, int64_t key, uint32_t slot, PyObject *job)
{
    Step path[MAX_HEIGHT];
    Node *new_nodes[MAX_HEIGHT + 1];
    if (index->root == NULL) {
        Node *leaf = node_new(index, 1);
        if (leaf == NULL)
            return -1;
        index->root = index->first_leaf = leaf;
        index->height = 1;
    }
    btree_find(index, key, index->entries.at[slot].id, path);
    Node *node = path[0].node;
    int at = path[0].at;
    if (node->count < node->capacity) {
        node_insert(node, at, key, job, slot);
        return 0;
    }
    if (btree_reserve(index, path, new_nodes) < 0)
        return -1;
    int at_end = at == node->count;
    for (int level = 1; level < index->height; level++)
        at_end &= path[level].at == path[level].node->count - 1;
    void *ref = job;
    for (int level = 0;; level++) {
        Node *right = new_nodes[level];
        node_split(node, right, at, at_end, key, ref, slot);
        key = keys_of(right)[0];
        ref = right;
        if (level + 1 == index->height) {
            Node *root = new_nodes[level + 1];
            node_insert(root, 0, INT64_MIN, node, 0);
            node_insert(root, 1, key, right, 0);
            index->root = root;
            index->height++;
            return 0;
        }
        node = path[level + 1].node;
        at = path[level + 1].at + 1;
        if (node->count < node->capacity) {
            node_insert(node, at, key, ref, 0);
            return 0;
        }
    }
}

/* Merge child i and the next one if they fill at most 3/4 of a node; else balance them. */
static void siblings_balance(Node *parent, int i)
{
    Node *left = child_of(parent, i), *right = child_of(parent, i + 1);
    int total = left->count + right->count;
    int goal = total <= left->capacity * 3 / 4 ? total : total / 2;
    if (left->count < goal) {
        int moved = goal - left->count;
        node_copy(left, left->count, right, 0, moved);
        node_copy(right, 0, right, moved, right->count - moved);
    } else {
        int moved = left->count - goal;
        node_copy(right, moved, right, 0, right->count);
        node_copy(right, 0, left, goal, moved);
    }
    left->count = (int16_t)goal;
    right->count = (int16_t)(total - goal);
    if (right->count > 0) {
        keys_of(parent)[i + 1] = keys_of(right)[0];
        return;
    }
    node_erase(parent, i + 1);
    PyMem_Free(right);
}

static inline int min_count(const Node *node)
{
    return node->capacity < 8 ? 2 : node->capacity / 4;
}

/* Remove the job at (key, id of its slot). */
static void btree_remove(Index *index, int64_t key, uint32_t slot)
{
    Step path[MAX_HEIGHT];
    btree_find(index, key, index->entries.at[slot].id, path);
    node_erase(path[0].node, path[0].at);
    for (int level = 0; level + 1 < index->height; level++) {
        if (path[level].node->count >= min_count(path[level].node))
            return;
        int at = path[level + 1].at;
        siblings_balance(path[level + 1].node, at > 0 ? at - 1 : 0);
    }
    Node *root = index->root;
    if (root->is_leaf && root->count == 0) {
        index->root = index->first_leaf = NULL;
        index->height = 0;
        PyMem_Free(root);
    } else if (!root->is_leaf && root->count == 1) {
        index->root = child_of(root, 0);
        index->height--;
        PyMem_Free(root);
    }
}

/* Replace the job at (key, id of its slot). */
static void btree_set_job(Index *index, int64_t key, uint32_t slot, PyObject *job)
{
    Step path[MAX_HEIGHT];
    btree_find(index, key, index->entries.at[slot].id, path);
    refs_of(path[0].node)[path[0].at] = job;
}

/* ---- scans over the leaves ---- */

/* Return the first leaf, or NULL, and record the inner nodes above it in the path. */
static Node *btree_first_leaf(const Index *index, Step *path)
{
    Node *node = index->root;
    for (int level = index->height - 1; level > 0; level--) {
        path[level].node = node;
        path[level].at = 0;
        node = child_of(node, 0);
    }
    return node;
}

/* Return the leaf after the path's leaf, or NULL, and advance the path. An inner node has the
   addresses of many leaves, so the processor can fetch several at once; a linked list of leaves
   would give it one address at a time. */
static inline Node *btree_next_leaf(const Index *index, Step *path)
{
    int level = 1;
    while (level < index->height && path[level].at + 1 == path[level].node->count)
        level++;
    if (level >= index->height)
        return NULL;
    path[level].at++;
    while (level > 1) {
        Node *below = child_of(path[level].node, path[level].at);
        path[--level].node = below;
        path[level].at = 0;
    }
    return child_of(path[1].node, path[1].at);
}

/* Find the end of the jobs whose keys are `key` or less: the leaf and position of the first job
   after them. Return an upper limit of their number; it is exact if all jobs are among them. */
static Py_ssize_t btree_end(const Index *index, int64_t key, const Node **end_leaf, int *end)
{
    const Node *node = index->root;
    Py_ssize_t limit = 0;
    for (int level = index->height - 1; level > 0; level--) {
        int at = keys_below(keys_of(node) + 1, node->count - 1, key + 1);
        node = child_of(node, at);
        limit = (limit + at) * node->capacity;
    }
    *end_leaf = node;
    *end = keys_below(keys_of(node), node->count, key + 1);
    return Py_MIN(limit + *end, (Py_ssize_t)index->entries.count);
}

#endif
