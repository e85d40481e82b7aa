"""Which rows an experiment has, and what each of them trains. No training."""

import dataclasses

import pytest

from mmlearn import experiments
from mmlearn.experiments.ablation_rows import Row, make_rows, make_stages, select_rows
from mmlearn.experiments.config import all_phases
from mmlearn.experiments.values import with_values
from mmlearn.fusions import FUSIONS
from mmlearn.training.phase import TrainingPhase

SHAPES = experiments.get("shapes")


def rows_of(experiment, **words):
    return {row.name: row for row in make_rows(experiment, **words)}


def with_phases(experiment, *phases, **changes):
    training = dataclasses.replace(experiment.training, phases=phases, **changes)
    return dataclasses.replace(experiment, training=training)


def test_rows_are_the_documents_and_come_from_the_registries():
    rows = rows_of(SHAPES)
    assert next(iter(rows)) == "full"
    assert {"images only", "text only", "no attention"} <= set(rows)
    assert set(FUSIONS) - set(rows) == {
        "cross_attention"
    }  # the experiment's own is the full model's
    assert {"no main loss", "no auxiliary loss", "no consistency loss"} <= set(rows)
    assert {"no encoders phase", "no fusion phase", "no end to end phase"} <= set(rows)
    documents = [row.name for row in select_rows(tuple(rows.values()), ["documents"])]
    assert documents == [
        "full",
        "images only",
        "text only",
        "no attention",
        "concat",
        "elementwise",
    ]


def test_a_row_changes_what_it_says_and_nothing_else():
    rows = rows_of(SHAPES)
    assert rows["full"].apply(SHAPES) == SHAPES
    no_attention = rows["no attention"].apply(SHAPES)
    other = experiments.get("no_attention")
    assert no_attention == dataclasses.replace(other, name="shapes")
    # Options that the other fusion does not take are left out.
    assert rows["gated"].apply(SHAPES).model.fusion.options == {}
    assert rows["merged_attention"].apply(SHAPES).model.fusion.options == {"num_heads": 4}
    weights = [
        phase.loss_weights for phase in rows["no consistency loss"].apply(SHAPES).training.phases
    ]
    assert [w.get("consistency") for w in weights] == [None, None, 0.0]
    plain = with_values(SHAPES, {"model.fusion.options": {"num_heads": 4}})
    assert "no grounding loss" in rows
    assert "no grounding loss" not in {row.name for row in make_rows(plain)}
    # A phase with one loss would be left with none.
    weights = [
        phase.loss_weights for phase in rows["no auxiliary loss"].apply(SHAPES).training.phases
    ]
    assert [w.get("auxiliary") for w in weights] == [1.0, None, 0.0]


def test_three_modalities_are_also_left_out_one_by_one():
    rows = rows_of(experiments.get("shapes_series"))
    experiment = rows["without text"].apply(experiments.get("shapes_series"))
    assert set(experiment.model.modalities) == {"images", "series"}
    assert "series only" in rows


def test_one_modality_has_nothing_to_fuse():
    experiment = Row("", "own", {"model.modalities": ("text",)}).apply(SHAPES)
    assert not {"images only", "concat", "no attention"} & set(rows_of(experiment))


def test_backbones_and_rows_of_ones_own():
    own = ["two layers: model.fusion.options.num_layers=2 model.dropout=0.3"]
    rows = rows_of(SHAPES, backbones=["images=cnn", "text=lstm"], own=own)
    assert rows["images cnn"].apply(SHAPES).model.images.name == "cnn"
    assert rows["text lstm"].group == "backbones"
    model = rows["two layers"].apply(SHAPES).model
    assert (model.fusion.options, model.dropout) == (
        {**SHAPES.model.fusion.options, "num_layers": 2},
        0.3,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"backbones": ["images"]}, "MODALITY=NAME.*'images'"),
        ({"backbones": ["sound=cnn"]}, "Unknown modality of the experiment 'sound'"),
        ({"backbones": ["text=lstn"]}, "Unknown text encoder 'lstn'. Did you mean 'lstm'"),
        ({"own": ["model.dropout=0.3"]}, "NAME: PATH=VALUE"),
        ({"own": ["a: model.dropot=0.3"]}, "Row 'a': .*Did you mean 'dropout'"),
        ({"own": ["a: model.dropout=0.1,0.2"]}, "Row 'a' must give 'model.dropout' one value"),
        ({"own": ["a: training.seed=3"]}, "Row 'a' changes the seed.*--seeds"),
        ({"own": ["concat: model.dropout=0.3"]}, "Two rows are called 'concat'"),
        ({"own": ["a: data.root=elsewhere"]}, "Row 'a'"),
    ],
)
def test_words_that_are_not_right(words, message):
    with pytest.raises(ValueError, match=message):
        make_rows(SHAPES, **words)


def test_rows_are_chosen_by_their_names_and_those_of_tables():
    rows = make_rows(SHAPES)
    names = [row.name for row in select_rows(rows, ["losses", "late"])]
    assert names == [
        *("full", "late", "no main loss", "no auxiliary loss", "no consistency loss"),
        "no grounding loss",
    ]
    assert select_rows(rows, ["all"]) == rows
    with pytest.raises(ValueError, match=r"Unknown row 'lossses'\. Did you mean 'losses'"):
        select_rows(rows, ["lossses"])


def test_rows_that_differ_later_share_their_encoders():
    rows = rows_of(SHAPES, backbones=["images=cnn"])
    shared = make_stages(rows["full"], SHAPES, 3).encoders
    assert [phase.name for phase in shared.training.phases] == ["encoders"]
    assert shared.training.seed == 3
    assert shared.model.modalities == ("images", "text")
    for name in ("text only", "no attention", "late", "no main loss", "no end to end phase"):
        assert make_stages(rows[name], SHAPES, 3).encoders == shared, name
    for name in ("images cnn", "no encoders phase"):
        assert make_stages(rows[name], SHAPES, 3).encoders != shared, name
    own = rows_of(SHAPES, own=["wide: model.hidden_dim=256", "small steps: training.batch_size=32"])
    assert make_stages(own["wide"], SHAPES, 3).encoders == shared
    assert make_stages(own["small steps"], SHAPES, 3).encoders != shared


def test_frozen_encoders_learn_nothing_and_are_not_augmented():
    stages = make_stages(Row("full", "modalities"), SHAPES, 0)
    assert [phase.name for phase in stages.end_to_end.training.phases] == ["fusion", "end to end"]
    assert stages.end_to_end.training.phases == SHAPES.training.phases[1:]
    frozen = stages.frozen.training.phases
    assert [phase.epochs for phase in frozen] == [1, 2]
    assert [phase.trainable for phase in frozen] == [
        ("fusion", "head"),
        ("fusion", "head", "auxiliary_heads"),
    ]
    assert not any(phase.augment for phase in frozen)


def test_objectives_without_labels_are_of_the_encoders():
    experiment = with_phases(SHAPES, *SHAPES.training.phases, pretrain=("contrastive",))
    rows = rows_of(experiment)
    encoders = make_stages(rows["full"], experiment, 0).encoders
    assert [phase.name for phase in all_phases(encoders.training)] == ["contrastive", "encoders"]
    without = make_stages(rows["no contrastive phase"], experiment, 0).encoders
    assert [phase.name for phase in all_phases(without.training)] == ["encoders"]


def test_without_a_phase_for_encoders_there_is_none_to_share():
    end_to_end = SHAPES.training.phases[2]
    stages = make_stages(Row("full", "modalities"), with_phases(SHAPES, end_to_end), 0)
    assert stages.encoders.training.phases == ()
    assert stages.end_to_end.training.phases == (end_to_end,)


def test_phases_name_no_encoder_that_a_row_does_not_have():
    phase = TrainingPhase(
        "later",
        1,
        trainable=("text_encoder", "fusion", "head"),
        part_rates={"text_encoder": 0.1, "fusion": 2.0},
        loss_weights={"main": 1.0, "text_classes": 0.5},
    )
    alone = TrainingPhase("text", 1, trainable=("text_encoder", "images_encoder", "fusion"))
    experiment = with_phases(SHAPES, phase, alone)
    stages = make_stages(rows_of(experiment)["images only"], experiment, 0)
    later, _ = stages.end_to_end.training.phases
    assert later.trainable == ("fusion", "head")
    assert later.part_rates == {"fusion": 2.0}
    assert later.loss_weights == {"main": 1.0}
    both = make_stages(rows_of(experiment)["full"], experiment, 0)
    assert both.end_to_end.training.phases == (phase, alone)
    assert [own.part_rates for own in both.frozen.training.phases] == [{"fusion": 2.0}, {}]
