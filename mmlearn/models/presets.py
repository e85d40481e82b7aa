"""Finding the preset of a saved model."""

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
