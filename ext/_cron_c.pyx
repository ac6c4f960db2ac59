# cython: language_level=3, auto_pickle=False, freethreading_compatible=True
"""`next_fire_time`, compiled. Its twin, `jobstore/_cron_py.py`, has the full documentation.

Python code can run inside a call: allocations may start a garbage collection. So a call holds its
own references to everything that it read from the trigger, and changes what calls share (the
memo, the zones' answers) in steps without Python code, dropping references last. Without the GIL
these steps hold a mutex.
"""

cimport cython
from cpython.object cimport PyObject, PyTypeObject, Py_TYPE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint64_t

from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger as StockCronTrigger
from apscheduler.triggers.cron import expressions as stock_expressions
from apscheduler.triggers.cron import fields as stock_fields

from ._cron_addition import ADDITION

cdef extern from "zones.h":
    ctypedef struct Date:
        pass
    ctypedef struct Zone:
        pass
    int zones_init(object zone_info_type) except -1
    bint zone_of(PyObject *tzinfo, Zone *zone) except -1
    object date_to_datetime(const Date *date, PyObject *tzinfo)

cdef extern from "moments.h":
    bint first_date(
        const Zone *zone, PyObject *previous, PyObject *now, PyObject *start_date, Date *date
    ) except -1
    bint last_wall(const Zone *zone, PyObject *end_date, int64_t *end) except -1

cdef extern from "cron.h":
    enum: FOUND, PAST_END, STOCK_DECIDES
    enum: ADDS_UNKNOWN, ADDS_ON_THE_WALL, ADDS_IN_UTC
    enum: YEAR, MONTH, DAY, WEEK, WEEKDAY, HOUR, MINUTE, SECOND, FIELDS
    enum: MAX_YEARS
    ctypedef struct Range:
        int first
        int last
        int step
    ctypedef struct Schedule:
        uint64_t *masks
        uint64_t positions
        bint last_day
        int count
        Range *years
    int next_date(
        const Schedule *schedule, const Zone *zone, int adds, int64_t end, Date *date) except -1

cdef extern from "slots.h":
    Py_ssize_t slot_offset(PyTypeObject *owner, object slot)
    bint slots_take(
        PyObject *owner, const Py_ssize_t *offsets, Py_ssize_t count, PyObject **values)
    bint list_is_same(PyObject *list, PyObject *items)

cdef extern from "memo.h":
    enum: BY_SCHEDULE, BY_ZONE, BY_START, BY_END, BY_PREVIOUS, BY_NOW, SEARCH_PARTS
    PyObject *memo_get(PyObject **search)
    void memo_put(PyObject **search, PyObject *result)

zones_init(ZoneInfo)

cdef int adds = {"wall": ADDS_ON_THE_WALL, "utc": ADDS_IN_UTC}.get(ADDITION, ADDS_UNKNOWN)

cdef enum: ZONE, START_DATE, END_DATE, FIELD_LIST, JITTER, SCHEDULE, SLOTS

cdef tuple SLOT_NAMES = ("timezone", "start_date", "end_date", "fields", "jitter", "_schedule")
cdef PyTypeObject *trigger_type = NULL
cdef Py_ssize_t slot_offsets[SLOTS]


def adopt(trigger: object):
    """Prepare `next_fire_time` for instances of exactly this class, by reading their slots."""
    global trigger_type
    cdef int i
    cdef Py_ssize_t offsets[SLOTS]
    if not isinstance(trigger, type):
        raise TypeError(f"{trigger!r} is no class")
    for i in range(SLOTS):
        offsets[i] = slot_offset(<PyTypeObject *> trigger, getattr(trigger, SLOT_NAMES[i]))
        if offsets[i] <= 0:
            return  # not a slot in this APScheduler, so the stock method always decides
    for i in range(SLOTS):
        slot_offsets[i] = offsets[i]
    Py_INCREF(trigger)
    trigger_type = <PyTypeObject *> trigger


# Each field by its place in a trigger's list: exact class, name, lowest and highest value.
cdef tuple FIELD_TYPES = (
    stock_fields.BaseField,
    stock_fields.MonthField,
    stock_fields.DayOfMonthField,
    stock_fields.WeekField,
    stock_fields.DayOfWeekField,
    stock_fields.BaseField,
    stock_fields.BaseField,
    stock_fields.BaseField,
)
cdef tuple NAMES = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
cdef int *LOWEST = [1970, 1, 1, 1, 0, 0, 0, 0]
cdef int *HIGHEST = [9999, 12, 31, 53, 6, 23, 59, 59]

cdef type AllExpression = stock_expressions.AllExpression
cdef tuple RANGES = (
    stock_expressions.RangeExpression,
    stock_expressions.MonthRangeExpression,
    stock_expressions.WeekdayRangeExpression,
)
cdef type WeekdayPosition = stock_expressions.WeekdayPositionExpression
cdef type LastDayOfMonth = stock_expressions.LastDayOfMonthExpression


cdef inline int small_int(value):
    """Return an int of 0 to 9999, or -1 for any other object."""
    if type(value) is not int or not 0 <= value <= 9999:
        return -1
    return value


@cython.final
cdef class Compiled:
    """The fields of a trigger as bit masks, kept in the trigger's slot `_schedule`."""

    cdef Schedule schedule
    cdef tuple fields  # from which this was made
    cdef bint known  # else the stock method decides

    def __cinit__(self, list fields):
        self.fields = tuple(fields)
        self.known = len(self.fields) == FIELDS
        cdef int place
        try:
            for place in range(FIELDS if self.known else 0):
                if not self.add_field(place, self.fields[place]):
                    self.known = False
                    break
        except AttributeError:
            self.known = False

    cdef bint add_field(self, int place, field) except -1:
        if type(field) is not FIELD_TYPES[place] or type(field.name) is not str:
            return False
        if field.name != NAMES[place] or type(field.expressions) is not list:
            return False
        for expression in tuple(field.expressions):
            if not self.add_expression(place, expression):
                return False
        return True

    cdef bint add_expression(self, int place, expression) except -1:
        cdef int first, last = HIGHEST[place], step = 1, option, weekday
        kind = type(expression)
        if kind is LastDayOfMonth and place == DAY:
            self.schedule.last_day = True
            return True
        if kind is WeekdayPosition and place == DAY:
            option = small_int(expression.option_num)
            weekday = small_int(expression.weekday)
            if not (0 <= option <= 5 and 0 <= weekday <= 6):
                return False
            self.schedule.positions |= (<uint64_t> 1) << (7 * option + weekday)
            return True
        if kind is AllExpression:
            first = LOWEST[place]
        elif kind in RANGES:
            first = small_int(expression.first)
            if expression.last is not None:
                last = min(last, small_int(expression.last))
        else:
            return False
        if expression.step is not None:
            step = small_int(expression.step) or 1
        if first < 0 or last < 0 or step < 0:
            return False
        first = max(first, LOWEST[place])
        if place != YEAR:
            while first <= last:
                self.schedule.masks[place] |= (<uint64_t> 1) << first
                first += step
            return True
        if self.schedule.count == MAX_YEARS:
            return False
        self.schedule.years[self.schedule.count] = Range(first, last, step)
        self.schedule.count += 1
        return True


cdef inline object owned(PyObject *reference):
    """Take over a reference; NULL gives None."""
    if reference == NULL:
        return None
    result = <object> reference
    Py_DECREF(result)
    return result


cdef object ask_stock(trigger, previous, now):
    return StockCronTrigger.get_next_fire_time(trigger, previous, now)


def next_fire_time(self, previous_fire_time, now):
    """Return the next time, as APScheduler's method of this name does."""
    cdef PyObject *values[SLOTS]
    cdef PyObject *search[SEARCH_PARTS]
    cdef PyObject *known
    cdef int64_t end
    cdef int i, outcome
    cdef bint complete = True
    cdef Date date
    cdef Zone zone
    cdef Compiled compiled
    if Py_TYPE(self) != trigger_type:
        return ask_stock(self, previous_fire_time, now)
    # References of this call's own, as any allocation may run code that changes the trigger.
    slots_take(<PyObject *> self, slot_offsets, SLOTS, values)
    for i in range(SCHEDULE):
        complete = complete and values[i] != NULL
    tzinfo = owned(values[ZONE])
    start_date = owned(values[START_DATE])
    end_date = owned(values[END_DATE])
    fields = owned(values[FIELD_LIST])
    jitter = owned(values[JITTER])
    kept = owned(values[SCHEDULE])
    if not complete or type(fields) is not list:
        return ask_stock(self, previous_fire_time, now)
    if type(kept) is Compiled and list_is_same(
        <PyObject *> fields, <PyObject *> (<Compiled> kept).fields
    ):
        compiled = kept
    else:
        compiled = self._schedule = Compiled(fields)
    if not compiled.known:
        return ask_stock(self, previous_fire_time, now)

    search[BY_SCHEDULE] = <PyObject *> compiled
    search[BY_ZONE] = <PyObject *> tzinfo
    search[BY_START] = <PyObject *> start_date
    search[BY_END] = <PyObject *> end_date
    search[BY_PREVIOUS] = <PyObject *> previous_fire_time
    search[BY_NOW] = <PyObject *> now
    if jitter is None:
        known = memo_get(search)
        if known != NULL:
            return owned(known)

    if not zone_of(search[BY_ZONE], &zone) or not last_wall(&zone, search[BY_END], &end):
        return ask_stock(self, previous_fire_time, now)
    if not first_date(&zone, search[BY_PREVIOUS], search[BY_NOW], search[BY_START], &date):
        return ask_stock(self, previous_fire_time, now)
    outcome = next_date(&compiled.schedule, &zone, adds, end, &date)
    if outcome == STOCK_DECIDES:
        return ask_stock(self, previous_fire_time, now)
    found = None if outcome == PAST_END else date_to_datetime(&date, search[BY_ZONE])
    if jitter is None:
        memo_put(search, <PyObject *> found)
        return found
    if found is None:
        return None
    found = self._apply_jitter(found, jitter, now)
    return min(found, end_date) if end_date is not None else found
