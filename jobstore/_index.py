"""Chooses between the two `JobIndex` classes: the compiled one and its Python twin.

The twin serves if ``$JOBSTORE_PURE_PYTHON`` is 1, and outside CPython. A missing compiled core is
an error: jobstore never falls back to the slower twin by itself.
"""

import os
import sys
from typing import TYPE_CHECKING, Literal

__all__ = ["JobIndex", "backend"]

backend: Literal["c", "python"] = "c"
"""The index in use: ``"c"``, the compiled one, or ``"python"``, its slower twin.

The environment variable ``JOBSTORE_PURE_PYTHON=1``, read at the import, chooses the twin.
"""

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
