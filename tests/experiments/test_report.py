"""Reports on disk, and in a browser."""

import shutil

import cv2
import numpy as np
import pytest

from mmlearn.analysis.evidence import write_evidence
from mmlearn.cli.main import main
from mmlearn.experiments.report import write_report
from tests.analysis.runs import NAMES, write_run
from tests.browser import find_browser, open_page

TABLE = {"title": "t", "columns": ["a"], "rows": [["measured elsewhere"]]}


def test_report_is_written_beside_the_run_and_needs_nothing_else(tmp_path, capsys):
    folder = write_run(tmp_path / "animals")
    other = tmp_path / "ablation"
    other.mkdir()
    given = write_evidence(other, "ablation", {"tables": [TABLE], "figures": []})
    assert main(["report", str(folder), "--evidence", given]) == 0
    printed = capsys.readouterr().out
    assert "not measured: Robustness" in printed
    assert "What each part is worth" not in printed
    page = (folder / "report.html").read_text()
    assert "measured elsewhere" in page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    text = (folder / "report.md").read_text()
    assert "b\\|c" in text
    assert "](report_figures/curves.png)" in text
    assert [path.name for path in (folder / "report_figures").iterdir()] == ["curves.png"]
    shutil.rmtree(folder / "figures")
    write_report([folder])  # again: the earlier one is replaced
    assert list((folder / "report_figures").iterdir()) == []
    assert not list(folder.glob("*.partial*"))


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (0, {}, "needs a run"),
        (2, {}, "`output` must be given for several runs"),
        (2, {"output": "a.html", "evidence": ["b.json"]}, "`evidence` is of one"),
        (1, {"output": "report.pdf"}, "must end in .html"),
        (1, {"evidence": ["nowhere.json"]}, "nowhere.json' cannot be read"),
    ],
)
def test_wrong_requests_are_refused(tmp_path, count, options, message):
    folders = [write_run(tmp_path / f"run{i}") for i in range(count)]
    with pytest.raises(ValueError, match=message):
        write_report(folders, **options)


@pytest.mark.large
@pytest.mark.skipif(find_browser() is None, reason="no Chromium on the PATH")
def test_report_opens_in_a_browser_without_a_complaint_or_a_request(tmp_path):
    folders = [write_run(tmp_path / name, name) for name in ("animals", "plants")]
    output = tmp_path / "both.html"
    write_report(folders, output)
    found = open_page(output, tmp_path / "browser")
    assert found["requests"] == [output.as_uri()]
    assert found["complaints"] == []
    picture = cv2.imdecode(np.frombuffer(found["screenshot"], np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[0] > 3000  # the whole page
    assert picture.std() > 10
    # What it would notice: a request, and a script that the page's policy stops.
    evil = output.read_text().replace("</body>", f'<img src="http://a.invalid/x">{NAMES[0]}</body>')
    (tmp_path / "evil.html").write_text(evil)
    found = open_page(tmp_path / "evil.html", tmp_path / "browser2")
    assert found["complaints"]
