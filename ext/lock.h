/* What makes each call atomic on a free-threaded CPython. Where there is a GIL, it is all empty.

   No thread runs Python code, or waits for anything, between LOCK and UNLOCK. So a thread that the
   garbage collector or a fork has stopped never holds a mutex, and never leaves a change half done. */
#ifndef JOBSTORE_LOCK_H
#define JOBSTORE_LOCK_H

#include <Python.h>

#ifdef Py_GIL_DISABLED
#define MUTEX PyMutex mutex; /* a member of a struct: one byte, 0 at first */
#define LOCK(owner) PyMutex_Lock(&(owner)->mutex)
#define UNLOCK(owner) PyMutex_Unlock(&(owner)->mutex)
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
