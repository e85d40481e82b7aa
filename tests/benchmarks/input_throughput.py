r"""How many images a second reach the model: this pipeline, PyTorch's DataLoader, the report's loop.

    python -m tests.benchmarks.input_throughput --photos DIR --vocabulary vocab.txt --work DIR \
        --torch-python /path/to/an/environment/with/torch,pillow,tokenizers/bin/python

`--photos` is a folder in COCO's format; its photos are repeated up to 5,000, once as they are and
once re-encoded at 640 px. All sides do the same work: shuffle, read, decode, cut out a window of at
least 0.8 of each side, resize to 224 px (mean of areas), mirror half of them, 32 word
pieces of a caption, batches of 32 float images. Rounds alternate; medians are printed, also of the
ratios within a round. Also shown: the loop of the report (OpenCV, one thread, no crop, flip or
tokens), and what decoding alone allows on all cores. Needs the extra `shards`.
"""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from statistics import median

import cv2
import tensorflow as tf
import tyro
from rich.console import Console
from rich.table import Table

from data_prep.pipeline import PREFETCH, build_dataset
from data_prep.shards import write_shards
from data_prep.sources.coco import CocoSource
from data_prep.threads import PARALLEL_CALLS, with_threads
from mmlearn import MultimodalPreprocessor, encoders

IMAGE_SIZE, SEQUENCE_LENGTH, BATCH_SIZE = 224, 32, 32
QUALITY, LONGER_SIDE = 95, 640


@dataclass(frozen=True)
class Options:
    """Measures throughput."""

    photos: str
    """Folder in COCO's format with a training split."""
    vocabulary: str
    """A BERT vocabulary file."""
    work: str
    """Folder for the repeated photos and the shards; kept between runs."""
    torch_python: str | None = None
    """Python of an environment with torch, pillow and tokenizers."""
    num_images: int = 5000
    """Images per pass."""
    rounds: int = 5
    """Passes of each side, after one that is not counted."""
    image_size: int = IMAGE_SIZE
    """Side of the images in the shards."""


def repeat_photos(photos, folder, count, longer_side=None):
    """Writes a data set in COCO's format of the training photos, repeated, re-encoded or not."""
    if os.path.isdir(folder):
        return
    source = CocoSource(photos)
    index = source.examples("train")
    partial = f"{folder}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(os.path.join(partial, "annotations"))
    os.makedirs(os.path.join(partial, "train"))
    images, captions = [], []
    for number in range(count):
        row, name = number % len(index), f"{number:06d}.jpg"
        target = os.path.join(partial, "train", name)
        if longer_side is None:
            shutil.copy(index.images[row], target)
        else:
            image = cv2.imread(index.images[row])
            height, width = image.shape[:2]
            scale = longer_side / max(height, width)
            size = (round(width * scale), round(height * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(target, image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        images.append({"id": number, "file_name": name})
        for caption in index.captions[row]:
            captions.append({"id": len(captions), "image_id": number, "caption": caption})
    categories = [{"id": 1, "name": "none"}]
    instances = {"images": images, "annotations": [], "categories": categories}
    for kind, content in (
        ("instances", instances),
        ("captions", {"images": images, "annotations": captions}),
    ):
        with open(os.path.join(partial, "annotations", f"{kind}_train.json"), "w") as file:
            json.dump(content, file)
    os.rename(partial, folder)


class Endless:
    """Passes over an endless dataset by one iterator, as training makes them.

    A new iterator takes half a second to begin; the other side's workers live on between passes, too.
    """

    def __init__(self, dataset, batches):
        self._iterator = iter(dataset)
        self._batches = batches

    def __call__(self):
        for _ in range(PREFETCH):  # those that have been waiting since the last pass
            next(self._iterator)
        start, count = time.perf_counter(), 0
        for _ in range(self._batches):
            count += next(self._iterator)[0]["images"].shape[0]
        return count / (time.perf_counter() - start)


def opencv_loop(paths):
    """Images per second of the report's way: read, convert, resize and scale, one after the other."""
    start, batch = time.perf_counter(), []
    for path in paths:
        image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        batch.append(cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE)) / 255.0)
        batch = batch if len(batch) < BATCH_SIZE else []
    return len(paths) / (time.perf_counter() - start)


class TorchSide:
    """PyTorch in a process of its own; it works only when asked."""

    def __init__(self, python, source, vocabulary):
        index = source.examples("train")
        path = f"{source.root}-torch.json"
        with open(path, "w") as file:
            json.dump({"images": index.images, "captions": index.captions}, file)
        program = os.path.join(os.path.dirname(__file__), "input_throughput_torch.py")
        sizes = map(str, (IMAGE_SIZE, SEQUENCE_LENGTH, BATCH_SIZE))
        self._process = subprocess.Popen(
            [python, program, path, vocabulary, *sizes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self):
        self._process.stdin.write("pass\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def measure(source, shards, options, preprocessor):
    """Returns `{side: [images per second of each round]}`."""
    augmentations = ("crop", "flip")
    arguments = {"shuffle": True, "augmentations": augmentations, "repeat": True}
    raw = build_dataset(source, "train", preprocessor, BATCH_SIZE, **arguments)
    prepared = build_dataset(shards, "train", preprocessor, BATCH_SIZE, **arguments)
    paths = source.examples("train").images
    files = tf.data.Dataset.from_tensor_slices(paths)
    bare = files.map(
        lambda path: tf.shape(tf.io.decode_jpeg(tf.io.read_file(path), channels=3)),
        num_parallel_calls=PARALLEL_CALLS,
    )

    def decode_all():
        start = time.perf_counter()
        count = sum(1 for _ in with_threads(bare.batch(BATCH_SIZE)))
        return min(count * BATCH_SIZE, len(paths)) / (time.perf_counter() - start)

    sides = {
        "shards": Endless(prepared, len(paths) // BATCH_SIZE),
        "raw files": Endless(raw, len(paths) // BATCH_SIZE),
        "the report's OpenCV loop": lambda: opencv_loop(paths),
        "decoding alone": decode_all,
    }
    torch_side = None
    if options.torch_python:
        torch_side = TorchSide(options.torch_python, source, options.vocabulary)
        sides["torch DataLoader"] = torch_side
    rates = {name: [] for name in sides}
    for round_number in range(options.rounds + 1):
        for name, run in sides.items():
            rate = run()
            if round_number:
                rates[name].append(rate)
    if torch_side:
        torch_side.close()
    return rates


def main():
    """Prints a table per kind of photo and writes `throughput.json` into the work folder."""
    options = tyro.cli(Options)
    console = Console(width=100)
    tokenizer = encoders.text_tokenizers.read_vocabulary(options.vocabulary)
    preprocessor = MultimodalPreprocessor(
        {
            "images": encoders.ImageConverter(IMAGE_SIZE),
            "text": encoders.TextConverter(tokenizer, SEQUENCE_LENGTH),
        }
    )
    results = {}
    for kind, longer_side in (("as they are", None), ("640 px", LONGER_SIDE)):
        folder = os.path.join(options.work, f"photos-{longer_side or 'original'}")
        os.makedirs(options.work, exist_ok=True)
        repeat_photos(options.photos, folder, options.num_images, longer_side)
        source = CocoSource(folder)
        name = f"{folder}-shards-{options.image_size}"
        shards, _ = write_shards(source, name, image_size=options.image_size)
        rates = measure(source, shards, options, preprocessor)
        results[kind] = rates
        table = Table("", "images/s", "from", "to", "x torch", title=f"photos {kind}")
        torch_rates = rates.get("torch DataLoader", [float("nan")] * options.rounds)
        for side, values in rates.items():
            numbers = (median(values), min(values), max(values))
            ratio = median(a / b for a, b in zip(values, torch_rates, strict=True))
            table.add_row(side, *(f"{v:,.0f}" for v in numbers), f"{ratio:.2f}")
        console.print(table)
    with open(os.path.join(options.work, "throughput.json"), "w") as file:
        json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
