"""Versions against requirements, and the optional parts."""

import importlib.metadata
import pathlib
import tomllib

import pytest

from mmlearn.experiments import requirements

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def required(monkeypatch):
    """Gives the distribution other requirements."""

    def give(*lines, python=">=3.11"):
        monkeypatch.setattr(importlib.metadata, "requires", lambda _: list(lines))
        monkeypatch.setattr(importlib.metadata, "metadata", lambda _: {"Requires-Python": python})

    return give


def test_every_extra_is_known():
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert set(requirements.EXTRAS) == set(extras) - {"dev"}


def test_what_is_missing_or_too_old_is_named_with_the_command(required):
    required("numpy>=2", "rich>=999", "no-such-package>=1", "nothing>=1; extra == 'tune'")
    python, *found = requirements.check_versions()
    assert python.status == "fine"
    assert [each.topic for each in found] == ["rich", "no-such-package"]
    assert {each.status for each in found} == {"fix"}
    assert found[0].what == f"{importlib.metadata.version('rich')} is installed"
    assert found[0].todo == 'pip install "rich>=999"'
    assert found[1].what == "not installed"


def test_another_python_is_to_be_fixed(required):
    required(python=">=3.99")
    assert requirements.check_versions()[0].status == "fix"


def test_optional_parts_are_notes(required):
    required("numpy>=2", "no-such-package>=1; extra == 'tune'", "numpy>=2; extra == 'search'")
    there, *missing = requirements.check_extras()
    assert "search" in there.what
    assert "tune" not in there.what
    assert [each.topic for each in missing] == ["optional: tune"]
    assert missing[0].todo == "For `tune`: pip install 'mmlearn-keras[tune]'"
