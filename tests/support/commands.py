"""Records the commands that a client sends to its server."""

import threading

from pymongo import monitoring


def job_commands(event):
    """Return whether a command reads or writes jobs; the driver also sends commands of its own.

    The thread that writes the scheduler's presence sends some every 5 s, beside any cycle.
    """
    if threading.current_thread().name == "jobstore-presence":
        return False
    return event.command_name in {"find", "getMore", "insert", "update", "delete", "aggregate"}


class Commands(monitoring.CommandListener):
    """Lists the names of a client's commands: pass it to `MongoClient(event_listeners=[...])`."""

    def __init__(self):
        self.names = []

    def started(self, event):
        if job_commands(event):
            self.names.append(event.command_name)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass
