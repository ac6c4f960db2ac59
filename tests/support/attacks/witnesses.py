"""What notes that an attack has succeeded: an audit hook, and a look at all that is unpickled.

Import this module before `jobstore`, so that it sees every call of `pickle.loads`.
"""

import pickle
import sys

from support.attacks.states import PLANTED

__all__ = ["Witnesses"]

FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "subprocess.Popen")
WORD = PLANTED.decode()
MOST = 50  # faults that are kept


class Witnesses:
    """Sees this process run, import, open and unpickle.

    :param loads: whether to see what `pickle.loads` is given, too.
    :ivar faults: texts of what must not happen.
    :ivar names: the names that the good states name. Any other one is a fault, once set.
    :ivar untrusted: the states that must not reach `pickle`.
    """

    def __init__(self, loads=True):
        self.reset()
        self._loads = pickle.loads
        if loads:
            pickle.loads = self._watched_loads
        sys.addaudithook(self._hook)

    def reset(self):
        """Begin anew."""
        self.faults = []
        self.names = None
        self.seen = set()
        self.untrusted = set()

    def fault(self, text):
        if len(self.faults) < MOST:
            self.faults.append(text[:300])

    def _watched_loads(self, state, **options):
        if bytes(state) in self.untrusted or PLANTED in state:
            self.fault(f"unpickled {state!r:.200}")
        return self._loads(state, **options)

    def watch(self, owner, name):
        """See each call of a method that unpickles."""
        method = getattr(owner, name)

        def watched(self_, state, *args):
            if bytes(state) in self.untrusted:
                self.fault(f"{name} of {state!r:.200}")
            return method(self_, state, *args)

        setattr(owner, name, watched)

    def _hook(self, event, args):
        if event == "pickle.find_class":
            self.seen.add(args)
            if self.names is not None and args not in self.names:
                self.fault(f"the unpickler looked for {args}")
        elif event in FORBIDDEN or event == "planted":
            self.fault(f"{event} {args}")
        elif event in ("import", "open") and WORD in str(args[0]):
            self.fault(f"{event} {args[0]}")
        elif event == "exec" and WORD in str(args[0].co_filename):
            self.fault(f"exec {args[0]}")
        elif event == "compile" and WORD in str(args[0]) and not str(args[1]).endswith(".py"):
            self.fault(f"compile {args[0]}")
