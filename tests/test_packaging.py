"""Ready to publish: Pythons, systems and addresses are the same wherever a file names them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
URLS = PROJECT["urls"]
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text())
    for path in (ROOT / ".github/workflows").glob("*.yml")
}
PAGES = [
    path
    for pattern in (
        "*.md",
        "mkdocs.yml",
        "ci/*.md",
        "examples/*",
        ".github/**/*.yml",
        "docs/**/*.md",
    )
    for path in ROOT.glob(pattern)
    if path.is_file()
]
SYSTEMS = {
    "ubuntu": "Operating System :: POSIX :: Linux",
    "macos": "Operating System :: MacOS",
    "windows": "Operating System :: Microsoft :: Windows",
}


def classified(prefix):
    return [each.removeprefix(prefix) for each in PROJECT["classifiers"] if each.startswith(prefix)]


def pythons_of_ci():
    """Return the versions of `ci/pythons`; those that end in t are free-threaded."""
    return re.search(r"^supported=\((.*?)\)", (ROOT / "ci/pythons").read_text(), re.M)[1].split()


def with_gil(versions):
    return [version for version in versions if not version.endswith("t")]


def steps(workflow, action):
    """Return the `with` of each step of a workflow that uses an action."""
    return [
        step.get("with", {})
        for job in WORKFLOWS[workflow]["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith(f"{action}@")
    ]


def linked(pattern):
    """Return each page's name with each match of a pattern in it."""
    return [
        (str(path.relative_to(ROOT)), found)
        for path in PAGES
        for found in re.findall(pattern, path.read_text())
    ]


def slugs(page):
    """Return the anchors of a page's headings."""
    text = re.sub(r"^(`{3,}).*?^\1", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ +(.*?)(?: *\{ *#([\w-]+) *\})?$", text, re.MULTILINE)
    plain = [own or re.sub(r"[^\w\s-]", "", heading) for heading, own in headings]
    return {re.sub(r"[-\s]+", "-", heading.strip().lower()) for heading in plain}


def test_classifiers_name_the_pythons_that_continuous_integration_tests():
    versions = classified("Programming Language :: Python :: ")
    assert [each for each in versions if each.startswith("3.")] == with_gil(pythons_of_ci())
    free_threaded = classified("Programming Language :: Python :: Free Threading :: ")
    assert bool(free_threaded) == any(version.endswith("t") for version in pythons_of_ci())


def test_pages_name_the_oldest_and_the_newest_python_that_continuous_integration_tests():
    tested = with_gil(pythons_of_ci())
    named = linked(r"CPython (3\.\d+) to (3\.\d+)")
    assert {page for page, _ in named} >= {"README.md", "CHANGELOG.md", "docs/how-to/upgrade.md"}
    assert {versions for _, versions in named} == {(tested[0], tested[-1])}


def test_pythons_that_ci_gets_are_among_those_that_it_tests():
    script = (ROOT / "ci/get-pythons").read_text()
    gets = re.search(r"versions=\((3.*?)\)", script)[1].split()
    assert set(gets) <= set(pythons_of_ci())


def test_requires_python_is_the_oldest_tested_python():
    oldest = pythons_of_ci()[0]
    assert PROJECT["requires-python"] == f">={oldest}"
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")


def test_wheels_are_built_for_the_pythons_of_ci():
    built = PYPROJECT["tool"]["cibuildwheel"]["build"].split()
    assert built == [f"cp{version.replace('.', '')}-*" for version in pythons_of_ci()]


def test_workflow_installs_the_pythons_of_ci():
    installed = steps("ci.yml", "actions/setup-python")[0]["python-version"].split()
    assert sorted(installed) == sorted(pythons_of_ci())


@pytest.mark.parametrize("workflow", ["ci.yml", "release.yml"])
def test_classifiers_name_the_systems_that_wheels_are_tested_on(workflow):
    machines = WORKFLOWS[workflow]["jobs"]["wheels"]["strategy"]["matrix"]["os"]
    tested = {SYSTEMS[re.match(r"[a-z]+", machine)[0]] for machine in machines}
    assert tested == {each for each in PROJECT["classifiers"] if each.startswith("Operating")}


def test_each_action_has_one_version():
    used = {
        tuple(step["uses"].split("@"))
        for workflow in WORKFLOWS.values()
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "uses" in step
    }
    assert len(dict(used)) == len(used), sorted(used)


def test_workflows_may_only_read_but_for_the_jobs_that_publish():
    assert {name: flow["permissions"] for name, flow in WORKFLOWS.items()} == {
        name: {"contents": "read"} for name in WORKFLOWS
    }
    granted = {
        job: content["permissions"]
        for workflow in WORKFLOWS.values()
        for job, content in workflow["jobs"].items()
        if "permissions" in content
    }
    assert granted == {
        "publish": {"id-token": "write"},
        "deploy": {"pages": "write", "id-token": "write"},
    }


def test_site_and_repository_of_mkdocs_are_those_of_the_package():
    site = (ROOT / "mkdocs.yml").read_text()
    assert f"site_url: {URLS['Documentation']}\n" in site
    assert f"repo_url: {URLS['Source']}\n" in site
    assert f"site_description: {PROJECT['description']}\n" in site


def test_addresses_of_the_project_begin_with_those_of_the_package():
    repository = URLS["Source"].removeprefix("https://github.com/")
    hosts = r"(?:github\.com|raw\.githubusercontent\.com|img\.shields\.io/github/[\w/-]+?)"
    named = linked(rf"https://{hosts}/([\w.-]+/jobstore)\b")
    wrong = [each for each in named if each[1] != repository]
    sites = linked(r"https://[\w.-]+\.github\.io/[\w.-]+/?")
    wrong += [each for each in sites if each[1] != URLS["Documentation"] and "jobstore" in each[1]]
    assert not wrong
    for name in ("Changelog", "Issues"):
        assert URLS[name].startswith(URLS["Source"] + "/")


def test_addresses_of_the_projects_files_lead_to_files_that_exist():
    source = re.escape(URLS["Source"])
    raw = source.replace("github", "raw.githubusercontent", 1)
    files = linked(rf"(?:{source}/(?:blob|raw|tree)|{raw})/main/([\w./-]+)")
    files.append(("pyproject.toml", URLS["Changelog"].rpartition("/")[2]))
    files += [
        (page, f".github/workflows/{name}")
        for page, name in linked(rf"{source}/actions/workflows/([\w-]+\.yml)")
    ]
    assert not [(page, file) for page, file in files if not (ROOT / file).exists()]


def test_addresses_of_the_site_lead_to_pages_and_headings_that_exist():
    wrong = []
    links = linked(re.escape(URLS["Documentation"]) + r"([\w/-]*)(?:#([\w.-]+))?")
    assert "README.md" in dict(links)
    for page, (path, anchor) in links:
        file = ROOT / "docs" / f"{path.rstrip('/') or 'index'}.md"
        if not file.exists():
            file = file.with_suffix("") / "index.md"
        known = file.exists() and (not anchor or "." in anchor or anchor in slugs(file))
        wrong += [] if known else [(page, path, anchor)]
    assert not wrong


def test_sdist_includes_all_files_but_hidden_ones():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    folders = re.findall(r"^graft (\w+)$", (ROOT / "MANIFEST.in").read_text(), re.MULTILINE)
    files = re.findall(r"^include (.*)$", (ROOT / "MANIFEST.in").read_text(), re.MULTILINE)
    included = {*folders, "jobstore", *" ".join(files).split()}
    included |= {"LICENSE", "README.md", "pyproject.toml", "setup.py", "MANIFEST.in"}
    tops = {file.split("/")[0] for file in listed}
    assert {top for top in tops - included if not top.startswith(".")} == set()
