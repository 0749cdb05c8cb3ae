"""The versions that CI installs are those that pyproject.toml promises."""

import re
import tomllib

import chapters
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import coursekit

PROJECT = tomllib.loads((chapters.ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def test_the_version_of_the_package_is_the_same_everywhere() -> None:
    release = PROJECT["version"]
    citation = yaml.safe_load((chapters.ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"coursekit": coursekit.__version__, "CITATION.cff": citation["version"]} == {
        "coursekit": release,
        "CITATION.cff": release,
    }
    assert f"\n## {release}\n" in (chapters.ROOT / "CHANGELOG.md").read_text("utf-8")


def constraints(name: str) -> dict[str, Version]:
    """The exact version of each package in one of CI's files; nothing else may stand there."""
    versions = {}
    for line in (chapters.ROOT / ".ci" / name).read_text().splitlines():
        if text := line.split("#")[0].strip():
            package, version = re.fullmatch(r"([a-z0-9-]+)==([\d.]+)", text).groups()  # type: ignore[union-attr]
            versions[package] = Version(version)
    return versions


def promised() -> dict[str, Requirement]:
    """What the course needs to run, to be built and to be tested."""
    extras = [line for extra in EXTRAS if extra != "benchmark" for line in EXTRAS[extra]]
    needs = [Requirement(line) for line in PROJECT["dependencies"] + extras]
    return {canonicalize_name(need.name): need for need in needs if need.name != PROJECT["name"]}


def test_the_oldest_versions_are_the_promised_ones() -> None:
    bounds = {}
    for name, need in promised().items():
        (bound,) = (part for part in need.specifier if part.operator == ">=")
        bounds[name] = bound.version
    oldest = constraints("oldest.txt")
    assert oldest.keys() == bounds.keys()
    for name, version in oldest.items():
        # A bound such as 1.11 is met by no version below 1.11.0; stubs add a date.
        assert (
            version.release[: len(Version(bounds[name]).release)] == Version(bounds[name]).release
        )
        assert promised()[name].specifier.contains(version), name


@pytest.mark.parametrize("name", ["colab.txt", "oldest.txt"])
def test_what_ci_installs_is_allowed(name: str) -> None:
    for package, version in constraints(name).items():
        if need := promised().get(package):
            assert need.specifier.contains(version), package
