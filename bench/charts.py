"""Draws charts of the last results, and writes their tables into docs/explanation/benchmarks.md."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from results import FOLDER, Row, load_last, missed

DOCS = FOLDER.parent.parent / "docs"
PAGE = DOCS / "explanation" / "benchmarks.md"
CHARTS = DOCS / "charts"
COLOURS = {
    "ours": "#d62728",
    "twin": "#ff9896",
    "stock": "#1f77b4",
    "heap + dict": "#7f7f7f",
    "sorted": "#2ca02c",
}
LABELS = {"ours": "jobstore", "twin": "jobstore, Python twin", "stock": "APScheduler"}
OPERATIONS = "add", "update", "remove"


def main() -> None:
    rows = load_last()
    CHARTS.mkdir(exist_ok=True)
    plt.rcParams["svg.hashsalt"] = "jobstore"  # the same results draw the same file
    plt.rcParams["svg.fonttype"] = "none"
    growth(rows)
    ratios(rows)
    breakdown(rows)
    write_tables(rows)


def keep(figure: Any, name: str) -> None:
    figure.savefig(CHARTS / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def growth(rows: list[Row]) -> None:
    """Cost of each operation by the number of jobs, on log axes."""
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True)
    for panel, operation in zip(panels, OPERATIONS, strict=True):
        points = [
            row
            for row in rows
            if row.operation == operation and row.table.startswith("Memory store, UTC")
        ]
        points.sort(key=lambda row: row.size or 0)
        for name, colour in COLOURS.items():
            values = [row.values[name] for row in points]
            sizes = [row.size for row in points]
            panel.loglog(sizes, values, "o-", color=colour, label=LABELS.get(name, name))
        panel.set(title=operation, xlabel="jobs in the store")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("µs a call")
    panels[0].legend(fontsize=8)
    keep(figure, "growth")


def ratios(rows: list[Row]) -> None:
    """How many times faster our stores are than the stock stores."""
    chosen = [row for row in rows if row.ratio == "stock / ours" and row.unit == "µs"]
    chosen = [row for row in chosen if "ZoneInfo" not in row.table]
    tables = list(dict.fromkeys(row.table for row in chosen))
    chosen.sort(key=lambda row: tables.index(row.table))
    chosen.reverse()
    figure, axes = plt.subplots(figsize=(8, 0.26 * len(chosen) + 1))
    labels = [f"{row.table.partition(',')[0].partition(':')[0]}: {row.row}" for row in chosen]
    # From 1, so that a bar to the left is a loss:
    axes.barh(labels, [row.times - 1 for row in chosen], left=1, color=COLOURS["ours"])
    axes.scatter(
        [row.target for row in chosen if row.target],
        [label for row, label in zip(chosen, labels, strict=True) if row.target],
        marker="|",
        color="black",
        s=80,
        label="target",
        zorder=3,
    )
    axes.set(xscale="log", xlabel="times faster than APScheduler's own store")
    axes.axvline(1, color="grey")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="x", alpha=0.3)
    axes.margins(y=0.01)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=8, loc="lower right")
    keep(figure, "ratios")


def breakdown(rows: list[Row]) -> None:
    """The parts of a cycle of the MongoDB store."""
    found = [row for row in rows if row.operation == "breakdown"]
    if not found:
        return
    figure, axes = plt.subplots(figsize=(10, 1.6))
    left = 0.0
    for name, value in found[-1].values.items():
        if name == "whole":
            continue
        axes.barh([""], [value], left=left, label=f"{name}: {value:.1f}", edgecolor="white")
        left += value
    axes.set(xlabel="µs a job, in a cycle of 1,000 due")
    axes.legend(ncols=4, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    keep(figure, "cycle")


def write_tables(rows: list[Row]) -> None:
    """Replace the text between the page's markers."""
    page = PAGE.read_text("utf-8")
    begin, end = "<!-- tables -->\n", "<!-- /tables -->"
    written = begin + machine_lines() + "".join(markdown(rows)) + end
    page = re.sub(f"{begin}.*{end}", lambda _: written, page, flags=re.DOTALL)
    PAGE.write_text(page, "utf-8")


def machine_lines() -> str:
    """Name the machine of each file of results. The last file with a row counts."""
    lines = ["\nThe tables show the last measurement of each row, from these files:\n"]
    for path in sorted(FOLDER.glob("*.json")):
        about = json.loads(path.read_text("utf-8"))["machine"]
        packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
        machine = f"{about['python']}, {about['system']}, {about['processor']}; {packages}"
        lines.append(f"- `{name_of(path)}`: {machine}")
    return "\n".join(lines) + "\n"


def name_of(path: Path) -> str:
    return str(path.relative_to(FOLDER.parent.parent))


def markdown(rows: list[Row]) -> list[str]:
    texts = []
    for table in dict.fromkeys(row.table for row in rows):
        members = [row for row in rows if row.table == table]
        variants = list(dict.fromkeys(variant for row in members for variant in row.values))
        head = [members[0].unit, "", "ratio", "target", *variants]
        lines = [f"\n### {table}\n", line(head), line(["---"] * len(head))]
        for row in members:
            target = "" if row.target is None else f"{'≤' if row.at_most else '≥'} {row.target:g}"
            values = [
                f"{row.values[variant]:.4g}" if variant in row.values else ""
                for variant in variants
            ]
            ratio = f"{row.times:.2f}" + (" (missed)" if missed(row) else "")
            lines.append(line([row.row, row.ratio, ratio, target, *values]))
        texts.append("\n".join(lines) + "\n")
    return texts


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
