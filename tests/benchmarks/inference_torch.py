"""The PyTorch side of `inference`; runs in an environment of its own.

For every line it reads, `[name, batch_size]`, it makes a prediction and prints its seconds.
"""

import contextlib
import copy
import json
import sys
import time

import nncf
import openvino
import torch
from train_step_torch import Classifier


class Predictor(torch.nn.Module):
    """Probabilities of the main head alone: an export then holds nothing else."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images, token_ids, mask):
        return self.model(images, token_ids, mask)[0].sigmoid()


def make_inputs(options, count):
    """Pixels, token ids and mask."""
    side, length = options["image_size"], options["sequence_length"]
    images = torch.randn(count, 3, side, side).to(memory_format=torch.channels_last)
    token_ids = torch.randint(5, options["vocabulary_size"], (count, length))
    mask = torch.ones_like(token_ids)
    mask[:, length // 2 :] = 0
    return images, token_ids, mask


def to_openvino(model, options):
    """The model in int8, compiled, and the names of its inputs; the trace is of single examples."""
    examples = [make_inputs(options, 1) for _ in range(options["num_calibration"])]
    converted = openvino.convert_model(model, example_input=make_inputs(options, 1))
    names = [each.get_any_name() for each in converted.inputs]
    feeds = [
        dict(zip(names, (values.numpy() for values in example), strict=True))
        for example in examples
    ]
    quantized = nncf.quantize(
        converted,
        nncf.Dataset(feeds),
        subset_size=len(feeds),
        model_type=nncf.ModelType.TRANSFORMER,
    )
    return openvino.Core().compile_model(quantized, "CPU"), names


def main():
    """Says when it is ready, then waits for lines."""
    options = json.loads(sys.argv[1])
    torch.manual_seed(0)
    torch.set_num_threads(options["threads"])
    model = Classifier(options["num_classes"], options["vocabulary_size"])
    model = Predictor(model).eval().requires_grad_(False)
    with contextlib.redirect_stdout(sys.stderr):  # NNCF writes its progress
        compiled, names = to_openvino(copy.deepcopy(model), options)
    model = model.to(memory_format=torch.channels_last)
    models = {"float32": model, "bfloat16": copy.deepcopy(model).to(torch.bfloat16)}
    inputs = make_inputs(options, options["largest_batch"])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, count = json.loads(line)
        images, token_ids, mask = (values[:count] for values in inputs)
        if name == "OpenVINO int8":
            values = (images.contiguous(), token_ids, mask)
            feed = dict(zip(names, (each.numpy() for each in values), strict=True))
            start = time.perf_counter()
            compiled(feed)
        else:
            if name == "bfloat16":
                images = images.to(torch.bfloat16)
            start = time.perf_counter()
            with torch.inference_mode():
                models[name](images, token_ids, mask)
        print(json.dumps(time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
