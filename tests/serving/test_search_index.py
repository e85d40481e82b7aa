"""The index: what it finds, forgets and refuses; kinds by size; a write that is cut off."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("faiss", reason="needs the extra `search`")

import faiss

from mmlearn.serving import search_index
from mmlearn.serving.search_index import SearchIndex

pytestmark = pytest.mark.large  # the tier whose environment has the extras


def unit(count, dim=8, seed=0):
    values = np.random.default_rng(seed).normal(size=(count, dim)).astype("float32")
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def names(count, start=0):
    return [f"val/{n}" for n in range(start, start + count)]


def filled(count=40, kind="auto", dim=8):
    index = SearchIndex(dim, "model-a", kind)
    index.add(names(count), unit(count, dim), [f"{n}.jpg" for n in range(count)])
    return index


def nearest(embeddings, queries, top):
    return np.argsort(-queries @ embeddings.T, axis=1)[:, :top]


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
def test_every_kind_finds_the_nearest(kind, tmp_path):
    index, queries = filled(800, kind), unit(20, seed=1)
    index.save(tmp_path, queries)
    assert index.built_kind == kind
    for opened in (index, SearchIndex.open(tmp_path, "model-a")):
        assert opened.built_kind == kind
        assert opened.how_far == index.how_far
        ids, labels, cosines = opened.search(queries, top=5)
        expected = nearest(unit(800), queries, 5)
        right = [[f"val/{row}" for row in rows] for rows in expected]
        if kind == "exact":
            assert ids == right
            np.testing.assert_allclose(
                cosines, np.take_along_axis(queries @ unit(800).T, expected, axis=1), atol=1e-5
            )
        hits = [len(set(a) & set(b)) for a, b in zip(ids, right, strict=True)]
        assert np.mean(hits) / 5 >= 0.9
        assert labels[0][0] == f"{ids[0][0].removeprefix('val/')}.jpg"
        assert opened.recall >= 0.97


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
def test_what_is_deleted_is_never_found(kind, tmp_path):
    index, query = filled(200, kind), unit(200)[7:8]
    index.save(tmp_path)
    assert index.search(query, 1)[0] == [["val/7"]]
    index.delete(["val/7"])
    assert len(index) == 199
    assert "val/7" not in index
    index.save(tmp_path)
    for opened in (index, SearchIndex.open(tmp_path)):
        assert "val/7" not in opened.search(query, 50)[0][0]
        with pytest.raises(ValueError, match=r"no 'val/7'. It was deleted"):
            opened.embedding("val/7")
        with pytest.raises(ValueError, match=r"no 'val/7'. It was deleted"):
            opened.delete(["val/7"])
    with pytest.raises(ValueError, match=r"no 'val/999'. It was never added"):
        index.delete(["val/999"])


def test_a_refused_deletion_deletes_nothing():
    index = filled()
    with pytest.raises(ValueError, match="never added"):
        index.delete(["val/1", "val/999"])
    assert "val/1" in index


def test_much_that_is_deleted_is_thrown_out(tmp_path):
    index = filled(40)
    index.delete(names(15))
    index.save(tmp_path)
    opened = SearchIndex.open(tmp_path)
    assert opened.ids == names(25, start=15)
    np.testing.assert_allclose(opened.embedding("val/15"), unit(40)[15])
    with pytest.raises(ValueError, match="It was deleted"):
        opened.embedding("val/3")


def test_an_id_that_is_added_again_takes_the_place_of_the_old_one():
    index, other = filled(), unit(1, seed=5)
    index.add(["val/3"], other, ["new.jpg"])
    assert len(index) == 40
    assert index.search(other, 1)[1] == [["new.jpg"]]
    np.testing.assert_array_equal(index.embedding("val/3"), other[0])


def test_adding_in_parts_is_adding_at_once(tmp_path):
    index = SearchIndex(8, "model-a")
    for start in (0, 10, 25):
        index.add(names(15, start), unit(40)[start : start + 15], names(15, start))
        index.save(tmp_path)
        index = SearchIndex.open(tmp_path)
    assert len(index) == 40
    queries = unit(5, seed=2)
    assert index.search(queries, 5)[0] == filled().search(queries, 5)[0]


def test_the_kind_follows_the_size(monkeypatch, tmp_path):
    monkeypatch.setattr(search_index, "EXACT_UP_TO", 100)
    monkeypatch.setattr(search_index, "HNSW_UP_TO", 300)
    index, kinds = SearchIndex(8, "model-a"), []
    for start in range(0, 400, 100):
        index.add(names(100, start), unit(100, seed=start), names(100, start))
        index.save(tmp_path)
        kinds.append(index.built_kind)
    assert kinds == ["exact", "hnsw", "hnsw", "ivf"]
    assert index.search(unit(1, seed=0)[:1], 1)[0] == [["val/0"]]


def test_recall_is_that_against_the_exact_index():
    index, queries = filled(600, "ivf"), unit(50, seed=1)
    index.build(queries)
    index._look(1)
    found = [set(rows) for rows in index._search(queries, 10)[1].tolist()]
    exact = nearest(unit(600), queries, 10)
    expected = np.mean([len(own & set(rows)) / 10 for own, rows in zip(found, exact, strict=True)])
    assert index.recall_at(queries) == pytest.approx(expected)
    assert expected < 0.9
    index.tune(queries)
    assert index.recall_at(queries) == index.recall >= 0.97


def test_another_model_is_refused(tmp_path):
    filled().save(tmp_path)
    with pytest.raises(ValueError, match=r"another model \(fingerprint model-a, this one has b\)"):
        SearchIndex.open(tmp_path, "b")


def test_embeddings_of_another_size_are_refused():
    index = filled()
    with pytest.raises(ValueError, match=r"embeddings of 8 numbers. Received: shape \(1, 9\)"):
        index.search(np.ones((1, 9)))
    with pytest.raises(ValueError, match=r"embeddings of 8 numbers. Received: shape \(1, 9\)"):
        index.add(["a"], np.ones((1, 9)), ["a"])


def test_bad_requests_are_refused(tmp_path):
    with pytest.raises(ValueError, match="The index is empty"):
        SearchIndex(8, "model-a").search(unit(1))
    with pytest.raises(ValueError, match="`top` must be at least 1"):
        filled().search(unit(1), top=0)
    with pytest.raises(ValueError, match="1 different ids"):
        filled().add(["a", "a"], unit(2), ["a", "b"])
    with pytest.raises(ValueError, match=r"holds no index. Fix: make one"):
        SearchIndex.open(tmp_path)
    with pytest.raises(ValueError, match=r"'hsnw'.*Did you mean 'hnsw'"):
        SearchIndex(8, "model-a", "hsnw")


def test_more_than_there_is_gives_all_there_is():
    ids, _, cosines = filled(3).search(unit(1), top=10)
    assert len(ids[0]) == cosines.shape[1] == 3


def test_who_is_killed_while_writing_leaves_the_old_index(tmp_path, monkeypatch):
    filled(10).save(tmp_path)
    # Each stage of a write: the new files, the note beside, before it is renamed.
    for stage in ("json.dumps", "os.replace"):
        module, name = stage.split(".")
        with monkeypatch.context() as patch:

            def killed(*_, **__):
                raise KeyboardInterrupt

            patch.setattr({"json": json, "os": os}[module], name, killed)
            with pytest.raises(KeyboardInterrupt):
                filled(20).save(tmp_path)
        assert len(SearchIndex.open(tmp_path)) == 10
    filled(20).save(tmp_path)
    assert len(SearchIndex.open(tmp_path)) == 20
    assert sorted(os.listdir(tmp_path)) == ["2", "index.json"]


def test_a_process_that_is_killed_at_any_time_leaves_an_index(tmp_path):
    filled(10).save(tmp_path)
    code = (
        "import sys; from tests.serving.test_search_index import filled\n"
        "print('begun', flush=True)\n"
        "while True: filled(20).save(sys.argv[1]); filled(3000).save(sys.argv[1])"
    )
    sizes = set()
    for after in np.random.default_rng(0).uniform(0.0, 0.2, size=3):
        process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(after)
        process.kill()
        process.communicate()
        index = SearchIndex.open(tmp_path)
        sizes.add(len(index))
        assert index.search(unit(1), 5)[2].shape == (1, 5)
    assert sizes <= {10, 20, 3000}
    assert sizes != {10}  # it did write


def test_a_broken_file_is_named(tmp_path):
    filled().save(tmp_path)
    with open(tmp_path / "1" / "index.faiss", "wb") as file:
        file.write(b"nonsense")
    with pytest.raises(ValueError, match=r"cannot be read \(.*Fix: index the data again"):
        SearchIndex.open(tmp_path)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(ValueError, match=r"index.json' cannot be read"):
        SearchIndex.open(tmp_path)


def change_note(folder, **changes):
    note = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**note, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "../../elsewhere"}, r"index.json' cannot be read \(Expected `int`, got `str`"),
        ({"version": -1}, r"index.json' cannot be read \(Expected `int` >= 0"),
        ({"dim": 9}, r"embeddings of 8 numbers, 40 ids, 40 labels, and embeddings of 9 numbers"),
        ({"format": 2}, r"format 2, and 1 is known"),
    ],
)
def test_a_note_that_leads_elsewhere_is_refused(changes, message, tmp_path):
    filled().save(tmp_path)
    change_note(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        SearchIndex.open(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ["a"]}, "40 embeddings of 8 numbers, 1 ids"),
        ({"labels": 3}, "Expected `array`"),
        ({"deleted": [40]}, "deletes what is not there"),
        ({"deleted": [-1]}, "Expected `int` >= 0"),
    ],
)
def test_entries_that_do_not_fit_are_refused(changes, message, tmp_path):
    filled().save(tmp_path)
    path = tmp_path / "1" / "entries.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=message):
        SearchIndex.open(tmp_path)


def test_an_index_whose_vectors_are_in_another_file_is_refused(tmp_path):
    filled(400, "ivf").save(tmp_path / "index")
    path = str(tmp_path / "index" / "1" / "index.faiss")
    index = faiss.read_index(path)
    other = tmp_path / "other"
    lists = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(other))
    lists.merge_from_1(index.invlists)
    index.replace_invlists(lists)
    faiss.write_index(index, path)
    content = other.read_bytes()
    with pytest.raises(ValueError, match=r"its vectors are in another file\). Fix: index the data"):
        SearchIndex.open(tmp_path / "index")
    assert other.read_bytes() == content


def test_an_index_of_another_kind_is_refused(tmp_path):
    filled().save(tmp_path)
    faiss.write_index(faiss.IndexLSH(8, 8), str(tmp_path / "1" / "index.faiss"))
    with pytest.raises(ValueError, match="of a kind that is never written here"):
        SearchIndex.open(tmp_path)
