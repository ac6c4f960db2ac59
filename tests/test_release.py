"""`ci/release` dates the changelog and tags, in a repository where wheels are built at once."""

import re
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = "https://github.com/jobstore/jobstore"
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- A store.

[Unreleased]: https://github.com/jobstore/jobstore/commits/main
"""


@pytest.fixture
def repository(tmp_path):
    """Return a repository with the files that a release changes or reads."""
    for name in ("pyproject.toml", "jobstore/__init__.py", "ci/release"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    for name in ("build-wheels", "test-wheels"):
        script = tmp_path / "ci" / name
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "tester")
    git(tmp_path, "config", "user.email", "tester@example.com")
    commit(tmp_path)
    return tmp_path


def git(repository, *arguments):
    return subprocess.run(
        ["git", *arguments], cwd=repository, check=True, capture_output=True, text=True
    ).stdout


def commit(repository):
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "A change")


def release(repository, version):
    return subprocess.run(
        [repository / "ci/release", version], capture_output=True, text=True, timeout=60
    )


def test_release_sets_the_version_dates_the_changes_and_tags_the_commit(repository):
    ran = release(repository, "1.2.3")
    assert ran.returncode == 0, ran.stderr
    today = datetime.now(timezone.utc).date()
    text = CHANGELOG.replace("[Unreleased]\n", f"[Unreleased]\n\n## [1.2.3] - {today}\n")
    text = text.replace("commits/main", "compare/v1.2.3...HEAD")
    text += f"[1.2.3]: {SOURCE}/releases/tag/v1.2.3\n"
    assert (repository / "CHANGELOG.md").read_text() == text
    assert '\n__version__ = "1.2.3"\n' in (repository / "jobstore/__init__.py").read_text()
    assert git(repository, "tag", "--points-at", "HEAD") == "v1.2.3\n"
    assert git(repository, "status", "--porcelain") == ""


def test_second_release_links_to_its_changes_since_the_first(repository):
    release(repository, "1.2.3")
    changelog = repository / "CHANGELOG.md"
    changelog.write_text(
        changelog.read_text().replace(
            "## [Unreleased]\n", "## [Unreleased]\n\n### Fixed\n\n- A bug.\n"
        )
    )
    commit(repository)
    ran = release(repository, "1.3.0")
    assert ran.returncode == 0, ran.stderr
    text = changelog.read_text()
    assert re.findall(r"^## \[(.*?)\]", text, re.MULTILINE) == ["Unreleased", "1.3.0", "1.2.3"]
    assert text.endswith(
        f"[Unreleased]: {SOURCE}/compare/v1.3.0...HEAD\n"
        f"[1.3.0]: {SOURCE}/compare/v1.2.3...v1.3.0\n"
        f"[1.2.3]: {SOURCE}/releases/tag/v1.2.3\n"
    )


def test_release_without_changes_is_refused(repository):
    release(repository, "1.2.3")
    ran = release(repository, "1.2.4")
    assert (ran.returncode, ran.stderr) == (1, "CHANGELOG.md has no changes under [Unreleased]\n")


def test_release_with_uncommitted_changes_or_a_bad_version_is_refused(repository):
    assert "'v1.2.3' is not a version like 1.2.3" in release(repository, "v1.2.3").stderr
    (repository / "CHANGELOG.md").write_text("")
    assert release(repository, "1.2.3").stderr == "there are uncommitted changes\n"


def test_release_whose_wheels_fail_has_no_tag(repository):
    (repository / "ci/test-wheels").write_text("#!/bin/sh\nexit 1\n")
    commit(repository)
    ran = release(repository, "1.2.3")
    assert ran.returncode == 1
    assert "not released; undo the commit by: git reset --hard HEAD~" in ran.stderr
    assert git(repository, "tag") == ""


def test_changelog_of_this_package_has_the_form_that_a_release_needs():
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[[\d.]+\] - \d{4}-\d\d-\d\d", each) for each in sections[1:])
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    linked = re.findall(r"^\[(.*?)\]: ", text, re.MULTILINE)
    assert linked == [re.match(r"\[(.*?)\]", each)[1] for each in sections]
