"""The ledger of a siege: the documents that the attacker has written, and their fates."""

import re
import time
from typing import Any, NamedTuple

from jobstore.mongodb.trust.untrusted import UntrustedError
from support.attacks.signatures import MISSING

__all__ = ["Ledger"]

WHEN_DUE = re.compile(r"(before skip|during|victim) \d")  # ids of attacks that were due
OTHER = "of another type:"  # begins the keys of ids that are no strings


class Written(NamedTuple):
    """What the attacker has written.

    :ivar reason: how the text begins that says why it must not run.
    :ivar is_signed: whether our key has signed it.
    """

    state: Any
    reason: str
    is_signed: bool


class Ledger:
    """Keeps the attacks by the ids of their documents.

    :param witnesses: takes the faults, and gets the states that must not be unpickled.
    :param trust: the arguments of trust of the attacked store.
    :param signatures: those of the attacked store.
    """

    def __init__(self, witnesses, trust, signatures):
        self._witnesses, self._trust, self._signatures = witnesses, trust, signatures
        self._has_keys = "signing_keys" in trust
        self._attacks = {}
        self._ours = set()

    def note(self, attack, document):
        """Note an attack, and a state that must not be unpickled at all.

        A state that is trusted for its signature, or because it needs none, is left to `allow`.
        """
        state, reason = document["job_state"], attack.reason
        needs_none = not self._has_keys or ("unsigned" in self._trust and reason == MISSING)
        if needs_none or reason is None:
            reason = ""
        elif isinstance(state, bytes):
            self._witnesses.untrusted.add(bytes(state))
        self._attacks[key_of(document["_id"])] = Written(state, reason, attack.reason is None)

    def note_ours(self, job_id):
        """Note that a call of the store has replaced the document."""
        self._ours.add(job_id)
        del self._attacks[job_id]

    def is_hostile(self, job_id):
        """Whether the attacker was the last to write the document."""
        return job_id in self._attacks

    def ids(self):
        """Return the ids of the hostile documents that are strings."""
        return [key for key in self._attacks if not key.startswith(OTHER)]

    def check_trusted(self, ids):
        """Find that these jobs, which a store has trusted, are good."""
        for job_id in ids:
            is_ours = job_id in self._ours or job_id.startswith(("good", "victim"))
            if not is_ours or job_id in self._attacks:
                self._witnesses.fault(f"trusted job {job_id}")

    def check(self, documents, is_shared):
        """Find that good documents verify, and no hostile one does; see why it does not run."""
        now = time.time()
        for document in documents:
            job_id = document["_id"]
            hostile = self._attacks.get(key_of(job_id))
            if hostile is not None and document.get("job_state") != hostile.state:
                hostile = None  # the store has replaced it
            if self._has_keys and self._verifies(document) != (not hostile or hostile.is_signed):
                self._witnesses.fault(f"{job_id} verifies or not, as it should not")
            was_due = WHEN_DUE.match(key_of(job_id))
            if hostile and was_due and not is_set_aside(document, hostile):
                # The run time of a victim was written before its state was looked at.
                run_time = document["next_run_time"]
                waits = run_time and (run_time > now or is_shared)
                if not (job_id.startswith("victim") and waits):
                    self._witnesses.fault(f"{job_id} is not in quarantine for {hostile.reason!r}")

    def _verifies(self, document):
        fields = document["_id"], document.get("job_state"), document.get("signature")
        try:
            self._signatures.verify(*fields)
        except UntrustedError:
            return False
        return True


def key_of(job_id):
    """Return a string for an `_id` of any type."""
    return job_id if type(job_id) is str else f"{OTHER} {job_id!r}"  # BSON has a subclass


def is_set_aside(document, hostile):
    """Whether a document is in quarantine, for the right reason."""
    mark = document.get("quarantine")
    return mark is not None and mark["reason"].startswith(hostile.reason)
