"""The import rule of the design: who may import whom."""

import ast
import pathlib
import subprocess
import sys

import pytest

from mmlearn.cli.main import VERBS

ROOT = pathlib.Path(__file__).parent.parent
LEAVES = {f"data_prep.{name}" for name in ("images", "audio", "text", "features", "names")}
KERAS_ONLY = {"keras"}
# Not installed everywhere, so imported where they are used.
EXTRAS = {
    *("jax", "pycocoevalcap", "tf2onnx", "onnx", "onnxruntime", "openvino", "nncf"),
    *("ai_edge_litert", "tensorflow_serving"),
}
LEVEL_3 = ("training", "compression", "evaluation", "analysis", "serving")
BELOW_3 = ("models", "encoders", "fusions", "layers", "losses", "metrics")
# Package of mmlearn -> packages of mmlearn that it may import.
ALLOWED = {
    "layers": ("layers",),
    "losses": ("losses",),
    "metrics": (),
    "encoders": ("encoders", "layers"),
    "fusions": ("fusions", "layers"),
    "models": BELOW_3,
    "training": ("training", *BELOW_3),
    "evaluation": ("evaluation", *BELOW_3),
    "analysis": ("analysis", "evaluation", *BELOW_3),
    "serving": ("serving", *BELOW_3),
    "compression": ("compression", "training", "evaluation", *BELOW_3),
    "experiments": ("experiments", *LEVEL_3, *BELOW_3),
    # Beside the experiments, whose search and sources it shows; they know nothing of it.
    "demo": ("demo", "experiments", *LEVEL_3, *BELOW_3),
    "cli": ("cli", "demo", "experiments", *LEVEL_3, *BELOW_3),
}
FILES = sorted([*ROOT.glob("mmlearn/**/*.py"), *ROOT.glob("data_prep/**/*.py")])


def imports(path):
    """Yields `(module, is inside a function)` for each import of a file."""
    tree = ast.parse(path.read_text())
    nested = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in nested
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = (ROOT / pathlib.Path(*full.split("."))).with_suffix(".py").exists()
                is_package = (ROOT / pathlib.Path(*full.split("."))).is_dir()
                yield (full if is_module or is_package else node.module), id(node) in nested


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_design(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    for module, is_nested in imports(path):
        top = module.split(".")[0]
        if parts[0] == "data_prep":
            assert top != "mmlearn", f"data_prep imports {module}"
            if ".".join(parts) in LEAVES:
                assert top != "data_prep", f"a leaf of data_prep imports {module}"
        elif len(parts) > 2:
            package = parts[1]
            if top == "mmlearn":
                assert module.split(".")[1] in ALLOWED[package], f"{package} imports {module}"
            if package in ("layers", "losses", "metrics"):
                allowed = top in ("mmlearn", *KERAS_ONLY) or top in sys.stdlib_module_names
                assert allowed, f"{package} imports {module}"
            if top == "data_prep" and package in ("encoders", "fusions", "models"):
                assert module in LEAVES, f"{package} imports {module}"
        if is_nested:
            may = "cli" in parts or parts[-1] == "__main__" or top in EXTRAS
            assert may, f"{path.name} imports {module} inside a function"


def test_no_import_cycles():
    name_of = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES}
    name_of = {path: name.removesuffix(".__init__") for path, name in name_of.items()}
    graph = {
        name: {module for module, is_nested in imports(path) if not is_nested and module != name}
        for path, name in name_of.items()
    }
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, f"cycle: {' -> '.join([*open_[open_.index(name) :], name])}"
        if name in done or name not in graph:
            return
        open_.append(name)
        for module in sorted(graph[name]):
            visit(module)
        done.add(open_.pop())

    for name in graph:
        visit(name)


def test_every_package_of_mmlearn_has_a_rule():
    packages = {path.parent.name for path in ROOT.glob("mmlearn/*/__init__.py")}
    assert packages <= set(ALLOWED)


def test_command_line_and_configs_start_without_tensorflow():
    commands = "".join(f", mmlearn.cli.{verb}" for verb in VERBS)
    code = (
        f"import sys, data_prep.__main__, mmlearn.cli.main{commands};"
        "print(sorted({'tensorflow', 'keras', 'keras_hub'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_top_level_is_as_the_design_says():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    allowed = {
        *("requirements.txt", "README.md", "notebooks", "mmlearn", "data_prep", "tests"),
        *("saved_models", "pyproject.toml", "LICENSE", ".ci", ".gitignore", "Makefile"),
    }
    assert {name.split("/")[0] for name in tracked} <= allowed
