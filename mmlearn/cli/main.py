"""Finds the verb and turns errors into one line."""

import importlib
import os
import sys

from data_prep.names import find

BACKENDS = ("tensorflow", "jax")  # of Keras
VERBS = {
    "train": "train an experiment and save the model, the SavedModel and figures",
    "tune": "search good settings of an experiment",
    "ablate": "what modalities, fusion, losses and phases are worth, over seeds",
    "evaluate": "score a saved model on data",
    "calibrate": "temperatures and thresholds for a saved model",
    "adapt": "new classes for a saved model, from a few examples of each",
    "profile": "size, speed and memory of a saved model",
    "report": "what runs have left, as one HTML file",
    "contribution": "what each modality contributes to a saved model",
    "robustness": "score a saved model on damaged images and texts",
    "errors": "where a saved model is wrong",
    "predict": "labels for an image, a text and so on",
    "index": "an index of images for a saved retriever, or of captions",
    "search": "images for a text or an image, or captions",
    "explain": "what a prediction is made of, in figures; or how far these can be trusted",
    "demo": "a page in the browser that shows saved models",
    "export": "write a SavedModel for TF Serving, or ONNX, OpenVINO, LiteRT",
    "serve": "serve an exported model by REST and gRPC, as TF Serving does",
    "compress": "write a smaller form of a saved model, and measure what it costs",
    "prune": "remove what matters least of a saved model, and train it further",
    "distill": "train a smaller model by a saved one",
    "cascade": "one modality answers first, and what that saves and costs",
    "check": "whether this machine has what is needed, and what to do",
    "list": "what can be named in a config",
    "config": "show the resolved config of an experiment",
}


def main(args=None):
    """Runs the command line.

    Args:
        args: list of str, or `None` for those of the process.

    Returns:
        The exit code: 0, or what the command returns (`check`); 2 after a user's error, 1 after any
        other.
    """
    args = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in args
    args = [arg for arg in args if arg != "--debug"]
    # TensorFlow's start-up chatter helps nobody; with --debug it is there.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if debug else "3")
    if not args or args[0] in ("-h", "--help"):
        print(_usage())
        return 0
    try:
        find(args[0], VERBS, "command")
        _check_backend()
        return importlib.import_module(f"mmlearn.cli.{args[0]}").run(args[1:]) or 0
    except KeyboardInterrupt:
        print(
            "Stopped. `train`, `tune` and `ablate` go on when the same command is repeated.",
            file=sys.stderr,
        )
        return 130
    except Exception as error:
        if debug:
            raise
        message = _message(error)
        is_users = isinstance(error, (ValueError, OSError, FloatingPointError))
        if isinstance(error, ModuleNotFoundError) and not _is_ours(error.name):
            is_users = True
            message += (
                ". Fix: pip install -e . in the project's folder; `python -m mmlearn check` says "
                "what else is missing."
            )
        prefix = "Error" if is_users else f"Internal error, {type(error).__name__}"
        hint = "" if is_users else " (--debug shows where)"
        print(f"{prefix}: {message}{hint}", file=sys.stderr)
        return 2 if is_users else 1


def _check_backend():
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend not in BACKENDS:
        raise ValueError(
            f"mmlearn runs on TensorFlow, and trains on JAX as well. Received: KERAS_BACKEND={backend}. "
            f"Fix: KERAS_BACKEND={BACKENDS[0]}, or unset it."
        )


def _message(error):
    if isinstance(error, OSError) and error.filename and error.strerror and "Fix" not in str(error):
        what = f"{os.fspath(error.filename)!r}: {error.strerror}"
        return f"{what}. Fix: check the path, and that you may read and write it."
    return " ".join(str(error).split()) or type(error).__name__


def _is_ours(module):
    return (module or "").split(".")[0] in ("mmlearn", "data_prep")


def _usage():
    lines = ["usage: python -m mmlearn COMMAND [OPTIONS]", "", "Image+text learning for Keras.", ""]
    lines += [f"  {verb:<12} {what}" for verb, what in VERBS.items()]
    lines += ["", "Options of a command: python -m mmlearn COMMAND --help"]
    lines += ["--debug, with any command, shows the traceback of an error."]
    return "\n".join(lines)
