"""The PyTorch side of `input_throughput`; runs in an environment of its own.

Prints the images per second of one pass over the data for every line it reads.
"""

import json
import random
import sys
import time

import numpy as np
import torch
from PIL import Image
from tokenizers import BertWordPieceTokenizer
from torch.utils.data import DataLoader, Dataset

SMALLEST_CROP = 0.8
NUM_WORKERS = 2


class Photos(Dataset):
    """Photos with captions: a random window, resized, mirrored half of the time, and tokens."""

    def __init__(self, images, captions, vocabulary, image_size, sequence_length):
        self.images, self.captions, self.image_size = images, captions, image_size
        self.tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=True)
        self.tokenizer.enable_truncation(sequence_length)
        self.tokenizer.enable_padding(length=sequence_length)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        image = Image.open(self.images[row]).convert("RGB")
        width, height = (random.uniform(SMALLEST_CROP, 1) * side for side in image.size)
        left = random.uniform(0, image.size[0] - width)
        top = random.uniform(0, image.size[1] - height)
        size = (self.image_size, self.image_size)
        box = (left, top, left + width, top + height)
        image = image.resize(size, Image.Resampling.BOX, box=box)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).float()
        tokens = self.tokenizer.encode(random.choice(self.captions[row]))
        return pixels, torch.tensor(tokens.ids), torch.tensor(tokens.attention_mask)


def main():
    """Waits for a line, runs a pass, prints its rate."""
    path, vocabulary, *sizes = sys.argv[1:]
    image_size, sequence_length, batch_size = map(int, sizes)
    with open(path) as file:
        content = json.load(file)
    torch.set_num_threads(1)
    photos = Photos(content["images"], content["captions"], vocabulary, image_size, sequence_length)
    loader = DataLoader(
        photos, batch_size, shuffle=True, num_workers=NUM_WORKERS, persistent_workers=True
    )
    for _ in sys.stdin:
        start, count = time.perf_counter(), 0
        for images, _, _ in loader:
            count += len(images)
        print(count / (time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
