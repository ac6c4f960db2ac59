/* What makes each call atomic on a free-threaded CPython. Where there is a GIL, it is all empty.

   No thread runs Python code, or waits for anything, between LOCK and UNLOCK. So a thread that the
   garbage collector or a fork has stopped never holds a mutex, and never leaves a change half done.

   CPython's PyMutex would not do: after 1 ms it is handed to the first thread in the queue, even
   while that thread is stopped. A child forked then, or an interpreter at its end, finds it locked
   for ever. Here a waiting thread takes the mutex itself, and only while it runs. */
#ifndef JOBSTORE_LOCK_H
#define JOBSTORE_LOCK_H

#include <Python.h>

#ifdef Py_GIL_DISABLED
#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <sched.h>
#include <time.h>
#endif

#define MUTEX int is_locked; /* a member of a struct, 0 at first */
#define LOCK(owner) mutex_lock(&(owner)->is_locked)
#define UNLOCK(owner) _Py_atomic_store_int_release(&(owner)->is_locked, 0)

static inline int mutex_try(int *is_locked)
{
    int expected = 0;
    return _Py_atomic_compare_exchange_int(is_locked, &expected, 1);
}

/* Give way to other threads. Most changes take less than 1 µs; later rounds sleep, up to 1 ms. */
static void mutex_pause(int round)
{
#ifdef _WIN32
    Sleep(round < 40 ? 0 : 1);
#else
    struct timespec pause = {0, (round - 39) * 100000};
    if (round < 40)
        sched_yield();
    else
        nanosleep(&pause, NULL);
#endif
}

/* The collector or a fork may stop a thread here, where it holds no mutex. */
static void mutex_wait(int *is_locked)
{
    for (int round = 0; !mutex_try(is_locked); round += round < 49) {
        Py_BEGIN_ALLOW_THREADS
        mutex_pause(round);
        Py_END_ALLOW_THREADS
    }
}

static inline void mutex_lock(int *is_locked)
{
    if (!mutex_try(is_locked))
        mutex_wait(is_locked);
}
#else
#define MUTEX
#define LOCK(owner) ((void)(owner))
#define UNLOCK(owner) ((void)(owner))
#endif

/* Sections in which CPython's own objects are not changed by other threads. */
#if PY_VERSION_HEX < 0x030D0000
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

#endif
