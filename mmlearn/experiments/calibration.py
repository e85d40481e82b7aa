"""Calibrates a saved model: temperatures and thresholds from data it was not trained on."""

import os
import time

import tensorflow as tf

from data_prep.fingerprint import fingerprint
from data_prep.pipeline import build_dataset
from mmlearn.analysis.calibration import confidences, draw_reliability
from mmlearn.evaluation.calibrate import calibrate, check_scopes
from mmlearn.evaluation.evaluate import predict
from mmlearn.experiments.adapt import default_output
from mmlearn.experiments.config import to_dict
from mmlearn.experiments.output import MEASURED, check_output, replacing, write_json
from mmlearn.experiments.run import versions
from mmlearn.experiments.scoring import name_bad_images, open_fitting_source
from mmlearn.experiments.watched import watched
from mmlearn.models.prediction_task import PredictionTask
from mmlearn.models.presets import find_preset
from mmlearn.serving.versions import default_name, export_version

RESULTS = (
    "preset",
    "serving",
    "figures",
    "calibration.json",
    *MEASURED,
)  # what a calibration leaves


def calibrate_model(
    model,
    data,
    split="val",
    temperatures="per_class",
    thresholds="global",
    batch_size=32,
    output=None,
    console=None,
):
    """Fits a saved model's temperatures and thresholds and saves it with them.

    The weights stay what they are. Written beside the output folder and renamed at the end: `preset`
    and `serving/1`, the model; `figures`, its reliability before and after; `calibration.json`.

    Args:
        model: str. Output folder of a run, or a preset directory.
        data: `DataConfig`.
        split: str. One that the model was not trained on.
        temperatures: `"per_class"`, `"global"` or `"none"`.
        thresholds: likewise, see `mmlearn.evaluation.calibrate`.
        batch_size: int.
        output: str. The folder, by default `saved_models/MODEL-calibrated`.
        console: `rich.console.Console` for progress, or `None` for silence.

    Returns:
        The record, which is also in `calibration.json`: a dict of `output`, `model`, `config`, `heads`
        (the reports of `mmlearn.evaluation.calibrate`), `data` (`fingerprint` and `split`), `seconds`
        and `versions`.

    Raises:
        ValueError: when an option, the model, the data (`DataError`) or the output is not right.
    """
    start = time.monotonic()
    task = PredictionTask.from_preset(find_preset(model, PredictionTask))
    check_scopes(task, temperatures, thresholds)
    output = output or default_output(model, "calibrated")
    check_output(output, "a calibration", "calibration.json", RESULTS)
    source = open_fitting_source(task, data, split)
    groups = source.examples(split).groups
    dataset = build_dataset(source, split, task.preprocessor, batch_size)
    try:
        with watched(dataset, console, "predicting") as passes:
            calibrated, reports = calibrate(task, passes, groups, temperatures, thresholds)
            found = [predict(each, passes) for each in (task.with_calibration(), calibrated)]
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        raise name_bad_images(source, (split,)) or error from None
    record = {
        "output": output,
        "model": str(model),
        "config": {"data": to_dict(data), "temperatures": temperatures, "thresholds": thresholds},
        "heads": reports,
        "data": {"fingerprint": fingerprint(source, (split,)), "split": split},
    }
    with replacing(output) as partial:
        for folder in ("figures", "serving"):
            os.makedirs(os.path.join(partial, folder))
        calibrated.save_to_preset(os.path.join(partial, "preset"))
        export_version(calibrated, os.path.join(partial, "serving"), name=default_name(output))
        for name in reports:
            head = task.described[name]
            labels, fused = (task.own_name(what, head) for what in ("labels", "fused"))
            rows = {
                when: confidences(head.kind, each[labels], each[fused])
                for when, each in zip(("before", "after, on the same data"), found, strict=True)
            }
            suffix = "" if len(task.described) == 1 else f"_{name}"
            draw_reliability(rows, os.path.join(partial, "figures", f"calibration{suffix}.png"))
        record["seconds"] = round(time.monotonic() - start, 2)
        record["versions"] = versions()
        write_json(os.path.join(partial, "calibration.json"), record)
    return record
