"""Structured pruning: a smaller task of the units of a trained one that matter most."""

import math

import keras
import keras_hub
import numpy as np

from mmlearn.compression.units import (
    attention_groups,
    dense_group,
    filter_groups,
    transformer_groups,
)
from mmlearn.encoders.narrow_transformer import NarrowTransformerEncoder
from mmlearn.fusions.cross_attention import CrossAttentionFusion
from mmlearn.fusions.hybrid import HybridFusion


def find_groups(task):
    """Finds what can be removed from a task: filters, hidden units, attention heads.

    These are the filters and dense units of functional encoders, heads and hidden units of KerasHub's
    transformer layers, those of a fusion by cross-attention, and the hidden units of the head. What goes
    from part to part keeps its size: what encoders give, and the hidden dimension of the fusion.

    Args:
        task: a `PredictionTask`.

    Returns:
        A list of `UnitGroup`.
    """
    groups = []
    for encoder in task.backbone.encoders.values():
        network = getattr(encoder, "model", None)
        if isinstance(network, keras.Model):
            groups += [*filter_groups(network), *transformer_groups(network)]
    if type(task.backbone.fusion) in (CrossAttentionFusion, HybridFusion):
        groups += attention_groups(task.backbone.fusion)
    if "hidden" in task.heads and hasattr(task, "hidden_dim"):
        readers = [task.heads[name] for name in (task.main_output,)]
        groups.append(
            dense_group("head units", task.heads["hidden"], readers, [(task, "hidden_dim")])
        )
    return groups


def choose_units(group, importances, share):
    """Chooses the units of a group that stay.

    Args:
        group: `UnitGroup`.
        importances: float array `(size,)`.
        share: float in (0, 1). Of the units, how many go; one stays at least.

    Returns:
        int array of units, rising.

    Example:

    >>> from mmlearn.compression.units import UnitGroup
    >>> choose_units(UnitGroup("filters", 4), np.array([3.0, 1.0, 4.0, 2.0]), 0.5).tolist()
    [0, 2]
    """
    stay = max(1, round(group.size * (1 - share)))
    # Units apart lose as many; they are of use for something that these importances do not know.
    stay_apart = min(stay, math.ceil(group.apart * (1 - share)))
    order = np.argsort(-importances, kind="stable")
    apart, others = order[order < group.apart], order[order >= group.apart]
    return np.sort(np.concatenate([apart[:stay_apart], others[: stay - stay_apart]]))


def without_units(task, groups, kept):
    """Copies a task without some of its units.

    Where nothing reads a unit any more (the weights that do are 0), the copy predicts what the task
    does.

    Args:
        task: a `PredictionTask`.
        groups: what `find_groups` returns of it.
        kept: list of int arrays, of each group the units that stay. Attention layers of one fusion keep
            as many heads each.

    Returns:
        A task of the same class, with fewer weights.
    """
    sizes, sliced = {}, {}
    for group, units in zip(groups, kept, strict=True):
        for layer, name in group.sizes:
            sizes.setdefault(id(layer), {})[name] = len(units)
        if group.apart:
            sizes[id(task.backbone.fusion)]["grounded_heads"] = int((units < group.apart).sum())
        for each in group.slices:
            sliced.setdefault(id(each.variable), []).append((each, units))

    def take(variable):
        values = np.asarray(variable)
        for each, units in sliced.get(id(variable), ()):
            places = units[:, None] * each.width + np.arange(each.width)
            values = np.take(values, places.ravel(), axis=each.axis)
        return values

    backbone = task.backbone
    config = backbone.get_config()
    config["encoders"] = {
        m: _smaller_encoder(encoder, sizes) for m, encoder in backbone.encoders.items()
    }
    if changes := sizes.get(id(backbone.fusion)):
        fusion = backbone.fusion
        if "num_heads" in changes:
            changes["head_dim"] = next(iter(fusion.attentions.values())).head_dim
        config["fusion"] = type(fusion).from_config({**fusion.get_config(), **changes})
    smaller = type(task)(
        **{
            **task.get_config(),
            **sizes.get(id(task), {}),
            "backbone": type(backbone).from_config(config),
            "preprocessor": task.preprocessor,
        }
    )
    for modality, encoder in backbone.encoders.items():
        _copy_encoder(encoder, smaller.backbone.encoders[modality], take)
    for name, layers in task.parts.items():
        if not name.endswith("_encoder"):
            for old, new in zip(layers, smaller.parts[name], strict=True):
                new.set_weights([take(variable) for variable in old.weights])
    return smaller


def _smaller_encoder(encoder, sizes):
    """The encoder with a network of other sizes, and random weights."""

    def copy(layer):
        config, cls = layer.get_config(), type(layer)
        changes = sizes.get(id(layer), {})
        if "num_heads" in changes and isinstance(layer, keras_hub.layers.TransformerEncoder):
            cls = NarrowTransformerEncoder
            changes = {**changes, "head_dim": layer._self_attention_layer.key_dim}
        return cls.from_config({**config, **changes})

    config = encoder.get_config()
    network = getattr(encoder, "model", None)
    if not isinstance(network, keras.Model):
        return type(encoder).from_config(config)
    changed = any(id(layer) in sizes for layer in network.layers)
    if changed:
        config["model"] = keras.models.clone_model(network, clone_function=copy)
        return type(encoder)(**config)
    return type(encoder).from_config(config)


def _copy_encoder(encoder, smaller, take):
    """Copies weights by their names in the network, which is where their order may differ."""
    network = getattr(encoder, "model", None)
    inside = set()
    if isinstance(network, keras.Model):
        named = {variable.path: variable for variable in smaller.model.weights}
        for variable in network.weights:
            named[variable.path].assign(take(variable))
        inside = {id(variable) for model in (network, smaller.model) for variable in model.weights}
    rest = ([v for v in each.weights if id(v) not in inside] for each in (encoder, smaller))
    for old, new in zip(*rest, strict=True):
        new.assign(np.asarray(old))
