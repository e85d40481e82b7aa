"""`python -m mmlearn ablate [EXPERIMENT | RUN.JSON] [--seeds N] [--rows NAMES] [--flags of train]`."""

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from data_prep.quiet import quiet_start
from mmlearn.cli.tables import evidence_table
from mmlearn.cli.train import parse
from mmlearn.experiments.config import Experiment


@dataclass(frozen=True)
class Ablate:
    """Trains an experiment without one thing after the other, over seeds, and compares."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    seeds: int = 5
    """How many; the first is `training.seed`."""
    rows: tuple[str, ...] = ("all",)
    """Rows, or tables of rows: modalities, fusions, losses, phases, backbones, own; documents, those of
    the documents' tables; all."""
    end_to_end: tuple[str, ...] = ("documents",)
    """Rows that are also trained end to end, named likewise; nothing for none."""
    row: tuple[str, ...] = ()
    """Rows of your own, each "NAME: PATH=VALUE PATH=VALUE", such as
    "two layers: model.fusion.options.num_layers=2"."""
    backbones: tuple[str, ...] = ()
    """Other encoders, each MODALITY=NAME, such as images=cnn."""
    metric: str = "mAP"
    """Of the fused prediction on the validation split: mAP, macro_F1, micro_F1 or AUC; of numbers R2."""
    workers: int | None = None
    """Processes that train at once. By default one per GPU, or one."""
    json: bool = False
    """Print one JSON object as the last line of standard output, and progress to standard error."""


def run(args):
    """Trains the rows and prints the tables."""
    options, _ = parse(args, Ablate, "ablate")
    with quiet_start():
        from mmlearn.analysis.ablation_tables import findings, make_short_table
        from mmlearn.experiments.ablation import run_ablation
        from mmlearn.experiments.ablation_rows import make_rows, select_rows

    console = Console(stderr=options.json)
    rows = make_rows(options.experiment, options.backbones, options.row)
    record = run_ablation(
        options.experiment,
        select_rows(rows, options.rows),
        options.end_to_end,
        options.seeds,
        options.metric,
        options.workers,
        console,
    )
    console.print(evidence_table(make_short_table(record)))
    for sentence in findings(record):
        console.print(sentence, highlight=False, markup=False)
    output = record["output"]
    console.print(
        f"{record['seconds']:.0f} s in all. In {output}/:\n"
        "  ablation.md, .csv, .tex  the tables, with intervals and costs\n"
        "  evidence/ablation.json   the same with a figure, for `report RUN --evidence FILE`\n"
        "  ablation.json            all of it, config, versions\n"
        "  runs/                    metrics and predictions of each run",
        highlight=False,
    )
    if options.json:
        names = ("metric", "seeds", "baselines", "best_single", "rows", "seconds")
        summary = {name: record[name] for name in names}
        print(json.dumps({"ablation": f"{output}/ablation.json", **summary}))
