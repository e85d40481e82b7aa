"""Finding the preset of a saved model, and checking it before it is loaded."""

import json
import os

import keras

from mmlearn.encoders.untrusted import check_untrusted


class CheckedPreset:
    """Mixin, before a class of KerasHub: presets are checked before anything of them is loaded."""

    @classmethod
    def from_preset(cls, preset, *args, **kwargs):
        """Loads a preset, see KerasHub; of a directory the files are checked first.

        Args:
            preset: str. A directory, such as `saved_models/shapes/preset`.
            *args: of KerasHub's `from_preset`.
            **kwargs: likewise.

        Raises:
            ValueError: when a file would run code or leads out of the directory, see
                `mmlearn.encoders.untrusted.check_untrusted`.
        """
        check_untrusted(preset)
        return super().from_preset(preset, *args, **kwargs)


def find_preset(path, needed=None):
    """Returns the preset directory of a saved model.

    Args:
        path: str. A preset directory, or the output folder of a run, which holds one.
        needed: class of tasks that it must be of, or `None`.

    Raises:
        ValueError: when there is neither, or the model is another task.
    """
    for folder in (os.path.join(path, "preset"), path):
        if os.path.isfile(os.path.join(folder, "task.json")):
            if needed is not None:
                _check_task(path, os.path.join(folder, "task.json"), needed)
            return folder
    check_untrusted(path)  # says what to do with an archive
    raise ValueError(
        f"{str(path)!r} holds no saved model. Fix: pass the output folder of a run, such as "
        "saved_models/shapes, or a preset directory."
    )


def _check_task(path, description, needed):
    try:
        with open(description, encoding="utf-8") as file:
            name = json.load(file)["registered_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{description!r} is not the description of a saved model ({error}). Fix: save it again."
        ) from None
    # A class that is not known here is not ours: loading will say so.
    found = keras.saving.get_registered_object(name)
    if found is not None and not issubclass(found, needed):
        raise ValueError(
            f"{str(path)!r} is a model of {found.__name__}, and this needs one of {needed.__name__}. "
            "Fix: pass another model."
        )
