"""A scheduler under siege: it runs good jobs while an attacker writes to their collection."""

import io
import logging
import os
import re
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta, timezone
from pathlib import Path

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from pymongo import MongoClient

from jobstore import MongoDBJobStore
from jobstore.cli.app import run as run_command
from jobstore.mongodb.sharing import unrunnable
from jobstore.mongodb.trust import keys
from jobstore.mongodb.trust.signatures import Signatures
from jobstore.mongodb.writes import retry
from support.attacks.documents import placed, signed_attacks, unsigned_attacks, when_due
from support.attacks.ledger import Ledger
from support.attacks.signatures import ABSENT, KEYS, MISSING
from support.attacks.states import register
from support.jobs import job, note
from support.waiting import until

ALLOW = ["support.jobs:*"]
TRUSTS = {
    "keys": {"signing_keys": KEYS},
    "run": {"signing_keys": lambda: KEYS, "unsigned": "run"},  # asked again for unknown keys
    "allow": {"allow": ALLOW},
    "both": {"signing_keys": KEYS, "unsigned": "run", "allow": ALLOW},
}
SWAPS = 6  # victims of each kind, whose states the attacker swaps during their runs
GOOD = 5  # recurring good jobs
EVERY = 11  # one of so many attacked jobs is looked up and changed
ZONES = {("pytz", "_UTC")}  # which APScheduler 3.10 gives run times
UTC = timezone.utc


class Executor(ThreadPoolExecutor):
    """Lets the attacker change a job's document while the job is handed out."""

    attack = None

    def _do_submit_job(self, job, run_times):
        self.attack(job)
        super()._do_submit_job(job, run_times)


class Log(logging.Handler):
    def __init__(self):
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record):
        self.text += self.format(record) + "\n"


class Siege:
    """Runs schedulers one after the other, and attacks them before and during their runs.

    :param witnesses: takes the faults.
    :param folder: where the attacks would leave a file.
    :param trust: the name of one in `TRUSTS`, and of the collection.
    :param mode: the store's options.
    :ivar count: the number of documents that the attacker has written.
    """

    def __init__(self, witnesses, uri, database, folder, trust, mode):
        self.witnesses, self.count = witnesses, 0
        self._uri, self._trust, self._mode = uri, TRUSTS[trust], mode
        self._canary = Path(folder) / "planted-canary"
        self._jobs = MongoClient(uri)[database][trust]
        self._runs = Counter()
        self._log = Log()
        logging.getLogger("apscheduler").addHandler(self._log)
        logging.getLogger("apscheduler").setLevel(logging.DEBUG)
        self._signatures = Signatures(KEYS, self._jobs.full_name, False)
        register(lambda *args: witnesses.fault("called the cached extension"))
        self._attacks = self._make_attacks()
        self._ledger = Ledger(witnesses, self._trust, self._signatures)

    @property
    def _has_keys(self):
        return "signing_keys" in self._trust

    @property
    def _is_shared(self):
        return "shared" in self._mode

    def _make_attacks(self):
        canary, sign = str(self._canary), self._signatures.sign
        found = unsigned_attacks(canary, self._jobs.full_name, sign)
        if "unsigned" in self._trust and "allow" not in self._trust:
            found = [each for each in found if each.reason != MISSING]
        if "allow" in self._trust:
            signed = signed_attacks(canary, sign if self._has_keys else lambda *_: ABSENT)
            found = signed + (found if self._has_keys else [])
        return found

    # The whole

    def run(self):
        """Attack a store in all places, while it runs, and by all its methods."""
        self._prepare()
        retry.ROUND_SECONDS, retry.STEP_SECONDS = 0.2, 0.02
        unrunnable.RETRY_SECONDS = 1.0
        keys.ASK_SECONDS = 0.2
        self._write(self._due("before skip"))
        for policy in ("skip", "spread:1" if "unsigned" in self._trust else "hold"):
            self._write(self._placed(f"before {policy}"))
            with_watch = {"watch": policy != "skip"}
            options = {"catch_up": policy, "overdue": 60, **with_watch, **self._mode}
            store = self._store(**options)
            scheduler = self._scheduler(store)
            scheduler.start()
            self._until_it_goes_on()
            if policy == "skip":
                self._attack_running(store, scheduler)
            self._call(store.release_held)
            self._until_it_goes_on()
            self._until_none_is_due(f"before {policy}")
            scheduler.shutdown()
        if "allow" not in self._trust and not self._mode:
            self._run_commands()
        self._ledger.check(self._jobs.find(), self._is_shared)
        self._check_the_log()

    def _prepare(self):
        """Add good jobs, and note the names that their states name."""
        store = self._store()
        store.start(None, "default")
        store.add_jobs(self._good_jobs())
        assert len(store.get_all_jobs()) == len(store)
        store.shutdown()
        if "allow" not in self._trust:  # it is asked for each name, before anything is found
            self.witnesses.names = self.witnesses.seen | ZONES

    def _good_jobs(self):
        now = datetime.now(UTC)
        often = IntervalTrigger(seconds=0.1, timezone=UTC)
        yield from (
            job(f"good {number}", trigger=often, next_run_time=now) for number in range(GOOD)
        )
        cron = CronTrigger(second="*", timezone=UTC)
        yield job("good cron", trigger=cron, next_run_time=now)
        hours = IntervalTrigger(hours=1, timezone=UTC)
        yield job("good overdue", trigger=hours, next_run_time=now - timedelta(hours=1))
        yield job("good paused", trigger=hours, next_run_time=None)
        for number in range(SWAPS):
            yield job(f"victim {number}", trigger=hours, next_run_time=now)
            yield job(f"victim {number} once", trigger=DateTrigger(now, UTC), next_run_time=now)

    def _store(self, **options):
        database, collection = self._jobs.database.name, self._jobs.name
        return MongoDBJobStore(database, collection, host=self._uri, **self._trust, **options)

    def _scheduler(self, store):
        scheduler = BackgroundScheduler(timezone=UTC, jobstore_retry_interval=0.2)
        executor = Executor()
        executor.attack = lambda job: self._swap(store, job)
        scheduler.add_executor(executor, "default")
        scheduler.add_jobstore(store, "default")
        scheduler.add_listener(self._note, EVENT_JOB_EXECUTED)
        return scheduler

    def _note(self, event):
        self._runs[event.job_id] += 1
        is_first = self._runs[event.job_id] == 1  # a victim was good when it was handed out
        if not (event.job_id.startswith("victim") and is_first):
            self._ledger.check_trusted([event.job_id])

    # The attacker

    def _due(self, prefix):
        return when_due(self._attacks, prefix, self._ago())

    def _placed(self, prefix):
        return placed(self._attacks, prefix, self._ago(), self._is_shared)

    def _ago(self):
        """Return when the attacks are due; jobs are left to other schedulers for a minute."""
        return time.time() - (90 if self._is_shared else 1)

    def _write(self, attacks):
        """Write the documents of attacks."""
        documents = []
        for attack, document in attacks:
            self._ledger.note(attack, document)
            documents.append(document)
        self._jobs.insert_many(documents, ordered=False)
        self.count += len(documents)

    def _swap(self, store, job):
        """Swap the state of a victim that has just been read, and has not been written yet."""
        if not job.id.startswith("victim") or self._ledger.is_hostile(job.id):
            return
        number = int(job.id.split()[1])
        attack = self._attacks[number * len(self._attacks) // SWAPS]
        document = attack.document(job.id, job.next_run_time.timestamp())
        self._ledger.note(attack, document)
        change = {"$set": {"job_state": document["job_state"]}}
        if "signature" in document:
            change["$set"]["signature"] = document["signature"]
        else:
            change["$unset"] = {"signature": ""}
        self._jobs.update_one({"_id": job.id}, change)
        self.count += 1
        if self._mode.get("mirror") is True and number % 2:  # the conflict is seen by the mirror
            mirror = store._reader.mirror
            until(lambda: mirror.find(job.id)["job_state"] == document["job_state"])

    # The calls

    def _attack_running(self, store, scheduler):
        """Write to the collection while a scheduler runs, and call all methods of its store."""
        if self._mode.get("mirror") != "exclusive":  # it sees no changes by others
            self._write(self._due("during"))
            self._write(self._placed("during"))
        self._call_for_each(store, scheduler)
        self._until_it_goes_on()
        if self._mode.get("mirror") != "exclusive":
            self._until_none_is_due("during")
        text = io.StringIO()
        self._call(scheduler.print_jobs, out=text)
        for call in (store.get_all_jobs, scheduler.get_jobs):
            self._ledger.check_trusted(each.id for each in self._call(call))
        calls = [store.find, store.count, store.statistics, store.status, store.quarantined]
        calls += [store.describe_all, lambda: len(store)]
        if self._has_keys:
            calls += [store.verify, store.unverified]
        for call in calls:
            self._call(call)
        tagged = self._store(
            tags=lambda job: self._ledger.check_trusted([job.id]) or ["tag"], **self._mode
        )
        tagged.start(None, "default")
        self._call(tagged.describe_all)
        tagged.shutdown()
        self._ledger.check_trusted(self._call(store.restore_quarantined))
        self._ledger.check_trusted(self._call(store.restore_quarantined, self._ledger.ids()))

    def _call_for_each(self, store, scheduler):
        """Look all attacked jobs up, and change them."""
        changes = [
            lambda job_id: scheduler.modify_job(job_id, name="changed"),
            lambda job_id: scheduler.reschedule_job(job_id, trigger="interval", hours=1),
            scheduler.pause_job,
            scheduler.resume_job,
            lambda job_id: scheduler.add_job(note, "interval", hours=1, id=job_id),
            lambda job_id: store.add_jobs([job(job_id)]),
            scheduler.remove_job,
            lambda job_id: store.remove_jobs([job_id]),
            lambda job_id: store.update_job(job(job_id, None)),
            lambda job_id: store.update_jobs([job(job_id, None)]),
            lambda job_id: store.add_jobs([job(job_id, None)], replace_existing=True),
        ]
        for number, job_id in enumerate(self._ledger.ids()[::EVERY]):
            for look in (store.lookup_job, scheduler.get_job):
                if self._call(look, job_id):
                    self.witnesses.fault(f"looked job {job_id} up")
            self._call(store.describe, job_id)
            change = number % len(changes)
            self._call(changes[change], job_id)
            if change >= len(changes) - 3:  # the last ones replace the document
                self._ledger.note_ours(job_id)

    def _run_commands(self):
        """Run the commands of the program on the attacked collection."""
        os.environ["JOBSTORE_URL"] = self._uri.replace("/?", f"/{self._jobs.full_name}?")
        reference = ["--keys", "support.attacks.signatures:KEYS"]
        commands = [["ls"], ["count"], ["stats"], ["index"], ["quarantine", "list"]]
        commands += [["verify", *reference], ["sign", "--json", *reference]]
        commands += [["quarantine", "restore", *reference], ["quarantine", "restore"]]
        commands += [["show", job_id] for job_id in self._ledger.ids()[: 9 * EVERY : EVERY]]
        for command in commands:
            text = io.StringIO()
            with redirect_stdout(text), redirect_stderr(text):
                code = self._call(run_command, command)
            if code not in (0, 1, 3):  # 3: it is gone
                self.witnesses.fault(f"{command}: {code} {text.getvalue()}")
            self._log.text += text.getvalue()

    def _call(self, call, *args, **options):
        try:
            return call(*args, **options)
        except (JobLookupError, ConflictingIdError) as error:
            self._log.text += f"{error}\n"
        except Exception as error:
            self.witnesses.fault(f"{getattr(call, '__name__', call)}: {error!r}")
            raise

    # The outcome

    def _until_it_goes_on(self):
        """Wait until each recurring good job has run some more times."""
        ids = [f"good {number}" for number in range(GOOD)]
        before = dict(self._runs)
        until(lambda: all(self._runs[each] > before.get(each, 0) for each in ids))

    def _until_none_is_due(self, prefix):
        """Wait until the store has set the attacks aside that were due."""
        names = re.escape(prefix) if self._is_shared else rf"({re.escape(prefix)}|victim)"
        due = {"_id": {"$regex": rf"^{names} \d"}, "next_run_time": {"$lte": time.time()}}
        until(lambda: self._jobs.count_documents(due) == 0)

    def _check_the_log(self):
        """Find no key in the log lines and in the texts of errors."""
        for key in KEYS:
            if key.decode() in self._log.text or key.hex() in self._log.text:
                self.witnesses.fault("the log has a key")
        logging.getLogger("apscheduler").removeHandler(self._log)
