"""What predictions are worth when the data are damaged: curves over severity, and their sums."""

from dataclasses import dataclass, field

import numpy as np

from data_prep.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from data_prep.synonyms import SYNONYMS
from data_prep.text_noise import NOISES, add_noise, first_words
from mmlearn.evaluation.contribution import derangement
from mmlearn.evaluation.encoded import EncodedPredictor
from mmlearn.evaluation.intervals import draw_all, with_interval
from mmlearn.evaluation.scores import score_name, weighted_score

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the examples that are absent, blank or exchanged
LENGTHS = (16, 8, 4, 2, 1)  # words that are left of a text
GREY = 127.0
BLANK_TEXT = "."  # it is there and says nothing


@dataclass(frozen=True)
class Curve:
    """Predictions at rising levels of one kind of damage.

    Attributes:
        modality: str, what is damaged.
        kind: str, such as `"corruption"`, `"noise"`, `"length"`, `"absent"`, `"blank"`, `"exchanged"`.
        name: str, unique within the modality.
        levels: list, what the levels are called: severities, shares, words.
        fused: list of `(num_examples, num_columns)`, one per level.
        alone: likewise, what the modality's own head predicts; empty where it has none.
    """

    modality: str
    kind: str
    name: str
    levels: list
    fused: list = field(default_factory=list)
    alone: list = field(default_factory=list)


@dataclass(frozen=True)
class Damaged:
    """All predictions of a robustness test.

    Attributes:
        labels: array `(num_examples, num_columns)`.
        clean: dict of `"fused"` and of each modality with a head of its own to `(num_examples,
            num_columns)`.
        without: dict of modality to the fused predictions with it declared absent.
        prior: `(num_examples, num_columns)`.
        curves: list of `Curve`.
    """

    labels: np.ndarray
    clean: dict
    without: dict
    prior: np.ndarray
    curves: list


class DamageTest:
    """Damages one modality after the other and predicts. What is not damaged is encoded once.

    Images are damaged as the model gets them, at its size, so that a severity means the same whatever
    the size of the photos; texts before they are tokenized.

    Args:
        task: `MultimodalClassifier`, or another `PredictionTask`: its main head is measured.
        dataset: dataset of `(x, y, ...)` of model inputs, in a fixed order.
        texts: list of str, those of the dataset's examples; `None` where the model takes no text.
        prior: float array `(num_columns,)`, the prediction from nothing.
        batch_size: int.
        seed: int. Of all damage; each example has draws of its own.
        known: dict of word to other ways to say it, see `data_prep.synonyms`.
    """

    def __init__(self, task, dataset, texts, prior, batch_size=32, seed=0, known=SYNONYMS):
        self.task, self.texts, self.seed, self.known = task, texts, seed, known
        self.predictor = EncodedPredictor(task, batch_size)
        self.batch_size = batch_size
        self.examples = self.predictor.encode(dataset)
        self.prior = np.tile(np.asarray(prior, np.float32), (len(self.examples), 1))
        self.images = None
        if "images" in task.backbone.encoders and "images" in task.input:
            # In a byte per colour: what is damaged is rounded anyway.
            batches = [np.asarray(x["images"]) for x, *_ in dataset]
            self.images = np.concatenate(
                [np.clip(np.round(b), 0, 255).astype(np.uint8) for b in batches]
            )

    def curves(self):
        """The curves that `run` will fill: a list of `Curve` without predictions."""
        found = []
        if self.images is not None:
            found += [Curve("images", "corruption", n, [*SEVERITIES]) for n in CORRUPTIONS]
        if self._has_text:
            found += [Curve("text", "noise", name, [*SEVERITIES]) for name in NOISES]
            found.append(Curve("text", "length", "first_words", [*LENGTHS]))
        for modality in self.task.backbone.modalities:
            if len(self.task.backbone.modalities) > 1:
                found.append(Curve(modality, "absent", "absent", [*SHARES]))
            if (modality == "images" and self.images is not None) or (
                modality == "text" and self._has_text
            ):
                found.append(Curve(modality, "blank", "blank", [*SHARES]))
            if len(self.task.backbone.modalities) > 1:
                found.append(Curve(modality, "exchanged", "of_another_example", [*SHARES]))
        return found

    def run(self, curves=None, progress=None):
        """Predicts all levels of all curves.

        Args:
            curves: list of `Curve` without predictions, by default `self.curves()`.
            progress: function `(done, total)`, or `None`.

        Returns:
            `Damaged`.
        """
        curves = self.curves() if curves is None else curves
        total, done = sum(len(curve.levels) for curve in curves), 0
        clean = self._predict(self.examples)
        without = {}
        if len(self.examples.modalities) > 1:
            for modality in self.examples.modalities:
                without[modality] = self._predict(self.examples.without(modality))["fused"]
        filled = []
        for curve in curves:
            fused, alone = [], []
            for level in curve.levels:
                found = self._predict(self._damage(curve, level))
                fused.append(found["fused"])
                if curve.modality in found and curve.kind in ("corruption", "noise", "length"):
                    alone.append(found[curve.modality])
                done += 1
                if progress is not None:
                    progress(done, total)
            filled.append(Curve(curve.modality, curve.kind, curve.name, curve.levels, fused, alone))
        return Damaged(self.examples.labels, clean, without, self.prior, filled)

    @property
    def _has_text(self):
        return self.texts is not None and "token_ids" in self.task.input

    def _predict(self, examples):
        found = self.predictor.predict(examples)
        found.pop("modality_weights", None)
        there = {**examples.present, "fused": examples.has_any}
        return {n: np.where(there[n][:, None], v, self.prior) for n, v in found.items()}

    def _damage(self, curve, level):
        modality = curve.modality
        if curve.kind == "absent":
            return self.examples.without(modality, self._rows(modality, level))
        if curve.kind == "exchanged":
            rows = np.zeros(len(self.examples), bool)
            rows[self._rows(modality, level)] = True
            random = np.random.default_rng([self.seed, 1])
            return self.examples.exchanged(modality, derangement(rows, random))
        if curve.kind == "blank":
            return self._replace_some(modality, self._rows(modality, level))
        if modality == "images":
            return self._with_images(
                lambda image, row: corrupt(image, curve.name, level, (self.seed, row))
            )
        if curve.kind == "length":
            return self._with_texts([first_words(text, level) for text in self.texts])
        return self._with_texts(
            [
                add_noise(text, curve.name, level, (self.seed, row), self.known)
                for row, text in enumerate(self.texts)
            ]
        )

    def _rows(self, modality, share):
        """The rows that are hit at a share: more of the same at a larger one."""
        there = np.flatnonzero(self.examples.present[modality])
        order = np.random.default_rng([self.seed, 0]).permutation(there)
        return order[: round(share * len(order))]

    def _replace_some(self, modality, rows):
        hit = set(rows.tolist())
        if modality == "images":
            return self._with_images(
                lambda image, row: np.full_like(image, GREY) if row in hit else image
            )
        return self._with_texts(
            [BLANK_TEXT if row in hit else text for row, text in enumerate(self.texts)]
        )

    def _with_images(self, change):
        present, features, masks = self.examples.present["images"], [], []
        for start in range(0, len(self.images), self.batch_size):
            rows = range(start, min(start + self.batch_size, len(self.images)))
            batch = [change(self.images[r], r) if present[r] else self.images[r] for r in rows]
            inputs = {"images": np.stack(batch).astype(np.float32)}
            found, known = self.predictor.encode_inputs(inputs)
            features.append(found["images"])
            masks.append(known["images"])
        return self.examples.replaced(
            {"images": np.concatenate(features)}, {"images": np.concatenate(masks)}
        )

    def _with_texts(self, texts):
        names = self.task.backbone.encoders["text"].model_inputs("text")
        features, masks, present = [], [], []
        for start in range(0, len(texts), self.batch_size):
            x = self.task.preprocessor({"text": texts[start : start + self.batch_size]})
            inputs = {name: np.asarray(x[name]) for name in names}
            found, known = self.predictor.encode_inputs(inputs)
            features.append(found["text"])
            masks.append(known["text"])
            present.append(np.asarray(x["text_present"]) == 1)
        return self.examples.replaced(
            {"text": np.concatenate(features)},
            {"text": np.concatenate(masks)},
            {"text": np.concatenate(present)},
        )


def measure_robustness(head, damaged, num_resamples=300, seed=0, groups=None):
    """Sums up what damage costs.

    Of each curve, with s_0 the score (mAP, or R²) of the undamaged data and s_1 to s_k those of the k
    levels: `area`, that under the curve over the levels 0 to k, divided by k, by trapezoids; and
    `relative`, the mean of s_1 to s_k divided by s_0, the relative robustness. The mean over all
    corruptions of a modality is its own.

    Args:
        head: `Head` of the predictions.
        damaged: `Damaged`.
        num_resamples: int. Of the bootstrap over examples, the same resamples for everything.
        seed: int.
        groups: int array `(num_examples,)`, or `None`. Examples of a group are resampled together.

    Returns:
        A dict of plain JSON types: `score` (its name), `num_examples`, `clean` (dict of `fused` and of
        modalities), `without` (dict of modality), `prior`, `curves` (list of dicts of `modality`,
        `kind`, `name`, `levels`, `fused`, `alone` (lists), `area`, `relative`) and `relative` (dict of
        modality to the mean over its corruptions or noises). Scores are dicts of `value`, `low`, `high`.

    Reference:
        After Hendrycks and Dietterich 2019, section 4.2, whose errors are relative to those of another
        model, not to the clean score.
    """
    labels = damaged.labels

    predictions = {("clean", name): values for name, values in damaged.clean.items()}
    predictions.update({("without", name): values for name, values in damaged.without.items()})
    predictions["prior",] = damaged.prior
    for place, curve in enumerate(damaged.curves):
        for what in ("fused", "alone"):
            for level, values in enumerate(getattr(curve, what)):
                predictions[what, place, level] = values

    def measure(weights):
        values = {
            name: weighted_score(head.kind, labels, each, weights)
            for name, each in predictions.items()
        }
        clean, gathered = values["clean", "fused"], {}
        whole = np.where(clean == 0, np.nan, clean)
        for place, curve in enumerate(damaged.curves):
            path = [clean, *(values["fused", place, level] for level in range(len(curve.levels)))]
            values["area", place] = np.trapezoid(path, axis=0) / len(curve.levels)
            values["relative", place] = np.mean(path[1:], axis=0) / whole
            if curve.kind in ("corruption", "noise"):
                gathered.setdefault(curve.modality, []).append(values["relative", place])
        for modality, found in gathered.items():
            values["mean_relative", modality] = np.mean(found, axis=0)
        return values

    drawn = draw_all(measure, len(labels), groups, num_resamples, seed)
    ratios = ("relative", "mean_relative")
    intervals = {
        name: with_interval(values, None if head.is_regression or name[0] in ratios else (0.0, 1.0))
        for name, values in drawn.items()
    }

    def named(kind):
        return {name[1]: each for name, each in intervals.items() if name[0] == kind}

    return {
        "score": score_name(head.kind),
        "num_examples": len(labels),
        "clean": named("clean"),
        "without": named("without"),
        "prior": intervals["prior",],
        "curves": [
            {
                "modality": curve.modality,
                "kind": curve.kind,
                "name": curve.name,
                "levels": list(curve.levels),
                **{
                    what: [intervals[what, place, n] for n in range(len(getattr(curve, what)))]
                    for what in ("fused", "alone")
                },
                "area": intervals["area", place],
                "relative": intervals["relative", place],
            }
            for place, curve in enumerate(damaged.curves)
        ],
        "relative": named("mean_relative"),
    }
