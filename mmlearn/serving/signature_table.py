"""The signatures of an exported model, read from its manifest: for servers that do not tell them."""

import json

import numpy as np


def read_signatures(path):
    """Reads the signatures in a `manifest.json`, without TensorFlow.

    Args:
        path: str. The manifest of the version that is served, `VERSION/assets.extra/manifest.json`.

    Returns:
        What `mmlearn.serving.client.Client.signatures` returns.

    Raises:
        ValueError: when it is no manifest.
    """
    try:
        with open(path, encoding="utf-8") as file:
            table = json.load(file)["signatures"]
        return {
            name: {kind: _read_specs(one[kind]) for kind in ("inputs", "outputs")}
            for name, one in table.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r} is not the manifest of an exported model ({error!r}). Fix: the one in "
            "assets.extra/ of the version that is served."
        ) from None


def _read_specs(tensors):
    return {
        name: (object if one["dtype"] == "string" else np.dtype(one["dtype"]), tuple(one["shape"]))
        for name, one in tensors.items()
    }
