"""What was measured is left beside the model, as JSON, Markdown and pictures."""

import json
import math

from mmlearn.experiments.findings import leave_findings


def test_what_could_not_be_measured_is_null_and_said_so(tmp_path):
    nothing = {"value": math.nan, "low": math.nan, "high": math.nan}
    measured = {"value": 0.5, "low": 0.4, "high": 0.6}
    content = {
        "tables": [{"title": "t", "columns": ["a", "b"], "rows": [[nothing, measured]]}],
        "figures": ["a.png"],
        "remarks": ["A remark."],
        "more": {"deep": [(1, math.inf)], "own": nothing},
    }
    run = tmp_path / "model"
    found = leave_findings(
        run, "topic", "Title", content, lambda folder: open(f"{folder}/a.png", "wb").close()
    )
    with open(found.pop("path")) as file:
        assert json.load(file) == found
    assert found["tables"][0]["rows"] == [[None, measured]]
    assert found["more"] == {"deep": [[1, None]], "own": None}
    text = (run / "evidence" / "topic.md").read_text()
    assert text.startswith("# Title\n\n- A remark.\n\n**t**\n")
    assert "](./a.png)" in text
    assert r"| not measured | 0.5000 \[0.4000, 0.6000\] |" in text
    assert sorted(p.name for p in (run / "evidence").iterdir()) == [
        "a.png",
        "topic.json",
        "topic.md",
    ]
