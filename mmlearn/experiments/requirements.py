"""Whether the packages are there that this one needs, and what to do where not. Imports nothing heavy."""

import importlib.metadata
import platform
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

DISTRIBUTION = "mmlearn-keras"
FINE, NOTE, FIX = "fine", "note", "fix"
# Optional parts, and what they are for: those of pyproject.toml.
EXTRAS = {
    "captioning": "METEOR, which needs Java as well",
    "demo": "`demo`",
    "jax": "KERAS_BACKEND=jax",
    "litert": "`export --format litert`",
    "mlflow": "`--training.loggers mlflow`",
    "onnx": "`export --format onnx`",
    "openvino": "`export --format openvino`, `compress`",
    "search": "`index` and `search`",
    "server": "`serve`",
    "serving": "`predict --server grpc://...`",
    "shards": "`python -m data_prep shards`",
    "tensorboard": "looking at what the logger `tensorboard` writes",
    "tune": "`tune`",
    "wandb": "`--training.loggers wandb`",
}


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        topic: str. The thing.
        status: `"fine"`, `"note"` (something that not everybody needs is missing) or `"fix"` (training
            would fail).
        what: str. What was found.
        todo: str. What to do; "" where nothing is to be done.
    """

    topic: str
    status: str
    what: str
    todo: str = ""


def check_versions():
    """Compares Python and the packages that are installed with what this one requires."""
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        todo = "In the project's folder: pip install -e ."
        return [Finding(DISTRIBUTION, FIX, "not installed", todo)]
    python, wanted = platform.python_version(), metadata["Requires-Python"]
    if SpecifierSet(wanted).contains(python):
        found = [Finding("Python", FINE, python)]
    else:
        todo = f"Install Python {wanted}, and make PYTHON=python3.12 or a new environment with it."
        found = [Finding("Python", FIX, python, todo)]
    wrong = _unmet("")
    for requirement, installed in wrong:
        what = "not installed" if installed is None else f"{installed} is installed"
        found.append(Finding(requirement.name, FIX, what, f'pip install "{requirement}"'))
    if not wrong:
        versions = (
            f"{name} {importlib.metadata.version(name)}" for name in ("tensorflow", "keras")
        )
        found.append(Finding("packages", FINE, f"as required ({', '.join(versions)})"))
    return found


def _unmet(extra):
    """The requirements of an optional part, or of none (`""`), that are not met: with what there is."""
    unmet = []
    for text in importlib.metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(text)
        if requirement.marker is None:
            is_of = extra == ""
        else:
            is_base = requirement.marker.evaluate({"extra": ""})
            is_of = requirement.marker.evaluate({"extra": extra}) and (extra == "" or not is_base)
        if not is_of:
            continue
        requirement.marker = None  # said; and pip takes the rest as it is
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            installed = None
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            unmet.append((requirement, installed))
    return unmet


def check_extras():
    """Says which optional parts are there: one `Finding` for these, and one for each that is not."""
    missing, there = [], []
    for extra, purpose in EXTRAS.items():
        names = ", ".join(requirement.name for requirement, _ in _unmet(extra))
        if names:
            todo = f"For {purpose}: pip install '{DISTRIBUTION}[{extra}]'"
            missing.append(Finding(f"optional: {extra}", NOTE, f"without {names}", todo))
        else:
            there.append(extra)
    return [Finding("optional", FINE, ", ".join(there) or "none"), *missing]
