"""`python -m data_prep spec | doctor | shards SOURCE --root DIR`, and `python -m data_prep shapes`."""

import os
import sys
from dataclasses import dataclass, field

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_prep import sources
from data_prep.errors import DataError
from data_prep.names import call, find, parameters
from data_prep.options import Options
from data_prep.quiet import quiet_start

COMMANDS = {
    "spec": "show what a source yields",
    "doctor": "report what is wrong with a data set; exit code 1 if training would lose something",
    "shards": "write prepared shards, which are read several times faster than photos",
    "shapes": "write the synthetic data set",
}


@dataclass(frozen=True)
class SourceOptions:
    """Which data."""

    source: tyro.conf.Positional[str]
    """Format, such as coco or table: `python -m mmlearn list sources` lists them."""
    root: str = os.path.join("data", "shapes")
    """Folder or file of the data set."""
    options: Options = field(default_factory=dict)
    """Further options of the source, such as `images=photo text=title labels=kind`."""


@dataclass(frozen=True)
class Spec(SourceOptions):
    """Shows what a source yields: counts, the element spec of an example, and the first one."""

    split: str | None = None
    """Split of the source, by default its first."""


@dataclass(frozen=True)
class Doctor(SourceOptions):
    """Reads a whole data set once and reports what is wrong with it."""

    output: str | None = None
    """Folder for the report as JSON and for figures."""
    vocabulary: str | None = None
    """A BERT vocabulary file, to count tokens; by default words are counted."""
    sequence_length: int = 32
    """Tokens that the model will read."""


@dataclass(frozen=True)
class Shards(SourceOptions):
    """Writes the images of a source, resized and upright, into a few record files."""

    output: str = os.path.join("data", "shards")
    """Folder that is made."""
    image_size: int = 224
    """Side of the images in pixels: the model's, or more, so that crops stay sharp."""
    quality: int = 94
    """Of the JPEG, from 1 to 100."""
    num_shards: int = 16
    """Record files per split."""
    runner: str = "DirectRunner"
    """Apache Beam's runner: DirectRunner (this machine), FlinkRunner, SparkRunner, DataflowRunner."""
    runner_options: tuple[str, ...] = ()
    """Beam's own flags, such as flink_master=HOST:PORT."""


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


def build_source(options, **defaults):
    """Builds the source that is asked for; defaults hold where the source knows the option."""
    cls = sources.get(options.source)
    known = parameters(cls)
    defaults = {name: value for name, value in defaults.items() if name in known}
    what = f"source {options.source!r}"
    return call(cls, {"root": options.root, **defaults, **options.options}, what)


def show_spec(options):
    """Prints the report, the spec and the first example of a source."""
    source = build_source(options)
    split = options.split or source.splits[0]
    with quiet_start():
        import tensorflow as tf

        from data_prep.pipeline import build_dataset

    for what, count in source.report(split).items():
        print(f"{count:>9,} {what}")
    dataset = build_dataset(source, split)
    try:
        example = next(iter(dataset))
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError):
        first = source.examples(split).images[0]
        raise DataError(f"{first!r} cannot be decoded. Fix: restore the image.") from None
    print(f"{len(source.label_names):>9,} labels\n\nexample")
    for key, spec in dataset.element_spec.items():
        if not isinstance(spec, dict):
            _show(key, spec, example[key].numpy(), source)
            continue
        for name, column in spec.items():
            _show(f"{key}.{name}", column, example[key][name].numpy(), source)


def _show(key, spec, value, source):
    shown = value.decode() if isinstance(value, bytes) else str(value) if value.ndim < 1 else ""
    if key == "labels":
        shown = ", ".join(n for n, v in zip(source.label_names, value, strict=True) if v)
    shape = tuple(spec.shape.as_list())
    print(f"  {key:<7} {spec.dtype.name:<8} {shape!s:<18} {shown or tuple(value.shape)}")


def examine(options):
    """Prints what is wrong with a data set. Returns the exit code."""
    source = build_source(options, strict=False)
    with quiet_start():
        from data_prep import doctor

    console = Console()
    columns = ("reading images", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*map(_column, columns), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        diagnosis = doctor.examine(
            source,
            tokenizer_vocabulary=options.vocabulary,
            sequence_length=options.sequence_length,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    doctor.print_diagnosis(diagnosis, console)
    if options.output:
        doctor.save(diagnosis, options.output)
        console.print(f"In {options.output}/: doctor.json and figures", highlight=False)
    return diagnosis.exit_code


def _column(column):
    return TextColumn(column) if isinstance(column, str) else column


def write_prepared(options):
    """Writes prepared shards."""
    source = build_source(options)
    with quiet_start():
        try:
            from data_prep.shards import write_shards
        except ModuleNotFoundError as error:
            raise DataError(
                f"Shards are written by Apache Beam, which is not installed ({error}). Fix: pip "
                "install 'mmlearn-keras[shards]', or pip install apache-beam."
            ) from None

    with Console().status(f"writing shards, {options.runner}"):
        shards, is_new = write_shards(
            source,
            options.output,
            image_size=options.image_size,
            quality=options.quality,
            num_shards=options.num_shards,
            runner=options.runner,
            runner_options=[f"--{flag.removeprefix('--')}" for flag in options.runner_options],
        )
    for item in shards.manifest.skipped:
        print(f"left out: {item['path']} {item['reason']}")
    size = sum(shards.manifest.files.values())
    for split, counts in shards.manifest.counts.items():
        print(f"{split}: {sum(counts):,} examples in {len(counts)} files")
    done = "written to" if is_new else "were there already, in"
    print(f"{size / 1e6:,.0f} MB {done} {shards.root}. Train: --data.source shards --data.root DIR")


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
        print(f"usage: python -m data_prep {{{','.join(COMMANDS)}}} [OPTIONS]\n")
        print("\n".join(f"  {name:<7} {what}" for name, what in COMMANDS.items()))
        return 0
    try:
        find(args[0], COMMANDS, "command")
        kind, function = {
            "spec": (Spec, show_spec),
            "doctor": (Doctor, examine),
            "shards": (Shards, write_prepared),
            "shapes": (Shapes, write_shapes),
        }[args[0]]
        options = tyro.cli(kind, prog=f"python -m data_prep {args[0]}", args=args[1:])
        return function(options) or 0
    except (ValueError, OSError) as error:
        if debug:
            raise
        # Messages name the flags of `mmlearn train`; here they have no prefix.
        message = " ".join(str(error).split()).replace("--data.", "--")
        print(f"Error: {message}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
