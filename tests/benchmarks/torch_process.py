"""PyTorch in a process and an environment of its own; it works only when asked, so that timings can alternate."""

import json
import os
import subprocess


class TorchProcess:
    """A program of this folder that is asked by lines of JSON, and answers each by one.

    Args:
        python: str. The Python of an environment with what the program imports.
        program: str, its file's name. It gets the settings as its first argument, and first of all writes
            a line, when it is ready.
        settings: dict of plain JSON types.

    Attributes:
        ready: what the first line says.
    """

    def __init__(self, python, program, settings):
        path = os.path.join(os.path.dirname(__file__), program)
        self._process = subprocess.Popen(
            [python, path, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._read()

    def ask(self, *words):
        """Sends a line with a list of words; returns what the next line says."""
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()

    def _read(self):
        return json.loads(self._process.stdout.readline())
