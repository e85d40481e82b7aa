"""An ablation: the same experiment without one thing after the other, over seeds, and what that says."""

import dataclasses
import hashlib
import json
import os
import time

import keras
import numpy as np
from rich.console import Console

from data_prep.fingerprint import fingerprint
from data_prep.names import find
from mmlearn.analysis.ablation_tables import (
    make_evidence,
    plot_ablation,
    to_csv,
    to_latex,
    to_markdown,
)
from mmlearn.analysis.evidence import ABLATION, FOLDER, evidence_folder, write_evidence
from mmlearn.analysis.flops import count_flops
from mmlearn.evaluation.holm import adjust_by_holm
from mmlearn.evaluation.paired_runs import mean_interval, paired_test
from mmlearn.experiments.ablation_jobs import (
    CHECKPOINTS,
    FEATURES,
    RUNS,
    Job,
    read_result,
    share_gpus,
    train_jobs,
)
from mmlearn.experiments.ablation_rows import (
    DOCUMENTS,
    FULL,
    GROUPS,
    LEARNED_BY_FROZEN,
    Row,
    make_rows,
    make_stages,
    select_rows,
)
from mmlearn.experiments.begun import open_output
from mmlearn.experiments.build import build_data, build_task
from mmlearn.experiments.config import to_dict
from mmlearn.experiments.output import remove, write_json
from mmlearn.experiments.run import check_one_host, identity, open_sources, versions, with_precision
from mmlearn.models.compiled import compile_function
from mmlearn.training.distribution import make_strategy
from mmlearn.training.hosts import Hosts
from mmlearn.training.precision import find_gpus

METRICS = ("mAP", "macro_F1", "micro_F1", "AUC", "R2")  # the last of numbers
KINDS = ("frozen", "end_to_end")
TABLES = {"ablation.md": to_markdown, "ablation.csv": to_csv, "ablation.tex": to_latex}
FIGURE = "ablation.png"
# What it leaves.
CONTENTS = (RUNS, CHECKPOINTS, FEATURES, FOLDER, "ablation.json*", *(f"{t}*" for t in TABLES))
COSTS = ("parameters", "trained_frozen", "trained", "flops", "latency_ms")
WARM_UP, TIMED = 10, 50  # predictions of a single example


def run_ablation(
    experiment,
    rows=None,
    end_to_end=(DOCUMENTS,),
    num_seeds=5,
    metric="mAP",
    num_workers=None,
    console=None,
):
    """Trains the rows of an ablation over seeds, and compares each with the full model.

    For each seed, the phases that train encoders alone are run once, for all rows that have the same
    ones. Every row then trains what is left in up to two ways: `frozen`, on stored features of these
    encoders, and for some rows `end_to_end`, as the phases say. The data and their splits are the same
    for all seeds. An interrupted ablation goes on with the next call; rows and seeds may be added.

    Args:
        experiment: `Experiment`, the full model. Its seed is the first of the seeds.
        rows: tuple of `Row`, the full model's among them; by default all of `make_rows`.
        end_to_end: names of rows and groups, see `select_rows`; none for no such runs.
        num_seeds: int.
        metric: str, one of `METRICS`, of the fused prediction on the validation split.
        num_workers: int, how many processes train at once; by default one per GPU, or one.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The record, which is also in `ablation.json`: a dict of `output`, `config`, what `summarize`
        returns, `data`, `seconds` and `versions`. Tables are beside it, and
        the same with a figure in `evidence/`, which a report shows.

    Raises:
        ValueError: when the config, a row, the data (`DataError`) or the output folder is not right, or
            the full model cannot be trained.
    """
    _check(experiment, num_seeds, metric, num_workers)
    start, console = time.monotonic(), console or Console(quiet=True)
    rows = rows or make_rows(experiment)
    whole = {row.name for row in select_rows(rows, end_to_end)} if end_to_end else set()
    training = experiment.training
    output = experiment.output or os.path.join("saved_models", f"{experiment.name}-ablation")
    num_workers = num_workers or _count_devices(training)
    if num_workers > 1:
        share_gpus()
    # Devices before the first op.
    strategy = make_strategy(training.strategy, training.num_replicas)
    experiment = with_precision(experiment)  # rows of different precisions could not be compared
    if experiment.model.task.name != "prediction":
        raise ValueError(
            f"`ablate` compares models that predict labels. Received: task={experiment.model.task.name!r}. "
            "Fix: train each variant by itself, such as --model.fusion.name concat."
        )
    source, _, unlabeled, _ = open_sources(experiment, Hosts(strategy), console)
    if (source.label_kind == "regression") != (metric == "R2"):
        needed = "--metric R2" if source.label_kind == "regression" else "--metric mAP"
        raise ValueError(
            f"The labels of {source.root!r} are {source.label_kind}, which {metric} is no metric of. "
            f"Fix: {needed}."
        )
    data_print = fingerprint(source, ("train", "val"))
    begun = {"command": "ablate", "config": identity(experiment), "data": data_print}
    open_output(output, begun, CONTENTS, training.restart)
    experiment = dataclasses.replace(
        experiment, training=dataclasses.replace(experiment.training, restart=False)
    )
    seeds = range(training.seed, training.seed + num_seeds)
    jobs = {(row.name, seed): _jobs(row, experiment, seed) for row in rows for seed in seeds}

    def tell(line):
        console.print(line, highlight=False, markup=False)

    problems = {}
    for kind, names in (("frozen", {row.name for row in rows}), ("end_to_end", whole)):
        chains = _chains(kind, {place: own for place, own in jobs.items() if place[0] in names})
        problems.update(train_jobs(chains, output, num_workers, tell))
        for seed in seeds if names else ():
            if (key := jobs[FULL, seed][kind].key) in problems:
                raise ValueError(f"The full model cannot be trained: {problems[key]}")
    costs = {row.name: _costs(row, experiment, source, unlabeled, output, tell) for row in rows}
    results, why = {}, {}
    for (name, seed), own in jobs.items():
        results[name, seed] = {kind: read_result(output, job) for kind, job in own.items()}
        found = [problems[job.key] for job in own.values() if job.key in problems]
        if found:
            why[name] = found[0]
    record = {
        "output": output,
        "config": to_dict(experiment),
        **summarize(rows, results, costs, metric, why),
        "data": {"fingerprint": data_print, "label_names": list(source.label_names)},
        "seconds": round(time.monotonic() - start, 2),
        "versions": versions(),
    }
    _write(record, output)
    for folder in (CHECKPOINTS, FEATURES):
        remove(os.path.join(output, folder))
    return record


def _check(experiment, num_seeds, metric, num_workers):
    for name, value in (("num_seeds", num_seeds), ("num_workers", num_workers)):
        if value is not None and value < 1:
            flag = name.replace("num_", "--")
            raise ValueError(f"`{name}` must be at least 1. Received: {value}. Fix: {flag}.")
    find(metric, METRICS, "metric")
    check_one_host(experiment, "An ablation")
    if experiment.folds is not None:
        raise ValueError("An ablation repeats seeds on the same splits. Fix: leave --folds out.")
    for part in ("continual", "pruning"):
        if getattr(experiment, part).model is not None:
            raise ValueError(
                f"An ablation trains from the beginning. Fix: leave --{part}.model out."
            )
    if not experiment.cache.features:
        raise ValueError(
            "Rows with frozen encoders are trained on stored features. Fix: leave "
            "--cache.no-features out."
        )


def _count_devices(training):
    """How many processes train at once: one per GPU, unless a run takes several."""
    is_one = training.strategy == "mirrored" and training.num_replicas is None
    return max(len(find_gpus()), 1) if is_one else 1


def _jobs(row, experiment, seed):
    """The jobs of a row: dict of kind to `Job`."""
    stages = make_stages(row, experiment, seed)
    shared = make_stages(Row(FULL, "modalities"), experiment, seed).encoders == stages.encoders
    encoders = Job("encoders", FULL if shared else row.name, stages.encoders)
    return {
        "encoders": encoders,
        "frozen": Job("frozen", row.name, stages.frozen, encoders),
        "end_to_end": Job("end_to_end", row.name, stages.end_to_end, encoders),
    }


def _chains(kind, jobs):
    """What one worker does after the other: of frozen encoders all that share them, else single runs."""
    chains, seen = {}, set()
    for own in jobs.values():
        job, encoders = own[kind], own["encoders"]
        place = encoders.key if kind == "frozen" else job.key
        chain = chains.setdefault(place, [encoders])
        if job.key not in seen:
            chain.append(job)
        seen.add(job.key)
    return list(chains.values())


# --- Costs ---------------------------------------------------------------------------------------


def _costs(row, experiment, source, unlabeled, output, tell):
    """What `measure_costs` returns of a row, measured once for each model; or why it is not there."""
    config = row.apply(experiment).model
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(config)).encode()).hexdigest()
    path = os.path.join(output, RUNS, f"costs-{digest[:16]}.json")
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    try:
        found = measure_costs(row.apply(experiment), source, unlabeled)
    except ValueError as error:
        tell(f"{row.name}: parameters and latency are not measured, {error}")
        return dict.fromkeys(COSTS)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_json(path, found)
    return found


def measure_costs(experiment, source, unlabeled=None):
    """Measures what a model needs to predict, in float32, as it is saved. It need not be trained.

    Args:
        experiment: `Experiment`.
        source: a source, with a validation example.
        unlabeled: see `build_task`.

    Returns:
        A dict of `parameters`; `trained_frozen`, those that learn with frozen encoders; `trained`, those
        that learn end to end; `flops`, those of one example, see `count_flops`, or `None` where they
        cannot be counted; and `latency_ms`, the median time of one example's prediction from model
        inputs.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(experiment.training.seed)
    task = build_task(experiment.model, source, unlabeled=unlabeled)
    trained = {}
    for name, parts in (("trained_frozen", LEARNED_BY_FROZEN), ("trained", ("all",))):
        task.set_trainable(parts)
        trained[name] = sum(int(np.prod(v.shape)) for v in task.trainable_variables)
    try:
        flops = count_flops(task)
    except ValueError:
        flops = None
    data = build_data(experiment, source, task.preprocessor)
    (example,) = data.validation().unbatch().batch(1).take(1)
    return {
        "parameters": task.count_params(),
        **trained,
        "flops": flops,
        "latency_ms": _median_ms(task, {name: example[0][name] for name in task.input}),
    }


def _median_ms(task, example):
    model = keras.Model(task.input, task.output[task.main_output])
    run = compile_function(lambda x: model(x, training=False), task)
    times = []
    for _ in range(WARM_UP + TIMED):
        start = time.perf_counter()
        np.asarray(run(example))  # waits for it
        times.append(time.perf_counter() - start)
    return round(1e3 * float(np.median(times[WARM_UP:])), 3)


# --- Results -------------------------------------------------------------------------------------


def summarize(rows, results, costs, metric="mAP", problems=None):
    """Summarises the runs of an ablation.

    Args:
        rows: iterable of `Row`.
        results: dict of `(name of a row, seed)` to a dict of kind of job to its result (see
            `read_result`), or `None` where there is none.
        costs: dict of name of a row to what `measure_costs` returns.
        metric: str.
        problems: dict of name of a row to why it could not be trained.

    Returns:
        A dict of plain JSON types: `metric`, `seeds`, `groups` (dict of the name of a table to its title),
        `baselines` (dict of name to value), `best_single`
        (dict of kind to the best row of one modality and how the full model compares with it) and
        `rows`, a list of dicts of `name`, `group`, `values`, `problem`, `costs`, and of each kind, or
        `None` where it was not measured: `seeds` (dict of seed to value), what `mean_interval` returns,
        `minus_full` (what `paired_test` returns, and `p_holm`, over all rows; `None` of the full model),
        `train_seconds`, `encoder_seconds` (of the phases that rows share) and `num_examples`.
    """
    summary = [
        {
            "name": row.name,
            "group": row.group,
            "values": json.loads(json.dumps(row.values)),
            "problem": (problems or {}).get(row.name),
            "costs": costs[row.name],
            **{kind: _column(row.name, kind, results, metric) for kind in KINDS},
        }
        for row in rows
    ]
    full = next(row for row in summary if row["name"] == FULL)
    single = {row.name for row in rows if len(row.values.get("model.modalities", ())) == 1}
    used, best = {row.group for row in rows}, {}
    for kind in KINDS:
        others = [row for row in summary if row is not full and row[kind] and full[kind]]
        for row in others:
            row[kind]["minus_full"] = _compare(row[kind], full[kind])
        adjusted = adjust_by_holm([row[kind]["minus_full"]["p"] for row in others])
        for row, p in zip(others, adjusted, strict=True):
            row[kind]["minus_full"]["p_holm"] = p
        alone = [row for row in others if row["name"] in single]
        if alone:
            found = max(alone, key=lambda row: row[kind]["mean"])
            best[kind] = {"row": found["name"], **_compare(full[kind], found[kind])}
    return {
        "metric": metric,
        "seeds": sorted({seed for _, seed in results}),
        "groups": {name: title for name, (title, _) in GROUPS.items() if name in used},
        "baselines": _baselines(results, metric),
        "best_single": best,
        "rows": summary,
    }


def _column(name, kind, results, metric):
    """What the runs of a row say, without the comparison."""
    found = {seed: own for (row, seed), own in results.items() if row == name and own[kind]}
    if not found:
        return None
    scores = {seed: own[kind]["metrics"]["fused"] for seed, own in found.items()}
    values = {str(seed): find(metric, own, "metric of this task") for seed, own in scores.items()}
    seconds = {
        of: float(np.mean([own[of]["seconds"]["train"] for own in found.values()]))
        for of in (kind, "encoders")
    }
    return {
        "seeds": values,
        **mean_interval(list(values.values())),
        "minus_full": None,
        "train_seconds": round(seconds[kind], 2),
        "encoder_seconds": round(seconds["encoders"], 2),
        "num_examples": next(iter(scores.values()))["num_examples"],
    }


def _compare(column, reference):
    """The paired test over the seeds that both have."""
    common = [seed for seed in column["seeds"] if seed in reference["seeds"]]
    values, others = ([own["seeds"][seed] for seed in common] for own in (column, reference))
    if not common:
        return {**dict.fromkeys(("mean", "standard_deviation", "low", "high")), "p": None}
    return paired_test(values, others)


def _baselines(results, metric):
    """The rows of an evaluation that are no model's: they are the same for all runs."""
    for (name, _), own in results.items():
        for kind in KINDS:
            if name == FULL and own[kind]:
                rows, present = own[kind]["metrics"], own[kind]["config"]["model"]["modalities"]
                models = {"fused", *present, *(f"without_{modality}" for modality in present)}
                return {row: rows[row][metric] for row in rows if row not in models}
    return {}


def _write(record, output):
    """Writes tables, evidence and record, each whole or not at all."""
    for name, make in TABLES.items():
        path = os.path.join(output, name)
        with open(f"{path}.partial", "w", encoding="utf-8", newline="") as file:
            file.write(make(record))
        os.replace(f"{path}.partial", path)
    picture = os.path.join(evidence_folder(output), FIGURE)
    partial = f"{picture}.partial.png"
    plot_ablation(record, partial)
    os.replace(partial, picture)
    write_evidence(output, ABLATION, make_evidence(record, FIGURE))
    write_json(os.path.join(output, "ablation.json"), record)
