"""How long it takes, and how much memory, to read annotations of the size of COCO 2014.

    python -m tests.benchmarks.index_speed --work DIR

Writes 83,000 images with 605,000 objects (with polygons) and 414,000 captions, then reads them in a
process of its own, which prints its seconds and its peak memory.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import tyro

NUM_IMAGES, NUM_OBJECTS, NUM_CAPTIONS, NUM_CATEGORIES = 83_000, 605_000, 414_000, 80
WORDS = [
    "a",
    "the",
    "man",
    "woman",
    "dog",
    "cat",
    "on",
    "in",
    "with",
    "of",
    "red",
    "blue",
    "small",
    "large",
    "table",
    "street",
    "white",
    "two",
]
READ = """
import re, sys, time
from data_prep.sources.coco import CocoSource

def peak():  # of this program; getrusage() would count the one that started it
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\\s+(\\d+)", file.read())[1]) / 1e6

before, start = peak(), time.perf_counter()
index = CocoSource(sys.argv[1]).examples("train")
seconds = time.perf_counter() - start
print(f"{len(index):,} images, {int(index.labels.sum()):,} labels: {seconds:.1f} s, "
      f"peak {peak():.2f} GB ({before:.2f} GB before)")
"""


@dataclass(frozen=True)
class Options:
    """Measures the index."""

    work: str
    """Folder for the generated files, about 400 MB; kept between runs."""
    rounds: int = 3
    """How often it is read."""


def write(folder):
    """Writes the two annotation files."""
    random = np.random.default_rng(0)
    images = [
        {
            "license": 3,
            "file_name": f"COCO_train2014_{number:012d}.jpg",
            "coco_url": f"http://images.cocodataset.org/train2014/{number:012d}.jpg",
            "height": 480,
            "width": 640,
            "date_captured": "2013-11-15 17:02:06",
            "id": number,
        }
        for number in range(1, NUM_IMAGES + 1)
    ]
    objects = []
    for number in range(NUM_OBJECTS):
        # Most polygons of COCO have 10 to 40 corners.
        corners = random.integers(10, 41)
        objects.append(
            {
                "segmentation": [random.uniform(0, 640, 2 * corners).round(2).tolist()],
                "area": round(float(random.uniform(10, 1e5)), 4),
                "iscrowd": 0,
                "image_id": int(random.integers(1, NUM_IMAGES + 1)),
                "bbox": random.uniform(0, 300, 4).round(2).tolist(),
                "category_id": int(random.integers(1, NUM_CATEGORIES + 1)),
                "id": number + 1,
            }
        )
    categories = [
        {"supercategory": "thing", "id": number, "name": f"category {number}"}
        for number in range(1, NUM_CATEGORIES + 1)
    ]
    captions = [
        {
            "image_id": number % NUM_IMAGES + 1,
            "id": number + 1,
            "caption": " ".join(random.choice(WORDS, 11)),
        }
        for number in range(NUM_CAPTIONS)
    ]
    partial = f"{folder}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(os.path.join(partial, "annotations"))
    os.makedirs(os.path.join(partial, "train2014"))
    for kind, content in (
        ("instances", {"images": images, "annotations": objects, "categories": categories}),
        ("captions", {"images": images, "annotations": captions}),
    ):
        path = os.path.join(partial, "annotations", f"{kind}_train2014.json")
        with open(path, "w") as file:
            file.write(json.dumps(content))
    os.rename(partial, folder)


def main():
    """Prints a line per round."""
    options = tyro.cli(Options)
    folder = os.path.join(options.work, "coco-2014-size")
    os.makedirs(options.work, exist_ok=True)
    if not os.path.isdir(folder):
        write(folder)
    annotations = os.path.join(folder, "annotations")
    size = sum(os.path.getsize(os.path.join(annotations, n)) for n in os.listdir(annotations))
    print(f"{size / 1e6:.0f} MB of JSON")
    for _ in range(options.rounds):
        subprocess.run([sys.executable, "-c", READ, folder], check=True)


if __name__ == "__main__":
    main()
