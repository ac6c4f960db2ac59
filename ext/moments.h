/* Where a search starts and ends. APScheduler 3.10 computes with wall times where 3.11 computes in
   UTC. These functions answer only where the two agree. */
#ifndef JOBSTORE_MOMENTS_H
#define JOBSTORE_MOMENTS_H

#include "zones.h"

typedef struct {
    Zone zone;
    int64_t wall; /* to the second */
    int32_t offset;
    int microsecond;
} Moment;

/* Read a datetime. Return 1, 0 if the stock method has to decide what it means, -1 on error. */
static int read_moment(PyObject *given, Moment *moment)
{
    if (!PyDateTime_CheckExact(given) || PyDateTime_DATE_GET_FOLD(given))
        return 0;
    int known = zone_of(PyDateTime_DATE_GET_TZINFO(given), &moment->zone);
    if (known <= 0)
        return known;
    moment->wall = wall_of(given);
    moment->microsecond = PyDateTime_DATE_GET_MICROSECOND(given);
    moment->offset = offset_at(&moment->zone, moment->wall);
    return moment->offset == OFFSET_ERROR ? -1 : moment->offset != IRREGULAR;
}

#define WALLS_DISAGREE 2

/* Return -1, 0 or 1 as `a` is before, at or after `b`, or WALLS_DISAGREE if the wall times of one
   zone are in another order than the times in UTC. */
static int order_of(const Moment *a, const Moment *b)
{
    int64_t apart = (a->wall - b->wall) * 1000000 + a->microsecond - b->microsecond;
    int64_t offsets = (int64_t)(a->offset - b->offset) * 1000000;
    int sign = (apart > offsets) - (apart < offsets);
    int same_zone = a->zone.tzinfo == b->zone.tzinfo;
    return same_zone && sign != (apart > 0) - (apart < 0) ? WALLS_DISAGREE : sign;
}

/* Convert a time in UTC to a date of the zone. Return 1, 0 if the stock method decides, or -1. */
static int convert(const Zone *zone, int64_t utc, Date *date)
{
    int known = 1;
    if (zone->fixed)
        date->wall = utc + zone->offset;
    else
        known = wall_from_utc(zone->tzinfo, utc, &date->wall);
    if (known <= 0)
        return known;
    date->offset = offset_at(zone, date->wall);
    if (date->offset == OFFSET_ERROR)
        return -1;
    return date->offset != IRREGULAR && date->wall - date->offset == utc;
}

/* Find where the search starts: the previous time and 1 µs, or now if that is earlier, or the later
   one of now and the start date. It is rounded up to a second, to a date of the trigger's zone.
   Return 1, 0 if the stock method decides, or -1 on error. */
static int first_date(const Zone *zone, PyObject *previous, PyObject *now, PyObject *start_date,
                      Date *date)
{
    Moment current, other;
    const Moment *chosen = &current;
    int known = read_moment(now, &current);
    if (known > 0 && previous != Py_None)
        known = read_moment(previous, &other);
    else if (known > 0 && start_date != Py_None)
        known = read_moment(start_date, &other);
    if (known <= 0)
        return known;
    if (previous != Py_None) {
        int order = order_of(&current, &other);
        if (order == WALLS_DISAGREE)
            return 0;
        if (order >= 0) {
            chosen = &other;
            other.microsecond++;
            order = order_of(&current, &other);
            /* Equal times of two zones need not be equal datetimes: not so in a fold. */
            int same_zone = current.zone.tzinfo == zone->tzinfo && other.zone.tzinfo == zone->tzinfo;
            if (order == WALLS_DISAGREE || (order <= 0 && !same_zone))
                return 0;
        }
    } else if (start_date != Py_None) {
        int order = order_of(&current, &other);
        if (order == WALLS_DISAGREE || (order == 0 && current.zone.tzinfo != other.zone.tzinfo))
            return 0;
        if (order < 0)
            chosen = &other;
    }

    int rounded = chosen->microsecond > 0;
    date->wall = chosen->wall + rounded;
    date->offset = chosen->offset;
    if (rounded) {
        date->offset = offset_at(&chosen->zone, date->wall);
        if (date->offset != chosen->offset)
            return date->offset == OFFSET_ERROR ? -1 : 0;
    }
    if (chosen->zone.tzinfo != zone->tzinfo) {
        known = convert(zone, date->wall - date->offset, date);
        if (known <= 0)
            return known;
        if (rounded) {
            int32_t before = offset_at(zone, date->wall - 1);
            if (before != date->offset)
                return before == OFFSET_ERROR ? -1 : 0;
        }
    }
    date_set_fields(date);
    return 1;
}

/* Find the last wall time that is not after the end. Return 1, 0 if the stock method decides, or
   -1 on error. */
static int last_wall(const Zone *zone, PyObject *end_date, int64_t *end)
{
    Zone other;
    *end = INT64_MAX;
    if (end_date == Py_None)
        return 1;
    if (!PyDateTime_CheckExact(end_date))
        return 0;
    *end = wall_of(end_date);
    if (PyDateTime_DATE_GET_TZINFO(end_date) == zone->tzinfo)
        return 1;
    if (!zone->fixed)
        return 0;
    int known = zone_of(PyDateTime_DATE_GET_TZINFO(end_date), &other);
    if (known > 0) /* else the offset is none */
        *end += zone->offset - other.offset;
    return known < 0 ? -1 : known && other.fixed;
}

#endif
