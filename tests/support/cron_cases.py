"""Random cron triggers with random times, and the outcomes of a method for both classes."""

import random
from datetime import MAXYEAR, datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

import pytz
from apscheduler.triggers.cron import CronTrigger as StockCronTrigger

from jobstore import _cron_c, _cron_py
from jobstore.triggers import CronTrigger

METHODS = {"compiled": _cron_c.next_fire_time, "twin": _cron_py.next_fire_time}
for module in _cron_c, _cron_py:
    module.adopt(CronTrigger)

UTC = timezone.utc
NAMES = """
Europe/Berlin Europe/Dublin America/New_York America/Sao_Paulo America/Havana America/Caracas
America/Nuuk Asia/Beirut Asia/Tehran Asia/Kathmandu Asia/Gaza Africa/Cairo Africa/Casablanca
Africa/El_Aaiun Africa/Monrovia Antarctica/Troll Australia/Lord_Howe Pacific/Apia
Pacific/Kiritimati Pacific/Kwajalein Etc/GMT+12 UTC
""".split()  # noqa: SIM905
ZONES = [ZoneInfo(name) for name in NAMES]
OFFSETS = [{"hours": 5, "minutes": 30}, {"hours": -3}, {"seconds": 1}, {"microseconds": 500_000}]
FIXED = [UTC, *(timezone(timedelta(**offset)) for offset in OFFSETS)]
OTHERS = [pytz.timezone("Europe/Berlin"), pytz.timezone("America/New_York"), pytz.utc]

RANGES = {"month": (1, 12), "day": (1, 31), "week": (1, 53), "day_of_week": (0, 6)}
RANGES |= {"hour": (0, 23), "minute": (0, 59), "second": (0, 59)}
RARE = {"month", "day", "day_of_week"}  # together, they may never match
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
POSITIONS = ["1st", "2nd", "3rd", "4th", "5th", "last"]


@cache
def transitions(zone):
    """Find the seconds since the epoch when the zone's offset changes, until 2045."""

    def offset(second):
        return datetime.fromtimestamp(second, zone).utcoffset()

    found, step = [], 7 * 86400
    for start in range(0, 75 * 365 * 86400, step):
        low, high = start, start + step
        if offset(low) == offset(high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
        found.append(high)
    return found


def between(chance, low, high, names=None):
    first, last = sorted((chance.randint(low, high), chance.randint(low, high)))
    kind = chance.randrange(6)
    if names and kind < 3:
        return f"{names[first - low]}-{names[last - low]}" if kind else names[first - low]
    if kind < 2:
        return str(first)
    if kind == 2:
        return f"*/{chance.randint(1, high - low)}"
    if kind == 3:
        return f"{first}-{last}"
    if kind == 4 and last > first:
        return f"{first}-{last}/{chance.randint(1, last - first)}"
    return f"{first}/{chance.randint(1, high - first)}" if high > first else str(first)


def expression(chance, field):
    if chance.random() < 0.15:
        return "*"
    if field == "day" and chance.random() < 0.4:
        position = f"{chance.choice(POSITIONS)} {chance.choice(WEEKDAYS)}"
        return chance.choice(["last", position])
    names = {"month": MONTHS, "day_of_week": WEEKDAYS}.get(field)
    return between(chance, *RANGES[field], names)


def expressions(chance, year):
    """Choose fields. A search that could take the stock trigger until 9999 ends earlier."""
    chosen = chance.sample(sorted(RARE), chance.choice([0, 0, 0, 1, 1, 2]))
    if chance.random() < 0.06:  # the stock trigger tries day after day
        chosen.append("week")
    chosen += chance.sample(["hour", "minute", "second"], chance.randint(0, 3))
    given = {
        field: ",".join(expression(chance, field) for _ in range(chance.choice([1, 1, 1, 2, 4])))
        for field in chosen
    }
    if ("week" in given and len(given) > 1) or ("day" in given and len({*given} & RARE) > 1):
        given["year"] = f"{year}-{min(year + 2, MAXYEAR)}"
    elif chance.random() < 0.15:
        first = min(max(1970, year + chance.randint(-3, 3)), MAXYEAR - 4)
        given["year"] = chance.choice(
            [str(first), f"{first}/2", f"{first}-{MAXYEAR}/3", "*/7", f"{first},{year}"]
        )
    return given


def instant(chance, zone):
    """Choose a time in UTC, often close to a change of the zone's offset."""
    kind = chance.random()
    changes = transitions(zone) if isinstance(zone, ZoneInfo) else ()
    if kind < 0.5 and changes:
        around = chance.choice([2, 7200, 2 * 86400, 40 * 86400])
        second = chance.choice(changes) + chance.randint(-around, around)
    elif kind < 0.53:
        second = chance.choice([0, 253402300799]) + chance.randint(-40 * 86400, 40 * 86400)
    elif kind < 0.56:
        second = chance.randint(0, 253402300799)
    else:
        second = chance.randint(0, 5 * 10**9)
    fraction = chance.choice([0, 0, 0, 1, 500_000, 999_999])
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        seconds=min(second, 253402300799), microseconds=fraction
    )


def shifted(chance, time):
    """Move a time by nothing, by little, or by much."""
    unit = chance.choice(["microseconds", "seconds", "minutes", "hours", "days"])
    number = chance.choice([0, 0, 1, 1, -1, chance.randint(0, 100), chance.randint(-40, 0)])
    try:
        return time + timedelta(**{unit: number})
    except OverflowError:
        return time


def in_zone(chance, time, zone, other=0.1):
    """Convert a time to the zone, or at times to another zone, or with a wrong fold."""
    if chance.random() < other:
        zone = chance.choice([*ZONES, *FIXED, *OTHERS])
    try:
        converted = time.astimezone(zone)
    except OverflowError:
        return time
    return converted.replace(fold=1) if chance.random() < 0.02 else converted


def some_zone(chance):
    kind = chance.random()
    if kind < 0.8:
        return chance.choice(ZONES)
    return chance.choice(FIXED if kind < 0.97 else OTHERS)


class Case:
    """A pair of equal triggers, and arguments for `get_next_fire_time`."""

    def __init__(self, chance):
        self.zone = some_zone(chance)
        self.time = instant(chance, self.zone)
        self.arguments = expressions(chance, min(max(self.time.year, 1970), MAXYEAR))
        for name, often in ("start_date", 0.15), ("end_date", 0.15):
            if chance.random() < often:
                self.arguments[name] = in_zone(chance, shifted(chance, self.time), self.zone)
        if chance.random() < 0.05:
            self.arguments["jitter"] = chance.choice([0, 1, 100, 86400])
        self.stock = StockCronTrigger(timezone=self.zone, **self.arguments)
        self.fast = CronTrigger(timezone=self.zone, **self.arguments)
        self.stock.timezone = self.fast.timezone = self.zone  # APScheduler 3.11 replaces pytz's
        self.previous = None
        if chance.random() < 0.85:
            self.previous = in_zone(chance, self.time, self.zone, 0.07)
        self.now = in_zone(chance, shifted(chance, self.time), self.zone)
        self.seed = chance.randrange(10**9)

    def __repr__(self):
        return f"{self.arguments} {self.zone} previous={self.previous!r} now={self.now!r}"

    def outcome(self, method, trigger):
        random.seed(self.seed)
        return outcome(method, trigger, self.previous, self.now)

    def follow(self, time):
        """Take a next run time as the previous one, as a scheduler does."""
        self.previous = time
        self.now = (time.astimezone(UTC) + timedelta(milliseconds=3)).astimezone(self.now.tzinfo)


def outcome(method, *arguments):
    """Return everything that tells a result or an error from another, and the result."""
    try:
        result = method(*arguments)
    except Exception as error:
        # An AttributeError of a new Python names the class with its module.
        text = str(error).replace(CronTrigger.__module__, StockCronTrigger.__module__)
        return type(error), text, None
    if result is None:
        return None, "", None
    return result.replace(tzinfo=None, fold=0), (result.fold, id(result.tzinfo)), result
