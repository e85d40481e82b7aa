"""The notebooks run as they are, at their small size, and are stored ready for Colab."""

import json
import pathlib
import re
import types

import pytest

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def install_cell():
    return "".join(
        next(c for c in read(NOTEBOOKS[0])["cells"] if c["cell_type"] == "code")["source"]
    )


def test_notebooks_are_numbered():
    assert [path.stem[:3] for path in NOTEBOOKS] == [f"{n:02d}_" for n in range(1, 10)]


@every_notebook
def test_notebook_is_stored_without_outputs(path):
    for cell in read(path)["cells"]:
        assert not cell.get("outputs"), cell["source"]
        assert cell.get("execution_count") is None


@every_notebook
def test_notebook_is_ready_for_colab(path):
    notebook = read(path)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["colab"] == {"provenance": [], "toc_visible": True}
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[a-z0-9-]+", each) for each in ids), ids  # words, which stay
    title = "".join(notebook["cells"][0]["source"])
    assert title.startswith(f"# {path.stem[:2]} ")
    assert "MMLEARN_FAST=1" in title


@every_notebook
def test_first_code_cell_is_that_of_all(path):
    (first, *_) = (cell for cell in read(path)["cells"] if cell["cell_type"] == "code")
    assert "".join(first["source"]) == install_cell()


@pytest.mark.parametrize(
    ("there", "later", "is_installed", "restarts"),
    [
        ({"numpy": "2.1.0", "mmlearn-keras": "0.1.0"}, None, False, False),
        ({"numpy": "2.1.0"}, {"numpy": "2.1.0", "mmlearn-keras": "0.1.0"}, True, False),
        ({}, {"numpy": "2.1.0", "mmlearn-keras": "0.1.0"}, True, False),
        # What is there may be loaded already, also where it is only needed by something else.
        ({"NumPy": "1.26.4"}, {"NumPy": "2.1.0", "mmlearn-keras": "0.1.0"}, True, True),
        ({"protobuf": "5.0"}, {"protobuf": "6.1", "numpy": "2.1.0"}, True, True),
    ],
)
def test_first_cell_installs_what_differs(
    there, later, is_installed, restarts, tmp_path, monkeypatch
):
    shell = pytest.importorskip("IPython.core.inputtransformer2").TransformerManager()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "requirements.txt").write_text("numpy>=2  # arrays\n\n# a comment\n")
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    packages, commands = dict(there), []

    def distributions():
        return [types.SimpleNamespace(name=n, version=v) for n, v in packages.items()]

    def run_line_magic(name, line, *_):
        commands.append((name, line))
        packages.update(later)

    monkeypatch.setattr("importlib.metadata.distributions", distributions)
    names = {"get_ipython": lambda: types.SimpleNamespace(run_line_magic=run_line_magic)}
    code = compile(shell.transform_cell(install_cell()), "cell", "exec")
    if restarts:
        with pytest.raises(RuntimeError, match="restart the session"):
            exec(code, names)
    else:
        exec(code, names)
    assert [name for name, _ in commands] == ["pip"] * is_installed


@pytest.mark.large
@every_notebook
def test_notebook_runs(path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("MMLEARN_FAST", "1")
    # The code beside the notebooks, whatever is installed; and as a reader starts, who sets nothing.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        iopub_timeout=60,  # a busy machine is slow to hand on what a cell has shown
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.get("name") != "stderr", output["text"]
            shown = json.dumps(output)
            assert "Warning" not in shown, shown
            assert "WARNING" not in shown, shown
