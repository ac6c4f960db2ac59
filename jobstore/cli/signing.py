"""The commands `verify` and `sign`: which states have signatures, and how the others get them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ..mongodb import MongoDBJobStore, UnverifiedJob
from .as_json import to_json
from .details import wrapped, write_text
from .failures import WRONG, CommandError
from .groups import Groups
from .keys import KeysReference, check_keys, current_directory_on_path
from .options import Json, TargetUrl
from .output import Output
from .printable import printable
from .progress import progress_bar
from .stats import write_bars
from .target import Target, limited, open_store

__all__ = ["sign", "verify"]

PAGE = 1000
STYLES = {"valid": "green", "unsigned": "yellow", "wrong": "red", "unknown": "red"}
Yes = Annotated[bool, typer.Option("--yes", help="Sign the jobs without a question.")]


def verify(target: TargetUrl = None, *, keys: KeysReference, as_json: Json = False) -> None:
    """Count jobs by their signatures.

    The counts by key show when an old key may be retired: when it has signed no job. Nothing of the
    jobs is imported. The exit code is 1 if some jobs have no valid signature.

    Examples:

    \b
      jobstore verify --keys myapp.keys:signing_keys
      jobstore verify --keys myapp.keys:signing_keys --json
    """
    with open_signed(target, keys, writes=False) as (store, collection):
        with progress_bar("verifying jobs") as progress:
            found = store.verify(progress)
        output = Output()
        counts = {name: jobs for name, jobs in found._asdict().items() if name != "by_key"}
        total = sum(counts.values())
        if as_json:
            output.json(to_json(found))
        elif output.is_terminal:
            output.line((printable(f"{total:,} jobs in {collection}"), "bold"))
            rows = [(name, STYLES[name], jobs) for name, jobs in counts.items()]
            write_bars("SIGNATURE", rows, output)
            write_bars("KEY", [(key, "", jobs) for key, jobs in found.by_key.items()], output)
        else:
            for name, jobs in counts.items():
                output.record(["signature", name, str(jobs)])
            for key, jobs in found.by_key.items():
                output.record(["key", key, str(jobs)])
        if found.valid < total:
            raise CommandError(
                f"{total - found.valid:,} of {total:,} jobs have no valid signature -- the command "
                "sign lists them"
            )


def sign(
    target: TargetUrl = None, *, keys: KeysReference, yes: Yes = False, as_json: Json = False
) -> None:
    """Sign the jobs that have no valid signature, after a listing and a question.

    The schedulers then run these jobs: sign only what you trust. The listing shows each function,
    and all other classes and functions that the jobs' states name, which the schedulers would
    import. The command show shows single jobs. Nothing of the jobs is imported here.

    Exactly the listed jobs are signed. A job that changes meanwhile is left. With --json, each job
    is listed, and nothing is signed without --yes.

    Examples:

    \b
      jobstore sign --keys myapp.keys:signing_keys
      jobstore sign --keys myapp.keys:signing_keys --json
      jobstore sign --keys myapp.keys:signing_keys --yes
    """
    if not (yes or as_json or (sys.stdin.isatty() and sys.stdout.isatty())):
        raise CommandError(
            "there is no terminal for the question: give --yes to sign without it, or --json to "
            "list alone",
            WRONG,
        )
    with open_signed(target, keys, writes=True) as (store, collection):
        output, groups = Output(), Groups()
        digests: set[bytes] = set()  # a state holds its job's id, so it stands for the job
        for job in listed(store, with_bar=not as_json):
            groups.add(job)
            if job.can_be_signed:
                digests.add(job.digest)
            if as_json:
                output.json(object_of(job))
        if not as_json and output.is_terminal and groups.jobs:
            title = printable(f"jobs without a valid signature in {collection}")
            for line in wrapped(title, output.width):
                output.line((line, "bold"))
            output.line()
        if not as_json:
            groups.write(output)
        signed = 0
        if groups.jobs and (yes or (not as_json and is_confirmed(groups))):
            signed = sign_listed(store, digests)
        elif groups.jobs and not as_json:
            raise CommandError("nothing is signed")
        if not as_json:
            write_result(groups, signed, keys, output)
        elif yes:
            output.json({"signed": signed, "left": groups.jobs - signed})


@contextmanager
def open_signed(
    url: str | None, keys: str, writes: bool
) -> Iterator[tuple[MongoDBJobStore, Target]]:
    """Yield a store with keys on a collection; see `open_store`."""
    with current_directory_on_path():
        check_keys(keys)
        with open_store(url, writes=writes, signing_keys=keys) as opened:
            yield opened


def listed(store: MongoDBJobStore, with_bar: bool) -> Iterator[UnverifiedJob]:
    """Yield the jobs without a valid signature."""
    total = done = 0
    if with_bar:
        with limited(store.client):
            total = store.collection.estimated_document_count()
    with progress_bar("listing jobs") as progress:
        for page in pages(store):
            yield from page
            done += len(page)
            if with_bar:
                progress(done, max(done, total))


def pages(store: MongoDBJobStore) -> Iterator[list[UnverifiedJob]]:
    """Yield the jobs without a valid signature, in pages.

    :raises CommandError: if the pages would never end, as an id is read as another one.
    """
    after, ends = None, set()
    while page := store.unverified(after, PAGE):
        after = page[-1].key
        if after in ends:
            raise CommandError(f"no query can name the document with the _id {page[-1].id!r}")
        ends.add(after)
        yield page


def sign_listed(store: MongoDBJobStore, digests: set[bytes]) -> int:
    """Sign the states with these digests, and return the number of jobs."""
    signed, total = 0, len(digests)
    with progress_bar("signing jobs") as progress:
        for page in pages(store):
            signed += len(store.sign([job for job in page if job.digest in digests]))
            progress(signed, max(signed, total))
    return signed


def is_confirmed(groups: Groups) -> bool:
    """Ask whether to sign.

    :raises CommandError: if the listing hides something: nobody can judge that.
    """
    if not groups.is_complete:
        raise CommandError(
            "nothing is signed: the jobs have more functions, or name more classes, than a listing "
            "can show -- look at them with --json, then give --yes"
        )
    print(f"Sign {groups.jobs:,} jobs? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def object_of(job: UnverifiedJob) -> dict[str, object]:
    """Return a job as an object of JSON."""
    return {
        "id": to_json(job.id),
        "reason": job.reason,
        "names": list(job.names),
        "can_be_signed": job.can_be_signed,
        "digest": job.digest.hex(),
        "info": to_json(job.info),
        "key": job.key,
    }


def write_result(groups: Groups, signed: int, keys: str, output: Output) -> None:
    """Report the jobs that are signed, and name the next step."""
    output.line(f"{signed:,} jobs are signed" if groups.jobs else "no jobs to sign")
    if left := groups.jobs - signed:
        write_text(
            f"{left:,} jobs were left: they changed meanwhile, or the server refused them. A "
            "scheduler with keys signs each job that it writes. Run the command again for others.",
            output,
        )
    if signed and groups.quarantined:
        write_text(
            f"{groups.quarantined:,} of the listed jobs are in quarantine. To bring them back, "
            f"start a scheduler, or run: jobstore quarantine restore --keys {printable(keys)}",
            output,
        )
