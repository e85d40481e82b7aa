"""`python -m data_prep spec SOURCE` and `python -m data_prep shapes`."""

import os
import sys
from dataclasses import dataclass

import tyro

from data_prep import sources
from data_prep.errors import DataError
from data_prep.names import call, find
from data_prep.quiet import quiet_start

COMMANDS = ("shapes", "spec")


@dataclass(frozen=True)
class Spec:
    """Shows what a source yields: counts, the element spec of an example, and the first one."""

    source: tyro.conf.Positional[str]
    """coco or shapes."""
    root: str = os.path.join("data", "shapes")
    """Folder of the data set."""
    split: str = "train"
    """Split of the source."""


@dataclass(frozen=True)
class Shapes:
    """Writes the synthetic data set in COCO's format."""

    output: str = os.path.join("data", "shapes")
    """Folder that is made."""
    num_train: int = 6000
    """Training scenes."""
    num_val: int = 1000
    """Validation scenes."""
    seed: int = 0
    """Of the scenes."""


def show_spec(options):
    """Prints the report, the spec and the first example of a source."""
    cls = sources.get(options.source)
    source = call(cls, {"root": options.root}, f"source {options.source!r}")
    with quiet_start():
        import tensorflow as tf

        from data_prep.pipeline import build_dataset

    dataset = build_dataset(source, options.split)
    for what, count in source.report(options.split).items():
        print(f"{count:>9,} {what}")
    try:
        example = next(iter(dataset))
    except tf.errors.InvalidArgumentError:
        first = source.examples(options.split).images[0]
        raise DataError(f"{first!r} cannot be decoded. Fix: restore the image.") from None
    print(f"{len(source.label_names):>9,} labels\n\nexample")
    for key, spec in dataset.element_spec.items():
        value = example[key].numpy()
        shown = value.decode() if isinstance(value, bytes) else str(value) if value.ndim < 1 else ""
        if key == "labels":
            shown = ", ".join(n for n, v in zip(source.label_names, value, strict=True) if v)
        shape = tuple(spec.shape.as_list())
        print(f"  {key:<7} {spec.dtype.name:<8} {shape!s:<18} {shown or tuple(value.shape)}")


def write_shapes(options):
    """Writes the synthetic data set, or keeps the one that is there."""
    cls = sources.get("shapes")
    source = cls(options.output, options.num_train, options.num_val, options.seed)
    for split in source.splits:
        print(f"{split}: {len(source.examples(split))} scenes in {source.root}")


def main(args=None):
    """Runs the command line; returns the exit code."""
    args = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in args
    args = [arg for arg in args if arg != "--debug"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if debug else "3")
    if not args or args[0] in ("-h", "--help"):
        print("usage: python -m data_prep {shapes,spec} [OPTIONS]\n")
        print("  shapes  write the synthetic data set\n  spec    show what a source yields")
        return 0
    try:
        command = find(args[0], COMMANDS, "command")
        kind, function = {"shapes": (Shapes, write_shapes), "spec": (Spec, show_spec)}[command]
        function(tyro.cli(kind, prog=f"python -m data_prep {command}", args=args[1:]))
    except (ValueError, OSError) as error:
        if debug:
            raise
        print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
