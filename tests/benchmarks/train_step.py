r"""A training step of the full-size model: this project and PyTorch, one step each in turn.

    python -m tests.benchmarks.train_step \
        --torch-python /path/to/an/environment/with/torch,transformers/bin/python

Both sides train ResNet-50 at 224 px + BERT-base at 32 tokens + 8-head cross-attention both ways at
512 + a head for 80 labels and two auxiliary ones, everything trainable, random weights, AdamW, a
batch of 32 that is in memory as model inputs. This side is the experiment `coco` with the train
function of `fit` and the settings of the train command (strategy, determinism, precision); PyTorch
has bfloat16 autocast, channels last, `torch.compile` and the fused AdamW. Both processes stay alive.
Prints medians, the median of the ratios within a round, and the peak of memory.
"""

import dataclasses
import json
import os
import resource
import tempfile
import time
from dataclasses import dataclass
from statistics import median

import keras
import numpy as np
import pandas
import tensorflow as tf
import tyro
from rich.console import Console
from rich.table import Table

from data_prep.sources.table import TableSource
from mmlearn import experiments
from mmlearn.encoders.text_tokenizers import SPECIAL_TOKENS
from mmlearn.experiments.build import build_task
from mmlearn.training.distribution import make_strategy
from mmlearn.training.optimizers import build_optimizer
from mmlearn.training.precision import choose, find_cpu_flags, find_gpus
from tests.benchmarks.torch_process import TorchProcess

NUM_CLASSES, VOCABULARY_SIZE = 80, 30522


@dataclass(frozen=True)
class Options:
    """Compares training steps."""

    torch_python: str | None = None
    """Python of an environment with torch and transformers."""
    torch_compile: bool = True
    """Whether PyTorch compiles its model, which takes minutes and makes its steps faster."""
    torch_bfloat16: bool = True
    """Whether PyTorch uses bfloat16 autocast."""
    precision: str = "auto"
    """Of this side: `auto`, `float32`, `mixed_bfloat16` or `mixed_float16`."""
    deterministic: bool = True
    """Whether this side's ops are deterministic, as in the train command."""
    batch_size: int = 32
    """Examples per step."""
    rounds: int = 9
    """Steps of each side that count."""
    warmup: int = 4
    """Steps of each side before them."""
    threads: int = os.cpu_count()
    """Threads of PyTorch; TensorFlow takes all cores."""


class OurSide:
    """The experiment `coco`, built and compiled as the train command does."""

    def __init__(self, options):
        config = experiments.get("coco")
        self.precision, _ = choose(options.precision, find_gpus(), find_cpu_flags())
        keras.utils.set_random_seed(0)
        if options.deterministic:
            tf.config.experimental.enable_op_determinism()
        self.strategy = make_strategy(config.training.strategy)
        phase = config.training.phases[-1]
        with self.strategy.scope():
            self.task = build_task(
                without_weights(config.model), table_of_labels(), dtype=self.precision
            )
            self.task.set_trainable(phase.trainable)
            optimizer = build_optimizer(self.task, phase, steps_per_epoch=1000)
            self.task.compile(optimizer, loss_weights=phase.loss_weights)
            self.task.optimizer.build(self.task.trainable_variables)
            self.task.make_train_function()
        self.num_parameters = self.task.count_params()
        dataset = tf.data.Dataset.from_tensors(_batch(config.model, options.batch_size))
        dataset = dataset.map(self.task.preprocess_samples).cache().repeat()
        self._steps = iter(self.strategy.experimental_distribute_dataset(dataset))

    def __call__(self):
        start = time.perf_counter()
        with self.strategy.scope():
            loss = float(self.task.train_function(self._steps)["loss"])
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"seconds": seconds, "peak_mb": peak, "loss": loss}


def table_of_labels():
    """A source of two examples with the labels of COCO's number."""
    names = [str(number) for number in range(NUM_CLASSES)]
    rows = {"photo": ["a.jpg"] * 2, "title": ["a", "b"], "kind": [names[:2], names]}
    frame = pandas.DataFrame({**rows, "part": ["train", "val"]})
    columns = {"images": "photo", "text": "title", "labels": "kind", "split": "part"}
    return TableSource(frame, **columns, label_names=names)


def without_weights(model):
    """The same sizes with random weights and a made-up vocabulary of BERT's size."""
    words = [*SPECIAL_TOKENS, *(f"word{n}" for n in range(VOCABULARY_SIZE - len(SPECIAL_TOKENS)))]
    path = os.path.join(tempfile.mkdtemp(), "vocabulary.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(words))
    return dataclasses.replace(
        model,
        images=dataclasses.replace(model.images, weights="none"),
        text=dataclasses.replace(model.text, weights="none", vocabulary=path),
    )


def _batch(model, batch_size):
    random = np.random.default_rng(0)
    size, length = model.images.image_size, model.text.sequence_length
    token_ids = random.integers(5, VOCABULARY_SIZE, (batch_size, length)).astype("int32")
    mask = np.zeros_like(token_ids)
    mask[:, : length // 2] = 1
    present = np.ones(batch_size, "int32")
    inputs = {
        "images": random.uniform(0, 255, (batch_size, size, size, 3)).astype("float32"),
        "images_present": present,
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": mask,
        "text_present": present,
    }
    return inputs, random.integers(0, 2, (batch_size, NUM_CLASSES)).astype("float32")


def start_torch(options):
    """Starts the PyTorch side, which makes a step whenever it is asked."""
    model = experiments.get("coco").model
    settings = {
        **dataclasses.asdict(options),
        "image_size": model.images.image_size,
        "sequence_length": model.text.sequence_length,
        "num_classes": NUM_CLASSES,
        "vocabulary_size": VOCABULARY_SIZE,
    }
    return TorchProcess(options.torch_python, "train_step_torch.py", settings)


def main():
    """Prints a row per side, and one JSON object with all rounds."""
    options = tyro.cli(Options)
    console = Console(width=100)
    torch = start_torch(options) if options.torch_python else None
    ours = OurSide(options)
    sides = {"torch": torch.ask, "mmlearn": ours} if torch else {"mmlearn": ours}
    num_parameters = {"torch": torch and torch.ready, "mmlearn": ours.num_parameters}
    rounds = {name: [] for name in sides}
    for number in range(options.warmup + options.rounds):
        results = {name: step() for name, step in sides.items()}
        if number >= options.warmup:
            for name, result in results.items():
                rounds[name].append(result)
        shown = ", ".join(f"{name} {result['seconds']:.2f} s" for name, result in results.items())
        console.print(f"step {number + 1}: {shown}", highlight=False)
    table = Table("", "parameters", "s/step", "from", "to", "samples/s", "peak GB")
    for name, results in rounds.items():
        seconds = [result["seconds"] for result in results]
        table.add_row(
            f"{name} ({ours.precision})" if name == "mmlearn" else name,
            f"{num_parameters[name]:,}",
            *(f"{value:.2f}" for value in (median(seconds), min(seconds), max(seconds))),
            f"{options.batch_size / median(seconds):.2f}",
            f"{max(result['peak_mb'] for result in results) / 1024:.1f}",
        )
    console.print(table)
    summary = {"precision": ours.precision, "rounds": rounds}
    if torch:
        torch.close()
        pairs = zip(rounds["torch"], rounds["mmlearn"], strict=True)
        summary["ratio"] = median(theirs["seconds"] / own["seconds"] for theirs, own in pairs)
        console.print(f"samples/s, mmlearn / torch, median of the rounds: {summary['ratio']:.2f}")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
