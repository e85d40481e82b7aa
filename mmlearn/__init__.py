"""Keras 3 image+text learning: encoders, fusions, tasks, training, evidence, serving."""

import importlib

_EXPORTS = {
    "Head": "mmlearn.models",
    "ImageCaptioner": "mmlearn.models",
    "ImageTextRetriever": "mmlearn.models",
    "MultimodalBackbone": "mmlearn.models",
    "MultimodalClassifier": "mmlearn.models",
    "MultimodalMultiTask": "mmlearn.models",
    "MultimodalPreprocessor": "mmlearn.models",
    "MultimodalRegressor": "mmlearn.models",
    "VisualQuestionAnswerer": "mmlearn.models",
}
_PACKAGES = (
    "analysis",
    "demo",
    "encoders",
    "evaluation",
    "experiments",
    "fusions",
    "layers",
    "losses",
    "metrics",
    "models",
    "serving",
    "training",
)

__all__ = [*_EXPORTS, *_PACKAGES]


def __getattr__(name):  # PEP 562: importing mmlearn costs nothing until something is used
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"mmlearn.{name}")
    raise AttributeError(f"module 'mmlearn' has no attribute {name!r}")


def __dir__():
    return __all__
