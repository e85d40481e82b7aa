"""Going on from an earlier run: what is opened, joined, refused, trained and measured."""

import dataclasses
import io
import json
import os
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from data_prep.errors import DataError
from data_prep.fingerprint import fingerprint
from data_prep.sources.table import TableSource
from mmlearn import MultimodalClassifier
from mmlearn.cli.tables import forgetting_table
from mmlearn.evaluation.forgetting import measure_forgetting
from mmlearn.experiments.build import build_source
from mmlearn.experiments.config import (
    ContinualConfig,
    DataConfig,
    Experiment,
    ImagesConfig,
    ModelConfig,
    TaskConfig,
    TrainingConfig,
    from_dict,
    to_dict,
)
from mmlearn.experiments.continual import (
    draw_rehearsal,
    open_earlier,
    weights_print,
    with_earlier_model,
)
from mmlearn.experiments.run import fit, open_checkpoints
from mmlearn.experiments.scoring import evaluate_model
from mmlearn.training.phase import TrainingPhase
from tests import toys
from tests.training.test_resume import KillAt, Killed

OPTIONS = {"text": "title", "labels": "kind", "split": "split"}
OLD, NEW = ("cat", "dog"), ("blue", "dog", "red")


def write_table(path, words, count, num_val):
    """Texts that name some of the words, which are their labels."""
    random = np.random.default_rng(len(words))
    rows = ["title,kind,split"]
    for row in range(count + num_val):
        named = [word for word in words if random.random() < 0.5] or [words[0]]
        title = " ".join(random.permutation([*named, "on", "the", "sofa"]))
        rows.append(f"{title},{'|'.join(named)},{'train' if row < count else 'val'}")
    path.write_text("\n".join(rows))
    return str(path)


def make_experiment(root, **changes):
    phases = (
        TrainingPhase("head", 1, ("fusion", "head"), learning_rate=1e-2),
        TrainingPhase("end to end", 2, learning_rate=1e-2, loss_weights={"classes": 1.0}),
    )
    training = TrainingConfig(phases, batch_size=4, precision="float32", strategy="none")
    return Experiment(
        **{
            "name": "pets",
            "data": DataConfig(source="table", root=root, options=OPTIONS),
            "model": ModelConfig(modalities=("text",)),
            "training": training,
            **changes,
        }
    )


def save_run(folder, experiment, names, **options):
    """Leaves in a folder what going on needs of a run: the preset and the record."""
    keras.utils.set_random_seed(1)
    task = MultimodalClassifier(
        toys.backbone(("text",), "concat"),
        len(names),
        preprocessor=toys.preprocessor(("text",)),
        label_names=list(names),
        hidden_dim=8,
        **options,
    )
    task.save_to_preset(folder / "preset")
    data_print = fingerprint(build_source(experiment.data), ("train", "val"))
    prior = [0.5] * len(names)
    data = {"fingerprint": data_print, "label_prior": prior}
    (folder / "run.json").write_text(json.dumps({"config": to_dict(experiment), "data": data}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The old and the new data, and the earlier run, which is not trained: that does not matter."""
    folder = tmp_path_factory.mktemp("continual")
    write_table(folder / "old.csv", OLD, 16, 12)
    write_table(folder / "new.csv", NEW, 24, 10)
    model = ModelConfig(modalities=("text",), hidden_dim=77)
    save_run(folder / "earlier", make_experiment(str(folder / "old.csv"), model=model), OLD)
    return folder


@pytest.fixture
def experiment(folder):
    """Of the new data, going on."""
    return going_on(folder)


def going_on(folder, data=None, **options):
    config = ContinualConfig(**{"model": str(folder / "earlier"), **options})
    return make_experiment(str(data or folder / "new.csv"), continual=config)


def open_quietly(experiment):
    """Returns the `Earlier` and what was printed."""
    text = io.StringIO()
    console = Console(file=text, width=1000)
    return open_earlier(experiment, "elsewhere", console), text.getvalue()


def join(experiment):
    """Returns the joined source, the `Earlier` and what was printed."""
    earlier, _ = open_quietly(experiment)
    text = io.StringIO()
    source = earlier.join(build_source(experiment.data), experiment, Console(file=text, width=1000))
    return source, earlier, text.getvalue()


def test_the_model_is_the_earlier_one_whatever_the_config_says(experiment, folder, tmp_path):
    assert with_earlier_model(experiment).model.hidden_dim == 77
    alone = make_experiment(str(folder / "new.csv"))
    assert with_earlier_model(alone) is alone
    # A preset alone says nothing of the config that it was made by.
    shutil.copytree(folder / "earlier" / "preset", tmp_path / "preset")
    bare = going_on(folder, model=str(tmp_path / "preset"))
    assert with_earlier_model(bare) is bare


def test_the_preset_itself_can_be_named(folder):
    inside = going_on(folder, model=str(folder / "earlier" / "preset"))
    assert with_earlier_model(inside).model.hidden_dim == 77
    assert open_quietly(inside)[0].source is not None


def test_the_earlier_data_are_those_of_the_record(experiment, folder):
    earlier, printed = open_quietly(experiment)
    assert (earlier.source.label_names, earlier.reason, printed) == (["cat", "dog"], None, "")
    expected = TableSource(str(folder / "old.csv"), **OPTIONS)
    for split in ("train", "val"):
        assert earlier.source.examples(split).captions == expected.examples(split).captions
    again = MultimodalClassifier.from_preset(str(folder / "earlier" / "preset"))
    assert earlier.weights == weights_print(again)
    (weight, *_) = again.weights
    weight.assign(np.array(weight) + 1e-6)
    assert earlier.weights != weights_print(again)


@pytest.fixture
def adding(folder, tmp_path):
    """Going on with the same texts and images beside them, which the model gets an encoder for."""
    rows = (folder / "new.csv").read_text().split("\n")
    pixels = np.random.default_rng(0).integers(0, 256, (len(rows), 40, 40, 3), np.uint8)
    for number, row in enumerate(rows):
        rows[number] = f"{row},{f'{number}.png' if number else 'photo'}"
        Image.fromarray(pixels[number]).save(tmp_path / f"{number}.png")
    (tmp_path / "new.csv").write_text("\n".join(rows))
    experiment = going_on(folder, tmp_path / "new.csv", add=("images",), rehearsal=0.25)
    phases = (
        TrainingPhase("new", 1, ("images",), learning_rate=1e-2),
        TrainingPhase("end to end", 1, learning_rate=1e-2),
    )
    data = dataclasses.replace(experiment.data, options={**OPTIONS, "images": "photo"})
    images = ImagesConfig(name="resnet_tiny", weights="none", image_size=32)
    return dataclasses.replace(
        experiment,
        data=data,
        model=ModelConfig(modalities=("text",), images=images),
        training=dataclasses.replace(experiment.training, phases=phases),
    )


def test_a_modality_is_added_to_the_earlier_model(adding):
    config = with_earlier_model(adding).model
    assert (config.modalities, config.hidden_dim) == (("text", "images"), 77)
    assert config.images.image_size == 32
    source, earlier, _ = join(adding)
    task = earlier.build_classifier(source, config)
    assert task.backbone.modalities == earlier.modalities == ("images", "text")
    assert "images_fusion" in task.parts
    texts = {"text": ["a dog", "on the sofa"]}
    before = earlier.task.predict(texts, verbose=0)
    np.testing.assert_allclose(task.predict(texts, verbose=0)[:, :2], before, atol=1e-6)


@pytest.mark.large
def test_an_added_modality_is_trained(adding):
    run = fit(adding)
    assert [record["name"] for record in run.history] == ["new", "end to end"]
    assert run.task.backbone.modalities == ("images", "text")
    assert run.measured.metrics["images"]["num_examples"] == 10
    assert run.forgetting["before"] != run.forgetting["after"]
    assert run.task.backbone.fusion.gate.get_weights()[0] != 0


def test_what_cannot_be_added_is_refused(adding, folder):
    with pytest.raises(ValueError, match=r"--continual\.add is for going on from an earlier model"):
        open_quietly(make_experiment("new.csv", continual=ContinualConfig(add=("images",))))
    with pytest.raises(ValueError, match=r"teacher .* has none of images\. Fix: `rehearsal`"):
        ContinualConfig(model="earlier", add=("images",), distillation=1.0)
    with pytest.raises(ValueError, match=r"have no images, which cannot be added then\. Fix: "):
        join(going_on(folder, add=("images",)))
    with pytest.raises(ValueError, match=r"Unknown modality 'image'\. Did you mean 'images'"):
        join(going_on(folder, add=("image",)))
    with pytest.raises(ValueError, match=r"earlier model has text already\. Fix: leave it out"):
        join(going_on(folder, add=("text",)))


def test_without_a_model_nothing_is_opened_and_options_are_refused(folder):
    assert open_quietly(make_experiment("new.csv")) == (None, "")
    for name, value in (("rehearsal", 0.5), ("distillation", 1.0), ("root", "old.csv")):
        alone = going_on(folder, model=None, **{name: value})
        with pytest.raises(ValueError, match=rf"--continual\.{name} is for going on .*Fix: --cont"):
            open_quietly(alone)


def test_models_that_predict_no_labels_do_not_go_on(folder):
    model = ModelConfig(modalities=("text",), task=TaskConfig("retrieval"))
    with pytest.raises(ValueError, match=r"predict labels\. Received: task='retrieval'"):
        open_quietly(dataclasses.replace(going_on(folder), model=model))


def test_the_output_may_not_be_the_earlier_model(experiment, folder):
    for output in (folder / "earlier", folder / "x" / ".." / "earlier"):
        (folder / "x").mkdir(exist_ok=True)
        with pytest.raises(
            ValueError, match=r"is the earlier model, which would be replaced\. Fix"
        ):
            open_earlier(experiment, str(output), Console(quiet=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rehearsal": 1.0}, r"`rehearsal` must be a share in \[0, 1\)\. Received: rehearsal=1\.0"),
        ({"rehearsal": -0.1}, "`rehearsal` must be a share"),
        ({"distillation": -1.0}, r"`distillation` must not be negative\. Received: dist.*=-1\.0"),
    ],
)
def test_the_config_refuses_bad_values(options, message):
    with pytest.raises(ValueError, match=message):
        ContinualConfig(**options)


def test_the_config_survives_the_record(experiment):
    assert from_dict(Experiment, json.loads(json.dumps(to_dict(experiment)))) == experiment


def test_data_that_moved_are_found_by_root_and_those_that_are_gone_are_told(folder, tmp_path):
    shutil.copytree(folder / "earlier", tmp_path / "earlier")
    record = json.loads((tmp_path / "earlier" / "run.json").read_text())
    record["config"]["data"]["root"] = str(tmp_path / "gone.csv")
    (tmp_path / "earlier" / "run.json").write_text(json.dumps(record))
    model = str(tmp_path / "earlier")
    earlier, printed = open_quietly(going_on(folder, model=model))
    assert earlier.source is None
    assert "gone.csv" in earlier.reason
    assert printed.startswith("forgetting is not measured, the earlier data are not there: ")
    assert earlier.measure(earlier.task) is None
    with pytest.raises(DataError, match=r"gone\.csv"):
        open_quietly(going_on(folder, model=model, rehearsal=0.3))
    moved = going_on(folder, model=model, rehearsal=0.3, root=str(folder / "old.csv"))
    assert len(open_quietly(moved)[0].source.examples("train")) == 16
    # Other data than the model was trained on are told.
    write_table(tmp_path / "gone.csv", OLD, 8, 4)
    assert (
        "not those that the earlier model was trained on"
        in open_quietly(going_on(folder, model=model))[1]
    )


def test_a_model_without_a_record_has_no_data(folder, tmp_path):
    shutil.copytree(folder / "earlier" / "preset", tmp_path / "preset")
    model = str(tmp_path / "preset")
    earlier, printed = open_quietly(going_on(folder, model=model))
    assert earlier.source is None
    assert "has no run.json" in printed
    with pytest.raises(ValueError, match=r"has no run\.json, which names the data .* Fix: the out"):
        open_quietly(going_on(folder, model=model, rehearsal=0.1))


def test_a_run_that_went_on_itself_has_the_data_of_both(folder, tmp_path):
    write_table(tmp_path / "third.csv", ("left", "square"), 6, 4)
    (tmp_path / "second").mkdir()
    save_run(tmp_path / "second", going_on(folder), ["cat", "dog", "blue", "red"])
    third = going_on(folder, tmp_path / "third.csv", model=str(tmp_path / "second"), rehearsal=0.5)
    source, earlier, _ = join(third)
    assert earlier.source.label_names == ["cat", "dog", "blue", "red"]
    assert len(earlier.source.examples("train")) == 16 + 24
    assert source.label_names == ["cat", "dog", "blue", "red", "left", "square"]
    by_origin = {}
    index = earlier.source.examples("val")
    for name, labels in zip(index.ids, index.labels, strict=True):
        by_origin.setdefault(name.split("/")[0], []).append(labels)
    assert (np.array(by_origin["earlier"]) < 0).all(0).tolist() == [False, False, True, True]
    assert (np.array(by_origin["new"]) < 0).all(0).tolist() == [True, False, False, False]
    assert source.examples("train").ids[0].startswith(("earlier/earlier/", "earlier/new/"))


def test_old_and_new_classes_are_joined_old_ones_first(experiment, folder):
    source, earlier, printed = join(experiment)
    assert source.label_names == ["cat", "dog", "blue", "red"]
    assert "2 classes and 2 new ones" in printed
    own = TableSource(str(folder / "new.csv"), **OPTIONS).examples("train")
    index = source.examples("train")
    assert index.ids == own.ids
    assert (index.labels[:, 0] == -1).all()
    assert (index.labels[:, [2, 1, 3]] == own.labels).all()
    assert earlier.record(source)["num_rehearsed"] == 0


def test_the_same_classes_are_a_warm_start(folder):
    source, earlier, _ = join(going_on(folder, folder / "old.csv"))
    assert source.label_names == earlier.task.label_names
    assert (source.examples("train").labels >= 0).all()


def test_one_new_class_each_says_nothing_about_old_ones_but_to_a_softmax(folder, tmp_path):
    (tmp_path / "one.csv").write_text("title,kind\n" + "\n".join(["a dog,dog", "a red,red"] * 4))
    data = DataConfig(
        source="table", root=str(tmp_path / "one.csv"), options={"text": "title", "labels": "kind"}
    )
    source, _, _ = join(dataclasses.replace(going_on(folder), data=data))
    assert source.label_names == ["cat", "dog", "red"]
    assert {tuple(row) for row in source.examples("train").labels} == {(-1, 1, 0), (-1, 0, 1)}
    (tmp_path / "softmax").mkdir()
    run = make_experiment("", data=data)
    save_run(tmp_path / "softmax", run, OLD, activation="softmax")
    softmax = dataclasses.replace(going_on(folder, model=str(tmp_path / "softmax")), data=data)
    # Its data have another class than it knows, so there is nothing to measure forgetting on.
    source, earlier, _ = join(softmax)
    assert earlier.source is None
    assert {tuple(row) for row in source.examples("train").labels} == {(0, 1, 0), (0, 0, 1)}


@pytest.mark.parametrize(("share", "count"), [(0.25, 8), (0.5, 16), (0.9, 16)])
def test_old_examples_are_the_wanted_share_as_far_as_there_are_some(folder, share, count):
    source, earlier, printed = join(going_on(folder, rehearsal=share))
    ids = source.examples("train").ids
    old = [name for name in ids if name.startswith("earlier/")]
    assert (len(old), len(ids)) == (count, 24 + count)
    assert len(set(ids)) == len(ids)
    assert earlier.record(source)["num_rehearsed"] == count
    assert f"{count} of 16 earlier" in printed
    labels = source.examples("train").labels[: len(old)]
    assert (labels[:, 2:] == -1).all()
    assert (labels[:, :2] >= 0).all()
    assert not [name for name in source.examples("val").ids if name.startswith("earlier/")]


def test_which_are_drawn_depends_on_the_seed_alone():
    first = draw_rehearsal(1000, 600, 0.25, seed=3)
    assert first.tolist() == draw_rehearsal(1000, 600, 0.25, seed=3).tolist()
    assert first.tolist() != draw_rehearsal(1000, 600, 0.25, seed=4).tolist()
    assert len(set(first.tolist())) == 200
    assert draw_rehearsal(5, 100, 0.5).tolist() == [0, 1, 2, 3, 4]
    assert len(draw_rehearsal(5, 100, 0.0)) == 0


def test_data_that_do_not_fit_the_model_are_refused(folder, tmp_path):
    (tmp_path / "one.csv").write_text("title,kind\n" + "\n".join(["a dog,dog", "a cat,cat"] * 4))
    data = DataConfig(
        source="table", root=str(tmp_path / "one.csv"), options={"text": "title", "labels": "kind"}
    )
    one_each = dataclasses.replace(going_on(folder), data=data)
    (tmp_path / "softmax").mkdir()
    save_run(tmp_path / "softmax", one_each, OLD, activation="softmax")
    softmax = going_on(folder, model=str(tmp_path / "softmax"))
    with pytest.raises(
        ValueError, match=r"have any number of classes each, and .* exactly one\. Fix"
    ):
        join(softmax)
    (tmp_path / "none.csv").write_text("title\n" + "\n".join(["a dog", "a cat"] * 4))
    data = DataConfig(source="table", root=str(tmp_path / "none.csv"), options={"text": "title"})
    with pytest.raises(ValueError, match="have no labels, and going on needs labels"):
        join(dataclasses.replace(going_on(folder), data=data))
    mixed = going_on(folder)
    mixed = dataclasses.replace(
        mixed, data=dataclasses.replace(mixed.data, augmentations=("mixup",))
    )
    with pytest.raises(
        ValueError, match=r"'mixup' mixes labels, and those of .* Fix: leave it out"
    ):
        join(mixed)


def test_other_weights_do_not_go_on_from_checkpoints(experiment, tmp_path):
    path = str(tmp_path / "out.checkpoints")
    open_checkpoints(path, experiment, "data", "weights").save(5, {"step": 5}, [np.ones(2)])
    assert open_checkpoints(path, experiment, "data", "weights").latest().state == {"step": 5}
    with pytest.raises(ValueError, match="of another experiment"):
        open_checkpoints(path, experiment, "data", "other weights")
    stronger = dataclasses.replace(experiment.continual, distillation=2.0)
    with pytest.raises(ValueError, match="of another experiment"):
        open_checkpoints(
            path, dataclasses.replace(experiment, continual=stronger), "data", "weights"
        )


@pytest.fixture(scope="module")
def fitted(folder):
    """With rehearsal and distillation, and what was printed."""
    text = io.StringIO()
    experiment = going_on(folder, rehearsal=0.25, distillation=1.0)
    return fit(experiment, Console(file=text, width=1000)), text.getvalue()


@pytest.mark.large
def test_what_is_forgotten_is_measured_on_the_earlier_validation_split(fitted, folder):
    run, _ = fitted
    table = TableSource(str(folder / "old.csv"), **OPTIONS)
    earlier = MultimodalClassifier.from_preset(str(folder / "earlier" / "preset"))
    index = table.examples("val")
    titles = {"text": [texts[0] for texts in index.captions]}
    before, after = (task.predict(titles, verbose=0) for task in (earlier, run.task))
    expected = measure_forgetting(index.labels.astype(int), before, after[:, :2], ["cat", "dog"])
    assert run.forgetting["classes"]["cat"] == pytest.approx(expected["classes"]["cat"], abs=1e-6)
    assert run.forgetting["backward_transfer"] == pytest.approx(
        expected["backward_transfer"], abs=1e-6
    )
    assert run.forgetting["before"] != run.forgetting["after"]
    text = io.StringIO()
    Console(file=text, width=100).print(forgetting_table(run.forgetting))
    assert f"{run.forgetting['backward_transfer']['difference']:+.4f}" in text.getvalue()
    assert json.loads(json.dumps(run.forgetting)) == run.forgetting


@pytest.mark.large
def test_the_scores_and_the_record_are_of_the_new_data(fitted):
    run, printed = fitted
    assert run.task.label_names == ["cat", "dog", "blue", "red"]
    assert type(run.task) is MultimodalClassifier
    assert run.measured.metrics["fused"]["num_examples"] == 10
    assert run.measured.metrics["fused"]["num_classes"] == 3  # of "cat" nothing is known there
    assert (run.measured.predictions["labels"][:, 0] == -1).all()
    assert run.earlier["num_rehearsed"] == 8
    assert len(run.earlier["weights"]) == len(run.earlier["data"]) == 64
    assert run.prior.min() > 0
    assert run.prior.max() < 1
    assert "features of frozen encoders are not stored" not in printed  # none were asked for


@pytest.mark.large
def test_the_model_is_scored_on_the_new_data_again(fitted, folder, tmp_path):
    run, _ = fitted
    run.task.save_to_preset(tmp_path / "preset")
    found = evaluate_model(str(tmp_path), make_experiment(str(folder / "new.csv")).data)
    assert found["metrics"]["fused"] == pytest.approx(run.measured.metrics["fused"], abs=1e-6)


@pytest.mark.full
def test_a_run_that_was_killed_ends_the_same(fitted, folder, tmp_path):
    experiment = going_on(folder, rehearsal=0.25, distillation=1.0)
    training = dataclasses.replace(experiment.training, checkpoint_minutes=0.0)
    experiment = dataclasses.replace(experiment, training=training)
    path, text = str(tmp_path / "out.checkpoints"), io.StringIO()
    console = Console(file=text, width=1000)
    with pytest.raises(Killed):
        kill = KillAt(batches=13)
        fit(experiment, console, path, callbacks=[lambda phase: kill])
    assert "not stored: the earlier model must see the examples" in text.getvalue()
    assert os.path.isdir(path)
    again = fit(experiment, console, path)
    assert again.history == fitted[0].history
    assert again.forgetting == fitted[0].forgetting
    for own, other in zip(again.task.get_weights(), fitted[0].task.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
