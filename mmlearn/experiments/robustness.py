"""Measures what damaged data and another domain cost a saved model, as evidence of its run."""

import os

import numpy as np
from rich.console import Console

from data_prep.synonyms import SYNONYMS, read_synonyms
from mmlearn.analysis.evidence import ROBUSTNESS
from mmlearn.analysis.robustness import plot_corruptions, plot_degradation
from mmlearn.evaluation.encoded import EncodedPredictor
from mmlearn.evaluation.intervals import draw_all, with_interval
from mmlearn.evaluation.robustness import DamageTest, measure_robustness
from mmlearn.evaluation.scores import score_name, weighted_score
from mmlearn.experiments.findings import leave_findings
from mmlearn.experiments.opened import open_model_and_data
from mmlearn.training.callbacks import progress_bar


def find_robustness(
    model,
    data,
    split="val",
    batch_size=32,
    max_examples=500,
    num_resamples=300,
    seed=0,
    synonyms=None,
    domain=None,
    domain_split="val",
    output=None,
    command="",
    console=None,
):
    """Measures robustness and leaves it as evidence.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        split: str.
        batch_size: int.
        max_examples: int. If the split has more, so many are drawn.
        num_resamples: int. Of the bootstrap intervals.
        seed: int. Of the damage and of all draws.
        synonyms: str, a file for `data_prep.synonyms.read_synonyms`; or `None` for the list there.
        domain: `DataConfig` of another data set with the model's labels or a part of them, or `None`.
        domain_split: str.
        output: str. The folder in which `evidence/` is made, by default the model's.
        command: str. For the record.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The evidence, see `mmlearn.analysis.evidence`, with what `measure_robustness` returns under
        `robustness`, and what `compare_domains` returns, or `None`, under `domain`. It is left as
        `robustness.json` and `.md`, with the pictures `robustness.png` and, of images,
        `robustness_corruptions.png`.

    Raises:
        ValueError: when the model, the data or an option is not right.
    """
    known = SYNONYMS if synonyms is None else read_synonyms(synonyms)
    opened = open_model_and_data(model, data, split, batch_size, max_examples, seed)
    head = opened.task.described[opened.task.main_output]
    other = None
    if domain is not None:  # before the work, so that a wrong flag costs nothing
        other = open_model_and_data(model, domain, domain_split, batch_size, max_examples, seed)
    index = opened.source.examples(split)
    captions = index.captions
    texts = None if captions is None else [own[0] if own else "" for own in captions]
    with progress_bar(console or Console(quiet=True)) as bar, opened.naming_bad_images():
        line = bar.add_task("damage", status="")
        test = DamageTest(opened.task, opened.dataset, texts, opened.prior, batch_size, seed, known)
        damaged = test.run(
            progress=lambda done, total: bar.update(line, completed=done, total=total)
        )
    record = measure_robustness(head, damaged, num_resamples, seed, index.groups)
    compared = None
    if other is not None:
        with other.naming_bad_images():
            compared = compare_domains(
                other.task,
                (damaged.labels, damaged.clean["fused"]),
                _predict(other, batch_size),
                num_resamples,
                seed,
                (index.groups, other.source.examples(domain_split).groups),
            )
            compared["source"], compared["root"] = domain.source, str(other.source.root)
    content = {**_describe(record, compared), "robustness": record, "domain": compared}
    content["command"] = command
    if test.images is not None:
        content["figures"].append("robustness_corruptions.png")

    def draw(folder):
        plot_degradation(record, os.path.join(folder, "robustness.png"))
        if test.images is not None:
            row = int(np.argmax(test.examples.present["images"]))
            path = os.path.join(folder, "robustness_corruptions.png")
            plot_corruptions(test.images[row], path, (seed, row))

    return leave_findings(output or model, ROBUSTNESS, "Robustness", content, draw)


def compare_domains(task, own, other, num_resamples=300, seed=0, groups=(None, None)):
    """Compares the scores of a model on its own data and on others.

    Only classes that have a positive in both count, so that the same is asked of both. The shares of the
    classes may still differ, which changes what average precision chance has: the prior's is beside it.

    Args:
        task: a `PredictionTask`, whose main head is compared.
        own: labels and predictions, arrays `(num_examples, num_columns)`.
        other: likewise, of the other data; a label -1 is unknown.
        num_resamples: int. Of the bootstrap; the two data sets are resampled each by itself.
        seed: int.
        groups: int arrays `(num_examples,)` of both, or `None`. Examples of a group are resampled
            together.

    Returns:
        A dict of `score` (its name), `num_columns` (that count), `own` and `other` (dicts of `score`,
        `chance` and `num_examples`), and `relative`, the other score divided by the own one. Scores are
        dicts of `value`, `low`, `high`; `chance` is that of constant predictions.

    Raises:
        ValueError: when no class has a positive in both.
    """
    head = task.described[task.main_output]
    columns = np.arange(head.num_columns)
    if not head.is_regression:
        columns = np.flatnonzero((own[0] > 0).any(axis=0) & (other[0] > 0).any(axis=0))
        if not len(columns):
            raise ValueError(
                "No class has a positive in both data sets, so that they cannot be compared. Fix: "
                "--domain.source of data with the model's classes."
            )
    found, drawn = {}, {}
    limits = None if head.is_regression else (0.0, 1.0)
    for number, (name, (labels, values)) in enumerate((("own", own), ("other", other))):
        known = slice(None) if head.is_regression else (labels[:, columns] >= 0).any(axis=1)
        labels, values = labels[known][:, columns], values[known][:, columns]
        constant = np.tile(labels.mean(axis=0), (len(labels), 1))

        def measure(weights, labels=labels, values=values):
            return {"score": weighted_score(head.kind, labels, values, weights)}

        kept = None if groups[number] is None else np.asarray(groups[number])[known]
        draws = draw_all(measure, len(labels), kept, num_resamples, [seed, number])["score"]
        chance = weighted_score(head.kind, labels, constant, np.ones((len(labels), 1)))
        found[name] = {
            "score": with_interval(draws, limits),
            "chance": float(chance[0]),
            "num_examples": len(labels),
        }
        drawn[name] = draws
    relative = with_interval(drawn["other"] / drawn["own"])
    return {
        "score": score_name(head.kind),
        "num_columns": len(columns),
        **found,
        "relative": relative,
    }


def _predict(opened, batch_size):
    predictor = EncodedPredictor(opened.task, batch_size)
    examples = predictor.encode(opened.dataset)
    return examples.labels, predictor.predict(examples)["fused"]


def _describe(record, compared):
    score, curves = record["score"], record["curves"]
    tables = []
    for modality in dict.fromkeys(curve["modality"] for curve in curves):
        own = [curve for curve in curves if curve["modality"] == modality]
        rows = [
            [
                curve["name"].replace("_", " "),
                *(curve["fused"][place] for place in (2, -1)),
                curve["area"],
                curve["relative"],
            ]
            for curve in own
        ]
        clean, without = record["clean"]["fused"], record["without"].get(modality)
        note = f"Fused prediction; undamaged {_show(clean)}"
        note += f", without {modality} {_show(without)}" if without else ""
        note += (
            f", prior {record['prior']['value']:.3f}. Middle and strongest: of the levels. Area: "
            "under the curve from the undamaged score over all levels. Relative: the mean score of the levels divided by the undamaged one. "
            "95 % bootstrap intervals over the examples."
        )
        tables.append(
            {
                "title": f"{score} of {record['num_examples']} examples with damaged {modality}",
                "columns": ["damage", "middle", "strongest", "area", "relative"],
                "rows": rows,
                "note": note,
            }
        )
    remarks = []
    for modality, relative in record["relative"].items():
        kinds = [
            c for c in curves if c["modality"] == modality and c["kind"] in ("corruption", "noise")
        ]
        worst = min(kinds, key=lambda curve: curve["relative"]["value"])
        remarks.append(
            f"With damaged {modality} ({len(kinds)} kinds, {len(worst['levels'])} severities) the "
            f"prediction keeps {relative['value']:.1%} of its {score} on average "
            f"({relative['low']:.1%} to {relative['high']:.1%}), and {worst['relative']['value']:.1%} "
            f"with {worst['name'].replace('_', ' ')}, the worst."
        )
        remarks += _misled(record, modality, kinds)
    if compared is not None:
        tables.append(_domain_table(compared))
    return {
        "tables": tables,
        "figures": ["robustness.png"],
        "captions": {
            "robustness.png": f"{score} over the level of damage, with 95 % intervals",
            "robustness_corruptions.png": "An example, undamaged and at the five severities",
        },
        "remarks": remarks,
    }


def _misled(record, modality, curves):
    """Says which damage is worse than having nothing: a model should then not look at it."""
    without = record["without"].get(modality)
    if without is None:
        return []
    worse = [
        c["name"].replace("_", " ") for c in curves if c["fused"][-1]["high"] < without["value"]
    ]
    if not worse:
        return []
    return [
        f"At the highest severity, the fused prediction is worse than without {modality} under "
        f"{', '.join(worse)}: it is misled."
    ]


def _domain_table(compared):
    rows = [
        [
            "its own",
            compared["own"]["num_examples"],
            compared["own"]["score"],
            compared["own"]["chance"],
            1.0,
        ],
        [
            f"{compared['source']}, {os.path.basename(compared['root'].rstrip(os.sep))}",
            compared["other"]["num_examples"],
            compared["other"]["score"],
            compared["other"]["chance"],
            compared["relative"],
        ],
    ]
    return {
        "title": f"{compared['score']} on another domain, {compared['num_columns']} columns of both",
        "columns": ["data", "examples", compared["score"], "by chance", "relative"],
        "rows": rows,
        "note": "Each data set is resampled by itself. By chance: constant predictions.",
    }


def _show(interval):
    return f"{interval['value']:.3f}"
