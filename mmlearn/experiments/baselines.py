"""What predictions are compared with, and what data must have for it."""

import numpy as np

from data_prep.balance import label_shares
from mmlearn.evaluation.keywords import find_named, keyword_match


def baselines_of(source, split, task, prior):
    """What predictions are compared with besides the trivial baselines: oracles and other baselines.

    Args:
        source: a source.
        split: str.
        task: a task with the labels of the source.
        prior: float array `(num_columns,)`, see `label_prior`.

    Returns:
        A dict of oracles, those of the source, and a dict of baselines: `keywords`, where a text names
        a class, see `keyword_match`.
    """
    oracles, captions = source.oracles(split), source.examples(split).captions
    if captions is None:
        return oracles, {}
    texts = [each[0] if each else "" for each in captions]  # what is read without shuffling
    heads, parts, is_any = task.described, [], False
    for name, columns in task.columns.items():
        head, own = heads[name], np.asarray(prior)[columns]
        if head.is_regression:
            parts.append(np.tile(own, (len(texts), 1)))
            continue
        is_any = is_any or find_named(texts, head.label_names).any()
        parts.append(keyword_match(texts, head.label_names, own, head.kind))
    return oracles, {"keywords": np.hstack(parts)} if is_any else {}


def label_prior(source, split):
    """What is known of labels before any example is seen: float array `(num_columns,)`.

    The share of the examples that have each label, or the mean of each target. Where labels are partly
    unknown, of those that are known; 0 for a class that no example knows.
    """
    labels = source.examples(split).labels
    if source.label_kind == "regression":
        return np.asarray(labels, np.float64).mean(axis=0)
    return label_shares(labels)


def check_has_classes(source, what):
    """Checks that the data have labels that name classes.

    Args:
        source: a source.
        what: str. What needs them, for the message.

    Raises:
        ValueError: when they have none, or regression targets.
    """
    if not len(source.label_names) or source.label_kind == "regression":
        kind = "regression targets" if len(source.label_names) else "no labels"
        raise ValueError(
            f"The data in {source.root!r} have {kind}, and {what} needs labels. Fix: another "
            "source (python -m mmlearn list sources), or a column of labels, --data.options labels=NAME."
        )
