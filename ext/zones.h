/* Dates of a time zone: wall times in seconds since 1970-01-01 00:00, and their offsets from UTC. */
#ifndef JOBSTORE_ZONES_H
#define JOBSTORE_ZONES_H

#include "lock.h"
#include "run_time.h"

/* Dates between these two can be converted to UTC and back: no offset is longer than a day. */
#define FIRST_WALL INT64_C(172800)       /* 1970-01-03 00:00 */
#define LAST_WALL INT64_C(253402128000)  /* 9999-12-30 00:00 */

enum { IRREGULAR = INT32_MAX - 1, OFFSET_ERROR = INT32_MAX }; /* instead of an offset */

typedef struct {
    int year, month, day, hour, minute, second;
    int64_t wall;
    int32_t offset; /* from UTC, in seconds */
} Date;

typedef struct {
    PyObject *tzinfo; /* borrowed */
    int fixed;        /* whether the offset is always this one */
    int32_t offset;
} Zone;

static PyTypeObject *zone_info;      /* zoneinfo.ZoneInfo */
static PyObject *zone_utcoffset, *zone_fromutc, *fixed_utcoffset; /* methods of exact types */

static int zones_init(PyObject *zone_info_type)
{
    if (run_time_init() < 0)
        return -1;
    zone_info = (PyTypeObject *)Py_NewRef(zone_info_type);
    zone_utcoffset = PyObject_GetAttrString(zone_info_type, "utcoffset");
    zone_fromutc = PyObject_GetAttrString(zone_info_type, "fromutc");
    fixed_utcoffset =
        PyObject_GetAttrString((PyObject *)Py_TYPE(PyDateTime_TimeZone_UTC), "utcoffset");
    return zone_utcoffset && zone_fromutc && fixed_utcoffset ? 0 : -1;
}

static inline int days_of_month(int year, int month)
{
    return month == 2 ? 28 + is_leap(year) : 30 + ((month + (month > 7)) & 1);
}

/* Set the wall time from the six fields. */
static inline void date_set_wall(Date *date)
{
    date->wall = days_since_epoch(date->year, date->month, date->day) * 86400
        + date->hour * 3600 + date->minute * 60 + date->second;
}

/* Set the six fields from the wall time, which is after 1969. */
static void date_set_fields(Date *date)
{
    int days = (int)(date->wall / 86400), seconds = (int)(date->wall % 86400);
    date->hour = seconds / 3600;
    date->minute = seconds / 60 % 60;
    date->second = seconds % 60;
    /* Count years from March, so that the leap day is a year's last day, in eras of 400 years. */
    days += 719468;
    int era = days / 146097, in_era = days % 146097;
    int year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int in_year = in_era - (365 * year + year / 4 - year / 100);
    int month = (5 * in_year + 2) / 153;
    date->day = in_year - (153 * month + 2) / 5 + 1;
    date->month = month < 10 ? month + 3 : month - 9;
    date->year = year + era * 400 + (date->month <= 2);
}

static inline int in_range(int64_t wall) { return wall >= FIRST_WALL && wall <= LAST_WALL; }

static inline int64_t wall_of(PyObject *datetime) /* to the second */
{
    return days_since_epoch(PyDateTime_GET_YEAR(datetime), PyDateTime_GET_MONTH(datetime),
                            PyDateTime_GET_DAY(datetime)) * 86400
        + PyDateTime_DATE_GET_HOUR(datetime) * 3600 + PyDateTime_DATE_GET_MINUTE(datetime) * 60
        + PyDateTime_DATE_GET_SECOND(datetime);
}

static inline PyObject *date_to_datetime(const Date *date, PyObject *tzinfo)
{
    return PyDateTimeAPI->DateTime_FromDateAndTimeAndFold(
        date->year, date->month, date->day, date->hour, date->minute, date->second, 0, tzinfo, 0,
        PyDateTimeAPI->DateTimeType);
}

static PyObject *wall_to_datetime(int64_t wall, PyObject *tzinfo)
{
    Date date = {.wall = wall};
    date_set_fields(&date);
    return date_to_datetime(&date, tzinfo);
}

/* Call a method of a tzinfo with a datetime or None, to which this takes over the reference. */
static PyObject *call_zone(PyObject *method, PyObject *tzinfo, PyObject *argument)
{
    if (argument == NULL)
        return NULL;
    PyObject *arguments[2] = {tzinfo, argument};
    PyObject *result = PyObject_Vectorcall(method, arguments, 2, NULL);
    Py_DECREF(argument);
    return result;
}

/* Take over the reference to a zone's answer; return the offset, IRREGULAR or OFFSET_ERROR. */
static int32_t offset_from(PyObject *answer)
{
    if (answer == NULL)
        return OFFSET_ERROR;
    int64_t offset = IRREGULAR; /* a damaged zone may answer with thousands of days */
    if (PyDelta_CheckExact(answer) && PyDateTime_DELTA_GET_MICROSECONDS(answer) == 0)
        offset = INT64_C(86400) * PyDateTime_DELTA_GET_DAYS(answer)
            + PyDateTime_DELTA_GET_SECONDS(answer);
    Py_DECREF(answer);
    /* datetime refuses others */
    return offset > -86400 && offset < 86400 ? (int32_t)offset : IRREGULAR;
}

/* Return 1 if the compiled search knows this tzinfo, 0 if not, -1 on error. */
static int zone_of(PyObject *tzinfo, Zone *zone)
{
    zone->tzinfo = tzinfo;
    zone->offset = 0;
    zone->fixed = tzinfo == PyDateTime_TimeZone_UTC;
    if (zone->fixed || Py_TYPE(tzinfo) == zone_info)
        return 1;
    if (Py_TYPE(tzinfo) != Py_TYPE(PyDateTime_TimeZone_UTC))
        return 0;
    zone->fixed = 1;
    zone->offset = offset_from(call_zone(fixed_utcoffset, tzinfo, Py_NewRef(Py_None)));
    return zone->offset == OFFSET_ERROR ? -1 : zone->offset != IRREGULAR;
}

/* Convert a time in UTC to a wall time of a ZoneInfo. Return 1, 0 if its fold is 1, -1 on error. */
static int wall_from_utc(PyObject *zone, int64_t utc, int64_t *wall)
{
    PyObject *datetime = call_zone(zone_fromutc, zone, wall_to_datetime(utc, zone));
    if (datetime == NULL)
        return -1;
    int regular = PyDateTime_CheckExact(datetime) && !PyDateTime_DATE_GET_FOLD(datetime);
    if (regular)
        *wall = wall_of(datetime);
    Py_DECREF(datetime);
    return regular;
}

static int32_t ask_zone(PyObject *zone, int64_t wall)
{
    int64_t back;
    if (!in_range(wall))
        return IRREGULAR;
    int32_t offset = offset_from(call_zone(zone_utcoffset, zone, wall_to_datetime(wall, zone)));
    if (offset == OFFSET_ERROR || offset == IRREGULAR)
        return offset;
    int regular = wall_from_utc(zone, wall - offset, &back);
    if (regular < 0)
        return OFFSET_ERROR;
    return regular && back == wall ? offset : IRREGULAR;
}

/* Answers of zones. A ZoneInfo never changes, and jobs run at the same times. */
#define ANSWERS 1024

typedef struct {
    PyObject *zone; /* owned */
    int64_t wall;
    int32_t offset;
    MUTEX /* one each, so that threads seldom wait for each other */
} Answer;

static Answer answers[ANSWERS];

/* Return the offset at a wall time that stays the same if converted to UTC and back, with fold 0.
   All others, as those in a gap, are IRREGULAR. */
static inline int32_t offset_at(const Zone *zone, int64_t wall)
{
    if (zone->fixed)
        return in_range(wall) ? zone->offset : IRREGULAR;
    uint64_t mixed = ((uint64_t)wall ^ ((uint64_t)(uintptr_t)zone->tzinfo << 20))
        * UINT64_C(0x9E3779B97F4A7C15);
    Answer *answer = &answers[mixed >> 54];
    LOCK(answer);
    int32_t offset = answer->offset;
    int known = answer->zone == zone->tzinfo && answer->wall == wall;
    UNLOCK(answer);
    if (known)
        return offset;
    offset = ask_zone(zone->tzinfo, wall);
    if (offset == OFFSET_ERROR)
        return offset;
    Py_INCREF(zone->tzinfo);
    LOCK(answer);
    PyObject *before = answer->zone;
    answer->zone = zone->tzinfo;
    answer->wall = wall;
    answer->offset = offset;
    UNLOCK(answer);
    Py_XDECREF(before); /* last, as it may run Python code */
    return offset;
}

#endif
