/* The search for the next date that a cron schedule matches: the stock trigger's own steps. */
#ifndef JOBSTORE_CRON_H
#define JOBSTORE_CRON_H

#include "zones.h"

enum { FOUND, PAST_END, STOCK_DECIDES, SEARCH_ERROR = -1 };

/* What the stock trigger adds when it increments a field and the offset changes in between. */
enum { ADDS_UNKNOWN, ADDS_ON_THE_WALL, ADDS_IN_UTC };

enum { YEAR, MONTH, DAY, WEEK, WEEKDAY, HOUR, MINUTE, SECOND, FIELDS };

#define MAX_STEPS 1000000 /* then the stock trigger searches, which Ctrl-C can interrupt */
#define MAX_YEARS 8

typedef struct {
    int first, last, step;
} Range;

typedef struct {
    uint64_t masks[FIELDS]; /* bit v stands for the value v; unused for years */
    uint64_t positions;     /* bit 7 * option + weekday: the 1st, 2nd … 5th, or last (5) weekday */
    int last_day;           /* whether the last day of each month matches */
    int count;              /* of ranges of years */
    Range years[MAX_YEARS];
} Schedule;

#define EVERY_WEEK (((UINT64_C(1) << 54) - 1) & ~UINT64_C(1))
#define EVERY_WEEKDAY UINT64_C(127)

/* Return the lowest value in the mask that is not below this one, or -1. */
static inline int next_in(uint64_t mask, int value)
{
    mask = mask >> value << value;
    if (mask == 0)
        return -1;
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_ctzll(mask);
#else
    while (!(mask >> value & 1))
        value++;
    return value;
#endif
}

static inline int next_year(const Schedule *schedule, int year)
{
    int found = -1;
    for (int i = 0; i < schedule->count; i++) {
        int first = schedule->years[i].first, step = schedule->years[i].step;
        int next = year <= first ? first : year + (step - (year - first) % step) % step;
        if (next <= schedule->years[i].last && (found < 0 || next < found))
            found = next;
    }
    return found;
}

static inline int weekday_of(int64_t days) { return (int)((days + 3) % 7); } /* Monday is 0 */

static inline uint64_t days_matching(const Schedule *schedule, const Date *date)
{
    int length = days_of_month(date->year, date->month);
    uint64_t mask = schedule->masks[DAY];
    if (schedule->last_day)
        mask |= UINT64_C(1) << length;
    if (schedule->positions) {
        int first = weekday_of(days_since_epoch(date->year, date->month, 1));
        for (int bit = 0; bit < 42; bit++) {
            if (!(schedule->positions >> bit & 1))
                continue;
            int day = (bit % 7 - first + 7) % 7 + 1, option = bit / 7;
            day += 7 * (option < 5 ? option : (length - day) / 7);
            if (day <= length)
                mask |= UINT64_C(1) << day;
        }
    }
    return mask & ((UINT64_C(2) << length) - 1);
}

static inline int iso_week(const Date *date)
{
    int64_t days = date->wall / 86400;
    int64_t thursday = days - weekday_of(days) + 3; /* of the same week: its year is the week's */
    int year = date->year;
    int64_t first = days_since_epoch(year, 1, 1);
    if (thursday < first)
        first = days_since_epoch(year - 1, 1, 1);
    else if (thursday >= first + 365 + is_leap(year))
        first = days_since_epoch(year + 1, 1, 1);
    return (int)((thursday - first) / 7) + 1;
}

/* Set a field, and all after it to their lowest values. */
static inline void set_field(Date *date, int field, int value)
{
    switch (field) {
    case YEAR: date->year = value; date->month = 1; date->day = 1; break;
    case MONTH: date->month = value; date->day = 1; break;
    case DAY: date->day = value; break;
    case HOUR: date->hour = value; date->minute = 0; break;
    case MINUTE: date->minute = value; break;
    default: date->second = value; return;
    }
    date->second = 0;
    if (field < HOUR)
        date->hour = date->minute = 0;
}

/* Increment a field, or one before it if the field has its highest value. Return that field, or
   -1 if the year 9999 ends. */
static inline int increment(Date *date, int field)
{
    switch (field) {
    case MINUTE:
        if (date->minute < 59) {
            set_field(date, MINUTE, date->minute + 1);
            return MINUTE;
        } /* fall through */
    case HOUR:
        if (date->hour < 23) {
            set_field(date, HOUR, date->hour + 1);
            return HOUR;
        } /* fall through */
    case DAY:
        if (date->day < days_of_month(date->year, date->month)) {
            set_field(date, DAY, date->day + 1);
            return DAY;
        } /* fall through */
    case MONTH:
        if (date->month < 12) {
            set_field(date, MONTH, date->month + 1);
            return MONTH;
        } /* fall through */
    default:
        if (date->year >= 9999)
            return -1;
        set_field(date, YEAR, date->year + 1);
        return YEAR;
    }
}

/* Go to a date, whose fields are set. */
static inline int visit(Date *date, const Zone *zone)
{
    date_set_wall(date);
    int32_t offset = offset_at(zone, date->wall);
    if (offset == OFFSET_ERROR)
        return SEARCH_ERROR;
    if (offset == IRREGULAR)
        return STOCK_DECIDES;
    date->offset = offset;
    return FOUND;
}

/* Go to an incremented date, as the stock trigger does if the offset has changed. */
static int visit_incremented(Date *date, const Zone *zone, int adds)
{
    int32_t before = date->offset;
    int outcome = visit(date, zone);
    if (outcome != FOUND || date->offset == before || adds == ADDS_ON_THE_WALL)
        return outcome;
    if (adds != ADDS_IN_UTC)
        return STOCK_DECIDES;
    int64_t utc = date->wall - before;
    int known = in_range(utc) ? wall_from_utc(zone->tzinfo, utc, &date->wall) : 0;
    if (known <= 0 || !in_range(date->wall))
        return known < 0 ? SEARCH_ERROR : STOCK_DECIDES;
    date_set_fields(date);
    outcome = visit(date, zone);
    return outcome == FOUND && date->wall - date->offset != utc ? STOCK_DECIDES : outcome;
}

/* Move a visited date to the next one that the schedule matches, which is not after `end`. */
static int next_date(const Schedule *schedule, const Zone *zone, int adds, int64_t end, Date *date)
{
    int field = YEAR;
    for (int step = 0; field < FIELDS; step++) {
        int value, next, back, outcome; /* back: the field to increment if nothing matches */
        if (date->wall > end)
            return PAST_END;
        if (step == MAX_STEPS)
            return STOCK_DECIDES;
        switch (field) {
        case YEAR:
            value = date->year, next = next_year(schedule, value), back = -1;
            break;
        case MONTH:
            value = date->month, next = next_in(schedule->masks[MONTH], value), back = YEAR;
            break;
        case DAY:
            value = date->day, next = next_in(days_matching(schedule, date), value), back = MONTH;
            break;
        case WEEK: /* these two are never set: the stock trigger tries day after day */
            value = next = back = DAY;
            if (schedule->masks[WEEK] != EVERY_WEEK
                && !(schedule->masks[WEEK] >> iso_week(date) & 1))
                next = -1;
            break;
        case WEEKDAY:
            value = next = back = DAY;
            if (!(schedule->masks[WEEKDAY] >> weekday_of(date->wall / 86400) & 1))
                next = -1;
            break;
        case HOUR:
            value = date->hour, next = next_in(schedule->masks[HOUR], value), back = DAY;
            break;
        case MINUTE:
            value = date->minute, next = next_in(schedule->masks[MINUTE], value), back = HOUR;
            break;
        default:
            value = date->second, next = next_in(schedule->masks[SECOND], value), back = MINUTE;
        }
        if (next == value) {
            field++;
            continue;
        }
        if (next < 0) {
            field = back < 0 ? -1 : increment(date, back);
            if (field < 0)
                return STOCK_DECIDES; /* no year is left */
            outcome = visit_incremented(date, zone, adds);
        } else {
            set_field(date, field++, next);
            outcome = visit(date, zone);
        }
        if (outcome != FOUND)
            return outcome;
    }
    return date->wall > end ? PAST_END : FOUND;
}

#endif
