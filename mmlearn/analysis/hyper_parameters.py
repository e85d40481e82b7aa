"""Which settings of a run a report shows, and why each is there."""

# Path in the config of a run -> why it is there. Those of `training.phases` are shown by phase.
REASONS = {
    "model.hidden_dim": "size of the space that all modalities share; larger has more capacity and costs more",
    "model.head_hidden_dim": "hidden layer of the head",
    "model.dropout": "against over-fitting, on projected features and in the heads",
    "model.modality_dropout": "hides a modality now and then, so that predictions hold without it",
    "model.consistency": "how the agreement of the modalities' own predictions is measured",
    "training.batch_size": "examples per step; more need more memory and give steadier gradients",
    "training.precision": "16 bits are faster where the device has them; heads and scores are in 32",
    "training.strategy": "how the work is divided among devices",
    "training.seed": "of weights, order, dropout and augmentation: the same seed repeats the run",
    "data.augmentations": "varied training images stand in for images that are not there",
    "data.class_weights": "lets rare classes count as much as frequent ones",
    "data.oversample": "shows rare classes more often",
    "data.num_folds": "cross-validation divides the training split",
}
# Of the encoder and fusion that a run has.
ENCODER_REASONS = {
    "name": "the encoder",
    "weights": "pretrained ones bring what other data have taught",
    "image_size": "side of the images in pixels; more regions, and quadratically more work",
    "sequence_length": "tokens of a text that are read",
    "vocabulary_size": "most tokens of a vocabulary that is trained from the captions",
    "seconds": "length of a recording that is heard",
}
PHASE_COLUMNS = {
    "name": "phase",
    "epochs": "epochs",
    "trainable": "what learns",
    "optimizer": "optimizer",
    "learning_rate": "peak rate",
    "warmup_fraction": "warm-up",
    "weight_decay": "weight decay",
    "loss_weights": "loss weights",
}
PHASES_NOTE = (
    "Encoders learn by themselves first, so that the fusion starts from features that say something; the "
    "fusion then learns on top of frozen encoders, whose features are stored; at last everything learns at "
    "a reduced rate. The rate rises during the warm-up share of the steps, then falls along a cosine."
)


def setting_rows(config):
    """The settings of a run with their reasons: rows of (setting, value, why).

    Args:
        config: dict, the config of a run as plain JSON types. Settings that it does not have are left
            out.
    """
    rows = []
    model = config.get("model") or {}
    for modality in model.get("modalities") or ():
        for name, why in ENCODER_REASONS.items():
            if name in (model.get(modality) or {}):
                rows.append((f"model.{modality}.{name}", _show(model[modality][name]), why))
        if options := (model.get(modality) or {}).get("options"):
            rows.append((f"model.{modality}.options", _show(options), "of this encoder"))
    if fusion := model.get("fusion"):
        rows.append(("model.fusion.name", _show(fusion.get("name")), "how modalities are joined"))
        if fusion.get("options"):
            rows.append(("model.fusion.options", _show(fusion["options"]), "of this fusion"))
    for path, why in REASONS.items():
        value = config
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None and value != []:
            rows.append((path, _show(value), why))
    return rows


def phase_rows(phases):
    """The settings of the phases, a row each, in the order of `PHASE_COLUMNS`.

    Args:
        phases: list of dicts, as in the config of a run.
    """
    return [[_show(phase.get(name, "")) for name in PHASE_COLUMNS] for phase in phases]


def _show(value):
    if isinstance(value, dict):
        return ", ".join(f"{name} {_show(v)}" for name, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_show, value))
    return str(value)
