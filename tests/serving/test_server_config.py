"""The config of a server: what is written is read, and its policy of versions."""

import pytest

pytest.importorskip("tensorflow_serving", reason="needs the extra `serving`")

from mmlearn.serving.server_config import (
    read_server_config,
    wanted_versions,
    write_server_config,
)

pytestmark = pytest.mark.large  # the tier whose environment has the extras


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", {9}),
        ("model_version_policy { latest { num_versions: 2 } }", {5, 9}),
        ("model_version_policy { specific { versions: 2 versions: 5 versions: 7 } }", {2, 5}),
        ("model_version_policy { all {} }", {2, 5, 9}),
    ],
)
def test_the_policy_chooses_versions(policy, expected, tmp_path):
    (tmp_path / "models.config").write_text(
        f'model_config_list {{ config {{ name: "dogs" {policy} }} }}'
    )
    name, found = read_server_config(tmp_path, "cats")
    assert name == "dogs"
    assert wanted_versions(found, [2, 5, 9]) == expected
    assert wanted_versions(found, []) == set()


def test_what_is_written_is_read_and_nothing_is_the_newest(tmp_path):
    name, policy = read_server_config(tmp_path, "cats")
    assert (name, wanted_versions(policy, [1, 2])) == ("cats", {2})
    write_server_config(tmp_path, "toys")
    name, policy = read_server_config(tmp_path, "cats")
    assert (name, wanted_versions(policy, [1, 2])) == ("toys", {2})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list { nonsense }", "is no config of models .* Fix: mend it"),
        ("", "must name one model. Received: 0"),
        ("model_config_list { config {} }", "must name one model"),
        ("model_config_list { config { name: 'a' } config { name: 'b' } }", "Received: 2"),
    ],
)
def test_a_config_that_is_none_is_refused(text, message, tmp_path):
    (tmp_path / "models.config").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_server_config(tmp_path, "cats")
