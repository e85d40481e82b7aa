"""How well the words of captions point at what they name, measured on a data set with boxes."""

import functools
import os
from dataclasses import dataclass

import keras
import numpy as np
from scipy import stats

from data_prep.pipeline import build_dataset
from data_prep.sources.coco import CocoSource
from mmlearn.analysis.attention import (
    DIRECTION,
    pointing_heads,
    read_tokens,
    split_words,
    to_map,
)
from mmlearn.analysis.deletion import (
    area_under,
    deletion_images,
    insertion_images,
    random_order,
)
from mmlearn.analysis.grad_cam import grad_cam
from mmlearn.analysis.pointing import (
    KINDS,
    centre_prior,
    centres_inside,
    energy_in_box,
    name_objects,
    oracle_points_at,
    points_at,
)
from mmlearn.analysis.rollout import rollout
from mmlearn.evaluation.intervals import draw_all, with_interval

BATCH_SIZE = 50
# Of maps that are no explanation, in the order of the table.
BASELINES = ("other_word", "random_fusion", "random_weights", "constant_cell", "centre_prior")


@dataclass(frozen=True)
class Scene:
    """An image, its caption, and the words of it that name objects.

    Attributes:
        group: int, the image's id.
        image: uint8 array `(height, width, 3)`.
        caption: str.
        spans: list of lists of int, the positions of each word's tokens.
        named: list of `NamedObject`, at least one.
    """

    group: int
    image: np.ndarray
    caption: str
    spans: list
    named: list

    def positions(self, named):
        """The positions of all tokens of a `NamedObject`."""
        return [place for span in self.spans[named.start : named.end] for place in span]


def read_scenes(task, source, split="val", count=500):
    """Reads the first examples of a split, and finds the words that name objects.

    Args:
        task: a task with images, text and a preprocessor.
        source: a source whose folder is in COCO's format, with boxes (`coco`, `shapes`).
        split: str.
        count: int. Examples to read; those whose first caption names no object of the image are left
            out of the result.

    Returns:
        A list of `Scene`.

    Raises:
        ValueError: when the text encoder gives no feature per token, or no word names an object.
        DataError: when the data have no boxes.
    """
    has_both = not {"images", "text"} - set(source.examples(split).modalities)
    if not has_both or source.root is None or not os.path.isdir(source.root):
        raise ValueError(
            "Words and regions need images with captions and boxes, in COCO's format. Fix: --data.source "
            "coco or shapes."
        )
    coco, scenes = CocoSource(source.root), []
    objects = functools.cache(coco.objects)
    for example in build_dataset(source, split).take(count).as_numpy_iterator():
        caption, image = example["text"].decode(), example["images"]
        origin = example["id"].decode().partition("/")[0]  # the file's split, which folds cut anew
        there = objects(origin).get(int(example["group"]), [])
        if not caption or not image.size or not there:
            continue
        tokens = read_tokens(task, caption)
        if tokens is None:
            raise ValueError(
                "The text encoder gives a feature per chunk, and a map of a word needs one per token. "
                "Fix: a model with --model.text.options chunk_pooling=none."
            )
        words = split_words(tokens)
        named = name_objects([word for word, _ in words], there, coco.label_names)
        if named:
            spans = [positions for _, positions in words]
            scenes.append(Scene(int(example["group"]), image, caption, spans, named))
    if not scenes:
        raise ValueError(
            f"No caption of the first {count} examples of {split!r} names an object that has a box. "
            "Fix: data whose captions name their categories (coco, shapes)."
        )
    return scenes


def attention_of(task, scenes):
    """The attention of words to regions.

    Args:
        task: a task whose fusion returns the scores.
        scenes: list of `Scene`.

    Yields:
        For each scene, an array `(num_layers, num_heads, num_tokens, num_regions)`, and its rollout
        `(num_tokens, num_regions)` or `None`.

    Raises:
        ValueError: when the fusion has no attention of words to regions.
    """
    for start in range(0, len(scenes), BATCH_SIZE):
        batch = scenes[start : start + BATCH_SIZE]
        found = task.explain(
            {"images": [scene.image for scene in batch], "text": [scene.caption for scene in batch]}
        )
        scores = found.get("attention_scores", {})
        if DIRECTION not in scores:
            raise ValueError(
                f"The fusion {type(task.backbone.fusion).__name__} has no attention of words to regions "
                "to measure. Fix: a model with the fusion cross_attention, hybrid or merged_attention."
            )
        for row in range(len(batch)):
            own = {direction: values[row] for direction, values in scores.items()}
            yield own[DIRECTION], rollout(own)


def attention_maps(task, scenes):
    """The maps of all words that name objects, by where they come from.

    Returns:
        A dict of name to list of maps, in the order of `words_of(scenes)`: `"attention"`, the mean of
        the heads of `pointing_heads`; `"rollout"`; and, with several, `"layer {i} head {j}"`.
    """
    grids = task.backbone.encoders["images"].grids
    shown, count = pointing_heads(task)
    maps = {}
    for scene, (scores, rolled) in zip(scenes, attention_of(task, scenes), strict=True):
        num_layers, num_heads = scores.shape[:2]
        for named in scene.named:
            own = scores[:, :, scene.positions(named)].mean(axis=2)
            maps.setdefault("attention", []).append(to_map(own[shown, :count].mean(axis=0), grids))
            if num_layers > 1:
                rows = rolled[scene.positions(named)].mean(axis=0)
                maps.setdefault("rollout", []).append(to_map(rows, grids))
            for layer in range(num_layers):
                for head in range(num_heads if num_layers * num_heads > 1 else 0):
                    name = f"layer {layer} head {head}"
                    maps.setdefault(name, []).append(to_map(own[layer, head], grids))
    return maps


def words_of(scenes):
    """The words that name objects: a list of `(scene, NamedObject)`."""
    return [(scene, named) for scene in scenes for named in scene.named]


def score_maps(maps, words):
    """The scores of one map per word.

    Args:
        maps: list of maps, or `None` where a word has none.
        words: list of `(scene, NamedObject)`.

    Returns:
        A dict of `pointing` and `energy`, float arrays `(num_words,)`, NaN where there is no map.
    """
    pairs = [(heat, named.boxes) for heat, (_, named) in zip(maps, words, strict=True)]
    return {
        name: np.array([np.nan if heat is None else score(heat, boxes) for heat, boxes in pairs])
        for name, score in (("pointing", points_at), ("energy", energy_in_box))
    }


def cam_maps(task, words):
    """Grad-CAM, by the images' own head, of the category that each word names.

    Args:
        task: a classifier with images.
        words: list of `(scene, NamedObject)`.

    Returns:
        A list of maps, flat where the model has no such class.
    """
    names, maps = list(task.described[task.main_output].label_names), []
    grid = task.backbone.encoders["images"].grid
    for start in range(0, len(words), BATCH_SIZE):
        batch = words[start : start + BATCH_SIZE]
        columns = [names.index(n.category) if n.category in names else 0 for _, n in batch]
        x = {
            "images": [scene.image for scene, _ in batch],
            "text": [scene.caption for scene, _ in batch],
        }
        found = grad_cam(task, x, np.array(columns))
        maps += [
            heat if named.category in names else np.zeros(grid)
            for heat, (_, named) in zip(found, batch, strict=True)
        ]
    return maps


def swapped_maps(maps, words):
    """Gives each word the map of another one of its caption that names something else.

    A map that shows what is striking in an image, whatever the word says, scores as well so.

    Args:
        maps: list of maps, one per word.
        words: list of `(scene, NamedObject)`.

    Returns:
        A list of maps, `None` where the caption has no such word.
    """
    swapped = []
    for scene, named in words:
        others = [
            heat
            for heat, (other, word) in zip(maps, words, strict=True)
            if other is scene and not set(word.boxes) & set(named.boxes)
        ]
        swapped.append(others[0] if others else None)
    return swapped


def constant_cell(grid, words):
    """The one cell that is in the boxes of most visible words: the best that a constant map can do."""
    chosen = [named for _, named in words if named.kind == "visible"] or [n for _, n in words]
    counts = sum(centres_inside(grid, named.boxes).astype(float) for named in chosen)
    heat = np.zeros(grid)
    heat.flat[np.argmax(counts)] = 1.0
    return heat


def measure_grounding(
    task, source, split="val", count=500, num_curves=100, seed=0, progress=lambda done, total: None
):
    """Measures how well maps point at what words name, beside maps that are no explanation.

    Args:
        task: a task with images, text and a preprocessor.
        source: a source whose folder is in COCO's format, with boxes.
        split: str.
        count: int. Examples to read, the first ones.
        num_curves: int. Words of which deletion and insertion curves are made, the first visible ones.
        seed: int. Of random weights and orders.
        progress: function `(done, total)`.

    Returns:
        A dict of plain JSON types:

        - `num_scenes`, `num_words` by kind (`name_objects`), `grid`;
        - `oracle`: by kind, the share of words for which any cell has its centre in the box;
        - `maps`: by the map's name, by kind, `pointing` and `energy`, each with `value`, `low`, `high`;
          `told_apart` are those visible words whose colour tells them apart from others of the
          category; `other_word` is the map of another word of the caption, `constant_cell` the one
          cell that most boxes have, `random_fusion` and `random_weights` the attention of
          the model with new weights there or everywhere;
        - `better_than_centre`: by map, the difference of its pointing to that of the centre prior on
          visible words, with interval;
        - `rank_correlation`: of the attention with that of random weights (Spearman), the mean;
        - `curves`: by map, `deletion` and `insertion`, each with the mean `scores` and the `area` under
          them with interval;
        - `verdict`: sentences.

    Raises:
        ValueError: when the task lacks a modality, or the data have no words that name boxes.
        DataError: when the data have no boxes.
    """
    if {"images", "text"} - set(task.backbone.modalities):
        raise ValueError(
            "Words point at regions in a model of images and text. Received: one of "
            f"{', '.join(task.backbone.modalities)}. Fix: another model."
        )
    scenes = read_scenes(task, source, split, count)
    words, grid = words_of(scenes), task.backbone.encoders["images"].grid
    has_attention = _has_attention(task, scenes)
    has_classes = not task.described[task.main_output].is_regression
    # Passes over the scenes, about as long each: one for each kind of maps, two for each kind of curves.
    total = 3 * has_attention + has_classes + 2 * (3 + has_attention) * has_classes
    passes = iter(range(1, total + 1))

    def advance():
        progress(next(passes), total)

    maps = {}
    if has_attention:
        maps = attention_maps(task, scenes)
        maps["other_word"] = swapped_maps(maps["attention"], words)
        advance()
        for name, parts in (("random_fusion", ("fusion",)), ("random_weights", None)):
            maps[name] = attention_maps(randomized(task, seed, parts), scenes)["attention"]
            advance()
    if has_classes:
        maps["grad_cam"] = cam_maps(task, words)
        advance()
    maps["constant_cell"] = [constant_cell(grid, words)] * len(words)
    maps["centre_prior"] = [centre_prior(grid)] * len(words)
    scores = {name: score_maps(each, words) for name, each in maps.items()}
    groups = np.array([scene.group for scene, _ in words])
    kinds = np.array([named.kind for _, named in words])
    rows = {kind: kinds == kind for kind in KINDS}
    rows["told_apart"] = rows["visible"] & np.array([named.is_told_apart for _, named in words])
    rows = {kind: chosen for kind, chosen in rows.items() if chosen.any()}
    oracle = np.array([oracle_points_at(grid, named.boxes) for _, named in words])
    record = {
        "num_scenes": len(scenes),
        "num_words": {kind: int(chosen.sum()) for kind, chosen in rows.items()},
        "grid": list(grid),
        "oracle": {kind: float(oracle[chosen].mean()) for kind, chosen in rows.items()},
        "maps": {
            name: {
                kind: {what: _interval(v[chosen], groups[chosen]) for what, v in each.items()}
                for kind, chosen in rows.items()
            }
            for name, each in scores.items()
        },
    }
    if "visible" in rows:
        seen = rows["visible"]
        prior = scores["centre_prior"]["pointing"]
        record["better_than_centre"] = {
            name: _interval((scores[name]["pointing"] - prior)[seen], groups[seen], None)
            for name in ("attention", "rollout", "grad_cam", "random_weights")
            if name in scores
        }
    if "attention" in maps:
        pairs = zip(maps["attention"], maps["random_weights"], strict=True)
        found = [
            stats.spearmanr(a, b, axis=None).statistic for a, b in pairs if np.ptp(a) and np.ptp(b)
        ]
        record["rank_correlation"] = float(np.mean(found)) if found else None
    record["curves"] = _curves(task, words, maps, num_curves, seed, advance)
    record["verdict"] = verdict(record)
    return record


def names_of_maps(record):
    """The names of the maps of a record: those that explain, and then those that do not."""
    names = [name for name in record["maps"] if name not in BASELINES]
    return [*names, *(name for name in BASELINES if name in record["maps"])]


def verdict(record):
    """Says what the figures mean, and of maps that are no better than the image's centre, that.

    Args:
        record: dict of `measure_grounding`.

    Returns:
        A list of sentences.
    """
    sentences = []
    for name, difference in record.get("better_than_centre", {}).items():
        own, prior = (
            record["maps"][n]["visible"]["pointing"]["value"] for n in (name, "centre_prior")
        )
        oracle = record["oracle"]["visible"]
        figures = (
            f"{own:.3f} of the visible words against {prior:.3f} for the image's centre, difference "
            f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"
        )
        called = name.replace("_", " ")
        if name == "random_weights" and difference["low"] > 0:
            sentences.append(
                f"random weights point better than the centre prior, {figures}: any network's maps follow "
                "what is striking, and only what goes beyond them was learned."
            )
        elif difference["low"] > 0:
            share = (
                f"; the best map of this grid has {oracle:.3f}, of which that is {own / oracle:.0%}"
            )
            sentences.append(f"{called} points better than the centre prior: {figures}{share}.")
        elif name == "random_weights":
            sentences.append(
                f"{called} point no better than the centre prior, as they should: {figures}."
            )
        else:
            sentences.append(
                f"{called} does no better than the centre prior: {figures}. Its maps are no evidence of "
                "what the model looks at for a word."
            )
    if not sentences:
        sentences.append("No word names one visible object: there is nothing to point at.")
    return sentences


def randomized(task, seed=0, parts=None):
    """A copy of a task with new random weights, in all parts or some.

    Args:
        task: a task.
        seed: int.
        parts: iterable of part names (see `MultimodalTask.parts`), or `None` for all.

    Returns:
        A task of the same class.

    Reference:
        Adebayo et al., "Sanity checks for saliency maps", 2018, section 3.1.
    """
    state = np.random.get_state()
    keras.utils.set_random_seed(seed)
    config = {**task.get_config(), "preprocessor": task.preprocessor}
    config["backbone"] = type(task.backbone).from_config(task.backbone.get_config())
    copy = type(task)(**config)
    np.random.set_state(state)
    if parts is not None:
        for part in set(task.parts) - set(parts):
            for layer, new in zip(task.parts[part], copy.parts[part], strict=True):
                new.set_weights(layer.get_weights())
    return copy


def _has_attention(task, scenes):
    try:
        next(attention_of(task, scenes[:1]))
    except ValueError:
        return False
    return True


def _interval(values, groups, limits=(0.0, 1.0)):
    """The mean of values and its interval, over images, whose words belong together; or `None`."""
    known = ~np.isnan(values)
    values, groups = values[known], groups[known]
    if not len(values):
        return None
    drawn = draw_all(lambda w: {"mean": values @ w / w.sum(axis=0)}, len(values), groups)
    return with_interval(drawn["mean"], limits)


def _curves(task, words, maps, count, seed, advance):
    """Deletion and insertion curves of the category's probability, from the image without its text."""
    names = list(task.label_names)
    chosen = [
        (row, scene, names.index(named.category))
        for row, (scene, named) in enumerate(words)
        if named.kind == "visible" and named.category in names
    ][:count]
    if not chosen or task.described[task.main_output].is_regression:
        return {}
    grid, curves = task.backbone.encoders["images"].grid, {}
    compared = {
        name: maps[name] for name in ("attention", "grad_cam", "centre_prior") if name in maps
    }
    compared["random_order"] = {row: random_order(grid, [seed, row]) for row, _, _ in chosen}
    groups = np.array([scene.group for _, scene, _ in chosen])
    for name, each in compared.items():
        curves[name] = {}
        for what, make in (("deletion", deletion_images), ("insertion", insertion_images)):
            images = [make(scene.image, each[row]) for row, scene, _ in chosen]
            columns = np.repeat([column for *_, column in chosen], [len(own) for own in images])
            # In one call: each has a cost of its own, many times that of ten images.
            predicted = task.predict({"images": [i for own in images for i in own]}, verbose=0)
            scores = predicted[np.arange(len(columns)), columns].reshape(len(chosen), -1)
            curves[name][what] = {
                "scores": scores.mean(axis=0).tolist(),
                "area": _interval(area_under(scores), groups),
            }
            advance()
    return curves
