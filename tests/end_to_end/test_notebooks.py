"""The notebooks run as they are, at their small size, and are stored without outputs."""

import pathlib

import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(path):
    import json

    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs"), cell["source"]
        assert cell.get("execution_count") is None


@pytest.mark.parametrize(
    "path",  # one is of the large tier, those of the other tasks take minutes each
    [
        pytest.param(path, marks=pytest.mark.large if path == NOTEBOOKS[0] else pytest.mark.full)
        for path in NOTEBOOKS
    ],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("MMLEARN_FAST", "1")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            text = str(output.get("text", ""))
            assert "Warning" not in text, text
            assert "WARNING" not in text, text
