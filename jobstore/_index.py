"""Chooses the `JobIndex`: the compiled one, unless the Python twin is asked for.

A compiled core that is missing is an error, never a silent change to the slower twin.
"""

import os
import sys
from typing import TYPE_CHECKING

__all__ = ["JobIndex", "backend"]

backend = "c"
if os.environ.get("JOBSTORE_PURE_PYTHON") == "1" or sys.implementation.name != "cpython":
    backend = "python"

if TYPE_CHECKING or backend == "python":
    from ._index_py import JobIndex
else:
    try:
        from ._index_c import JobIndex
    except ImportError as error:
        raise ImportError(
            f"jobstore's compiled core can't be imported ({error}); install the package "
            "(in a checkout: pip install -e .), or set JOBSTORE_PURE_PYTHON=1 "
            "to use the slower Python twin"
        ) from error
