"""The blocks of the pages run as a reader would run them, on the small main job.

Python always runs. Commands run where the comment above their block says what they need; all others are
checked by `tests/documentation/test_commands.py`.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.documentation.pages import PAGES, ROOT, blocks, commands

SERVER = "a server"  # what a block may need besides files
# Pages whose commands train or measure for long.
SLOW = (
    *("mmlearn/analysis/README.md", "mmlearn/compression/README.md"),
    *("mmlearn/evaluation/README.md", "mmlearn/models/README.md"),
)
# Runs steps in order, as a reader does in one session, each with names of its own. A traceback names the
# page and the line.
RUNNER = """
import json, sys
for step in json.load(sys.stdin):
    if isinstance(step["run"], str):
        lines = "\\n" * (step["line"] - 1) + step["run"]
        exec(compile(lines, step["page"], "exec"), {"__name__": "__main__"})
    else:
        from mmlearn.cli.main import main
        assert main([*step["run"], "--debug"]) == 0, step
"""


def steps(page):
    """What of a page is run, in its order: dicts with `page`, `line`, `run`, `needs`."""
    found = []
    for block in blocks(page, "python", "bash"):
        if block.language == "python":
            runs = [block.code]
        else:
            runs = [words[1:] for words in commands(block.code) if words[0] == "mmlearn"]
            runs = runs if block.needs else []
        found += [
            {"page": page, "line": block.line, "run": run, "needs": block.needs} for run in runs
        ]
    return found


def is_alone(step):
    """Whether a block claims to need nothing of this project."""
    return isinstance(step["run"], str) and not re.search(
        r"^(from|import) (mmlearn|data_prep)", step["run"], re.M
    )


@pytest.fixture
def user_folder(main_job, tmp_path):
    """A folder as it is after the main job, with the small model in it."""
    output, _ = main_job
    shutil.copytree(output, tmp_path / "saved_models" / "shapes")
    shutil.copytree(output.parent / "data", tmp_path / "data" / "shapes")
    photos = sorted((output.parent / "data" / "val").iterdir())
    for number in (6001, 6002):
        shutil.copy(photos.pop(), tmp_path / "data" / "shapes" / "val" / f"{number:012d}.jpg")
    return tmp_path


def run(session, folder, environment):
    """Runs steps in a process of their own: what tests have imported must not help."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", RUNNER],
        input=json.dumps(session),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def server(user_folder, environment):
    """Serves the small model on any free port, which is returned."""
    command = [sys.executable, "-m", "mmlearn", "serve", "saved_models/shapes"]
    process = subprocess.Popen(
        [*command, "--rest-port", "0", "--grpc-port", "0"],
        cwd=user_folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    yield re.search(r"http://127.0.0.1:(\d+)", line)[1]
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture
def environment():
    """The environment of a reader's process, in which the project is installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run_all(found, folder, environment):
    """Runs what is ours in one process, in its order, and then each block that is alone in its own."""
    run([step for step in found if not is_alone(step)], folder, environment)
    for step in filter(is_alone, found):
        run([step], folder, environment)


@pytest.mark.large
def test_blocks_run(user_folder, environment):
    pages = [page for page in PAGES if page not in SLOW]
    found = [step for page in pages for step in steps(page) if SERVER not in step["needs"]]
    assert len(found) > 12
    run_all(found, user_folder, environment)


@pytest.mark.full
@pytest.mark.parametrize("page", SLOW)
def test_slow_blocks_run(page, user_folder, environment):
    run_all(steps(page), user_folder, environment)


@pytest.mark.large
def test_blocks_run_that_ask_a_server(user_folder, environment, server):
    found = [step for page in PAGES for step in steps(page) if SERVER in step["needs"]]
    assert len(found) >= 3
    asked = json.loads(json.dumps(found).replace("localhost:8501", f"localhost:{server}"))
    run_all(asked, user_folder, environment)
    codes = [
        block.code for page in PAGES for block in blocks(page, "bash") if SERVER in block.needs
    ]
    for code in (code.replace("localhost:8501", f"localhost:{server}") for code in codes):
        if "curl" in code and shutil.which("curl"):
            done = subprocess.run(
                ["bash", "-c", code], cwd=user_folder, capture_output=True, text=True, check=True
            )
            assert done.stdout.count('"predictions"') == 2 and '"error"' not in done.stdout
