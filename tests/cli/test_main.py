"""Every user error of the command line: one line, the fix, exit code 2."""

import json

import pytest

from mmlearn.cli.main import VERBS, main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    """Runs in an empty folder, so that results of earlier runs do not matter."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


def error(capfd, *args):
    """Runs a command that must fail as a user's error; returns what it says."""
    assert main([str(arg) for arg in args]) == 2
    captured = capfd.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("Error: ")
    return line


def test_help_names_every_verb(capfd):
    assert main(["--help"]) == 0
    text = capfd.readouterr().out
    for verb in VERBS:
        assert f"  {verb} " in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["train", "shaps"], "Did you mean 'shapes'?"),
        (["train", "missing.json"], "'missing.json' is not the run.json of a run"),
        (["train", "--data.source", "coc"], "Did you mean 'coco'?"),
        (["train", "coco"], "Fix: pass --data.root DIR"),
        (["train", "--training.loggers", "tensorbord"], "Did you mean 'tensorboard'?"),
        (["train", "coco", "--data.root", "/nowhere"], "There is no folder '/nowhere'"),
        (["train", "--data.options", "num_trian=3"], "Did you mean 'num_train'?"),
        (["list", "fusion"], "Did you mean 'fusions'?"),
        (["config", "shwo"], "Did you mean 'show'?"),
        (["evaluate", "/nowhere"], "There is no model '/nowhere'. Fix:"),
        (["predict", "/nowhere", "--text", "a dog"], "There is no model '/nowhere'. Fix:"),
        (["predict", "/nowhere"], "Fix: pass --image FILE or --text TEXT"),
        (["predict", "/nowhere", "--text", " "], "--text is empty"),
        (["predict", "/nowhere", "--series", ""], "--series is empty"),
        (["adapt", "/nowhere", "--data.source", "shapes"], "There is no model '/nowhere'. Fix:"),
        (["adapt", ".", "--data.source", "shapes", "--shots", "0"], "`shots` must be at"),
        (["export", "/nowhere"], "There is no model '/nowhere'. Fix:"),
        (
            ["export", ".", "--precision", "int8"],
            "Unknown precision of an export 'int8'. Known: float16",
        ),
    ],
)
def test_user_errors_name_the_value_and_the_fix(args, message, capfd):
    assert message in error(capfd, *args)


def test_unknown_flag_gets_a_suggestion(capfd):
    with pytest.raises(SystemExit) as stop:
        main(["train", "shapes", "--model.fusoin.name", "concat"])
    assert stop.value.code == 2
    assert "--model.fusion.name" in capfd.readouterr().err


def test_output_that_is_no_run_is_refused(tmp_path, capfd):
    (tmp_path / "thesis.txt").write_text("years of work")
    message = error(capfd, "train", "--output", tmp_path)
    assert "is not the result of a run. Fix: pass another folder" in message
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_unknown_fusion_and_options_are_refused(tmp_path, capfd, shapes_root):
    data = ["--data.root", shapes_root, "--data.options", "num_train=24", "num_val=12"]
    common = ["train", "--training.strategy", "none", "--output", tmp_path / "out", *data]
    assert "Did you mean 'concat'?" in error(capfd, *common, "--model.fusion.name", "concta")
    message = error(capfd, *common, "--model.fusion.options", "num_haeds=2")
    assert "Did you mean 'num_heads'?" in message
    message = error(capfd, *common, "--model.fusion.options", "num_heads=3")
    assert "`hidden_dim` must be divisible by `num_heads`" in message
    message = error(capfd, *common, "--model.images.weights", "missing.h5")
    assert "There is no weights file 'missing.h5'" in message
    message = error(capfd, *common, "--model.text.weights", shapes_root + "/shapes.json")
    assert "need the vocabulary they were trained with. Fix: pass --model.text" in message
    message = error(capfd, *common, "--training.batch-size", "0")
    assert "`batch_size` must be at least 1" in message
    message = error(capfd, *common, "--training.batch-size", "25")
    assert "fewer than one batch of 25" in message
    assert not (tmp_path / "out").exists()


def test_config_show_prints_the_resolved_config(capfd):
    assert main(["config", "show", "coco", "--data.root", "here", "--training.seed", "7"]) == 0
    config = json.loads(capfd.readouterr().out)
    assert config["data"]["root"] == "here"
    assert config["training"]["seed"] == 7
    assert config["model"]["images"]["name"] == "resnet50"
    assert config["model"]["hidden_dim"] == 512
    assert sum(phase["epochs"] for phase in config["training"]["phases"]) == 15


@pytest.mark.parametrize(
    "kind",
    ["augmentations", "encoders", "experiments", "fusions", "loggers", "objectives", "sources"],
)
def test_list_prints_names(kind, capfd):
    assert main(["list", kind]) == 0
    names = capfd.readouterr().out
    expected = {
        "augmentations": "flip",
        "encoders": "efficientnet_b4",
        "experiments": "coco",
        "fusions": "cross_attention",
        "loggers": "tensorboard",
        "objectives": "masked_language",
        "sources": "shapes",
    }
    assert expected[kind] in names
    assert ("resnet_50_imagenet" in names) == (kind == "encoders")


def test_internal_errors_exit_with_1_and_one_line(monkeypatch, capfd):
    import mmlearn.cli.list

    def broken(args):
        raise KeyError("a bug")

    monkeypatch.setattr(mmlearn.cli.list, "run", broken)
    assert main(["list", "fusions"]) == 1
    assert "Internal error, KeyError: 'a bug' (--debug shows where)" in capfd.readouterr().err
    with pytest.raises(KeyError):
        main(["list", "fusions", "--debug"])


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ModuleNotFoundError("No module named 'rich'", name="rich"), "python -m mmlearn check"),
        (
            PermissionError(13, "Permission denied", "/a/file"),
            "'/a/file': Permission denied. Fix: ",
        ),
    ],
)
def test_what_a_machine_lacks_is_a_users_error_with_the_fix(raised, said, monkeypatch, capfd):
    import mmlearn.cli.list

    def broken(args):
        raise raised

    monkeypatch.setattr(mmlearn.cli.list, "run", broken)
    assert said in error(capfd, "list", "fusions")


def test_output_that_cannot_be_written_fails_before_the_work(tmp_path, capfd):
    (tmp_path / "file").write_text("")
    message = error(capfd, "train", "--output", tmp_path / "file" / "run", "--data.root", tmp_path)
    assert str(tmp_path / "file") in message


def test_help_of_an_experiment_comes_in_groups(capfd):
    def printed(*words):
        with pytest.raises(SystemExit):
            main([*words])
        return capfd.readouterr().out

    short, data, everything = (
        printed("train", "--help", *more) for more in ([], ["data"], ["all"])
    )
    assert "--output" in short
    assert "training      Phases" in short
    assert "--data.root" not in short
    assert "--data.root" in data
    assert "--model.dropout" not in data
    assert len(everything) > 5 * len(data)
    assert "--training.phases.2.epochs" in everything
    pruning = printed("prune", "-h")
    assert "--pruning.units" in pruning
    assert "--data.root" not in pruning
    assert main(["train", "--help", "dat"]) == 2
    assert "Did you mean 'data'?" in capfd.readouterr().err
