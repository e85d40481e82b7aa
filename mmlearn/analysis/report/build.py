"""The report of runs, as a document: every section from what runs have left, or "not measured"."""

import shlex

from mmlearn.analysis.document import Heading, Missing, Picture
from mmlearn.analysis.report import making, results, rivals, verdict
from mmlearn.analysis.report.scores import Scores

# The two reports among the documents, joined: abstract, introduction; method; experimental setup;
# results with the figures of convergence, attention and comparison; conclusions. And: dataset analysis,
# pipeline, architecture, training dynamics, evaluation, challenges, comparison, future directions.
SECTIONS = (
    ("Summary", verdict.summarize),
    ("Dataset analysis and preparation", making.describe_data),
    ("Data pipeline", making.describe_pipeline),
    ("Neural network architecture", making.describe_architecture),
    ("Experimental setup", making.describe_settings),
    ("Training dynamics", making.describe_training),
    ("Results", results.show_results),
    ("Ablation studies", results.show_ablations),
    ("Attention", results.show_attention),
    ("Modality contribution", results.show_contribution),
    ("Robustness", results.show_robustness),
    ("Error analysis", results.show_errors),
    ("Computational cost", results.show_cost),
    ("Further measurements", results.show_further),
    ("Limitations", verdict.list_limitations),
    ("Future directions", verdict.list_next_steps),
    ("Reproduction", making.describe_reproduction),
)
OF_PREDICTIONS = (
    results.show_ablations,
    results.show_attention,
    results.show_contribution,
    results.show_robustness,
    results.show_errors,
    results.show_cost,
    verdict.list_next_steps,
)


def build_report(runs):
    """Makes the report of runs.

    Args:
        runs: list of `RunRecord`. One gives a chapter a section, several a chapter each, after what
            compares them.

    Returns:
        The title, and the list of blocks.

    Raises:
        ValueError: when there is no run.
    """
    if not runs:
        raise ValueError("A report needs a run. Fix: pass the output folder of one.")
    scores = [Scores(run) for run in runs]
    names = [run.name for run in runs]
    title = f"Report of {', '.join(dict.fromkeys(names))}"
    blocks = []
    if len(runs) > 1:
        blocks += [Heading("Comparison across data sets"), *rivals.compare_runs(runs, scores)]
    for number, (run, own) in enumerate(zip(runs, scores, strict=True), 1):
        if len(runs) == 1:
            blocks += _chapter(run, own, 2)
        else:
            blocks.append(Heading(f"Run {number}: {run.name}"))
            blocks += [_of_run(block, number) for block in _chapter(run, own, 3)]
    if len(runs) == 1:
        command = f"python -m mmlearn report {shlex.quote(runs[0].folder)} OTHER_RUN --output FILE"
        blocks += [Heading("Comparison across data sets"), Missing("Other runs", command)]
    blocks += [Heading("Comparison with published figures"), *rivals.list_published()]
    return title, blocks


def _chapter(run, scores, level):
    # What measures predictions of labels says nothing of other tasks.
    sections = [each for each in SECTIONS if scores.heads or each[1] not in OF_PREDICTIONS]
    return [
        block for title, make in sections for block in (Heading(title, level), *make(run, scores))
    ]


def _of_run(block, number):
    """Names a picture after its run: the figures of several lie in one folder."""
    if isinstance(block, Picture):
        return Picture(f"run{number}-{block.name}", block.content, block.caption)
    return block
