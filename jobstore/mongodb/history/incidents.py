"""Incidents: a store's parts report them here, in any thread, for the history and for listeners."""

from datetime import datetime

from ..documents import DocumentId

__all__ = ["Incidents"]


class Incidents:
    """Takes reports of incidents; those that nobody wants cost nothing.

    :ivar dropped: the number of records that were dropped, as the buffer was full.
    """

    def __init__(self) -> None:
        self.dropped = 0

    def add(
        self,
        kind: str,
        job_id: DocumentId | None = None,
        run_time: object = None,
        *,
        runs: int = 1,
        at: datetime | None = None,
        until: datetime | None = None,
        detail: object = "",
    ) -> None:
        """Report an incident; never waits, and never raises.

        :param kind: one of `record.KINDS`.
        :param run_time: in seconds since the epoch; any other value is no time.
        :param at: when it happened; None for now.
        """
