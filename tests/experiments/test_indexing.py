"""An index of a data set by a saved retriever: made, added to, searched."""

import math
import os

import pytest

pytest.importorskip("faiss", reason="needs the extra `search`")

from data_prep.splits import Selection
from mmlearn.cli.main import main
from mmlearn.experiments import indexing
from mmlearn.experiments.config import DataConfig
from mmlearn.models.mismatched_pairs import HARDNESS
from mmlearn.serving.search_index import SearchIndex
from tests import toys

pytestmark = pytest.mark.large  # the tier whose environment has the extras


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "retriever"
    toys.retriever().save_to_preset(str(folder / "preset"))
    return str(folder)


@pytest.fixture
def data(shapes_root):
    return DataConfig("shapes", shapes_root)


def test_an_image_finds_itself_and_a_caption_itself(model, data, shapes, tmp_path):
    made = indexing.index_data(model, data, "val", str(tmp_path / "images"))
    assert made == {
        "folder": str(tmp_path / "images"),
        "added": 12,
        "count": 12,
        "kind": "exact",
        "recall": 1.0,
    }
    path = shapes.examples("val").images[3]
    found = indexing.search(model, str(tmp_path / "images"), image=path, top=3)
    assert len(found) == 3
    assert found[0]["id"] == shapes.examples("val").ids[3]
    assert found[0]["label"] == os.path.abspath(path)
    assert found[0]["cosine"] == pytest.approx(1.0, abs=1e-4)

    made = indexing.index_data(model, data, "val", str(tmp_path / "texts"), "text")
    assert made["added"] == 60
    caption = shapes.examples("val").captions[2][4]
    found = indexing.search(model, str(tmp_path / "texts"), text=caption, top=1)
    assert found[0]["label"] == caption


def test_what_is_there_is_not_embedded_again(model, data, tmp_path, monkeypatch):
    folder = str(tmp_path / "index")
    half = Selection(indexing.build_source(data), {"val": ("val", range(5))})
    with monkeypatch.context() as patch:
        patch.setattr(indexing, "build_source", lambda config: half)
        assert indexing.index_data(model, data, "val", folder)["added"] == 5
    found = indexing.index_data(model, data, "val", folder)
    assert (found["added"], found["count"]) == (7, 12)
    found = indexing.index_data(model, data, "val", folder)
    assert (found["added"], found["count"]) == (0, 12)


def test_the_match_orders_the_nearest_again(model, data, tmp_path):
    folder = str(tmp_path / "index")
    indexing.index_data(model, data, "val", folder)
    plain = indexing.search(model, folder, text="a red circle", top=6)
    found = indexing.search(model, folder, text="a red circle", top=6, rerank=4)
    assert {each["id"] for each in found[:4]} == {each["id"] for each in plain[:4]}
    sums = [
        math.log(each["match"] / (1 - each["match"])) + HARDNESS * each["cosine"]
        for each in found[:4]
    ]
    assert sums == sorted(sums, reverse=True)
    assert found[4:] == plain[4:]


def test_an_index_of_another_model_is_refused(model, data, tmp_path):
    folder = str(tmp_path / "index")
    SearchIndex(8, "0123456789abcdef").save(folder)
    for call in (
        lambda: indexing.index_data(model, data, "val", folder),
        lambda: indexing.search(model, folder, text="a red circle"),
    ):
        with pytest.raises(ValueError, match=r"made by another model \(fingerprint 0123456789"):
            call()


def test_an_image_that_is_gone_is_named(model, data, shapes, tmp_path, monkeypatch):
    folder = str(tmp_path / "index")
    indexing.index_data(model, data, "val", folder)
    monkeypatch.setattr(os.path, "isfile", lambda path: not str(path).endswith(".jpg"))
    with pytest.raises(ValueError, match=r"is gone. Fix: restore it, or .* index --delete val/"):
        indexing.search(model, folder, text="a red circle", rerank=2)


def test_the_commands(model, shapes_root, shapes, tmp_path, capfd):
    folder, name = str(tmp_path / "index"), shapes.examples("val").ids[0]
    own = ["--data.root", shapes_root, "--index", folder]
    assert main(["index", model, *own]) == 0
    assert "Added 12; 12 are in" in capfd.readouterr().out
    assert main(["search", model, "two red circles", "--top", "2", "--index", folder]) == 0
    assert "val/" in capfd.readouterr().out
    assert main(["index", model, "--index", folder, "--delete", name]) == 0
    assert "11 are left" in capfd.readouterr().out
    for args, message in (
        (["index", model, "--index", folder, "--delete", name], "It was deleted. Fix:"),
        (["search", model, "", "--index", folder], "The query is empty. Fix:"),
        (["search", model, "--index", folder], "needs one query. Fix:"),
        (["search", model, "a", "--image", "b.jpg", "--index", folder], "needs one query. Fix:"),
        (["search", model, "a", "--index", "/nowhere"], "holds no index. Fix:"),
        (["search", model, "--image", "/no.jpg", "--index", folder], "/no.jpg"),
        (["index", model, "--index", shapes_root], "exists and is not an index. Fix:"),
        (["search", "/nowhere", "a"], "There is no model '/nowhere'. Fix:"),
    ):
        assert main(args) == 2, args
        (line,) = capfd.readouterr().err.strip().splitlines()
        assert message in line


def test_missing_faiss_is_one_line_with_the_fix(monkeypatch, capfd, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    for args in (["index", str(tmp_path)], ["search", str(tmp_path), "a"]):
        assert main(args) == 2
        (line,) = capfd.readouterr().err.strip().splitlines()
        assert "Fix: pip install 'mmlearn-keras[search]', or pip install faiss-cpu." in line
