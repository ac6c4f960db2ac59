"""Checks that the installed jobstore is compiled: python check_compiled.py.

A free-threaded Python enables its GIL when it imports a module that isn't made for it. So the check
ends with an error, too, if the GIL is on after the import of all compiled parts.
"""

import sys
import sysconfig

from jobstore import _cron, _index, _states
from jobstore.inert import changes, reader

for chooser, function in (
    (_index, "JobIndex"),
    (_cron, "next_fire_time"),
    (_states, "advance"),
    (reader, "run"),
    (changes, "changes"),
):
    module = getattr(chooser, function).__module__
    if not module.endswith("_c"):
        sys.exit(f"{function} is not compiled: it is from {module}")

if sysconfig.get_config_var("Py_GIL_DISABLED") and sys._is_gil_enabled():
    sys.exit("jobstore has enabled the GIL of a free-threaded Python")
