"""What can be said of a path before TensorFlow is imported, which takes seconds."""

import os

from data_prep.names import similar_path


def check_model(path):
    """Checks that the folder of a model is there; what is in it, the command will see.

    Args:
        path: str.

    Raises:
        ValueError: when it is not.
    """
    if os.path.exists(path):
        return
    raise ValueError(
        f"There is no model {path!r}.{similar_path(path)} Fix: pass the output folder of a run, such as "
        "saved_models/shapes, or a preset directory."
    )


def check_files(**paths):
    """Checks that files are there that flags name.

    Args:
        **paths: of flag to str or `None`.

    Raises:
        ValueError: naming the flag and the file.
    """
    for flag, path in paths.items():
        if path is not None and not os.path.exists(path):
            raise ValueError(f"--{flag}: there is no file {path!r}. Fix: check the path.")
