"""Makes an index of a data set by a saved retriever, and searches it."""

import math
import os

import numpy as np
import tensorflow as tf

from data_prep import images
from data_prep.pipeline import build_dataset
from data_prep.screening import without_unreadable
from data_prep.splits import Selection
from mmlearn.analysis.gallery import plot_gallery
from mmlearn.evaluation.embedded import embed_texts, text_batches
from mmlearn.experiments.build import build_source
from mmlearn.experiments.scoring import name_bad_images
from mmlearn.experiments.watched import watched
from mmlearn.models import ImageTextRetriever
from mmlearn.models.fingerprint import fingerprint
from mmlearn.models.mismatched_pairs import HARDNESS
from mmlearn.models.presets import find_preset
from mmlearn.serving.search_index import NUM_QUERIES, SearchIndex

WHAT = ("images", "text")
SMALLEST = 1e-7  # probability whose odds count, and largest likewise


def open_retriever(model):
    """Loads a saved retriever.

    Args:
        model: str. Output folder of a run, or a preset directory.

    Raises:
        ValueError: when there is none, or it is another task.
    """
    return ImageTextRetriever.from_preset(find_preset(model, ImageTextRetriever))


def default_folder(model, what="images"):
    """Where the index of a model is kept unless another folder is named.

    Args:
        model: str. Its output folder.
        what: `"images"` or `"text"`.
    """
    return f"{model.rstrip(os.sep)}-index-{what}"


def index_data(
    model, data, split, folder=None, what="images", kind="auto", batch_size=32, console=None
):
    """Adds the images, or the captions, of a split to an index, which is made where there is none.

    What is in the index already, by its id, is not embedded again.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        split: str.
        folder: str, of the index; by default `default_folder(model, what)`.
        what: `"images"` or `"text"`. The ids of captions are those of their images with `#0`, `#1`, ...
        kind: str, of a new index, see `mmlearn.serving.search_index`.
        batch_size: int.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        A dict of `folder`, `added`, `count`, `kind` and `recall`, that of 10 against the exact index:
        of captions' embeddings as queries among images, and of its own embeddings among captions.

    Raises:
        ValueError: when the model is no retriever, the index is another model's, or the data lack what
            is to be indexed.
    """
    task = open_retriever(model)
    folder = folder or default_folder(model, what)
    source, _ = without_unreadable(build_source(data), (split,), data.max_unreadable)
    index = _open_or_make(folder, task, kind)
    examples = source.examples(split)
    column = {"images": examples.images, "text": examples.captions}[what]
    if column is None or not any(column):
        raise ValueError(
            f"The split {split!r} of {source.root!r} has no {what}. Fix: another split, or --of."
        )
    names, labels = _entries(examples, what)
    new = [place for place, name in enumerate(names) if name not in index]
    ids, labels = ([own[place] for place in new] for own in (names, labels))
    if what == "text":
        embeddings = _embed_captions(task, labels, console)
    else:
        embeddings = _embed_images(task, source, split, set(ids), batch_size, console)
    if ids:
        index.add(ids, embeddings, labels)
    queries = _queries(task, examples) if what == "images" else None
    index.save(folder, queries)
    return {
        "folder": folder,
        "added": len(ids),
        "count": len(index),
        "kind": index.built_kind,
        "recall": index.recall,
    }


def _open_or_make(folder, task, kind):
    if os.path.exists(os.path.join(folder, "index.json")):
        return SearchIndex.open(folder, fingerprint(task))
    if os.path.exists(folder) and os.listdir(folder):
        raise ValueError(
            f"{folder!r} exists and is not an index. Fix: pass another folder, --index DIR."
        )
    return SearchIndex(task.embedding_dim, fingerprint(task), kind)


def _entries(examples, what):
    """The ids and the labels of what can be indexed."""
    if what == "images":
        pairs = [
            (name, path) for name, path in zip(examples.ids, examples.images, strict=True) if path
        ]
    else:
        pairs = [
            (f"{name}#{number}", text)
            for name, texts in zip(examples.ids, examples.captions, strict=True)
            for number, text in enumerate(texts)
        ]
    return [name for name, _ in pairs], [
        os.path.abspath(v) if what == "images" else v for _, v in pairs
    ]


def _embed_images(task, source, split, wanted, batch_size, console):
    rows = np.flatnonzero([name in wanted for name in source.examples(split).ids])
    if not len(rows):
        return None
    chosen = Selection(source, {split: (split, rows)}, indexed=len(rows))
    converter = task.preprocessor.converters["images"]
    dataset = build_dataset(
        chosen, split, type(task.preprocessor)({"images": converter}), batch_size
    )
    try:
        with watched(dataset, console, "embedding") as batches:
            found = [task.encode_inputs(x, "images")["embedding"] for x, *_ in batches]
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        raise name_bad_images(source, (split,)) or error from None
    return np.concatenate([np.asarray(each) for each in found])


def _embed_captions(task, captions, console):
    if not captions:
        return None
    with watched(text_batches(task, captions), console, "embedding") as batches:
        return embed_texts(task, batches)[0]


def _queries(task, examples):
    """What will be asked for images: captions, where there are some."""
    texts = [texts[0] for texts in examples.captions or () if texts]
    if not texts:
        return None
    step = max(1, len(texts) // NUM_QUERIES)
    return embed_texts(task, text_batches(task, texts[::step][:NUM_QUERIES]))[0]


def delete(folder, ids):
    """Deletes from an index.

    Args:
        folder: str.
        ids: list of str.

    Returns:
        The number that is left.

    Raises:
        ValueError: when there is no index, or one of the ids is not in it.
    """
    index = SearchIndex.open(folder)
    index.delete(ids)
    index.save(folder)
    return len(index)


def search(model, folder, text=None, image=None, top=10, rerank=0):
    """Finds what is nearest to a text or an image.

    Args:
        model: str. Output folder of a run, or a preset directory.
        folder: str, of the index.
        text: str, or `None`.
        image: str, the path of an image, or `None`.
        top: int. How many.
        rerank: int. How many of the nearest are ordered again by the match of image and text and their
            cosine, see `mmlearn.models.mismatched_pairs.HARDNESS`; 0 for none.

    Returns:
        A list of dicts of `id`, `label` (path or text), `cosine` and, if re-ranked, `match`.

    Raises:
        ValueError: when there is no query or more than one, it is empty, the index is another model's,
            or what is to be re-ranked is of the same modality as the query, or was deleted.
    """
    given = {"text": text, "images": image}
    given = {modality: value for modality, value in given.items() if value is not None}
    if len(given) != 1:
        raise ValueError("A search needs one query. Fix: a text, or --image FILE, and not both.")
    ((modality, query),) = given.items()
    if not query.strip():
        raise ValueError("The query is empty. Fix: say what to look for.")
    task, index = open_search(model, folder)
    return find_nearest(task, index, modality, query, top, rerank)


def open_search(model, folder):
    """Loads a saved retriever and its index.

    Args:
        model: str. Output folder of a run, or a preset directory.
        folder: str, of the index.

    Returns:
        The `ImageTextRetriever` and the `SearchIndex`.

    Raises:
        ValueError: when there is no retriever or no index, or the index is another model's.
    """
    task = open_retriever(model)
    return task, SearchIndex.open(folder, fingerprint(task))


def find_nearest(task, index, modality, query, top=10, rerank=0):
    """Finds what is nearest to a query, see `search`.

    Args:
        task: `ImageTextRetriever`.
        index: its `SearchIndex`.
        modality: `"text"` or `"images"`, what the query is.
        query: a raw value of that modality: a str, or the path or the bytes of an image.
        top: int.
        rerank: int.

    Returns:
        What `search` returns.
    """
    ids, labels, cosines = index.search(task.embed({modality: [query]}), max(top, rerank))
    found = [
        {"id": name, "label": label, "cosine": float(cosine)}
        for name, label, cosine in zip(ids[0], labels[0], cosines[0], strict=True)
    ]
    if rerank:
        other = "images" if modality == "text" else "text"
        first = found[:rerank]
        _check_candidates(first, other)
        pairs = {modality: [query] * len(first), other: [each["label"] for each in first]}
        for each, match in zip(first, task.predict(pairs, verbose=0), strict=True):
            each["match"] = float(match)
        found = sorted(first, key=_closeness, reverse=True) + found[rerank:]
    return found[:top]


def _closeness(found):
    match = min(max(found["match"], SMALLEST), 1 - SMALLEST)
    return math.log(match / (1 - match)) + HARDNESS * found["cosine"]


def draw_collage(found, path):
    """Draws what a search found side by side, the best first.

    Args:
        found: list of dicts, as `search` returns, of an index of images.
        path: str, where the PNG goes.

    Raises:
        ValueError: when they are captions, or an image is gone or cannot be read.
    """
    if not are_images(found):
        raise ValueError(
            "A collage is made of images. Received: an index of captions. Fix: --index."
        )
    _check_are_there(found)
    examples = []
    for each in found:
        lines = [f"match {each['match']:.3f}"] if "match" in each else []
        lines = [f"cosine {each['cosine']:.3f}", *lines]
        examples.append({"image": read_image(each["label"]), "text": each["id"], "lines": lines})
    plot_gallery(examples, path)


def read_image(path):
    """Reads an image of an index.

    Args:
        path: str.

    Returns:
        uint8 array `(height, width, 3)`.

    Raises:
        ValueError: when it is gone or cannot be read.
    """
    try:
        return images.decode(tf.io.read_file(path)).numpy()
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError):
        raise ValueError(f"{path!r} is no readable image any more. Fix: restore it.") from None


def are_images(found):
    """Whether what `search` returned, one entry at least, are images, and not captions."""
    return os.path.isabs(found[0]["label"])


def _check_candidates(found, modality):
    if are_images(found) != (modality == "images"):
        raise ValueError(
            "Re-ranking matches an image with a text. Received: a query and an index of the same kind. "
            "Fix: leave --rerank out."
        )
    if modality == "images":
        _check_are_there(found)


def _check_are_there(found):
    for each in found:
        if not os.path.isfile(each["label"]):
            raise ValueError(
                f"The image {each['label']!r} of {each['id']!r} is gone. Fix: restore it, or take it "
                f"out of the index, python -m mmlearn index --delete {each['id']}."
            )
