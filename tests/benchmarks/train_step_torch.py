"""The PyTorch side of `train_step`; runs in an environment of its own.

For every line it reads, it makes a training step and prints its seconds.
"""

import json
import sys
import time

import torch
import transformers
from torch import nn
from torch.nn import functional

HIDDEN_DIM, NUM_HEADS, HEAD_DIM, DROPOUT = 512, 8, 256, 0.1


class Classifier(nn.Module):
    """ResNet-50 + BERT-base + cross-attention both ways + heads, sizes and work as in `coco`."""

    def __init__(self, num_classes, vocabulary_size):
        super().__init__()
        # Keras' ResNet-50 has the stride in the first convolution of a block.
        config = transformers.ResNetConfig(downsample_in_bottleneck=True)
        self.images_encoder = transformers.ResNetModel(config)
        self.positions = nn.Parameter(0.02 * torch.randn(1, 49, 2048))
        config = transformers.BertConfig(vocab_size=vocabulary_size)
        self.text_encoder = transformers.BertModel(config, add_pooling_layer=False)
        self.projections = nn.ModuleList([nn.Linear(2048, HIDDEN_DIM), nn.Linear(768, HIDDEN_DIM)])
        self.missing = nn.Parameter(0.02 * torch.randn(2, HIDDEN_DIM))
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(HIDDEN_DIM, NUM_HEADS, DROPOUT, batch_first=True)
            for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(HIDDEN_DIM) for _ in range(2))
        self.dropout = nn.Dropout(DROPOUT)
        self.weigh = nn.Sequential(
            nn.Linear(2 * HIDDEN_DIM, HIDDEN_DIM), nn.ReLU(), nn.Linear(HIDDEN_DIM, 2)
        )
        self.head = nn.Sequential(
            nn.Linear(HIDDEN_DIM, HEAD_DIM),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HEAD_DIM, num_classes),
        )
        self.auxiliary = nn.ModuleList([nn.Linear(2048, num_classes), nn.Linear(768, num_classes)])

    def forward(self, images, token_ids, mask):
        """Returns the logits of the head and of the two auxiliary ones."""
        grid = self.images_encoder(images).last_hidden_state
        regions = grid.flatten(2).transpose(1, 2) + self.positions
        words = self.text_encoder(token_ids, mask).last_hidden_state
        present = torch.ones(len(images), 2, dtype=torch.bool, device=images.device)
        if self.training:
            present = torch.rand(len(images), 2, device=images.device) >= DROPOUT
            present[:, 0] |= ~present[:, 1]
        known = [torch.ones_like(mask[:, :1]).expand(-1, 49), mask]
        tokens = [
            torch.where(
                present[:, m, None, None],
                self.dropout(self.projections[m](features)),
                self.missing[m].to(features.dtype),
            )
            for m, features in enumerate((regions, words))
        ]
        pooled = []
        for query, key in ((0, 1), (1, 0)):
            gathered, _ = self.attentions[query](
                tokens[query],
                tokens[key],
                tokens[key],
                key_padding_mask=known[key] == 0,
                need_weights=False,
            )
            joined = self.norms[query](tokens[query] + self.dropout(gathered))
            pooled.append(_mean(joined, known[query]))
        weights = self.weigh(torch.cat(pooled, 1)).softmax(1)
        fused = weights[:, :1] * pooled[0] + weights[:, 1:] * pooled[1]
        auxiliary = [
            head(self.dropout(_mean(features, mask)))
            for head, features, mask in zip(self.auxiliary, (regions, words), known, strict=True)
        ]
        return self.head(fused), *auxiliary


def _mean(features, mask):
    mask = mask[..., None].to(features.dtype)
    return (features * mask).sum(1) / mask.sum(1).clamp(min=1)


def loss_of(logits, labels):
    """The losses of the heads, and that of their consistency, with the lambdas of `coco`."""
    logits = [values.float() for values in logits]
    losses = [functional.binary_cross_entropy_with_logits(v, labels) for v in logits]
    apart = (logits[1].sigmoid() - logits[2].sigmoid()).square().mean()
    return losses[0] + 0.5 * losses[1] + 0.5 * losses[2] + 0.1 * apart


def main():
    """Says its number of parameters, then waits for lines."""
    options = json.loads(sys.argv[1])
    batch_size, image_size = options["batch_size"], options["image_size"]
    num_classes, vocabulary_size = options["num_classes"], options["vocabulary_size"]
    torch.manual_seed(0)
    torch.set_num_threads(options["threads"])
    model = Classifier(num_classes, vocabulary_size)
    model.train()
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5, weight_decay=1e-2, fused=True)
    print(json.dumps(sum(p.numel() for p in model.parameters())), flush=True)
    images = torch.randn(batch_size, 3, image_size, image_size)
    images = images.to(memory_format=torch.channels_last)
    token_ids = torch.randint(0, vocabulary_size, (batch_size, options["sequence_length"]))
    mask = torch.ones_like(token_ids)
    mask[:, options["sequence_length"] // 2 :] = 0
    labels = torch.randint(0, 2, (batch_size, num_classes)).float()
    run = torch.compile(model) if options["torch_compile"] else model
    for _ in sys.stdin:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=options["torch_bfloat16"]):
            logits = run(images, token_ids, mask)
        loss = loss_of(logits, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - start
        with open("/proc/self/status", encoding="ascii") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        print(
            json.dumps({"seconds": seconds, "peak_mb": peak / 1024, "loss": float(loss.detach())}),
            flush=True,
        )


if __name__ == "__main__":
    main()
