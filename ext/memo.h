/* The last search for a run time, and its result: a scheduler asks for most run times twice. */
#ifndef JOBSTORE_MEMO_H
#define JOBSTORE_MEMO_H

#include <string.h>

#include "lock.h"

enum { BY_SCHEDULE, BY_ZONE, BY_START, BY_END, BY_PREVIOUS, BY_NOW, SEARCH_PARTS };

static struct { /* with references of its own */
    PyObject *search[SEARCH_PARTS];
    PyObject *result;
    MUTEX
} memo;

/* Return a new reference to the result of a search for the same objects, or NULL. */
static inline PyObject *memo_get(PyObject *const *search)
{
    int same = 0;
    LOCK(&memo);
    while (same < SEARCH_PARTS && memo.search[same] == search[same])
        same++;
    PyObject *result = same < SEARCH_PARTS ? NULL : Py_NewRef(memo.result);
    UNLOCK(&memo);
    return result;
}

static inline void memo_put(PyObject *const *search, PyObject *result)
{
    PyObject *before[SEARCH_PARTS + 1];
    for (int i = 0; i < SEARCH_PARTS; i++)
        Py_INCREF(search[i]);
    Py_INCREF(result);
    LOCK(&memo);
    memcpy(before, memo.search, sizeof memo.search);
    before[SEARCH_PARTS] = memo.result;
    memcpy(memo.search, search, sizeof memo.search);
    memo.result = result;
    UNLOCK(&memo);
    for (int i = 0; i <= SEARCH_PARTS; i++)
        Py_XDECREF(before[i]); /* last, as it may run Python code */
}

#endif
