"""Every command of the pages is understood by what it calls, whether it is run by a test or not."""

import dataclasses
import re
import subprocess
import tomllib
import typing

import pytest
import tyro

import data_prep.__main__ as data_prep
from mmlearn.cli.main import VERBS
from mmlearn.cli.reference import find_options
from mmlearn.cli.train import Train
from mmlearn.experiments import EXPERIMENTS
from mmlearn.experiments.compression_config import PruningConfig
from mmlearn.experiments.config import Experiment
from tests.documentation.pages import PAGES, REFERENCE, ROOT, blocks, commands, prose, read

# Programs of others, of which a test can only say that they are named on purpose.
LANGUAGES = ("", "bash", "python", "yaml")
FOREIGN = ("curl", "docker", "echo", "export", "jupyter", "ruff", "tensorboard")


def check_mmlearn(verb, *words):
    """Parses the flags of a command of `mmlearn`."""
    assert verb in VERBS, verb
    options = find_options(verb)
    if options is None:  # config show
        assert words[0] == "show"
        options, words = Train, words[1:]
    if typing.get_type_hints(options).get("experiment") is not Experiment:
        tyro.cli(options, args=words)
        return
    name = words[0] if words and not words[0].startswith("-") else "shapes"
    experiment = EXPERIMENTS.get(name, EXPERIMENTS["shapes"])  # of a model's run: any would do
    if "/" in name:
        experiment = dataclasses.replace(experiment, pruning=PruningConfig(model=name))
    else:
        assert name in EXPERIMENTS, name
    rest = words[1:] if words and words[0] == name else words
    tyro.cli(options, default=options(experiment), args=rest, config=(tyro.conf.AvoidSubcommands,))


def check_data_prep(command, *words):
    """Parses the flags of a command of `data_prep`."""
    assert command in data_prep.COMMANDS, command
    tyro.cli(getattr(data_prep, command.capitalize()), args=words)


def check_module(module, *words):
    """Finds what `python -m` runs."""
    if module == "mmlearn":
        check_mmlearn(*words)
    elif module == "data_prep":
        check_data_prep(*words)
    elif module not in ("pytest", "venv", "tarfile"):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


def check_pip(_, *words):
    """Finds the extras that are installed."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    for name in re.findall(r"\[(\w+)\]", " ".join(words)):
        assert name in extras, name


def check_make(*targets):
    """Finds the targets."""
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert f"\n{target}:" in makefile, target


@pytest.mark.parametrize(
    "block", [b for page in PAGES for b in blocks(page, "bash")], ids=lambda block: block.name
)
def test_commands_are_understood(block):
    subprocess.run(["bash", "-n"], input=block.code, text=True, check=True)
    for words in commands(block.code):
        if re.match(r"\w+=\$\(", words[0]):
            continue  # a variable, computed by a program of others
        while re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        program, *rest = words
        if program == "mmlearn":
            check_mmlearn(*rest)
        elif program in ("python", "python3"):
            assert rest[0] == "-m"
            check_module(*rest[1:])
        elif program == "pip":
            check_pip(*rest)
        elif program == "make":
            check_make(*rest)
        else:
            assert program in (*FOREIGN, "."), f"{block.name}: nothing checks {program}"


def test_blocks_say_what_they_are():
    for page in PAGES:
        for block in blocks(page, *LANGUAGES, *set(re.findall(r"^```(\w+)$", read(page), re.M))):
            assert block.language in LANGUAGES, block.name
            if not block.language:  # a picture or a listing, which nothing checks
                is_code = re.search(
                    r"^(docker|mmlearn|python|pip|make|import|from) ", block.code, re.M
                )
                assert is_code is None, f"{block.name}: a block of code needs its language"


def test_commands_in_sentences_exist():
    for page in PAGES:
        for verb in re.findall(r"`(?:python -m )?mmlearn ([a-z]+)", prose(page)):
            assert verb in VERBS, f"{page}: {verb}"
        for name in re.findall(r"tests\.benchmarks\.(\w+)", read(page)):
            assert (ROOT / "tests" / "benchmarks" / f"{name}.py").is_file(), f"{page}: {name}"


def test_flags_in_sentences_exist():
    known = set(re.findall(r"`(--[\w.-]+)`", read(REFERENCE)))
    for page in PAGES:
        for flag in re.findall(r"`(--\w+\.[\w.-]+)", prose(page)):
            assert re.sub(r"\.(\d+|N)\.", ".N.", flag) in known, f"{page}: {flag}"


def test_the_reference_is_what_the_code_says():
    from mmlearn.cli.reference import make_page

    assert read(REFERENCE) == make_page(), "Fix: python -m mmlearn.cli.reference"
