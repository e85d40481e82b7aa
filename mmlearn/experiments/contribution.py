"""Measures what each modality contributes to a saved model's predictions, as evidence of its run."""

import csv
import os

from rich.console import Console

from mmlearn.analysis.contribution import plot_contribution
from mmlearn.analysis.evidence import CONTRIBUTION
from mmlearn.evaluation.contribution import (
    DOMINANT,
    measure_contribution,
    predict_contributions,
)
from mmlearn.experiments.findings import leave_findings
from mmlearn.experiments.opened import open_model_and_data
from mmlearn.training.callbacks import progress_bar

COLUMNS = {
    "shapley": "Shapley value",
    "share": "share",
    "alone": "alone",
    "leave_one_out": "leave one out",
    "permutation": "permutation",
    "weight": "adaptive weight",
}


def find_contribution(
    model,
    data,
    split="val",
    batch_size=32,
    max_examples=2000,
    num_permutations=5,
    num_resamples=500,
    seed=0,
    output=None,
    command="",
    console=None,
):
    """Measures the contributions of the modalities and leaves them as evidence.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        split: str.
        batch_size: int.
        max_examples: int. If the split has more, so many are drawn: their features stay in memory.
        num_permutations: int, see `predict_contributions`.
        num_resamples: int. Of the bootstrap intervals.
        seed: int. Of all draws.
        output: str. The folder in which `evidence/` is made, by default the model's.
        command: str. For the record.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The evidence, see `mmlearn.analysis.evidence`, with what `measure_contribution` returns under
        `contribution`. It is left as `contribution.json`, `contribution.md`, `contribution.png`; and
        `contribution_examples.csv` has the Shapley values, weights and the dominance of each example.

    Raises:
        ValueError: when the model, the data or an option is not right.
    """
    opened = open_model_and_data(model, data, split, batch_size, max_examples, seed)
    task, head = opened.task, opened.task.described[opened.task.main_output]
    with progress_bar(console or Console(quiet=True)) as bar, opened.naming_bad_images():
        line = bar.add_task("predictions", status="")
        found = predict_contributions(
            task,
            opened.dataset,
            opened.prior,
            num_permutations,
            seed,
            batch_size,
            lambda done, total: bar.update(line, completed=done, total=total),
        )
    index = opened.source.examples(split)
    record, by_example = measure_contribution(head, found, num_resamples, seed, index.groups)
    content = {**_describe(record), "contribution": record, "command": command}

    def draw(folder):
        plot_contribution(record, by_example, os.path.join(folder, "contribution.png"))
        _write_examples(
            os.path.join(folder, "contribution_examples.csv"), record, by_example, index.ids
        )

    return leave_findings(output or model, CONTRIBUTION, "Modality contribution", content, draw)


def _describe(record):
    """The tables and remarks of `measure_contribution`'s record."""
    score, modalities = record["score"], record["modalities"]
    names = [n for n in COLUMNS if all(n in own for own in modalities.values())]
    overall = {
        "title": f"Contribution to {score}, {record['num_examples']} examples",
        "columns": ["measure", *modalities],
        "rows": [
            *([COLUMNS[name], *(own[name] for own in modalities.values())] for name in names),
            ["examples it dominates", *(o["dominated_examples"] for o in modalities.values())],
        ],
        "note": f"Shapley values divide the {score} above the prior's among the modalities, and share "
        "is that of their absolute sum. Alone: with this modality only, above the prior. Leave one "
        "out: what is lost when it is declared absent; permutation: when it is that of other "
        f"examples. A modality dominates from a share of {DOMINANT:.0%}. 95 % bootstrap intervals over "
        "the examples.",
    }
    subsets = {
        "title": "What the model predicts from each subset of the modalities",
        "columns": ["modalities", score, f"mean {record['example_score']}"],
        "rows": [
            [
                " + ".join(each["modalities"]) or "none (the prior)",
                each["score"],
                each["example_score"],
            ]
            for each in record["subsets"]
        ],
    }
    total = record["total"]
    shares = ", ".join(f"{m} {own['share']['value']:.1%}" for m, own in modalities.items())
    what = {
        "balanced": "No modality dominates",
        "misled": "The model predicts worse than the prior",
    }
    begin = what.get(record["dominance"], f"The model is {record['dominance']}")
    remarks = [
        f"{begin}: of the {score} of {total['value']:+.3f} above the prior, the shares are {shares}."
    ]
    return {
        "tables": [overall, subsets],
        "figures": ["contribution.png"],
        "captions": {"contribution.png": "Contribution of each modality, overall and by example"},
        "remarks": remarks,
    }


def _write_examples(path, record, by_example, ids):
    modalities = list(record["modalities"])
    weights = by_example["weights"]
    header = ["id", *(f"shapley_{m}" for m in modalities)]
    header += [f"weight_{m}" for m in modalities] if weights is not None else []
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header, "dominance"])
        for row, name in enumerate(ids):
            values = [f"{value:.6g}" for value in by_example["shapley"][row]]
            if weights is not None:
                values += [f"{value:.6g}" for value in weights[row]]
            writer.writerow([name, *values, by_example["dominance"][row]])
