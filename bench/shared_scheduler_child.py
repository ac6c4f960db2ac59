"""A scheduler in its own process: ``python shared_scheduler_child.py URI COLLECTION``.

For each line on stdin, it runs cycles until no due job is left unleased. Then it prints its
counts as JSON.
"""

import json
import sys
from collections import Counter
from typing import Any

from mongodb_variants import CYCLE_COMMANDS
from pymongo import MongoClient, monitoring
from schedulers import NullExecutor, started

import jobstore


class Commands(monitoring.CommandListener):
    """Counts commands, claims, and claims that won no job or only some."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._asked: dict[int, int] = {}

    def started(self, event: Any) -> None:
        self.counts["commands"] += event.command_name in CYCLE_COMMANDS
        if event.command_name == "update":
            update = event.command["updates"][0]
            if "next_run_time" in update["q"]:
                self._asked[event.request_id] = len(update["q"]["_id"]["$in"])

    def succeeded(self, event: Any) -> None:
        asked = self._asked.pop(event.request_id, None)
        if asked:
            won = event.reply["n"]
            self.counts["claims"] += 1
            self.counts["claims lost"] += won == 0
            self.counts["claims won in part"] += 0 < won < asked

    def failed(self, event: Any) -> None:
        pass


class Counting(NullExecutor):
    count = 0

    def _do_submit_job(self, job: Any, run_times: Any) -> None:
        super()._do_submit_job(job, run_times)
        self.count += 1


def main(uri: str, collection: str) -> None:
    commands = Commands()
    client = MongoClient[dict[str, Any]](uri, event_listeners=[commands])
    store = jobstore.MongoDBJobStore("bench", collection, client=client, shared=True, watch=False)
    executor = Counting()
    scheduler = started(store, executor)
    for _ in sys.stdin:
        commands.counts.clear()
        executor.count = 0
        cycles = 1
        while scheduler._process_jobs() == 0:
            cycles += 1
        print(json.dumps({"jobs": executor.count, "cycles": cycles, **commands.counts}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
