"""Imports the compiled parts, then prints whether the GIL is on."""

import sys

from jobstore import _changes_c, _cron_c, _index_c, _inert_c, _states_c  # noqa: F401

print(getattr(sys, "_is_gil_enabled", lambda: True)())
