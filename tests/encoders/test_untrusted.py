"""Files made to do harm: each is refused in one line, and nothing is written or run."""

import io
import json
import os
import pathlib
import shutil
import stat
import tarfile
import zipfile

import h5py
import keras
import numpy as np
import pytest

from mmlearn import MultimodalBackbone, MultimodalClassifier, MultimodalPreprocessor, encoders
from mmlearn.cli.main import main
from mmlearn.encoders.untrusted import check_untrusted
from mmlearn.models.presets import find_preset
from tests import toys

WEIGHTS = "model.weights.h5"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The output folder of a run, as far as it matters here: a preset of a text classifier."""
    folder = tmp_path_factory.mktemp("good") / "run"
    toys.classifier(("text",)).save_to_preset(str(folder / "preset"))
    return folder


@pytest.fixture
def run(good, tmp_path):
    """A copy to be spoiled, with a file of somebody else's beside it."""
    shutil.copytree(good, tmp_path / "run")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = np.arange(4.0)
    return tmp_path / "run"


def save_lambda(path, marker):
    """Saves a model whose Lambda layer writes a file as soon as it is loaded, unless it is refused."""
    code = f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"
    layer = keras.layers.Lambda(eval(code))
    keras.Sequential([keras.Input((32, 32, 3)), layer, keras.layers.Conv2D(2, 3)]).save(path)
    marker.unlink()  # it was called while it was built
    keras.saving.load_model(path, safe_mode=False)
    marker.unlink()  # it works


def everything_in(folder):
    """What is in a folder: path, and for a file its content."""
    return {
        str(path): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in pathlib.Path(folder).rglob("*")
    }


# --- Presets ---------------------------------------------------------------------------------


def lambda_in_the_task(preset):
    path = preset.parent / "network.keras"
    save_lambda(path, preset.parent / "ran")
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    task = json.loads((preset / "task.json").read_text())
    task["config"]["backbone"]["config"]["encoders"]["text"]["config"]["model"] = config
    (preset / "task.json").write_text(json.dumps(task))


def link_to_a_file(preset):
    (preset / "config.json").unlink()
    (preset / "config.json").symlink_to(preset.parent.parent / "secret.h5")


def link_to_a_folder(preset):
    (preset / "more").symlink_to(preset.parent.parent)


def pipe(preset):
    os.mkfifo(preset / "metadata.fifo")


def edit(preset, change):
    with h5py.File(preset / WEIGHTS, "a") as file:
        layer = file[next(name for name in file if isinstance(file[name], h5py.Group))]
        change(layer, str(preset.parent.parent / "secret.h5"))


def external_link(preset):
    def change(layer, secret):
        layer["more"] = h5py.ExternalLink(secret, "/secret")

    edit(preset, change)


def soft_link(preset):
    def change(layer, secret):
        layer["more"] = h5py.SoftLink("/nowhere")

    edit(preset, change)


def external_values(preset):
    def change(layer, secret):
        layer.create_dataset("more", (4,), "f8", external=[(secret, 0, 32)])

    edit(preset, change)


def virtual_values(preset):
    def change(layer, secret):
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(secret, "secret", (4,))
        layer.create_virtual_dataset("more", layout)

    edit(preset, change)


def broken_weights(preset):
    (preset / WEIGHTS).write_bytes(b"nonsense")


def broken_config(preset):
    (preset / "preprocessor.json").write_text("[" * 100_000)


PRESETS = {
    lambda_in_the_task: r"'.*/preset/task\.json' has a Lambda layer, which runs",
    link_to_a_file: r"'.*/preset/config\.json' is a link that leads out of",
    link_to_a_folder: r"'.*/preset/more' is a link that leads out of",
    pipe: r"'.*/preset/metadata\.fifo' is no file",
    external_link: r"'.*/model\.weights\.h5' holds an external link, '.*more'",
    soft_link: r"'.*/model\.weights\.h5' holds a soft link, '.*more'",
    external_values: r"'.*/model\.weights\.h5' has the values of '.*more' in another file",
    virtual_values: r"'.*/model\.weights\.h5' has the values of '.*more' in another file",
    broken_weights: r"'.*/model\.weights\.h5' cannot be read",
    broken_config: r"'.*/preprocessor\.json' cannot be read",
}


@pytest.mark.parametrize("spoil", PRESETS, ids=lambda spoil: spoil.__name__)
def test_a_hostile_preset_is_refused(spoil, run, tmp_path, capfd):
    spoil(run / "preset")
    before = everything_in(tmp_path)
    for cls in (MultimodalClassifier, MultimodalBackbone, MultimodalPreprocessor):
        with pytest.raises(ValueError, match=f"^{PRESETS[spoil]}.*Fix: [^\n]*$"):
            cls.from_preset(str(run / "preset"))
    assert main(["predict", str(run), "--text", "a dog"]) == 2
    assert len(capfd.readouterr().err.strip().splitlines()) == 1
    assert everything_in(tmp_path) == before


def test_an_honest_preset_is_loaded_whatever_its_own_place_is(run, tmp_path):
    (run / "preset" / "notes").mkdir()
    (run / "preset" / "notes" / "config.json").symlink_to("../config.json")  # leads nowhere else
    (tmp_path / "latest").symlink_to(run)
    for path in (run, tmp_path / "latest"):
        loaded = MultimodalClassifier.from_preset(find_preset(str(path)))
        assert list(loaded.label_names) == ["dog", "cat", "sofa"]


def a_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE])
def test_a_preset_archive_is_refused_whole(kind, tmp_path, capfd):
    (tmp_path / "secret").write_text("secret")
    name = "../stolen" if kind == tarfile.REGTYPE else "preset/config.json"
    a_tar(tmp_path / "model.tar.gz", [("preset/task.json", tarfile.REGTYPE, "")])
    a_tar(tmp_path / "evil.tar.gz", [(name, kind, str(tmp_path / "secret"))])
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../stolen", "stolen")
    before = everything_in(tmp_path)
    for file in ("model.tar.gz", "evil.tar.gz", "evil.zip"):
        with pytest.raises(ValueError, match=rf"^'.*/{file}' is an archive.*Fix: unpack it"):
            MultimodalClassifier.from_preset(str(tmp_path / file))
        assert main(["predict", str(tmp_path / file), "--text", "a dog"]) == 2
        assert f"{file}' is an archive" in capfd.readouterr().err
    assert everything_in(tmp_path) == before


# --- Single files ----------------------------------------------------------------------------


def add(path, name, content="stolen", is_link=False):
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = ((stat.S_IFLNK if is_link else stat.S_IFREG) | 0o644) << 16
        archive.writestr(member, content)


def replace_weights(path):
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/secret.h5", "/secret")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr(WEIGHTS, weights.getvalue())


KERAS = {
    "zip slip": (lambda path: add(path, "assets/../../stolen"), "which leads out of the archive"),
    "absolute": (lambda path: add(path, "/stolen"), "which leads out of the archive"),
    "backslash": (lambda path: add(path, "..\\stolen"), "which leads out of the archive"),
    "symbolic link": (
        lambda path: add(path, "assets/x", "/etc", True),
        "holds the link 'assets/x'",
    ),
    "external link": (replace_weights, "holds an external link, 'layers'"),
}


@pytest.mark.parametrize("name", KERAS)
def test_a_hostile_keras_file_is_refused(name, tmp_path):
    spoil, message = KERAS[name]
    path = tmp_path / "in" / "network.keras"
    path.parent.mkdir()
    layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, 16)]
    keras.Sequential(layers).save(path)
    check_untrusted(path)
    spoil(path)
    before = everything_in(tmp_path)
    with pytest.raises(ValueError, match=rf"^'.*/network\.keras' .*{message}.*Fix: [^\n]*$"):
        encoders.get("images", str(path), image_size=32)
    assert everything_in(tmp_path) == before


def test_a_lambda_in_a_keras_file_is_not_run(tmp_path):
    path, marker = tmp_path / "network.keras", tmp_path / "ran"
    save_lambda(path, marker)
    with pytest.raises(ValueError, match=r"^'.*network\.keras' has a Lambda layer.*Fix:"):
        encoders.get("images", str(path), image_size=32)
    assert not marker.exists()


@pytest.mark.parametrize(("modality", "name"), [("images", "resnet_tiny"), ("text", "bert_tiny")])
def test_weights_with_an_external_link_are_refused(modality, name, tmp_path):
    path = str(tmp_path / "own.weights.h5")
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/secret.h5", "/secret")
    with pytest.raises(ValueError, match=r"^'.*own\.weights\.h5' holds an external link, 'layers'"):
        encoders.get(modality, name, weights=path)
