"""The doctor's check of the user's rights, by the privileges that the server names."""

from collections.abc import Iterator, Mapping
from typing import Any

from .facts import Facts
from .finding import Finding

__all__ = ["rights"]

# The rights on the jobs, and on the collection <jobs>_meta, with the effect if one is missing.
ON_JOBS = {
    "find": "nothing works",
    "insert": "jobs can't be added",
    "update": "a job that has run can't be written, and no more jobs fire",
    "remove": "a job that has ended can't be removed, and no more jobs fire",
    "createIndex": "missing indexes are not created",
    "changeStream": "wake-ups ask the server several times a second, and mirror=True doesn't start",
}
ON_META = dict.fromkeys(
    ("find", "insert", "update", "remove"),
    "schedulers don't know of each other, and shared=True doesn't start",
)
WRITING = {"insert", "update", "remove"}


def rights(facts: Facts) -> Iterator[Finding]:
    """Compare the user's rights with those that a scheduler needs."""
    client, jobs = facts.connection.client, facts.connection.jobs
    found = client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    users = [f"{each['user']}@{each['db']}" for each in found["authenticatedUsers"]]
    if not users:
        jobs.find_one({}, ["_id"])  # raises if a login is needed
        advice = "Turn authentication on: see the page Rights and TLS"
        yield Finding("well", "rights", "the server requires no login", advice)
        return
    privileges = found["authenticatedUserPrivileges"]
    user = f"the user {', '.join(users)}"
    missing = {
        name: [right for right in needed if right not in granted]
        for name, needed in ((jobs.name, ON_JOBS), (f"{jobs.name}_meta", ON_META))
        for granted in [actions_on(privileges, jobs.database.name, name)]
    }
    lacking = ", ".join(f"{', '.join(those)} on {name}" for name, those in missing.items() if those)
    if not lacking:
        yield Finding("well", "rights", f"{user} has all rights that a scheduler needs")
    elif "find" not in missing[jobs.name] and set(missing[jobs.name]) >= WRITING:
        yield Finding(
            "well",
            "rights",
            f"{user} may only look, and lacks {lacking}",
            "To check the rights of the schedulers, run the doctor as their user",
        )
    else:
        effects = [ON_JOBS[right] for right in missing[jobs.name]]
        effects += {ON_META[right] for right in missing[f"{jobs.name}_meta"]}
        yield Finding(
            "degraded",
            "rights",
            f"{user} lacks {lacking}: {'; '.join(dict.fromkeys(effects))}",
            "Grant them: see the page Rights and TLS",
        )


def actions_on(privileges: list[Mapping[str, Any]], database: str, collection: str) -> set[str]:
    """Return the actions on a collection; an empty name in a privilege stands for all."""
    return {
        action
        for privilege in privileges
        for resource in [privilege["resource"]]
        if resource.get("anyResource")
        or (resource.get("db") in ("", database) and resource.get("collection") in ("", collection))
        for action in privilege["actions"]
    }
