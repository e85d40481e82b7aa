"""Each modality of a table is built, trained, saved and served by its config."""

import dataclasses
import json

import numpy as np
import pandas
import pytest

from mmlearn import MultimodalClassifier
from mmlearn.cli.main import main
from mmlearn.experiments.config import (
    AudioConfig,
    DataConfig,
    Experiment,
    FusionConfig,
    ModelConfig,
    SeriesConfig,
    TableConfig,
    TrainingConfig,
)
from mmlearn.experiments.modalities import BUILDERS
from mmlearn.experiments.run import run
from mmlearn.training.phase import TrainingPhase
from tests import toys

MODALITIES = ("audio", "series", "table")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table of 24 rows with WAV files and a second table of readings, some of all missing."""
    folder = tmp_path_factory.mktemp("table")
    random = np.random.default_rng(0)
    rows = []
    for row in range(24):
        name = f"{row}.wav" if row % 5 else ""
        if name:
            (folder / name).write_bytes(toys.wav(random.uniform(-1, 1, 800 + 50 * row)))
        kind = "ab"[row % 2]
        age, city = ("" if row % 7 == 0 else row), ("" if row % 4 == 0 else kind * 2)
        rows.append({"audio": name, "time": 10 * row, "age": age, "city": city, "kind": kind})
    pandas.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    readings = {"time": np.arange(0, 200, 3.0), "x": random.normal(size=67)}
    pandas.DataFrame(readings).to_csv(folder / "readings.csv", index=False)
    return folder


def experiment(folder, **options):
    series = {"path": "readings.csv", "time": "time", "columns": "x", "length": 4, "tolerance": 5}
    columns = {"numeric": "age", "categorical": "city", "audio": "audio", "labels": "kind"}
    phases = (TrainingPhase("fusion", 2, trainable=("fusion", "head")),)
    return Experiment(
        name="signals",
        data=DataConfig(
            source="table",
            root=str(folder / "rows.csv"),
            options={**columns, "series": series, "impute": "none"},
            val_fraction=0.25,
        ),
        model=ModelConfig(
            modalities=MODALITIES,
            audio=AudioConfig(seconds=0.1, options={"num_mel_bins": 16}),
            series=SeriesConfig(options={"hidden_dim": 8}),
            table=TableConfig(name="feature_tokens", options={"hidden_dim": 8}),
            fusion=FusionConfig(name="concat"),
            hidden_dim=8,
            head_hidden_dim=8,
        ),
        training=TrainingConfig(phases=phases, batch_size=6, precision="float32", strategy="none"),
        output=str(folder / "out"),
        **options,
    )


def test_every_modality_has_a_builder_and_a_config():
    assert all(hasattr(ModelConfig(), modality) for modality in BUILDERS)


@pytest.mark.large
def test_a_table_of_signals_from_the_config_to_the_prediction(folder, capfd):
    record = run(experiment(folder))
    assert record["history"][0]["stored_features"] == ["audio", "series", "table"]
    rows = {"fused", "most_frequent", "prior", *MODALITIES, *(f"without_{m}" for m in MODALITIES)}
    assert set(record["metrics"]) == rows
    classifier = MultimodalClassifier.from_preset(str(folder / "out" / "preset"))
    converters = classifier.preprocessor.converters
    assert converters["table"].numbers == ("age",)
    assert converters["series"].num_channels == 1
    recording = str(folder / "7.wav")
    x = {"audio": [recording], "series": [[[0.5]]], "table": {"age": [3], "city": ["aa"]}}
    expected = classifier.predict(x, verbose=0)[0]
    capfd.readouterr()
    (folder / "last.csv").write_text("x\n0.5\n")
    words = ["--audio", recording, "--series", str(folder / "last.csv")]
    words += ["--table", "age=3", "city=aa", "--json"]
    assert main(["predict", str(folder / "out"), *words]) == 0
    found = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["labels"]
    assert found == pytest.approx(dict(zip("ab", expected.tolist(), strict=True)), abs=1e-6)


@pytest.mark.large
def test_a_recording_that_cannot_be_read_is_named(folder, tmp_path):
    config = experiment(folder)
    good = (folder / "8.wav").read_bytes()
    (folder / "8.wav").write_bytes(b"garbage")
    try:
        unread = dataclasses.replace(config.data, max_unreadable=0.0)
        with pytest.raises(ValueError, match=r"The first: .*8\.wav' is no whole 16-bit WAV file"):
            run(dataclasses.replace(config, data=unread))
    finally:
        (folder / "8.wav").write_bytes(good)
