"""Versions of a model that takes no time to load."""

import pytest


@pytest.fixture
def counting(tmp_path, monkeypatch):
    """A folder `toys/serving` of versions that count: `counting(2)` writes the second."""
    from mmlearn.serving.server import version_manager
    from tests.serving.server.counting_server import CountingVersion

    monkeypatch.setattr(version_manager, "ServedVersion", CountingVersion)
    CountingVersion.gate.clear()
    CountingVersion.waiting.clear()
    folder = tmp_path / "toys" / "serving"

    def write(number, content=None):
        version = folder / str(number)
        version.mkdir(parents=True, exist_ok=True)
        (version / "content").write_text(content or str(number))
        return folder

    write(1)
    return write
