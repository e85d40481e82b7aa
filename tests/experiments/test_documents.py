"""The experiments that the documents describe are what they describe, and train."""

import dataclasses

import pytest

from mmlearn import experiments


def test_report_cnn_is_the_notebook():
    report = experiments.get("report_cnn")
    (phase,) = report.training.phases
    assert report.model.modalities == ("images",)
    assert (report.model.images.name, report.model.images.image_size) == ("cnn", 128)
    assert report.model.images.options == {"flatten": True}
    assert (phase.epochs, report.training.batch_size) == (15, 256)
    assert (phase.optimizer, phase.weight_decay, phase.learning_rate) == ("adamw", 0.0, 1e-3)
    assert (phase.loss, phase.label_smoothing) == ("auto", 0.0)  # cross-entropy
    assert report.data.augmentations == ()


def test_early_and_unified_differ_in_depth_alone():
    early, unified = experiments.get("early"), experiments.get("unified")
    depths = [e.model.fusion.options["num_layers"] for e in (early, unified)]
    assert depths == [2, 6]
    fusion = dataclasses.replace(early.model.fusion, options=unified.model.fusion.options)
    model = dataclasses.replace(early.model, fusion=fusion)
    assert dataclasses.replace(early, name="unified", model=model) == unified
    assert unified.data == experiments.get("shapes").data


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("early", marks=pytest.mark.full),
        pytest.param("unified", marks=pytest.mark.full),
        pytest.param("report_cnn", marks=pytest.mark.large),
    ],
)
def test_they_train(name, shapes_root, tmp_path):
    from mmlearn.experiments.run import run

    experiment = experiments.get(name)
    data = dataclasses.replace(
        experiment.data,
        source="shapes",
        root=shapes_root,
        options={"num_train": 24, "num_val": 12},
    )
    phases = (dataclasses.replace(experiment.training.phases[0], epochs=1),)
    training = dataclasses.replace(experiment.training, phases=phases, batch_size=8)
    record = run(
        dataclasses.replace(
            experiment, data=data, training=training, output=str(tmp_path / "output")
        )
    )
    scores = record["metrics"]
    assert 0 < scores["fused"]["mAP"] <= 1
    nothing = scores["nothing"]
    assert nothing["binary_accuracy"] == pytest.approx(1 - nothing["num_labels"] / 8)
