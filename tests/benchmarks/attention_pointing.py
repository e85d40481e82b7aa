"""Do words point at what they name? `shapes` as it is, and with what makes them do so left out.

    python -m tests.benchmarks.attention_pointing --output /path/for/the/runs

Each model is trained through the command line and measured on 500 validation scenes by `explain
--measure`. The bar: on visible, unambiguous words, the pointing game of the attention is to be at least
0.8 of that of the best map of the grid. Runs that are there already are not repeated.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.table import Table

BAR = 0.8  # of the best map
SCENES = 500
NOT_LOCAL = ("--model.images.options", "local=false")
NOT_GROUNDED = ("--model.fusion.options", "num_heads=4", "grounded_heads=0")
MODELS = {
    "shapes": (),
    "no grounding": NOT_GROUNDED,
    "wide regions": NOT_LOCAL,
    "neither": (*NOT_LOCAL, *NOT_GROUNDED),
}


@dataclass(frozen=True)
class Options:
    """Trains and measures."""

    output: str
    """Folder of the runs."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds; the data set is the same."""
    models: tuple[str, ...] = tuple(MODELS)
    """Which ones."""


def measure(folder, seed, flags):
    """Trains one model and measures it, unless that was done; returns both records."""
    run = os.path.join(folder, "run")
    found = os.path.join(run, "evidence", "attention.json")
    steps = {
        os.path.join(run, "run.json"): [
            *("train", "shapes", "--output", run, "--training.seed", str(seed)),
            *flags,
        ],
        found: ["explain", run, "--measure", "--count", str(SCENES)],
    }
    records = []
    for path, command in steps.items():
        if not os.path.exists(path):
            subprocess.run([sys.executable, "-m", "mmlearn", *command], check=True)
        with open(path, encoding="utf-8") as file:
            records.append(json.load(file))
    return records


def main():
    """Prints a row per seed and model."""
    options = tyro.cli(Options)
    columns = ("seed", "model", "mAP", "grid", "pointing", "of the best", "energy", "other word")
    table = Table(*columns, "told apart", "faint", "ambiguous", "random weights", "centre")
    for seed in options.seeds:
        for name in options.models:
            folder = os.path.join(options.output, f"{name.replace(' ', '_')}-{seed}")
            run, evidence = measure(folder, seed, MODELS[name])
            found = evidence["attention"]
            maps, own = found["maps"], found["maps"]["attention"]
            score = own["visible"]["pointing"]["value"]
            share = score / found["oracle"]["visible"]
            table.add_row(
                str(seed),
                name,
                f"{run['metrics']['fused']['mAP']:.4f}",
                "x".join(map(str, found["grid"])),
                f"{score:.3f}",
                f"{share:.3f}{'' if share >= BAR else ' below'}",
                f"{own['visible']['energy']['value']:.3f}",
                f"{maps['other_word']['visible']['pointing']['value']:.3f}",
                *(
                    f"{own[kind]['pointing']['value']:.3f}"
                    for kind in ("told_apart", "faint", "ambiguous")
                ),
                f"{maps['random_weights']['visible']['pointing']['value']:.3f}",
                f"{maps['centre_prior']['visible']['pointing']['value']:.3f}",
            )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
