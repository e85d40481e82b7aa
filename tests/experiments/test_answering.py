"""The task of answers: built from a config, measured by the official accuracy, drawn."""

import dataclasses
import json
import os

import numpy as np
import pytest

from data_prep.pipeline import build_dataset
from data_prep.sources.relabelled import RelabelledSource
from data_prep.sources.shapes import ShapesSource
from data_prep.sources.shapes_questions import ShapesQuestionsSource
from data_prep.sources.vqa_v2 import VqaV2Source
from mmlearn import VisualQuestionAnswerer
from mmlearn.cli.main import main
from mmlearn.evaluation.vqa import answer_accuracies, score_answers
from mmlearn.experiments import EXPERIMENTS, tasks
from mmlearn.experiments.baselines import label_prior
from mmlearn.experiments.build import build_task, build_unlabeled

KIND = tasks.get("answering")
SMALL = {"hidden_dim": 16, "head_hidden_dim": 8}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    return ShapesQuestionsSource(str(root), num_train=12, num_val=6)


@pytest.fixture(scope="module")
def task(source):
    config = dataclasses.replace(EXPERIMENTS["shapes_vqa"].model, **SMALL)
    return build_task(config, source)


@pytest.fixture(scope="module")
def measured(task, source):
    dataset = build_dataset(source, "val", task.preprocessor, 8)
    return KIND.measure(task, source, "val", dataset, label_prior(source, "train"))


def test_a_config_makes_a_model_of_the_answers(task, source):
    assert type(task) is VisualQuestionAnswerer
    assert task.label_names == source.label_names
    assert tasks.kind_of(task) is KIND
    # It starts from the prior: of all answers the most frequent is likeliest, whatever is asked.
    bias = task.heads["text_classes"].bias.numpy()
    assert bias.argmax() == label_prior(source, "train").argmax()


def test_rows_are_the_model_and_what_it_must_beat(task, source, measured):
    modalities = {"question_only", "image_only", "without_images", "without_text"}
    baselines = {"prior", "prior_by_question_type"}
    oracles = {"oracle_visible", "oracle_question", "vocabulary"}
    assert next(iter(measured.metrics)) == "model"
    assert set(measured.metrics) == {"model", *modalities, *baselines, *oracles}
    details = source.examples("val").details
    for name, found in measured.metrics.items():
        own = measured.predictions[f"accuracy_{name}"]
        assert found == pytest.approx(score_answers(own, details["answer_type"])), name
        assert set(measured.intervals[name]) == set(found)
    x = build_dataset(source, "val", task.preprocessor, 8).map(lambda x, *_: x)
    answers = task.answer(x, verbose=0)
    assert measured.predictions["answers"].tolist() == answers
    expected = answer_accuracies(answers, details["answers"])
    np.testing.assert_array_equal(measured.predictions["accuracy_model"], expected)
    assert (
        measured.metrics["vocabulary"]["accuracy"] >= measured.metrics["oracle_visible"]["accuracy"]
    )
    assert measured.metrics["oracle_visible"]["accuracy"] > measured.metrics["prior"]["accuracy"]
    compared = measured.comparisons["over_question_only"]
    assert (compared["first"], compared["second"]) == ("model", "question_only")
    kinds = measured.per_class["model"]
    assert set(kinds) <= {"is there", *(f"{w}" for w in ("how many", "what color"))}
    assert sum(each["questions"] for each in kinds.values()) == len(answers)
    json.dumps([measured.metrics, measured.details])


@pytest.mark.large
def test_figures_show_answers_and_reasons(task, source, measured, tmp_path):
    KIND.draw(task, source, measured, str(tmp_path))
    names = os.listdir(tmp_path)
    assert "answers.png" in names
    for kind in ("attention", "rationale"):
        assert any(name.startswith(kind) for name in names), kind


def test_other_answers_are_read_as_those_of_the_model(task, source, tmp_path):
    assert KIND.open(task, source) is source
    other = VqaV2Source(source.root, num_answers=3)
    opened = KIND.open(task, other)
    assert isinstance(opened, RelabelledSource)
    assert opened.label_names == task.label_names


def test_data_without_answers_are_refused(task, tmp_path):
    scenes = ShapesSource(str(tmp_path / "shapes"), num_train=2, num_val=2)
    message = r"no questions with the answers of people\. Fix: --data\.source vqa_v2"
    with pytest.raises(ValueError, match=message):
        build_task(EXPERIMENTS["shapes_vqa"].model, scenes)
    with pytest.raises(ValueError, match=message):
        KIND.open(task, scenes)


def test_captions_are_of_the_scenes_that_are_asked_about(source):
    experiment = EXPERIMENTS["shapes_vqa"]
    data = dataclasses.replace(experiment.data, root=source.root, options={})
    found = build_unlabeled(experiment.unlabeled, data)
    assert found.root == source.root
    for split in ("train", "val"):
        assert set(found.examples(split).images) == set(source.examples(split).images)


@pytest.mark.large
def test_from_training_to_answers_by_the_command_line(source, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    train = [
        *("train", "shapes_vqa", "--data.root", source.root, "--output", "out"),
        *("--data.options", "num_train=12", "num_val=6", "--model.hidden-dim", "16"),
        *("--training.phases.0.epochs", "1", "--training.phases.1.epochs", "1"),
        *("--training.pretrain-epochs", "1", "--training.precision", "float32"),
        *("--training.batch-size", "8", "--json"),
    ]
    assert main(train) == 0
    assert not os.path.exists("data")  # captions are of the same scenes
    summary = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    with open("out/run.json") as file:
        record = json.load(file)
    assert record["task"] == "VisualQuestionAnswerer"
    assert record["metrics"] == summary["metrics"]
    assert main(["evaluate", "out", "--json", "--per-class"]) == 0
    again = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["metrics"]
    assert again["model"] == pytest.approx(record["metrics"]["model"])
    image = source.examples("val").images[0]
    question = ["--image", image, "--text", "how many stars are there?", "--json"]
    assert main(["predict", "out", *question]) == 0
    labels = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["labels"]
    assert set(labels) <= set(source.label_names)
    assert main(["explain", "out", *question]) == 0
    found = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["rationale"]
    assert found["answer"] == max(labels, key=labels.get)
    assert len(found["regions"]) == 3
