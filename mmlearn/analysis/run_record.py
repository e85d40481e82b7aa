"""What a run has left in its folder, read and checked, for reports."""

import json
import os
from dataclasses import dataclass

from mmlearn.analysis.architecture import describe_architecture
from mmlearn.analysis.evidence import read_all_evidence
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset

REQUIRED = {"config": dict, "metrics": dict, "history": list, "data": dict}


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells it.

    Attributes:
        folder: str.
        record: dict, the content of `run.json`.
        evidence: dict of topic to what was measured, see `mmlearn.analysis.evidence`.
        places: dict of topic to the folder where its pictures are.
        architecture: dict, see `describe_architecture`; or `None`.
        folds: dict, the content of the `folds.json` of a cross-validation that the run is a fold of; or
            `None`.
    """

    folder: str
    record: dict
    evidence: dict
    places: dict
    architecture: dict | None = None
    folds: dict | None = None

    @property
    def name(self):
        """The experiment's name."""
        return self.record["config"]["name"]

    def figures(self, start):
        """The paths of the run's figures whose names begin so, in order."""
        folder = os.path.join(self.folder, "figures")
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        names = [name for name in names if name.startswith(start) and name.endswith(".png")]
        return [os.path.join(folder, name) for name in names]


def read_run_record(folder):
    """Reads what a run has left.

    Args:
        folder: str. Output folder of a run, or the `run.json` in it.

    Returns:
        A `RunRecord`.

    Raises:
        ValueError: when it is no run, or a file of it is damaged; the file is named.
    """
    folder = str(folder)
    if os.path.basename(folder) == "run.json":
        folder = os.path.dirname(folder) or "."
    path = os.path.join(folder, "run.json")
    if not os.path.isfile(path):
        raise ValueError(
            f"{folder!r} holds no run.json. Fix: pass the output folder of a run, such as "
            "saved_models/shapes; of a cross-validation, one of its folds."
        )
    record = _read_json(path)
    for key, kind in REQUIRED.items():
        if not isinstance(record.get(key) if isinstance(record, dict) else None, kind):
            raise ValueError(f"{path!r} is not the record of a run: it has no {key!r}.")
    if "name" not in record["config"]:
        raise ValueError(f"{path!r} is not the record of a run: its config has no name.")
    evidence = read_all_evidence(folder)
    around = os.path.join(folder, "..", "folds.json")
    return RunRecord(
        folder=folder,
        record=record,
        evidence=evidence,
        places=dict.fromkeys(evidence, os.path.join(folder, "evidence")),
        architecture=_read_architecture(folder, record["config"]),
        folds=_read_json(around) if os.path.isfile(around) else None,
    )


def _read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path!r} cannot be read ({error}). Fix: train again.") from None


def _read_architecture(folder, config):
    """Builds the model from its config, without its weights, and describes it."""
    try:
        preset = find_preset(folder)
    except ValueError:
        return None  # the weights of a run need not be kept
    try:
        task = PredictionTask.from_preset(preset, load_weights=False)
    except (ValueError, TypeError):
        return (
            None  # of classes that this program does not know, such as a fusion of the user's own
        )
    model = config.get("model") or {}
    names = {
        modality: own.get("name")
        for modality, own in model.items()
        if isinstance(own, dict) and modality in task.backbone.modalities
    }
    # A model that went on from another one has that one's encoders, not those of its config.
    went_on = bool((config.get("continual") or {}).get("model"))
    return describe_architecture(task, {} if went_on else names)
