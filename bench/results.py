"""Results: rows of tables, kept in files and compared with earlier rows."""

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from sysconfig import get_config_var
from typing import Any

__all__ = ["FOLDER", "Row", "compare", "load_last", "missed", "save", "table_lines"]

FOLDER = Path(__file__).with_name("results")
BUILD = " free-threaded" if get_config_var("Py_GIL_DISABLED") else ""
MOVED = 0.2  # a comparison names ratios that changed by more
PACKAGES = "apscheduler", "sortedcontainers", "pymongo", "pytest-benchmark"


@dataclass
class Row:
    """One comparison.

    :ivar values: each variant's value in `unit`, by its name.
    :ivar ratio: names of the two values to divide, "stock / ours"; or of a single value, "ours".
    :ivar target: lowest ratio that passes; with `at_most`, the highest.
    :ivar size: number of jobs, if the row is one point of a curve.
    :ivar operation: name of that curve.
    """

    table: str
    row: str
    values: dict[str, float]
    ratio: str
    target: float | None = None
    at_most: bool = False
    unit: str = "µs"
    size: int | None = None
    operation: str = ""

    @property
    def times(self) -> float:
        over, _, under = self.ratio.partition(" / ")
        return self.values[over] / (self.values[under] if under else 1)


def missed(row: Row) -> bool:
    if row.target is None:
        return False
    return row.times > row.target if row.at_most else row.times < row.target


def table_lines(rows: list[Row]) -> Iterator[str]:
    """Format the rows of one table."""
    variants = list(dict.fromkeys(variant for row in rows for variant in row.values))
    width = max(len(row.row) for row in rows) + 2
    ratios = max(len(row.ratio) for row in rows) + 2
    columns = {variant: max(len(variant) + 2, 13) for variant in variants}
    yield f"{rows[0].unit:<{width}}{'':<{ratios}}{'ratio':>8}{'target':>8}" + "".join(
        f"{variant:>{column}}" for variant, column in columns.items()
    )
    for row in rows:
        target = "" if row.target is None else f"{'≤' if row.at_most else '≥'} {row.target:g}"
        values = "".join(
            f"{row.values[variant]:{column}.4g}" if variant in row.values else " " * column
            for variant, column in columns.items()
        )
        sign = "  missed" if missed(row) else ""
        yield f"{row.row:<{width}}{row.ratio:<{ratios}}{row.times:8.2f}{target:>8}{values}{sign}"


def save(rows: list[Row]) -> Path:
    """Keep the rows in today's file of this build. They replace rows of the same names."""
    path = FOLDER / f"{date.today()}{BUILD.replace(' ', '-')}.json"
    kept = load(path) if path.exists() else []
    merged = {(row.table, row.row): row for row in [*kept, *rows]}
    content = {"machine": machine(), "rows": [asdict(row) for row in merged.values()]}
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path.relative_to(FOLDER.parent.parent)


def load(path: Path) -> list[Row]:
    """Read the rows of a file. Earlier versions wrote the target as "bar"."""
    rows = json.loads(path.read_text("utf-8"))["rows"]
    for row in rows:
        if "bar" in row:
            row["target"] = row.pop("bar")
    return [Row(**row) for row in rows]


def load_last() -> list[Row]:
    """Read the last result of each row from all files: a quick run measures only some rows."""
    rows = (row for path in sorted(FOLDER.glob("*.json")) for row in load(path))
    return list({(row.table, row.row): row for row in rows}.values())


def compare(rows: list[Row], last: list[Row]) -> Iterator[str]:
    """Say which ratios moved and which targets are missed. Never compare times."""
    before = {(row.table, row.row): row for row in last}
    covered = [row for row in rows if row.target is not None]
    yield f"{len(rows)} ratios, {len(covered)} of them with a target:"
    for row in covered:
        sign = "missed" if missed(row) else "reached"
        yield f"  {sign}: {row.table}: {row.row}: {row.times:.2f} (target {row.target:g})"
    for row in rows:
        earlier = before.get((row.table, row.row))
        if earlier is None:
            yield f"  new: {row.table}: {row.row}: {row.times:.2f}"
        elif abs(row.times - earlier.times) > MOVED * earlier.times:
            yield f"  moved: {row.table}: {row.row}: {earlier.times:.2f} -> {row.times:.2f}"


def machine() -> dict[str, Any]:
    """Describe the machine and the versions, on which the figures depend."""
    return {
        "date": str(date.today()),
        "python": f"{platform.python_implementation()} {platform.python_version()}{BUILD}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} of {names[0]}" if names else platform.processor()
