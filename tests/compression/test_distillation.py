"""A student that learns from a teacher's predictions, attention and weights."""

import keras
import numpy as np
import pytest

from mmlearn.compression.distillation import distillation_learner
from mmlearn.experiments.compression_config import DistillationConfig
from mmlearn.losses.distillation import divergence
from tests import toys


def build(num_heads, **kwargs):
    fusion = toys.get_fusion("cross_attention").get_config() | {"num_heads": num_heads}
    return toys.classifier(
        fusion=type(toys.get_fusion("cross_attention")).from_config(fusion), **kwargs
    )


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(1)
    task = build(4)
    for variable in task.trainable_variables:  # far from a new student
        variable.assign(variable + keras.random.normal(variable.shape, stddev=0.1))
    return task


def rows_of(task):
    x, y = toys.examples(4)
    return next(iter(task._raw_dataset(x, y.astype("float32"), batch_size=4)))


def kl(teacher, student):
    teacher, student = (np.clip(p.astype("float64"), 1e-7, 1) for p in (teacher, student))
    return (teacher * np.log(teacher / student)).sum(-1)


def test_divergence_is_that_of_the_rows_that_count():
    random = np.random.default_rng(0)
    teacher, student = (random.dirichlet(np.ones(5), (2, 3)).astype("float32") for _ in range(2))
    student[1, 2] = 0
    rows = kl(teacher, student)
    expected = [rows[0].mean(), rows[1, :2].mean()]
    np.testing.assert_allclose(divergence(teacher, student), expected, rtol=1e-5)


@pytest.mark.large
def test_attention_and_weights_are_losses_beside_that_of_the_labels(teacher):
    student, losses = build(2), {}
    batch = rows_of(student)
    for name, weights in {
        "labels": {"weight": 0, "attention": 0, "modality_weights": 0},
        "attention": {"weight": 0, "attention": 0.7, "modality_weights": 0},
        "weights": {"weight": 0, "attention": 0, "modality_weights": 0.3},
    }.items():
        learner = distillation_learner(student, teacher, DistillationConfig(**weights))
        learner.compile("sgd", loss_weights={"main": 1.0})
        x, y, sample_weight = learner.preprocess_samples(*batch)
        predicted = learner(x, training=False)
        losses[name] = float(learner.compute_loss(x, y, predicted, sample_weight, training=False))
    own, taught = (task.explain(toys.examples(4)[0]) for task in (student, teacher))
    real = np.asarray(x["padding_mask"]) == 1
    expected = 0
    for direction, scores in own["attention_scores"].items():
        rows = kl(taught["attention_scores"][direction].mean((1, 2)), scores.mean((1, 2)))
        used = real if direction.startswith("text") else np.ones(rows.shape, bool)
        expected += np.mean([row[mask].mean() for row, mask in zip(rows, used, strict=True)])
    assert losses["attention"] - losses["labels"] == pytest.approx(0.7 * expected, rel=1e-3)
    expected = kl(taught["modality_weights"], own["modality_weights"]).mean()
    assert losses["weights"] - losses["labels"] == pytest.approx(0.3 * expected, rel=1e-3, abs=1e-6)


@pytest.mark.large
def test_a_student_comes_nearer_to_its_teacher_and_leaves_it_alone(teacher):
    student, before = build(2), [np.array(v) for v in teacher.get_weights()]
    learner = distillation_learner(
        student, teacher, DistillationConfig(weight=5.0, temperature=1.0)
    )
    learner.compile(keras.optimizers.Adam(3e-3))
    x = student.read_inputs(toys.examples(8)[0])
    taught, apart = teacher.predict_on_batch(x)["classes"], []
    # The labels say nothing against the teacher.
    for steps in (0, 15):
        for _ in range(steps):
            learner.train_on_batch(x, (taught > 0.5).astype("float32"))
        apart.append(np.abs(student.predict_on_batch(x)["classes"] - taught).mean())
    assert apart[1] < 0.7 * apart[0]
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_phases_that_do_not_train_the_main_output_leave_attention_out(teacher):
    learner = distillation_learner(build(2), teacher, DistillationConfig())
    names = {"text_to_images_attention", "images_to_text_attention", "modality_weights"}
    assert names <= set(learner._expand({"main": 1.0}))
    assert not names & set(learner._expand({"auxiliary": 1.0}))


def test_a_student_that_sees_something_else_is_refused(teacher, monkeypatch):
    monkeypatch.setattr(toys, "IMAGE_SIZE", 48)
    with pytest.raises(
        ValueError, match=r"A student sees what its teacher sees.*images \(48, 48, 3\)"
    ):
        distillation_learner(build(2), teacher, DistillationConfig())
    monkeypatch.undo()
    monkeypatch.setattr(toys, "WORDS", toys.WORDS[::-1])
    with pytest.raises(ValueError, match=r"their vocabularies differ. Fix: the teacher's"):
        distillation_learner(build(2), teacher, DistillationConfig())
