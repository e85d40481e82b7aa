"""Every Python block of the README files runs, in order, on the small main job."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = ("README.md", "saved_models/README.md")


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)


def names(page):
    return [f"{page}-{i}" for i, _ in enumerate(blocks(page))]


@pytest.fixture
def user_folder(main_job, tmp_path, monkeypatch):
    """A folder as it is after the main job, with the small model in it."""
    output, _ = main_job
    shutil.copytree(output, tmp_path / "saved_models" / "shapes")
    photos = sorted((output.parent / "data" / "val").iterdir())
    (tmp_path / "data" / "shapes" / "val").mkdir(parents=True)
    for number in (6001, 6002):
        shutil.copy(photos.pop(), tmp_path / "data" / "shapes" / "val" / f"{number:012d}.jpg")
    monkeypatch.chdir(tmp_path)


@pytest.mark.large
@pytest.mark.parametrize(
    "code",
    [code for page in PAGES for code in blocks(page)],
    ids=[name for page in PAGES for name in names(page)],
)
def test_python_blocks_run(code, user_folder):
    # In a process of its own: what other tests have imported must not help.
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_benchmarks_of_the_readme_exist():
    pages = ("README.md", "mmlearn/evaluation/README.md")
    text = "".join((ROOT / page).read_text() for page in pages)
    for name in re.findall(r"tests\.benchmarks\.(\w+)", text):
        assert (ROOT / "tests" / "benchmarks" / f"{name}.py").is_file(), name


def test_training_commands_of_the_readme_are_understood():
    from mmlearn.cli.train import parse

    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^mmlearn train (.*?)(?: +#.*)?$", text, re.M)
    assert len(commands) > 10
    for command in commands:
        if ".json" not in command:  # of a run
            parse(shlex.split(command))


def test_commands_of_the_readme_exist():
    from mmlearn.cli.main import VERBS

    text = (ROOT / "README.md").read_text()
    used = set(re.findall(r"^(?:python -m )?mmlearn (\w+)|`mmlearn (\w+)", text, re.M))
    assert {a or b for a, b in used} <= set(VERBS)
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z-]+)", text):
        assert f"\n{target}:" in makefile, target
