import sys

import mmlearn.demo
from mmlearn.cli.main import main


def test_a_missing_extra_is_one_line_with_the_fix(monkeypatch, capfd, tmp_path):
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):  # which the command sets
        monkeypatch.setenv(name, "")
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "mmlearn.demo.server", raising=False)
    monkeypatch.delattr(mmlearn.demo, "server", raising=False)
    assert main(["demo", str(tmp_path)]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "`demo` needs a package that is not installed" in line
    assert line.endswith("Fix: pip install 'mmlearn-keras[demo]'.")
