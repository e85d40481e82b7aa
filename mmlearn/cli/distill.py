"""`python -m mmlearn distill MODEL --model.hidden-dim 64`: a small model that learns from a large one."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from mmlearn.cli.prune import parse, run_and_compare
from mmlearn.experiments.config import Experiment
from mmlearn.experiments.smaller_runs import check_is_smaller, distillation_of


@dataclass(frozen=True)
class Distill:
    """Trains a smaller model by a saved one: `distill MODEL [--flags of train]`.

    Without flags the student has the teacher's config: name what is smaller, such as
    `--model.hidden-dim 64`.
    """

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    json: bool = False
    """Print one JSON object as the last line of standard output, and progress to standard error."""


def run(args):
    """Trains, compares with the teacher and prints the tables."""
    options = parse(args, Distill, "distill", distillation_of)
    check_is_smaller(options.experiment)
    run_and_compare(options, options.experiment.distillation.model, "distill", args)
