"""The commands that a client sends to its server."""

from pymongo import monitoring


def job_commands(event):
    """Whether a command is one on the jobs, and not of the driver's own."""
    return event.command_name in {"find", "getMore", "insert", "update", "delete", "aggregate"}


class Commands(monitoring.CommandListener):
    """Lists the names of the commands that a client sends: MongoClient(event_listeners=[...])."""

    def __init__(self):
        self.names = []

    def started(self, event):
        if job_commands(event):
            self.names.append(event.command_name)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass
