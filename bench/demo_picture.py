"""Runs the demo, and keeps a picture of its last screen in docs/charts/demo.svg.

Usage: ``python bench/demo_picture.py``. It takes a minute or two, and needs the extra `demo`.
"""

import re
from io import StringIO
from pathlib import Path

from rich.console import Console

from jobstore.demo.plan import Plan
from jobstore.demo.runner import Demo

PICTURE = Path(__file__).parent.parent / "docs" / "charts" / "demo.svg"
COLUMNS = 72


def main() -> int:
    demo = Demo(Plan("memory", jobs=100_000, interval=5, seconds=15))  # as `make demo`
    demo.console = Console(record=True, width=COLUMNS, file=StringIO())
    code = demo.run()
    if code == 0:
        drawn = demo.console.export_svg(title="make demo", unique_id="demo")
        own_fonts = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
        PICTURE.write_text(own_fonts.replace("Fira Code, ", ""), "utf-8")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
