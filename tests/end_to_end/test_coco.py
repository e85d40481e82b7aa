"""The experiment `coco`: at full size for one step, and on real photos with small encoders."""

import dataclasses
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from data_prep.sources.source import Examples
from tests.examples_source import ExamplesSource

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.large
def test_full_size_model_trains_one_step_and_predicts():
    from mmlearn import experiments
    from mmlearn.encoders.text_tokenizers import SPECIAL_TOKENS
    from mmlearn.experiments.build import build_task
    from mmlearn.experiments.config import ImagesConfig, TextConfig

    index = Examples(
        ids=list("abcd"),
        groups=np.arange(4),
        labels=np.zeros((4, 80), np.uint8),
        images=[""] * 4,
        captions=[["a dog on a sofa", "two cats"]] * 4,
    )
    source = ExamplesSource({"train": index}, label_names=[str(i) for i in range(80)])
    config = dataclasses.replace(
        experiments.get("coco").model,
        images=ImagesConfig(weights="none"),
        text=TextConfig(weights="none"),
    )
    task = build_task(config, source)
    vocabulary_size = task.preprocessor.converters["text"].tokenizer.vocabulary_size()
    assert vocabulary_size > len(SPECIAL_TOKENS)
    # With BERT's own vocabulary of 30,522 tokens: 137,030,002.
    assert task.count_params() == 137_030_002 - (30522 - vocabulary_size) * 768
    assert task.backbone.encoders["images"].grid == (7, 7)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 300, 400, 3), dtype=np.uint8)
    x = {"images": images, "text": ["a dog on a sofa", "two cats"]}
    before = task.predict(x, verbose=0)
    assert before.shape == (2, 80)
    history = task.fit(x, np.eye(80)[[1, 2]], batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert np.abs(task.predict(x, verbose=0) - before).max() > 0


REPLICAS = """
import dataclasses, sys
import numpy as np
from mmlearn import MultimodalClassifier, experiments
from mmlearn.cli.train import parse
from mmlearn.experiments.build import build_data
from mmlearn.experiments.run import fit, save

root, output, *flags = sys.argv[1:]
experiment = parse(["coco", "--data.root", root, "--training.num-replicas", "2", *flags])[0].experiment
fitted = fit(experiment)
task = fitted.task
drift = max(
    float(np.abs(np.subtract(*[v.numpy() for v in variable.value.values])).max())
    for variable in task.variables
    if len(getattr(variable.value, "values", ())) == 2 and "seed" not in variable.path
)
mirrored = sum(len(getattr(v.value, "values", ())) == 2 for v in task.variables)
record = save(fitted, experiment, output)
reloaded = MultimodalClassifier.from_preset(output + "/preset")
validation = build_data(experiment, fitted.source, task.preprocessor).validation()
again = reloaded.predict(validation.map(lambda x, *_: x), verbose=0)
saved = float(np.abs(again - fitted.measured.predictions["fused"]).max())
scores = {row: values["mAP"] for row, values in record["metrics"].items()}
print(mirrored, drift, saved, scores["fused"], scores["prior"])
print(scores, record["seconds"], file=sys.stderr)
"""


@pytest.mark.large
def test_two_replicas_stay_equal_and_the_saved_model_predicts_the_same(shared_data, tmp_path):
    flags = ["--model.images.name", "resnet_tiny", "--model.images.weights", "none"]
    flags += ["--model.text.name", "bert_tiny", "--model.images.image-size", "96"]
    for phase in range(3):
        flags += [f"--training.phases.{phase}.epochs", "1"]
        flags += [f"--training.phases.{phase}.learning-rate", "1e-3"]
    command = [sys.executable, "-c", REPLICAS, f"{shared_data}/coco_subset", str(tmp_path / "out")]
    result = subprocess.run(
        [*command, *flags], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    mirrored, drift, saved, fused, prior = map(float, result.stdout.split()[-5:])
    assert mirrored > 50
    assert drift == 0
    assert saved <= 1e-5
    assert fused > prior
