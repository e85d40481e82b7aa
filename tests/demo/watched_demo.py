"""Runs `python -m mmlearn demo`, and notes each place beyond this machine that it asks for.

python -m tests.demo.watched_demo NOTES [ARGUMENTS OF DEMO]
"""

import sys

from mmlearn.cli.main import main

LOCAL = {None, "", "localhost", "127.0.0.1", "::1", b"127.0.0.1", b"localhost"}


def watch(notes):
    """Notes what is connected to, and the names that are looked up, in a file."""

    def note(event, args):
        if event == "socket.connect":
            place = args[1][0] if isinstance(args[1], tuple) else None
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            place = args[0]
        else:
            return
        if place not in LOCAL:
            print(event, place, file=notes, flush=True)

    sys.addaudithook(note)


if __name__ == "__main__":
    with open(sys.argv[1], "a") as notes:
        watch(notes)
        sys.exit(main(["demo", *sys.argv[2:]]))
