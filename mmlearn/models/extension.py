"""A trained task takes one more modality."""

import keras

from data_prep.features import MODALITIES
from data_prep.names import find
from mmlearn.fusions.extended import ExtendedFusion


def with_modality(task, modality, encoder, converter=None):
    """Copies a task for one more modality, see `MultimodalTask.with_modality`."""
    backbone = task.backbone
    find(modality, MODALITIES, "modality")
    if modality in backbone.modalities:
        raise ValueError(
            f"The model has {modality!r} already, beside {', '.join(backbone.modalities)}. Fix: another "
            "modality, or a new model for another encoder."
        )
    for other, known in backbone.encoders.items():
        if encoder.name == known.name:
            raise ValueError(
                f"The encoder of {modality} and that of {other} have the same name, "
                f"{encoder.name!r}. Fix: pass name='{modality}_encoder' to its constructor."
            )
    config = backbone.get_config()
    fusion = keras.saving.deserialize_keras_object(config["fusion"])
    config["encoders"] = {**config["encoders"], modality: encoder}
    config["fusion"] = ExtendedFusion(fusion, modality, name=fusion.name)
    wider = type(backbone).from_config(config)
    for name in backbone.modalities:
        _copy(backbone.encoders[name], wider.encoders[name])
        _copy(backbone.projections[name], wider.projections[name])
        _copy(backbone.missing_tokens[name], wider.missing_tokens[name])
    _copy(backbone.fusion, fusion)
    preprocessor = task.preprocessor
    if preprocessor is not None:
        preprocessor = (
            None if converter is None else _convert_also(preprocessor, modality, converter)
        )
    config = {**task.get_config(), "backbone": wider, "preprocessor": preprocessor}
    extended = type(task)(**config)
    for name, head in task.heads.items():
        if name == "loss_weights":
            extended.heads[name].take(head)
        else:
            _copy(head, extended.heads[name])
    return extended


def split_fusion(fusion):
    """Takes a fusion apart into the one that was there first and what was added to it.

    Args:
        fusion: a fusion.

    Returns:
        The fusion inside all `ExtendedFusion`s, and a dict of added modality to list of layers.
    """
    added = {}
    while isinstance(fusion, ExtendedFusion):
        added[fusion.modality] = fusion.added_layers
        fusion = fusion.fusion
    return fusion, added


def _convert_also(preprocessor, modality, converter):
    converters = {**preprocessor.converters, modality: converter}
    return type(preprocessor).from_config({**preprocessor.get_config(), "converters": converters})


def _copy(layer, new):
    new.set_weights(layer.get_weights())
