"""`python -m mmlearn config show [EXPERIMENT] [--flags]`."""

import json

from data_prep.names import find
from mmlearn.cli.train import parse
from mmlearn.experiments.config import to_dict


def run(args):
    """Prints the config that `train` with the same arguments would use, as JSON."""
    if not args or args[0] in ("-h", "--help"):
        print(
            "usage: python -m mmlearn config show [EXPERIMENT | RUN.JSON] [--flags of train]; the flags: train --help all"
        )
        return
    find(args[0], ("show",), "config command")
    print(json.dumps(to_dict(parse(args[1:])[0].experiment), indent=2))
