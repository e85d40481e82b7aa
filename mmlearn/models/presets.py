"""Finding the preset of a saved model."""

import json
import os


def find_preset(path):
    """Returns the preset directory of a saved model.

    Args:
        path: str. A preset directory, or the output folder of a run, which holds one.

    Raises:
        ValueError: when there is neither.
    """
    for folder in (os.path.join(path, "preset"), path):
        if os.path.isfile(os.path.join(folder, "task.json")):
            return folder
    raise ValueError(
        f"{str(path)!r} holds no saved model. Fix: pass the output folder of a run, such as "
        "saved_models/shapes, or a preset directory."
    )


def find_classifier(path):
    """Returns the preset directory of a saved classifier, see `find_preset`.

    Args:
        path: str.

    Raises:
        ValueError: when there is no saved model, or it is another task.
    """
    preset = find_preset(path)
    path_of_task = os.path.join(preset, "task.json")
    try:
        with open(path_of_task, encoding="utf-8") as file:
            kind = json.load(file)["class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path_of_task!r} is not the description of a saved model ({error}). Fix: save it again."
        ) from None
    if kind in ("MultimodalMultiTask", "MultimodalRegressor"):
        raise ValueError(
            f"{str(path)!r} is a {kind}, and this needs a MultimodalClassifier. Fix: pass a model that "
            "was trained on classes."
        )
    return preset
