"""The locks match pyproject.toml, contain hashes but no addresses, and no versions known to be vulnerable."""

import importlib.metadata
import re
import tomllib
from dataclasses import dataclass

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.guards.project import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RECOMPILE = "compile the locks again (see CONTRIBUTING.md)"
LOCKS: dict[str, list[str]] = {"base": [], "run": ["embedded"], "dev": ["embedded", "dev"]}


@dataclass(frozen=True)
class Pin:
    """An entry in a lock."""

    requirement: Requirement
    hashes: frozenset[str]

    @property
    def version(self) -> Version:
        """The locked version."""
        return Version(next(iter(self.requirement.specifier)).version)

    @property
    def is_for_here(self) -> bool:
        """Whether the entry is installed with this interpreter on this platform."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def read_lock(lock: str) -> dict[str, Pin]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    pins: dict[str, Pin] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            written, *hashes = line.split("--hash=")
            requirement = Requirement(written.strip())
            pins[canonicalize_name(requirement.name)] = Pin(requirement, frozenset(map(str.strip, hashes)))
    return pins


def direct_requirements(lock: str) -> list[Requirement]:
    written = list(PYPROJECT["project"]["dependencies"])
    for extra in LOCKS[lock]:
        written += PYPROJECT["project"]["optional-dependencies"][extra]
    return [Requirement(line) for line in written]


def floors() -> list[Requirement]:
    lines = (ROOT / "requirements" / "floors.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]


def is_for_here(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})


def needed_here(lock: str) -> set[str]:
    """Return the names of all direct and indirect requirements in this environment."""
    overrides = {
        canonicalize_name(requirement.name): requirement
        for requirement in map(Requirement, PYPROJECT["tool"]["uv"]["override-dependencies"])
    }
    found: dict[str, set[str]] = {}
    waiting = [requirement for requirement in direct_requirements(lock) if is_for_here(requirement, set())]
    while waiting:
        requirement = waiting.pop()
        package = canonicalize_name(requirement.name)
        if package in overrides and not is_for_here(overrides[package], set()):
            continue
        if package in found and requirement.extras <= found[package]:
            continue
        found[package] = found.get(package, set()) | requirement.extras
        for line in importlib.metadata.requires(package) or []:
            further = Requirement(line)
            if is_for_here(further, found[package] | {""}):
                waiting.append(further)
    return set(found)


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_satisfy_pyproject(lock: str) -> None:
    pins = read_lock(lock)
    for requirement in direct_requirements(lock):
        package = canonicalize_name(requirement.name)
        assert package in pins, f"{lock}.txt lacks {requirement}: {RECOMPILE}"
        assert requirement.specifier.contains(pins[package].version, prereleases=True), (
            f"{lock}.txt has {pins[package].requirement}, but {requirement} is required: {RECOMPILE}"
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_contain_only_what_is_needed(lock: str) -> None:
    locked = {package for package, pin in read_lock(lock).items() if pin.is_for_here}
    needed = needed_here(lock)
    assert locked == needed, (
        f"{lock}.txt lacks {sorted(needed - locked)} and should not have {sorted(locked - needed)}: {RECOMPILE}"
    )


@pytest.mark.parametrize(("smaller", "larger"), [("base", "run"), ("run", "dev")])
def test_each_lock_contains_the_one_before(smaller: str, larger: str) -> None:
    assert read_lock(smaller).items() <= read_lock(larger).items()


@pytest.mark.parametrize("lock", [*LOCKS, "uv"])
def test_every_entry_has_an_exact_version_and_hashes(lock: str) -> None:
    pins = read_lock(lock)
    assert pins
    for pin in pins.values():
        assert [part.operator for part in pin.requirement.specifier] == ["=="], pin.requirement
        assert pin.hashes, pin.requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in pin.hashes), pin.requirement


def test_no_index_address_is_given() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "requirements").iterdir()}
    texts["pyproject.toml"] = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    options = re.compile(r"://|--(extra-)?index-url|--find-links|^-[if] |tool\.uv\.index", re.MULTILINE)
    named = {file: options.findall(text) for file, text in texts.items() if options.search(text)}
    assert not named
    assert not (ROOT / "uv.lock").exists(), (
        "uv.lock contains the address of the index; the locks are in requirements/"
    )


@pytest.mark.parametrize("floor", floors(), ids=str)
def test_no_version_is_below_its_floor(floor: Requirement) -> None:
    package = canonicalize_name(floor.name)
    assert floor.specifier.contains(read_lock("dev")[package].version)
    assert floor.specifier.contains(importlib.metadata.version(package))
