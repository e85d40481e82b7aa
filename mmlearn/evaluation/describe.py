"""What stands beside the metrics: their intervals, their differences, and each class on its own."""

import numpy as np

from mmlearn.evaluation.evaluate import predicted_rows
from mmlearn.evaluation.intervals import NUM_RESAMPLES, difference, draw, interval
from mmlearn.evaluation.per_class import per_class
from mmlearn.evaluation.scores import BASELINES, MAIN


def describe(
    task,
    predictions,
    prior,
    oracles=None,
    baselines=None,
    groups=None,
    without=None,
    num_resamples=NUM_RESAMPLES,
    seed=0,
):
    """Says how certain the metrics of `evaluate` are, what fusion gains, and how each class fares.

    The best baseline and the best modality are the best on these examples, which flatters them a
    little. A modality is represented by its own head in this model; a model that was trained on it
    alone may be better.

    Args:
        task: the task that was evaluated.
        predictions: dict, as `evaluate` returned.
        prior: as it was given to `evaluate`, likewise `oracles` and `baselines`.
        oracles: see `prior`.
        baselines: see `prior`.
        groups: int array `(num_examples,)`, or `None`. Examples of a group are resampled together.
        without: dict, the predictions that `leave_one_out` returned, or `None`.
        num_resamples: int.
        seed: int.

    Returns:
        A dict of plain JSON types:

        - `intervals`, a dict of row to dict of metric to `low` and `high`, 95 % by bootstrap;
        - `comparisons`, a dict of `fusion_effectiveness` (`fused` minus the best modality alone) and
          `over_baseline` (`fused` minus the best baseline) to a dict of `metric`, `first`, `second`
          (rows) and what `difference` returns, over the examples that both rows have;
        - `per_class`, a dict of row to dict of class to metrics, see `per_class`, of the model's own
          rows and `keywords`.

        Rows and comparisons have the name of the head before them where there are several heads.
    """
    found = {"intervals": {}, "comparisons": {}, "per_class": {}}
    for head, labels, rows in predicted_rows(task, predictions, prior, oracles, baselines):
        own = [name for name in task.backbone.modalities if name in rows]
        against = [name for name in BASELINES if name in rows]

        for modality in task.backbone.modalities:
            row = f"without_{modality}"
            if task.own_name(row, head) in (without or {}):
                rows[row] = without[task.own_name(row, head)]
        tuned = {}
        if head.thresholds is not None:
            fused = (name for name in rows if name == "fused" or name.startswith("without_"))
            tuned = dict.fromkeys(fused, head.thresholds)

        def draws(names, known, head=head, labels=labels, rows=rows, tuned=tuned):
            chosen = {name: rows[name][0][known] for name in names}
            kept = None if groups is None else np.asarray(groups)[known]
            return draw(head.kind, labels[known], chosen, kept, tuned, num_resamples, seed)

        limits = None if head.is_regression else (0.0, 1.0)
        drawn = draws([name for name, (_, known) in rows.items() if known.all()], rows["fused"][1])
        for name, (_, known) in rows.items():
            if name not in drawn:
                drawn.update(draws([name], known))
            intervals = {
                metric: interval(values, limits=limits) for metric, values in drawn[name].items()
            }
            found["intervals"][task.own_name(name, head)] = intervals
        for what, names in (("fusion_effectiveness", own), ("over_baseline", against)):
            if not names:
                continue
            metric = MAIN[head.kind]
            best = max(names, key=lambda name: drawn[name][metric][0])
            known = rows[best][1]
            fused = drawn["fused"] if known.all() else draws(["fused"], known)["fused"]
            found["comparisons"][task.own_name(what, head)] = {
                "metric": metric,
                "first": task.own_name("fused", head),
                "second": task.own_name(best, head),
                "num_examples": int(known.sum()),
                **difference(fused[metric], drawn[best][metric]),
            }
        for name in ("fused", *own, *(name for name in ("keywords",) if name in rows)):
            values, known = rows[name]
            found["per_class"][task.own_name(name, head)] = per_class(
                head.kind, labels[known], values[known], head.label_names, tuned.get(name)
            )
    return found
