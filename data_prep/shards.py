"""Writes prepared shards: a TFDS builder on Apache Beam.

Images are decoded once, turned upright, resized and kept as JPEG in a few record files, which are
read one after the other: several times faster than small files of large photos. Needs the extra
`shards` (Apache Beam).
"""

import contextlib
import fcntl
import os
import shutil

import apache_beam as beam
import msgspec
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions

from data_prep import images
from data_prep.errors import DataError
from data_prep.fingerprint import fingerprint
from data_prep.screening import without_unreadable
from data_prep.sources.shards import MANIFEST, Manifest, ShardsSource, write_index

DIRECT_OPTIONS = ("--direct_running_mode=multi_processing", "--direct_num_workers=0")


class Shards(tfds.core.BeamBasedBuilder):
    """One record per example: row, id, group, image, captions, labels."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, source, image_size, quality, **kwargs):
        self._source, self._image_size, self._quality = source, image_size, quality
        super().__init__(**kwargs)

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "row": tfds.features.Scalar(np.int64),
                "id": tfds.features.Text(),
                "group": tfds.features.Scalar(np.int64),
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                "captions": tfds.features.Sequence(tfds.features.Text()),
                "label_ids": tfds.features.Sequence(np.int64),
                "label_values": tfds.features.Sequence(np.float32),
            }
        )
        names = ", ".join(self._source.label_names[:20])
        description = f"{type(self._source).__name__} of {self._source.root}. Labels: {names}"
        return tfds.core.DatasetInfo(builder=self, description=description, features=features)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self._source.splits}

    def _generate_examples(self, split):
        index = self._source.examples(split)
        rows = []
        for row, name in enumerate(index.ids):
            labels = index.labels[[row]]
            columns = labels.nonzero()[1]
            rows.append(
                {
                    "row": row,
                    "id": name,
                    "group": int(index.groups[row]),
                    "image": index.images[row],
                    "captions": index.captions[row] if index.captions is not None else [],
                    "label_ids": columns.tolist(),
                    "label_values": np.asarray(labels[0, columns]).ravel().tolist(),
                }
            )
        prepare = _Prepare(self._image_size, self._quality)
        return f"list {split}" >> beam.Create(rows) | f"prepare {split}" >> beam.Map(prepare)


class _Prepare:
    """Reads, turns, resizes and encodes the image of one example; runs in Beam's workers."""

    def __init__(self, image_size, quality):
        self.image_size, self.quality = image_size, quality

    def __call__(self, example):
        with open(example["image"], "rb") as file:
            data = file.read()
        image = images.decode(tf.constant(data))
        image = images.resize(image, self.image_size)
        image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
        jpeg = tf.io.encode_jpeg(image, quality=self.quality, chroma_downsampling=False)
        return example["id"], {**example, "image": jpeg.numpy()}


def write_shards(
    source,
    output,
    *,
    image_size=224,
    quality=94,
    num_shards=16,
    runner="DirectRunner",
    runner_options=(),
):
    """Writes all splits of a source as shards, beside their place, and renames them at the end.

    Args:
        source: a source with images.
        output: str. The folder. If it holds shards of the same data and options, they are kept.
        image_size: int. The side of the images in pixels. That of the model is fastest, and whole
            images are then not resized again; more keeps crops sharper, which are enlarged else.
        quality: int in 1..100, of the JPEG.
        num_shards: int. Record files per split.
        runner: str. Name of a Beam runner: DirectRunner (this machine), FlinkRunner, SparkRunner,
            DataflowRunner ...
        runner_options: iterable of str, Beam's own flags. By default, DirectRunner uses all cores.

    Returns:
        The `ShardsSource`, and whether it was written now.

    Raises:
        DataError: when the source has no images, the folder holds something else, another run is
            writing to it, the disk is full or must not be written to, or more than a tenth of the
            images cannot be read. What was there before is kept.
    """
    output = str(output).rstrip(os.sep)
    for name, value, largest in (("image_size", image_size, 4096), ("quality", quality, 100)):
        if not 1 <= value <= largest:
            raise ValueError(f"`{name}` must be in [1, {largest}]. Received: {name}={value}.")
    options = {"image_size": image_size, "quality": quality}
    with _locked(output):
        clean, skipped = without_unreadable(source, source.splits)
        for split in clean.splits:
            index = clean.examples(split)
            if index.images is None or not all(index.images):
                raise DataError(
                    f"{source.root!r}, {split!r}: shards are for examples that all have an image. "
                    "Fix: train from the files."
                )
        manifest = Manifest(
            source=type(source).__name__,
            fingerprint=fingerprint(clean),
            settings=source.settings,
            options=options,
            label_names=list(source.label_names),
            label_kind=source.label_kind,
            counts={},
            reports={split: clean.report(split) for split in clean.splits},
            skipped=[
                {"split": s.split, "id": s.id, "path": s.path, "reason": s.reason} for s in skipped
            ],
            files={},
        )
        if os.path.exists(output):
            return _existing(output, manifest), False
        partial = f"{output}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed: we hold the lock
        try:
            _build(clean, partial, manifest, num_shards, runner, runner_options)
            os.rename(partial, output)
        except (OSError, RuntimeError, tf.errors.OpError) as error:  # Beam wraps some
            raise DataError(
                f"The shards could not be written to {output!r} ({str(error).strip()}). Fix: free "
                "disk space or pass another --output; nothing of them is left there."
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return ShardsSource(output), True


def _build(source, folder, manifest, num_shards, runner, runner_options):
    if runner == "DirectRunner":
        runner_options = runner_options or DIRECT_OPTIONS
    config = tfds.download.DownloadConfig(
        beam_runner=runner,
        beam_options=PipelineOptions(list(runner_options)),
        num_shards=num_shards,
        try_download_gcs=False,
    )
    builder = Shards(source, **manifest.options, data_dir=folder)
    builder.download_and_prepare(download_config=config)
    for split in source.splits:
        manifest.counts[split] = list(builder.info.splits[split].shard_lengths)
        write_index(source.examples(split), os.path.join(folder, f"index-{split}"))
        if sum(manifest.counts[split]) != len(source.examples(split)):
            raise DataError(
                f"Only {sum(manifest.counts[split])} of {len(source.examples(split))} examples of "
                f"{split!r} were written. Fix: run it again; ids must be unique."
            )
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(parent, name)
            manifest.files[os.path.relpath(path, folder)] = os.path.getsize(path)
    with open(os.path.join(folder, MANIFEST), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)))


def _existing(output, manifest):
    """The shards that are there, if they are those that were asked for."""
    if os.path.isdir(output) and not os.listdir(output):
        raise DataError(f"The folder {output!r} exists. Fix: remove it, or pass another --output.")
    there = ShardsSource(output)
    same = ("source", "fingerprint", "options", "label_names")
    if any(getattr(there.manifest, name) != getattr(manifest, name) for name in same):
        raise DataError(
            f"{output!r} holds shards of other data or options ({there.manifest.options}). Fix: pass "
            "another --output, or remove it."
        )
    return there


@contextlib.contextmanager
def _locked(output):
    """Keeps a second run out; the lock goes with the process, however it ends."""
    path = f"{output}.lock"
    try:
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise DataError(
            f"{output!r} cannot be written ({error.strerror}). Fix: check the rights, or pass another "
            "--output."
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"Another run is writing to {output!r}. Fix: wait for it, or pass another --output."
            ) from None
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
    finally:
        os.close(descriptor)
