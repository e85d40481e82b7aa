"""The report of runs, as a document: every section from what runs have left, or "not measured"."""

import io
import json
import math
import os
import pathlib
import shlex

import numpy as np
from matplotlib.figure import Figure

from mmlearn.analysis import evidence as topics
from mmlearn.analysis.architecture import draw_architecture
from mmlearn.analysis.document import (
    Bullets,
    Code,
    Heading,
    Missing,
    Paragraph,
    Picture,
    Table,
)
from mmlearn.analysis.evidence_blocks import evidence_blocks
from mmlearn.analysis.hyper_parameters import (
    PHASE_COLUMNS,
    PHASES_NOTE,
    phase_rows,
    setting_rows,
)

PUBLISHED = pathlib.Path(__file__).with_name("published.json")
SYNTHETIC = ("shapes", "shapes_questions", "shapes_series")
FEW_EXAMPLES = 1000  # below, an interval is wide
# After the one that a head is judged by; the others stand in a table of their own.
MAIN_METRICS = ("mAP", "macro_F1", "micro_F1", "AUC", "R2", "MAE", "RMSE")
CLASS_METRICS = (
    *("average_precision", "AUC", "precision", "recall", "F1", "R2", "MAE", "RMSE"),
    *("true_positives", "false_positives", "false_negatives"),
)
BOXED = ("coco", "shapes", "shapes_questions", "shapes_series")  # sources with boxes
SHOWN_CLASSES, SHOWN_LEFT_OUT, SHOWN_PICTURES = 25, 10, 3

# Topics of evidence -> what the section is about, and the command that measures it.
MEASURES = {
    topics.ABLATION: ("What each part is worth", "python -m mmlearn ablate {run}/run.json"),
    topics.ATTENTION: ("Attention against boxes", "python -m mmlearn explain {run} --measure"),
    topics.CONTRIBUTION: ("Shares of the modalities", "python -m mmlearn contribution {run}"),
    topics.ROBUSTNESS: ("Robustness", "python -m mmlearn robustness {run}"),
    topics.ERRORS: ("Slices and worst examples", "python -m mmlearn errors {run}"),
    topics.PROFILE: ("Size and speed", "python -m mmlearn profile {run}"),
}


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
    scores = [_Scores(run) for run in runs]
    names = [run.name for run in runs]
    title = f"Report of {', '.join(dict.fromkeys(names))}"
    blocks = []
    if len(runs) > 1:
        blocks += [Heading("Comparison across data sets"), *_comparison(runs, scores)]
    for number, (run, own) in enumerate(zip(runs, scores, strict=True), 1):
        if len(runs) == 1:
            blocks += _chapter(run, own, 2)
        else:
            blocks.append(Heading(f"Run {number}: {run.name}"))
            blocks += [_of_run(block, number) for block in _chapter(run, own, 3)]
    if len(runs) == 1:
        command = f"python -m mmlearn report {shlex.quote(runs[0].folder)} OTHER_RUN --output FILE"
        blocks += [Heading("Comparison across data sets"), Missing("Other runs", command)]
    blocks += [Heading("Comparison with published figures"), *_published()]
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


class _Scores:
    """The scores of a run, head by head.

    Attributes:
        heads: list of str, what rows of each head begin with: `""` of a single one.
        metrics: dict of row to metrics.
    """

    def __init__(self, run):
        self.metrics = run.record["metrics"]
        fused = [row for row in self.metrics if row == "fused" or row.endswith("_fused")]
        self.heads = [row.removesuffix("fused") for row in fused]
        self._intervals = run.record.get("intervals") or {}
        self._comparisons = run.record.get("comparisons") or {}

    def main(self, head):
        """The metric that a head is judged by, told by its baseline."""
        told = {"mean": "R2", "most_frequent": "top_1_accuracy"}
        return next((m for row, m in told.items() if f"{head}{row}" in self.metrics), "mAP")

    def value(self, row, metric):
        """A metric of a row, with its interval where there is one; `None` where it was not measured."""
        value = self.metrics.get(row, {}).get(metric)
        found = self._intervals.get(row, {}).get(metric)
        return value if None in (value, found) else {"value": value, **found}

    def gain(self, head, what):
        """`"fusion_effectiveness"` or `"over_baseline"` of a head: a dict, or `None`."""
        return self._comparisons.get(f"{head}{what}")

    def rows(self, head):
        """The metrics of the rows of a head, without its name."""
        longer = [other for other in self.heads if other != head and other.startswith(head)]
        return {
            row.removeprefix(head): values
            for row, values in self.metrics.items()
            if row.startswith(head) and not any(row.startswith(other) for other in longer)
        }


# --- Sections of a run ---------------------------------------------------------------------------


def _summary(run, scores):
    """Abstract and introduction: what was trained, on what, how good it is."""
    record = run.record
    config, data = record["config"], record["data"]
    model = config.get("model") or {}
    kind = record.get("task", "A model")
    modalities = _join(model.get("modalities") or ["unknown modalities"])
    fusion = (model.get("fusion") or {}).get("name", "unknown")
    phases = [phase["name"] for phase in record["history"]]
    seconds = (record.get("seconds") or {}).get("total")
    columns = f" of {len(data.get('label_names') or ())} columns" if scores.heads else ""
    return [
        Paragraph(
            f"{kind}{columns} from {modalities}, fused by "
            f"{fusion}; trained on {(config.get('data') or {}).get('source', 'unknown data')} in "
            f"{len(phases)} phase(s) ({_join(phases)})"
            + (f", {seconds:,.0f} s in all." if seconds else ".")
        ),
        Bullets(tuple(_findings(run, scores))),
    ]


def _findings(run, scores):
    found = []
    for head in scores.heads:
        metric = scores.main(head)
        value = scores.value(f"{head}fused", metric)
        if value is None:
            continue
        of = f"{_title(head)}: " if head else ""
        text = f"{of}The fused prediction has {_name(metric)} {_text(value)}."
        for what, rival in (
            ("fusion_effectiveness", "the best modality's own head"),
            ("over_baseline", "the best baseline"),
        ):
            if (gain := scores.gain(head, what)) is None:
                continue
            verdict = "more than" if gain["low"] > 0 else "less than"
            if gain["low"] <= 0 <= gain["high"]:
                verdict = "which is not clearly different from"
            text += (
                f" That is {gain['difference']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}], {verdict} "
                f"{rival} ({_title(gain['second'].removeprefix(head))})."
            )
        found.append(text)
    return [*found, *(run.record.get("warnings") or ())]


def _data(run, scores):
    """Dataset analysis and preparation."""
    data, config = run.record["data"], run.record["config"].get("data") or {}
    blocks = [Paragraph(f"Source {config.get('source')!r}, fingerprint {_short(data)}.")]
    reports = data.get("reports") or {}
    if reports:
        what = list(dict.fromkeys(name for report in reports.values() for name in report))
        rows = [(name, *(report.get(name, "") for report in reports.values())) for name in what]
        blocks.append(Table("What was found", ("", *reports), tuple(rows)))
    if settings := data.get("settings"):
        rows = tuple((name, _plain(value)) for name, value in settings.items())
        blocks.append(Table("Settings of the source", ("setting", "value"), rows))
    names, prior = data.get("label_names") or [], data.get("label_prior") or []
    if names and len(prior) == len(names):
        is_number = any(scores.main(head) == "R2" for head in scores.heads)
        order = np.argsort(-np.asarray(prior, float), kind="stable")[:SHOWN_CLASSES]
        rows = [[names[c], prior[c]] for c in order]
        columns = ["target" if is_number else "class", "mean" if is_number else "share in training"]
        note = ""
        if len(names) > SHOWN_CLASSES:
            note = f"The {SHOWN_CLASSES} most frequent of {len(names)}."
        blocks.append(Table("Labels", tuple(columns), tuple(map(tuple, rows)), note))
    return blocks


def _pipeline(run, scores):
    """Data pipeline: what happens to an example, and what was left out."""
    record = run.record
    config, skipped = record["config"].get("data") or {}, record["data"].get("skipped") or []
    folds, fraction = config.get("num_folds"), config.get("val_fraction")
    split = "the splits of the data, or a fifth for validation where they have none"
    if folds:
        split = f"fold {config.get('fold', 0) + 1} of {folds} is the validation split"
    elif fraction:
        split = f"{fraction} of the examples for validation"
    items = [
        f"Splits: {split}; examples of one image stay together.",
        f"Augmentation of training examples: {_join(config.get('augmentations') or ['none'])}.",
        f"Left out because they cannot be read: {len(skipped)} image(s).",
        "The same preprocessor runs in training, in prediction and in the exported model; a missing "
        "modality is replaced by a learned token.",
    ]
    blocks = [Bullets(tuple(items))]
    if skipped:
        rows = tuple(
            (str(item.get("path", "")), str(item.get("split", "")), str(item.get("reason", "")))
            for item in skipped[:SHOWN_LEFT_OUT]
        )
        more = len(skipped) - len(rows)
        note = f"{more} more are in run.json." if more else ""
        blocks.append(Table("Left out", ("image", "split", "why"), rows, note))
    return blocks


def _architecture(run, scores):
    description = run.architecture
    if description is None:
        return [Missing("The model's parts (no preset in the run's folder that can be built here)")]
    drawing = draw_architecture(description).encode()
    fusion = description["fusion"]
    caption = (
        f"The model. Features are projected to {description['hidden_dim']}, with a dropout of "
        f"{description['dropout']}; a whole modality is hidden from a training example with a "
        f"probability of {description['modality_dropout']} and replaced by its missing token. The fusion "
        f"combines {fusion['combines']}."
    )
    if description["auxiliary"]:
        caption += (
            " Auxiliary heads predict from each modality alone"
            f"; how far they are apart is measured by {description['consistency']}."
        )
    parts = description["parts"]
    total = sum(parts.values())
    rows = [(name.replace("_", " "), count, count / total) for name, count in parts.items()]
    return [
        Picture("architecture.svg", drawing, caption),
        Table(
            "Parameters by part",
            ("part", "parameters", "share"),
            (*rows, ("in all", total, 1.0)),
            "Projections and missing tokens count with the fusion.",
        ),
    ]


def _settings(run, scores):
    """Experimental setup: hyper-parameters with why."""
    config, versions = run.record["config"], run.record.get("versions") or {}
    phases = (config.get("training") or {}).get("phases") or []
    blocks = [
        Table(
            "Hyper-parameters",
            ("setting", "value", "why"),
            tuple(map(tuple, setting_rows(config))),
        )
    ]
    if phases:
        rows = tuple(map(tuple, phase_rows(phases)))
        blocks.append(Table("Phases", tuple(PHASE_COLUMNS.values()), rows, PHASES_NOTE))
    if versions:
        listed = ", ".join(f"{name} {version}" for name, version in versions.items())
        backend = run.record.get("backend")
        blocks.append(
            Paragraph(f"Versions: {listed}" + (f"; Keras on {backend}." if backend else "."))
        )
    return blocks


def _dynamics(run, scores):
    blocks = []
    if curves := run.figures("curves"):
        caption = (
            "Convergence: loss and metric by epoch, training and validation, phase after phase."
        )
        blocks.append(_picture(curves[0], caption))
    else:
        blocks.append(Missing("The convergence figure"))
    if lines := run.record.get("remarks"):
        blocks.append(Bullets(tuple(lines)))
    rows = []
    for phase in run.record["history"]:
        history = phase.get("history") or {}
        last = [history[n][-1] if history.get(n) else None for n in ("loss", "val_loss")]
        rows.append((str(phase.get("name")), len(history.get("loss") or ()), *last))
    columns = ("phase", "epochs", "training loss", "validation loss")
    note = "At the end of each phase. Phases have losses of their own, which do not compare."
    blocks.append(Table("Losses", columns, tuple(rows), note))
    if seconds := run.record.get("seconds"):
        rows = tuple((name, value) for name, value in seconds.items())
        blocks.append(Table("Seconds", ("stage", "seconds"), rows))
    return blocks


def _results_of_task(run, scores):
    """Results of a task that has no heads: all that it was measured by, and its figures."""
    metrics = list(dict.fromkeys(name for own in scores.metrics.values() for name in own))
    rows = tuple(
        (_name(row), *(scores.value(row, metric) for metric in metrics)) for row in scores.metrics
    )
    columns = ("of", *map(_name, metrics))
    note = "Intervals: 95 %, bootstrap over images, whose captions or questions stay together."
    blocks = [Table("Validation", columns, rows, note)]
    lines = [
        f"{_title(name)}: {each['metric']} {each['difference']:+.4f} [{each['low']:+.4f}, "
        f"{each['high']:+.4f}], {_name(each['first'])} minus {_name(each['second'])}"
        for name, each in (run.record.get("comparisons") or {}).items()
    ]
    if lines:
        blocks.append(Bullets(tuple(lines)))
    drawn = [path for path in run.figures("") if os.path.basename(path) != "curves.png"]
    for path in drawn[:SHOWN_PICTURES]:
        blocks.append(_picture(path, f"{_name(os.path.splitext(os.path.basename(path))[0])}."))
    return blocks


def _results(run, scores):
    """Results, with intervals and trivial baselines; calibration; cross-validation."""
    if not scores.heads:
        return _results_of_task(run, scores)
    blocks = []
    for head in scores.heads:
        rows, of = scores.rows(head), f": {_title(head)}" if head else ""
        fused = rows["fused"]
        main = scores.main(head)
        shown = [main, *(name for name in MAIN_METRICS if name in fused and name != main)]
        table = [
            (_name(row), *(scores.value(f"{head}{row}", metric) for metric in shown))
            for row in rows
        ]
        note = f"{fused.get('num_examples', '?')} validation examples"
        if "num_classes" in fused:
            note += f", {fused['num_classes']} classes with a positive"
        note += (
            ". A modality's row is that of its own head in this model, not of a model of it alone."
        )
        if any(isinstance(cell, dict) for row in table for cell in row):
            note += " Intervals: 95 %, bootstrap over examples."
        else:
            note += " Intervals: not measured; runs of earlier versions have none."
        columns = ("prediction from", *map(_name, shown))
        blocks.append(Table(f"Validation{of}", columns, tuple(table), note))
        more = [n for n in fused if n not in shown and not n.startswith("num_")]
        those = [row for row in rows if not row.startswith(("oracle_", "without_"))]
        if more:
            table = tuple(
                (_name(name), *(rows[row].get(name, "") for row in those)) for name in more
            )
            blocks.append(Table(f"Further metrics{of}", ("metric", *map(_name, those)), table))
        nothing = rows.get("nothing", {})
        if nothing.get("num_labels", 1) != 1 and "binary_accuracy" in nothing:
            blocks.append(
                Paragraph(
                    f"Accuracy is not what to read: with {nothing['num_labels']:.1f} true labels per "
                    f"example, predicting nothing is right for {nothing['binary_accuracy']:.1%} of all "
                    "labels (binary accuracy)."
                )
            )
    caption = "Calibration: the share that is true of what is predicted with a confidence."
    blocks += [_picture(path, caption) for path in run.figures("calibration")]
    if run.folds is None:
        command = f"python -m mmlearn train {shlex.quote(run.folder)}/run.json --folds 5"
        return [*blocks, Missing("Cross-validation", command)]
    metric = scores.main(scores.heads[0]) if scores.heads else "mAP"
    rows = []
    for name, values in run.folds["metrics"].items():
        if found := values.get(metric):
            whole = {"value": found["mean"], "low": found["corrected_low"]}
            whole["high"] = found["corrected_high"]
            rows.append((_name(name), whole, found["standard_deviation"]))
    columns = ("prediction from", f"{_name(metric)}, mean of folds", "deviation of a fold")
    note = (
        f"{len(run.folds['runs'])} folds; intervals 95 %, corrected for the data that folds share."
    )
    return [*blocks, Table("Cross-validation", columns, tuple(rows), note)]


def _ablations(run, scores):
    return _evidence(run, topics.ABLATION)


def _attention(run, scores):
    paths = run.figures("attention_")
    blocks = [
        _picture(
            path, "What each word of a caption attends to in the image; above, what is predicted."
        )
        for path in paths[:SHOWN_PICTURES]
    ]
    if len(paths) > SHOWN_PICTURES:
        blocks.append(
            Paragraph(f"{SHOWN_PICTURES} of {len(paths)}; the others are in the run's folder.")
        )
    if not paths:
        blocks.append(
            Missing("Attention figures (models with attention from words to images have them)")
        )
    return [*blocks, *_evidence(run, topics.ATTENTION)]


def _contribution(run, scores):
    """Leave-one-out, what was measured while training, and the evidence."""
    blocks = []
    for head in scores.heads:
        rows, metric = scores.rows(head), scores.main(head)
        fused = rows["fused"].get(metric)
        found = [
            (row.removeprefix("without_"), values[metric], fused - values[metric])
            for row, values in rows.items()
            if row.startswith("without_") and metric in values and fused is not None
        ]
        if found:
            title = f"Leave one out: {_title(head)}" if head else "Leave one out"
            note = f"With all: {fused:.4f}. The learned missing token stands in."
            blocks.append(Table(title, ("without", _name(metric), "drop"), tuple(found), note))
    if not blocks:
        blocks.append(Missing("Leave one out (of two modalities or more)"))
    rows = []
    for phase in run.record["history"]:
        history = phase.get("history") or {}
        for name in history:
            if name.startswith("contribution_") and f"{name}_low" in history:
                values = (history[f"{name}{end}"][-1] for end in ("", "_low", "_share"))
                rows.append((str(phase.get("name")), name.removeprefix("contribution_"), *values))
    if rows:
        columns = ("phase", "modality", "loss without it minus with it", "low", "share of the loss")
        note = "At the end of each phase that trains the fusion; low is that of a 95 % interval."
        blocks.append(Table("Contribution to the loss in validation", columns, tuple(rows), note))
    return [*blocks, *_evidence(run, topics.CONTRIBUTION)]


def _robustness(run, scores):
    return _evidence(run, topics.ROBUSTNESS)


def _errors(run, scores):
    """What is missed and invented by class; what is taken for what; and the evidence."""
    blocks = []
    recorded = run.record.get("per_class") or {}
    for head in scores.heads:
        classes = recorded.get(f"{head}fused")
        if not classes:
            continue
        of = f": {_title(head)}" if head else ""
        first = next(iter(classes.values()))
        columns = [name for name in CLASS_METRICS if name in first]
        worst = sorted(classes.items(), key=lambda each: _badness(each[1]))[:SHOWN_CLASSES]
        rows = tuple((name, *(_defined(each[c]) for c in columns)) for name, each in worst)
        note = f"The {len(worst)} worst of {len(classes)}." if len(worst) < len(classes) else ""
        blocks.append(Table(f"By class{of}", ("", *map(_name, columns)), rows, note))
    if not blocks:
        blocks.append(Missing("Metrics of each class (runs of earlier versions have none)"))
    caption = "Confusion: which labels are predicted in the place of which."
    blocks += [_picture(path, caption) for path in run.figures("confusion")]
    return [*blocks, *_evidence(run, topics.ERRORS)]


def _badness(metrics):
    """What classes are sorted by, the worst first; what is not defined comes last."""
    value = metrics.get("average_precision", metrics.get("R2"))
    return math.inf if value is None else value


def _defined(value):
    return math.nan if value is None else value


def _cost(run, scores):
    return _evidence(run, topics.PROFILE)


def _further(run, scores):
    others = [topic for topic in run.evidence if topic not in MEASURES]
    if not others:
        return [Paragraph("None.")]
    return [block for topic in others for block in _evidence(run, topic)]


def _limitations(run, scores):
    """What a reader must not conclude: from the record, never from hopes."""
    record = run.record
    config, metrics = record["config"], record["metrics"]
    training = config.get("training") or {}
    items = [
        f"One training run, of seed {training.get('seed', 'unknown')}: intervals are over examples only."
    ]
    if (config.get("data") or {}).get("source") in SYNTHETIC:
        items.append(
            "The data are synthetic and simple on purpose: figures say nothing about photos."
        )
    if any(p.get("restore_best") or p.get("patience") for p in training.get("phases") or ()):
        items.append("The epoch was chosen on the validation split on which the model is scored.")
    fused = metrics.get(f"{scores.heads[0]}fused", {}) if scores.heads else {}
    count, names = fused.get("num_examples"), record["data"].get("label_names") or []
    if count is not None and count < FEW_EXAMPLES:
        items.append(f"Only {count} validation examples, so intervals are wide.")
    if len(scores.heads) == 1 and fused.get("num_classes", len(names)) < len(names):
        missing = len(names) - fused["num_classes"]
        items.append(
            f"{missing} of {len(names)} classes have no positive in validation and do not count."
        )
    if skipped := record["data"].get("skipped"):
        items.append(f"{len(skipped)} unreadable image(s) were left out.")
    for modality in (config.get("model") or {}).get("modalities") or ():
        own = (config["model"].get(modality) or {}).get("weights")
        if own == "none":
            items.append(f"The encoder of {modality} was not pretrained.")
    if record.get("precision") not in (None, "float32"):
        items.append(f"Trained in {record['precision']}, scored in float32.")
    items += list(record.get("warnings") or ())
    measures = MEASURES if scores.heads else {}
    missing = [what for topic, (what, _) in measures.items() if topic not in run.evidence]
    if missing:
        items.append(f"Not measured: {_join([what[0].lower() + what[1:] for what in missing])}.")
    return [Bullets(tuple(items))]


def _next(run, scores):
    """Future directions: what the curves advise, and what would fill the gaps."""
    items = [line for line in run.record.get("remarks") or () if ": " in line and "more" in line]
    commands = [_command(topic, run) for topic in MEASURES if topic not in run.evidence]
    blocks = [Bullets(tuple(items))] if items else []
    if commands:
        blocks += [Paragraph("What is not measured yet, these measure:"), Code("\n".join(commands))]
    return blocks or [Paragraph("All that this report knows of is measured.")]


def _reproduction(run, scores):
    config = json.dumps(run.record["config"], indent=2)
    path = shlex.quote(os.path.join(run.folder, "run.json"))
    return [
        Paragraph(
            "The same result to the last digit, on the same data, versions and kind of device "
            f"(fingerprint of the data: {_short(run.record['data'])}):"
        ),
        Code(f"python -m mmlearn train {path} --output OTHER_FOLDER"),
        Code(config, "All settings"),
    ]


# The two reports among the documents, joined: abstract, introduction; method; experimental setup;
# results with the figures of convergence, attention and comparison; conclusions. And: dataset analysis,
# pipeline, architecture, training dynamics, evaluation, challenges, comparison, future directions.
SECTIONS = (
    ("Summary", _summary),
    ("Dataset analysis and preparation", _data),
    ("Data pipeline", _pipeline),
    ("Neural network architecture", _architecture),
    ("Experimental setup", _settings),
    ("Training dynamics", _dynamics),
    ("Results", _results),
    ("Ablation studies", _ablations),
    ("Attention", _attention),
    ("Modality contribution", _contribution),
    ("Robustness", _robustness),
    ("Error analysis", _errors),
    ("Computational cost", _cost),
    ("Further measurements", _further),
    ("Limitations", _limitations),
    ("Future directions", _next),
    ("Reproduction", _reproduction),
)
OF_PREDICTIONS = (_ablations, _attention, _contribution, _robustness, _errors, _cost, _next)


# --- Sections of several runs --------------------------------------------------------------------


def _comparison(runs, scores):
    rows, gains, bars = [], [], []
    for number, (run, own) in enumerate(zip(runs, scores, strict=True), 1):
        head = own.heads[0] if own.heads else ""
        name, metric = f"{number}: {run.name}", own.main(head)
        source = (run.record["config"].get("data") or {}).get("source")
        fused = own.value(f"{head}fused", metric)
        count = own.metrics.get(f"{head}fused", {}).get("num_examples")
        data = f"{source} ({_short(run.record['data'])})"
        rows.append((name, data, count, _name(metric), fused))
        values = [fused]
        for what in ("fusion_effectiveness", "over_baseline"):
            gain = own.gain(head, what)
            rival = gain["second"] if gain else ""
            difference = gain and {"value": gain["difference"], **_ends(gain)}
            values.append(own.value(rival, metric))
            gains.append((name, _name(rival.removeprefix(head)), values[-1], difference))
        bars.append((name, _name(metric), *values))
    note = (
        "Runs on data of one fingerprint share their validation examples. Figures on different data do "
        "not rank models. Intervals: 95 %, bootstrap over examples."
    )
    columns = ("run", "data", "examples", "metric", "fused")
    caption = "Fused, best single modality and best baseline, by run."
    return [
        Table("Runs", columns, tuple(rows), note),
        Table("Gain", ("run", "rival", "of the rival", "fused minus that"), tuple(gains)),
        Picture("comparison.png", _plot_bars(bars), caption),
    ]


def _plot_bars(bars):
    # A bare figure, not pyplot: it needs no display and leaves a notebook's backend alone.
    figure = Figure(figsize=(max(5, 1.6 * len(bars) + 2), 3.6), layout="constrained")
    axes = figure.subplots()
    labels, colors = (
        ("fused", "best single modality", "best baseline"),
        ("tab:blue", "tab:orange", "0.6"),
    )
    for place, (label, color) in enumerate(zip(labels, colors, strict=True)):
        cells = [bar[2 + place] for bar in bars]
        values = [_number(cell) for cell in cells]
        errors = [
            [abs(_number(c) - c[end]) if isinstance(c, dict) else 0 for c in cells]
            for end, sign in (("low", -1), ("high", 1))
        ]
        x = [number + 0.26 * (place - 1) for number in range(len(bars))]
        axes.bar(x, values, 0.24, color=color, label=label, yerr=errors, capsize=2)
    names = [f"{name}\n({metric})" for name, metric, *_ in bars]
    axes.set_xticks(range(len(bars)), names, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    content = io.BytesIO()
    figure.savefig(content, dpi=120)
    return content.getvalue()


def _published():
    known = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    columns = ("method", "task", "data", "protocol", "metric", "value", "source")
    rows = tuple(tuple(entry[column] for column in columns) for entry in known["figures"])
    note = (
        "By others, read at the source that is named; nothing here was measured by this project. Compare "
        f"where task, split and protocol are the same, and nowhere else. {known['not_checked']}"
    )
    return [Table("Published, not measured here", columns, rows, note)]


# --- Parts of sections ---------------------------------------------------------------------------


def _evidence(run, topic):
    """Shows the evidence of a topic: its remarks, tables and figures, whatever command wrote it."""
    content = run.evidence.get(topic)
    if content is None:
        if topic == topics.ATTENTION and run.record["config"]["data"]["source"] not in BOXED:
            return [Missing("Attention against boxes (data in COCO's format have them)")]
        return [Missing(MEASURES[topic][0], _command(topic, run))]
    # Another topic may use the same name of a picture, and so may the run itself.
    return evidence_blocks(content, run.places[topic], f"{topic}-")


def _picture(path, caption, name=None):
    with open(path, "rb") as file:
        return Picture(name or os.path.basename(path), file.read(), caption)


def _command(topic, run):
    return MEASURES[topic][1].format(run=shlex.quote(run.folder))


def _ends(found):
    return {end: found[end] for end in ("low", "high")}


def _name(text):
    return text.replace("_", " ")


def _title(head):
    return _name(head.rstrip("_"))


def _number(cell):
    value = cell["value"] if isinstance(cell, dict) else cell
    return math.nan if value is None else value


def _text(cell):
    if isinstance(cell, dict):
        return f"{cell['value']:.4f} [{cell['low']:.4f}, {cell['high']:.4f}]"
    return "that was not measured" if cell is None else f"{cell:.4f}"


def _plain(value):
    return value if isinstance(value, (int, float, str)) and value is not True else str(value)


def _join(words):
    words = [str(word) for word in words]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _short(data):
    return str(data.get("fingerprint", "unknown"))[:12]
