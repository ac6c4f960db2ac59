/* Run times as keys: µs since the epoch in UTC, exact for every tzinfo, for years 1 to 9999. */
#ifndef JOBSTORE_RUN_TIME_H
#define JOBSTORE_RUN_TIME_H

#include <Python.h>
#include <datetime.h>
#include <stdint.h>

#define PAUSED ((int64_t)1 << 62)              /* the key of None: after all others */
#define FIRST_KEY INT64_C(-62135596800000000)  /* 0001-01-01 00:00 */
#define LAST_KEY INT64_C(253402300799999999)   /* 9999-12-31 23:59:59.999999 */

enum { KEY_OK = 0, KEY_ERROR = -1, KEY_NO_DATETIME = 1, KEY_OUT_OF_RANGE = 2 };

static PyObject *datetime_utcoffset; /* datetime's own method, never a subclass's */

static int run_time_init(void)
{
    PyDateTime_IMPORT;
    if (PyDateTimeAPI == NULL)
        return -1;
    datetime_utcoffset =
        PyObject_GetAttrString((PyObject *)PyDateTimeAPI->DateTimeType, "utcoffset");
    return datetime_utcoffset == NULL ? -1 : 0;
}

static inline int64_t to_microseconds(int64_t days, int64_t seconds, int64_t microseconds)
{
    return (days * 86400 + seconds) * 1000000 + microseconds;
}

static inline int is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static inline int64_t days_since_epoch(int year, int month, int day)
{
    static const int before_month[13] = {0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int past = year - 1;
    return (int64_t)past * 365 + past / 4 - past / 100 + past / 400
        + before_month[month] + (is_leap(year) && month > 2) + day - 719163;
}

/* Convert a run time to its key; the key of None is PAUSED. This calls utcoffset() of the tzinfo,
   and so may run Python code, unless the tzinfo is timezone.utc or None. */
static inline int key_of(PyObject *run_time, int64_t *key)
{
    if (run_time == Py_None) {
        *key = PAUSED;
        return KEY_OK;
    }
    if (!PyDateTime_Check(run_time))
        return KEY_NO_DATETIME;
    *key = to_microseconds(
        days_since_epoch(PyDateTime_GET_YEAR(run_time), PyDateTime_GET_MONTH(run_time),
                         PyDateTime_GET_DAY(run_time)),
        PyDateTime_DATE_GET_HOUR(run_time) * 3600 + PyDateTime_DATE_GET_MINUTE(run_time) * 60
            + PyDateTime_DATE_GET_SECOND(run_time),
        PyDateTime_DATE_GET_MICROSECOND(run_time));
    PyObject *tzinfo = PyDateTime_DATE_GET_TZINFO(run_time);
    if (tzinfo != Py_None && tzinfo != PyDateTime_TimeZone_UTC) {
        PyObject *offset = PyObject_CallOneArg(datetime_utcoffset, run_time);
        if (offset == NULL)
            return KEY_ERROR;
        if (offset != Py_None) /* else datetime.utcoffset() has ensured a timedelta */
            *key -= to_microseconds(PyDateTime_DELTA_GET_DAYS(offset),
                                    PyDateTime_DELTA_GET_SECONDS(offset),
                                    PyDateTime_DELTA_GET_MICROSECONDS(offset));
        Py_DECREF(offset);
    }
    return *key < FIRST_KEY || *key > LAST_KEY ? KEY_OUT_OF_RANGE : KEY_OK;
}

#endif
