"""What is shown while TensorFlow starts."""

import os
import pty
import subprocess
import sys

PROGRAM = """
import os
from data_prep.quiet import quiet_start
with quiet_start():
    os.write(2, b"chatter")
"""


def shown(level, in_terminal):
    """What the program writes to standard error."""
    reader, writer = pty.openpty() if in_terminal else os.pipe()
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": level}
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=writer, env=env, check=True)
    os.write(writer, b"END")  # where nothing was written, reading would wait
    found = os.read(reader, 1000)
    os.close(reader)
    os.close(writer)
    return found.decode().removesuffix("END")


def test_a_terminal_is_told_and_nothing_stays():
    line = shown("3", in_terminal=True)
    assert line.startswith("starting TensorFlow")
    assert line.endswith("\r\x1b[K")
    assert "chatter" not in line


def test_a_file_is_left_alone_and_debug_hides_nothing():
    assert shown("3", in_terminal=False) == ""
    assert shown("0", in_terminal=False) == "chatter"
