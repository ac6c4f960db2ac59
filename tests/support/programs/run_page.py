"""Runs the Python blocks of a page in their order, as one program.

Usage: ``python run_page.py PAGE URI``. A block with a title is a file, and is written into the
current folder. A block that names a host of example.com is not run. In the others, ``localhost`` is
the server at URI. Schedulers that still run at the end are shut down.
"""

import linecache
import sys
from pathlib import Path

from support.pages import blocks

sys.path.insert(0, "")


def main(page, uri):
    page_blocks = blocks(Path(page))
    for block in page_blocks:
        if block.title:
            Path(block.title).write_text(block.code.replace("localhost", uri))
    namespace = vars(sys.modules["__main__"])
    for block in page_blocks:
        if block.language == "python" and not block.title and "example.com" not in block.code:
            code = block.code.replace('"localhost"', repr(uri))
            linecache.cache[block.place] = len(code), None, code.splitlines(True), block.place
            exec(compile(code, block.place, "exec"), namespace)
    for each in list(namespace.values()):
        if getattr(each, "running", False) is True:
            each.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
