"""The PyTorch side of `training_job`; runs in an environment of its own.

The experiment `coco_small` as a PyTorch user would write it: the same networks (`transformers` for the
text, `nn.MultiheadAttention` for the fusion), phases, losses, rates, augmentation and batches, images
read by a `DataLoader` with two workers. Prints a JSON line per epoch: seconds since the start and the
validation mAP.
"""

import json
import math
import random
import re
import sys
import time

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import average_precision_score
from tokenizers import BertWordPieceTokenizer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from transformers import BertConfig, BertModel

IMAGE_SIZE, LENGTH, VOCABULARY_SIZE, HIDDEN_DIM, NUM_HEADS = 128, 32, 8192, 512, 8
DROPOUT, MODALITY_DROPOUT, BATCH_SIZE, NUM_WORKERS = 0.1, 0.1, 32, 2
EPOCHS, RATES = (15, 3, 8), (2e-3, 1e-3, 5e-4)
WARMUP, DECAY, AUXILIARY, CONSISTENCY = 0.1, 1e-2, 0.5, 0.1
SIDES = {"left": "right", "right": "left"}


class Photos(Dataset):
    """Photos with captions and labels; in training flipped, cropped and with other colours."""

    def __init__(self, split, tokenizer, is_training):
        self.images, self.captions = split["images"], split["captions"]
        self.labels = torch.tensor(split["labels"], dtype=torch.float32)
        self.tokenizer, self.is_training = tokenizer, is_training

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        image = Image.open(self.images[row]).convert("RGB")
        caption = self.captions[row][0]
        box = (0, 0, *image.size)
        if self.is_training:
            caption = random.choice(self.captions[row])
            width, height = (random.uniform(0.8, 1) * side for side in image.size)
            left = random.uniform(0, image.size[0] - width)
            top = random.uniform(0, image.size[1] - height)
            box = (left, top, left + width, top + height)
        image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX, box=box)
        if self.is_training and random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            caption = re.sub(r"\b(left|right)\b", lambda m: SIDES[m[0]], caption)
        pixels = torch.from_numpy(np.array(image)).float()
        if self.is_training:
            mean = pixels.mean()
            contrast, brightness = random.uniform(-0.2, 0.2), random.uniform(-0.2, 0.2)
            pixels = (pixels - mean) * (1 + contrast) + mean * (1 + brightness)
            pixels = pixels.clamp(0, 255)
        tokens = self.tokenizer.encode(caption)
        ids, mask = torch.tensor(tokens.ids), torch.tensor(tokens.attention_mask)
        return pixels.permute(2, 0, 1), ids, mask, self.labels[row]


def convolve(channels, filters, kernel_size, stride):
    """A convolution and its normalisation."""
    options = {"padding": kernel_size // 2, "bias": False}
    return nn.Sequential(
        nn.Conv2d(channels, filters, kernel_size, stride, **options),
        nn.BatchNorm2d(filters, momentum=0.01, eps=1e-3),
    )


class Block(nn.Module):
    """A residual block of stride 2."""

    def __init__(self, channels, filters):
        super().__init__()
        self.shortcut = convolve(channels, filters, 1, 2)
        self.first, self.second = (
            convolve(channels, filters, 3, 2),
            convolve(filters, filters, 3, 1),
        )

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class Images(nn.Module):
    """The small residual network; 64 regions of 128 channels."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(convolve(3, 32, 7, 4), nn.ReLU(), Block(32, 64), Block(64, 128))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (IMAGE_SIZE // 16) ** 2, 128))

    def forward(self, x):
        x = x.contiguous(memory_format=torch.channels_last)
        return self.layers(x / 127.5 - 1).flatten(2).transpose(1, 2) + self.positions


class Classifier(nn.Module):
    """Both encoders, bidirectional cross-attention, adaptive weights, heads."""

    def __init__(self, num_classes):
        super().__init__()
        config = BertConfig(
            vocab_size=VOCABULARY_SIZE,
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=256,
        )
        self.images, self.text = Images(), BertModel(config, add_pooling_layer=False)
        self.fusion = nn.ModuleDict()
        for modality in ("images", "text"):
            self.fusion[f"{modality}_projection"] = nn.Linear(128, HIDDEN_DIM)
            self.fusion[f"{modality}_attention"] = nn.MultiheadAttention(
                HIDDEN_DIM, NUM_HEADS, DROPOUT, batch_first=True
            )
            self.fusion[f"{modality}_norm"] = nn.LayerNorm(HIDDEN_DIM)
        self.fusion["weights"] = nn.Sequential(
            nn.Linear(2 * HIDDEN_DIM, HIDDEN_DIM), nn.ReLU(), nn.Linear(HIDDEN_DIM, 2)
        )
        self.missing = nn.Parameter(0.02 * torch.randn(2, HIDDEN_DIM))
        self.head = nn.Sequential(
            nn.Linear(HIDDEN_DIM, 256), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(256, num_classes)
        )
        self.auxiliary = nn.ModuleList(
            nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(128, num_classes)) for _ in range(2)
        )
        for part in (self.images, self.fusion, self.head, self.auxiliary):
            for module in part.modules():  # as Keras begins; PyTorch's own start is smaller
                if isinstance(module, (nn.Linear, nn.Conv2d)):
                    nn.init.xavier_uniform_(module.weight)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def encode(self, pixels, ids, mask):
        images = self.images(pixels)
        return images, self.text(ids, attention_mask=mask).last_hidden_state

    def heads(self, images, text, mask):
        weight = mask[..., None].float()
        pooled = [images.mean(1), (text * weight).sum(1) / weight.sum(1)]
        return [head(x) for head, x in zip(self.auxiliary, pooled, strict=True)]

    def fuse(self, images, text, mask):
        tokens = {
            modality: F.dropout(self.fusion[f"{modality}_projection"](x), DROPOUT, self.training)
            for modality, x in (("images", images), ("text", text))
        }
        masks = {"images": torch.ones(images.shape[:2], dtype=torch.bool), "text": mask.bool()}
        if self.training:
            draws = torch.rand(len(images), 2)
            kept = (draws >= MODALITY_DROPOUT) | (draws == draws.max(1, keepdim=True)[0])
            for place, modality in enumerate(tokens):
                is_kept = kept[:, place, None]
                tokens[modality] = torch.where(
                    is_kept[..., None], tokens[modality], self.missing[place]
                )
                first = torch.arange(tokens[modality].shape[1]) == 0
                masks[modality] = torch.where(is_kept, masks[modality], first)
        pooled = []
        for query, key in (("images", "text"), ("text", "images")):
            found, _ = self.fusion[f"{query}_attention"](
                tokens[query], tokens[key], tokens[key], ~masks[key], need_weights=False
            )
            x = tokens[query] + F.dropout(found, DROPOUT, self.training)
            x, weight = self.fusion[f"{query}_norm"](x), masks[query][..., None].float()
            pooled.append((x * weight).sum(1) / weight.sum(1))
        weights = self.fusion["weights"](torch.cat(pooled, 1)).softmax(1)
        return self.head(sum(x * weights[:, i, None] for i, x in enumerate(pooled)))


def run_phase(model, number, train, validation, clock):
    """Trains one phase: encoders, fusion, or everything."""
    encoders = [model.images, model.text]
    parts = {0: [*encoders, model.auxiliary], 1: [model.fusion, model.head], 2: [model]}[number]
    for parameter in model.parameters():
        parameter.requires_grad = False
    for parameter in (p for part in parts for p in part.parameters()):
        parameter.requires_grad = True
    model.missing.requires_grad = number > 0
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, RATES[number], fused=True)
    steps = EPOCHS[number] * len(train)
    warmup = round(steps * WARMUP)

    def rate(step):
        if step < warmup:
            return step / warmup
        return (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for _ in range(EPOCHS[number]):
        model.train()
        if number == 1:
            for encoder in encoders:
                encoder.eval()
        for pixels, ids, mask, labels in train:
            with torch.set_grad_enabled(number != 1):
                images, text = model.encode(pixels, ids, mask)
            loss = 0.0
            if number != 1:
                heads = model.heads(images, text, mask)
                share = 1.0 if number == 0 else AUXILIARY
                for logits in heads:
                    loss = loss + share * F.binary_cross_entropy_with_logits(logits, labels)
            if number == 2:
                images_p, text_p = (logits.sigmoid() for logits in heads)
                loss = loss + CONSISTENCY * (images_p - text_p).square().mean()
            if number > 0:
                logits = model.fuse(images, text, mask)
                loss = loss + F.binary_cross_entropy_with_logits(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        score = evaluate(model, validation) if number > 0 else None
        seconds = time.perf_counter() - clock
        print(json.dumps({"phase": number, "seconds": seconds, "mAP": score}), flush=True)


@torch.no_grad()
def evaluate(model, validation):
    """The mean average precision of the fused prediction, over classes with a positive."""
    model.eval()
    scores, labels = [], []
    for pixels, ids, mask, y in validation:
        scores.append(model.fuse(*model.encode(pixels, ids, mask), mask).sigmoid())
        labels.append(y)
    scores, labels = torch.cat(scores).numpy(), torch.cat(labels).numpy()
    there = labels.sum(0) > 0
    return float(average_precision_score(labels[:, there], scores[:, there], average="macro"))


def main():
    """Reads the index, trains."""
    clock = time.perf_counter()
    torch.manual_seed(0)
    random.seed(0)
    with open(sys.argv[1]) as file:
        splits = json.load(file)
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    captions = (text for texts in splits["train"]["captions"] for text in texts)
    tokenizer.train_from_iterator(captions, VOCABULARY_SIZE, show_progress=False)
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    options = {"num_workers": NUM_WORKERS, "persistent_workers": True}
    train = DataLoader(
        Photos(splits["train"], tokenizer, True),
        BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        **options,
    )
    validation = DataLoader(Photos(splits["val"], tokenizer, False), BATCH_SIZE, **options)
    model = Classifier(len(splits["train"]["labels"][0]))
    model = model.to(memory_format=torch.channels_last)
    for number in range(3):
        run_phase(model, number, train, validation, clock)
    parameters = sum(p.numel() for p in model.parameters())
    print(json.dumps({"parameters": parameters}), flush=True)


if __name__ == "__main__":
    main()
