import sys

from mmlearn.cli.main import main


def test_missing_optuna_is_one_line_with_the_fix(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["tune", "shapes"]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "`tune` needs Optuna, which is not installed" in line
    assert "Fix: pip install 'mmlearn-keras[tune]', or pip install optuna." in line


def test_words_of_the_space_are_checked_first(capfd):
    assert main(["tune", "shapes", "--space", "model.dropuot=0:0.5"]) == 2
    assert "Did you mean 'dropout'?" in capfd.readouterr().err
