"""More classes for a classifier, labels that are unknown, and a teacher."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.pipeline import build_dataset
from data_prep.sources.joined import JoinedSource
from data_prep.sources.shapes import ShapesSource
from data_prep.splits import Selection
from mmlearn import MultimodalBackbone, MultimodalClassifier, encoders, fusions
from mmlearn.losses.distillation import distillation
from mmlearn.training.checkpoints import Checkpoints
from mmlearn.training.continual import continual_learner, with_classes
from mmlearn.training.data import SourceData
from mmlearn.training.feature_cache import FeatureCache
from mmlearn.training.phase import TrainingPhase
from mmlearn.training.phases import run_phases
from tests import toys
from tests.training.test_resume import KillAt, Killed

OLD = ["dog", "cat", "sofa"]
ALL = [*OLD, "lamp", "table"]


@pytest.fixture
def earlier():
    """A classifier of three labels, of features of texts, without dropout."""
    return build()


def build(modalities=("text",), activation="sigmoid", label_names=OLD):
    keras.utils.set_random_seed(2)
    backbone = MultimodalBackbone(
        {modality: encoders.Features(length=3, dim=6) for modality in modalities},
        fusions.get("concat", dropout=0.0),
        hidden_dim=8,
        dropout=0.0,
        modality_dropout=0.0,
    )
    return MultimodalClassifier(
        backbone,
        len(label_names),
        label_names=label_names,
        activation=activation,
        hidden_dim=8,
        dropout=0.0,
    )


def inputs(count=12, modalities=("text",)):
    random = np.random.default_rng(0)
    x = {}
    for modality in modalities:
        x[f"{modality}_features"] = random.normal(size=(count, 3, 6)).astype("float32")
        x[f"{modality}_mask"] = np.ones((count, 3), "int32")
        x[f"{modality}_present"] = np.ones(count, "int32")
    return x


def new_labels(count=12):
    """Labels of the new classes alone."""
    known = np.random.default_rng(1).integers(0, 2, (count, 2))
    return np.hstack([np.full((count, 3), -1), known]).astype("float32")


def values(weights):
    return [np.array(weight) for weight in weights]


def fit(task, labels=None, epochs=5, rate=0.3, **options):
    """Without a graph, which would take longer than these few steps."""
    task.compile(keras.optimizers.SGD(rate), run_eagerly=True, **options)
    labels = new_labels() if labels is None else labels
    x = inputs(len(labels))
    return task.fit(x, labels, batch_size=12, epochs=epochs, shuffle=False, verbose=0).history


def test_old_classes_keep_their_weights_and_predictions(earlier):
    wider = with_classes(earlier, ALL)
    assert (wider.num_classes, wider.label_names) == (5, ALL)
    for part in ("fusion", "text_encoder"):
        ours, theirs = (
            [w for layer in t.parts[part] for w in layer.weights] for t in (wider, earlier)
        )
        for own, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(own, other)
    kernel, bias = wider.heads["classes"].get_weights()
    old_kernel, old_bias = earlier.heads["classes"].get_weights()
    np.testing.assert_array_equal(kernel[:, :3], old_kernel)
    np.testing.assert_array_equal(bias[:3], old_bias)
    assert kernel[:, 3:].any()
    before, after = earlier(inputs()), wider(inputs())
    # A product of more columns may be computed in another order.
    np.testing.assert_allclose(after["classes"][:, :3], before["classes"], rtol=1e-6)


def test_every_head_is_widened_and_the_copy_is_apart():
    both = ("images", "text")
    earlier = build(both)
    before = earlier(inputs(4, both))
    wider = with_classes(earlier, ALL)
    after = wider(inputs(4, both))
    for name in ("classes", "images_classes", "text_classes"):
        np.testing.assert_allclose(after[name][:, :3], before[name], rtol=1e-6)
    for variable in wider.weights:
        variable.assign(variable + 1)
    np.testing.assert_array_equal(earlier(inputs(4, both))["classes"], before["classes"])


def test_a_softmax_shares_with_the_new_classes_and_keeps_the_ratios():
    earlier = build(activation="softmax")
    before = np.asarray(earlier(inputs())["classes"])
    after = np.asarray(with_classes(earlier, ALL)(inputs())["classes"])
    np.testing.assert_allclose(after.sum(1), 1, rtol=1e-5)
    renormalised = after[:, :3] / after[:, :3].sum(1, keepdims=True)
    np.testing.assert_allclose(renormalised, before, rtol=1e-4)


def test_the_precision_of_the_copy_can_be_another(earlier):
    wider = with_classes(earlier, ALL, "mixed_bfloat16")
    assert wider.backbone.projections["text"].compute_dtype == "bfloat16"
    assert wider.heads["classes"].compute_dtype == "float32"
    before, after = earlier(inputs())["classes"], wider(inputs())["classes"]
    np.testing.assert_allclose(after[:, :3], before, atol=0.02)


def test_other_classes_at_the_front_are_refused(earlier):
    with pytest.raises(ValueError, match=r"The first classes must be those of the task\. Received"):
        with_classes(earlier, ["cat", "dog", "sofa", "lamp"])


def test_unknown_labels_teach_nothing(earlier):
    task = with_classes(earlier, ALL)
    before = values(task.heads["classes"].weights)
    fit(continual_learner(task))
    kernel, bias = values(task.heads["classes"].weights)
    np.testing.assert_array_equal(kernel[:, :3], before[0][:, :3])
    np.testing.assert_array_equal(bias[:3], before[1][:3])
    assert (bias[3:] != before[1][3:]).all()
    # With none known, nothing at all is learned.
    before = values(task.weights)
    fit(continual_learner(task), labels=np.full((12, 5), -1, "float32"))
    for own, other in zip(values(task.weights), before, strict=True):
        np.testing.assert_array_equal(own, other)


def test_where_all_labels_are_known_it_learns_what_the_task_itself_would(earlier):
    labels = np.random.default_rng(0).integers(0, 2, (12, 5)).astype("float32")
    task, plain = with_classes(earlier, ALL), with_classes(earlier, ALL)
    plain.set_weights(task.get_weights())  # the new columns too
    found, expected = fit(continual_learner(task), labels), fit(plain, labels)
    for name, history in found.items():
        np.testing.assert_allclose(history, expected[name], rtol=1e-4)
    for own, other in zip(task.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


def test_distillation_lowers_the_drift_of_the_old_classes(earlier):
    before = np.asarray(earlier(inputs())["classes"])
    task = with_classes(earlier, ALL)
    start, drift = task.get_weights(), []
    for weight in (0.0, 1.0, 5.0):
        task.set_weights(start)
        fit(continual_learner(task, earlier if weight else None, weight), epochs=15, rate=2.0)
        after = np.asarray(task(inputs())["classes"])
        drift.append(float(np.mean(distillation(before, after, "sigmoid"))))
    assert drift[0] > 2 * drift[1]
    assert drift[1] > drift[2] > 0
    np.testing.assert_array_equal(earlier(inputs())["classes"], before)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_the_loss_is_that_of_labels_and_teacher_for_every_output(activation):
    both = ("images", "text")
    earlier = build(both, activation)
    task = with_classes(earlier, ALL)
    for head in task.heads.values():
        head.set_weights([1.5 * weights + 0.1 for weights in head.get_weights()])
    x, labels = inputs(4, both), np.eye(5, dtype="float32")[[3, 4, 3, 0]]
    weights = {"classes": 1.0, "auxiliary": 0.5}
    losses = []
    for each in (continual_learner(task, earlier, 0.7), task):
        each.compile(loss_weights=weights, run_eagerly=True)
        losses.append(each.evaluate(x, labels, verbose=0, return_dict=True)["loss"])
    found, expected = losses
    ours, theirs = task(x), earlier(x)
    for name, weight in {"classes": 1.0, "images_classes": 0.5, "text_classes": 0.5}.items():
        own, other = np.asarray(ours[name]), np.asarray(theirs[name])
        apart = float(np.mean(distillation(other, own, activation)))
        assert apart > 1e-4
        expected += 0.7 * weight * apart
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_modality_that_is_absent_is_not_distilled_into_its_head():
    both = ("images", "text")
    earlier = build(both)
    task = with_classes(earlier, ALL)
    task.set_trainable(["auxiliary_heads"])
    learner = continual_learner(task, earlier, 1.0)
    learner.compile(keras.optimizers.SGD(0.3), loss_weights={"auxiliary": 1.0}, run_eagerly=True)
    for head in task.heads.values():
        head.set_weights([1.5 * weights + 0.1 for weights in head.get_weights()])
    before = {name: values(task.heads[f"{name}_classes"].weights) for name in both}
    x = {**inputs(6, both), "images_present": np.zeros(6, "int32")}
    learner.fit(x, np.full((6, 5), -1, "float32"), batch_size=6, verbose=0)
    after = {name: values(task.heads[f"{name}_classes"].weights) for name in both}
    np.testing.assert_array_equal(after["images"][0], before["images"][0])
    assert (after["text"][0] != before["text"][0]).any()


def test_a_batch_in_parts_is_the_same_update(earlier):
    ends = []
    for parts in (1, 3):
        task = with_classes(earlier, ALL)
        task.heads["classes"].set_weights([np.ones((8, 5)), np.zeros(5)])
        fit(continual_learner(task, earlier, 0.5), epochs=2, micro_batches=parts)
        ends.append(task.get_weights())
    for own, other in zip(*ends, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-6)


def test_a_learner_shares_all_weights_and_holds_none_of_its_teacher(earlier):
    task = with_classes(earlier, ALL)
    learner = continual_learner(task, earlier, 1.0)
    own = {id(variable) for variable in task.variables}
    assert {id(variable) for variable in learner.variables} == own


def test_teachers_that_do_not_fit_are_refused(earlier):
    task = with_classes(earlier, ALL)
    with pytest.raises(ValueError, match="first classes of the task must be those of the teacher"):
        continual_learner(task, build(label_names=["cat", "dog"]), 1.0)
    with pytest.raises(ValueError, match=r"same activation\. Received: 'sigmoid' and 'softmax'"):
        continual_learner(task, build(activation="softmax"), 1.0)
    with pytest.raises(ValueError, match="must have the inputs and outputs of its teacher"):
        continual_learner(task, build(("images", "text")), 1.0)
    learner = continual_learner(task, earlier, 1.0)
    with pytest.raises(ValueError, match=r"The teacher needs the examples themselves.* Fix: train"):
        learner.with_backbone(task.backbone)


# --- In phases ---------------------------------------------------------------------------------

PHASES = (
    TrainingPhase("first", 2, ("fusion", "head"), learning_rate=1e-2, restore_best=True),
    TrainingPhase("second", 1, learning_rate=1e-2),
)


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """Scenes of which the earlier ones know three shapes, and the new ones the others."""
    root = str(tmp_path_factory.mktemp("data") / "shapes")
    scenes = ShapesSource(root, num_train=16, num_val=6)
    rows = Selection(scenes, {"train": ("train", np.arange(6))})
    return JoinedSource(
        {"earlier": _Columns(rows, slice(0, 3)), "new": _Columns(scenes, slice(3, 8))}
    )


class _Columns(Selection):
    """A source with some of its classes."""

    def __init__(self, source, columns):
        whole = {s: (s, np.arange(len(source.examples(s)))) for s in source.splits}
        super().__init__(source, whole)
        self.columns = columns
        self.label_names = source.label_names[columns]

    def _read_split(self, split):
        index, report = super()._read_split(split)
        return dataclasses.replace(index, labels=index.labels[:, self.columns]), report


def build_pair(joined):
    """The toy of texts for the first classes, and the wider one."""
    keras.utils.set_random_seed(2)
    earlier = MultimodalClassifier(
        toys.backbone(("text",), "concat"),
        3,
        preprocessor=toys.preprocessor(("text",)),
        label_names=joined.label_names[:3],
        hidden_dim=8,
    )
    return earlier, with_classes(earlier, joined.label_names)


def train_in_phases(joined, folder, kill=None):
    """Trains anew or on from the checkpoints; returns the task and the records."""
    earlier, task = build_pair(joined)
    learner = continual_learner(task, earlier, 0.5)
    records = run_phases(
        learner,
        PHASES,
        SourceData(joined, task.preprocessor, 4, augmentations=("drop_words",)),
        checkpoints=Checkpoints(folder) if folder else None,
        checkpoint_seconds=0.0,
        callbacks=[] if kill is None else [lambda phase: kill],
    )
    return task, records


@pytest.mark.large
def test_training_goes_on_exactly_after_an_interruption(joined, tmp_path):
    tf.config.experimental.enable_op_determinism()
    whole, expected = train_in_phases(joined, None)
    with pytest.raises(Killed):
        train_in_phases(joined, str(tmp_path), KillAt(batches=7))  # within the second epoch
    task, records = train_in_phases(joined, str(tmp_path))
    assert records == expected
    for own, other in zip(task.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    # None of the arrays is the teacher's.
    assert len(Checkpoints(str(tmp_path)).latest().arrays) == len(task.variables)


@pytest.mark.large
def test_without_a_teacher_features_are_stored(joined, tmp_path):
    _, task = build_pair(joined)
    learner = continual_learner(task)
    phase = TrainingPhase("fusion", 2, ("fusion", "head"), augment=False, learning_rate=1e-2)
    data = SourceData(joined, task.preprocessor, 4)
    before = values(task.heads["classes"].weights)
    records = run_phases(learner, [phase], data, feature_cache=FeatureCache(str(tmp_path), "data"))
    assert records[0]["stored_features"] == ["text"]
    assert np.isfinite(list(records[0]["history"].values())).all()
    assert (values(task.heads["classes"].weights)[1] != before[1]).any()


@pytest.mark.large
def test_validation_counts_the_known_classes(joined):
    _, task = build_pair(joined)
    learner = continual_learner(task)
    learner.compile()
    dataset = build_dataset(joined, "val", task.preprocessor, 6)
    found = learner.evaluate(dataset, verbose=0, return_dict=True)
    own = MultimodalClassifier(
        task.backbone, 5, preprocessor=task.preprocessor, hidden_dim=8, dropout=0.0
    )
    own.heads["hidden"].set_weights(task.heads["hidden"].get_weights())
    kernel, bias = task.heads["classes"].get_weights()
    own.heads["classes"].set_weights([kernel[:, 3:], bias[3:]])
    own.compile()
    new = build_dataset(joined.sources["new"], "val", task.preprocessor, 6)
    expected = own.evaluate(new, verbose=0, return_dict=True)
    for name, value in found.items():
        assert value == pytest.approx(expected[name], rel=1e-4), name
