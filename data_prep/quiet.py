"""Starting TensorFlow without its chatter."""

import contextlib
import logging
import os
import sys


@contextlib.contextmanager
def quiet_start():
    """Discards what TensorFlow's C++ code writes to standard error while it is imported.

    `TF_CPP_MIN_LOG_LEVEL` does not reach the lines that are written before its logging starts. Its
    Python warnings are left out too: each phase compiles anew, which TensorFlow warns of. With
    `--debug`, which sets that level to 0, nothing is discarded. Errors are exceptions and pass.

    In a terminal a line says meanwhile what takes these seconds, and goes.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    says_so = "tensorflow" not in sys.modules and os.isatty(saved)
    if says_so:
        os.write(saved, b"starting TensorFlow")
    try:
        yield
    finally:
        if says_so:
            os.write(saved, b"\r\033[K")
        os.dup2(saved, 2)
        os.close(saved)
        if "tensorflow" in sys.modules:  # its logger sets its own level when it is made
            sys.modules["tensorflow"].get_logger().setLevel(logging.ERROR)
