"""An experiment as a tree of frozen dataclasses. Imports nothing heavy.

Components know nothing of these: `mmlearn.experiments.run` turns names and options into objects.
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field

from data_prep.options import Options
from mmlearn.experiments.compression_config import DistillationConfig, PruningConfig
from mmlearn.training.phase import TrainingPhase

# Of `TrainingConfig`: what results do not depend on.
NOT_IN_RESULTS = ("checkpoint_minutes", "keep_checkpoints", "restart", "loggers", "log_dir")


@dataclass(frozen=True)
class DataConfig:
    """Where the examples come from."""

    source: str = "shapes"
    """Name of the source: `python -m mmlearn list sources`."""
    root: str | None = None
    """Folder or file of the data set. The synthetic one is written to `data/shapes` by default."""
    options: Options = field(default_factory=dict)
    """Further options of the source, such as `num_train=500` or `strict=false`."""
    augmentations: tuple[str, ...] = ()
    """Of training examples, in this order: `python -m mmlearn list augmentations`."""
    val_fraction: float | None = None
    """Share kept for validation. By default the given splits, or 0.2 where the data has none."""
    num_folds: int | None = None
    """Cross-validation with that many folds, of which `fold` is the validation split."""
    fold: int = 0
    """From 0."""
    stratify: bool = False
    """Whether each part of such a division gets its share of every label."""
    split_seed: int = 0
    """Of such a division."""
    class_weights: str | None = None
    """`balanced`: examples of rare classes weigh more in the loss."""
    oversample: float | None = None
    """Classes with a smaller share of the examples than this are shown more often."""
    max_unreadable: float = 0.1
    """Share of images that may be unreadable; they are left out and listed in `run.json`."""
    cache: bool = False
    """Whether to read all image files into memory once, for slow disks."""
    service: str | None = None
    """Address of a tf.data service whose workers prepare the training data, grpc://HOST:PORT."""


@dataclass(frozen=True)
class ImagesConfig:
    """The image encoder."""

    name: str = "resnet50"
    """`python -m mmlearn list encoders`, or a `.keras` file."""
    weights: str = "default"
    """`default` (the published ones, if any), `none`, or a path."""
    image_size: int = 224
    """Side of the model's images in pixels."""
    options: Options = field(default_factory=dict)
    """Further options of the encoder, such as `stages=[4,5]` or `spatial_attention=true`."""


@dataclass(frozen=True)
class TextConfig:
    """The text encoder and its vocabulary."""

    name: str = "bert_base_en_uncased"
    """`python -m mmlearn list encoders`."""
    weights: str = "default"
    """`default` (the published ones, if any), `none`, or a path."""
    sequence_length: int = 32
    """Tokens per text, or per chunk of a longer one."""
    max_chunks: int = 1
    """Chunks of a text, each encoded by itself; `options chunk_pooling=mean|none`."""
    vocabulary: str | None = None
    """What the tokenizer reads: a file, one token a line; of RoBERTa a folder with vocabulary.json and
    merges.txt; of XLM-RoBERTa a SentencePiece model. By default that of the weights, or trained from
    the captions."""
    clean: bool = False
    """Whether texts from the web lose their addresses, tags and signs, also when served."""
    vocabulary_size: int = 8192
    """Most tokens of a vocabulary that is trained from the captions."""
    options: Options = field(default_factory=dict)
    """Further options of the encoder."""


@dataclass(frozen=True)
class AudioConfig:
    """The audio encoder."""

    name: str = "conv"
    """`python -m mmlearn list encoders`."""
    seconds: float = 4.0
    """Length of the model's recordings; longer ones are cut."""
    noise_gate_db: float | None = None
    """Frames this far below the loudest sample are silenced, such as -40."""
    options: Options = field(default_factory=dict)
    """Further options of the encoder, such as `features=mfcc`."""


@dataclass(frozen=True)
class SeriesConfig:
    """The encoder of series of readings. Their length, channels and means are those of the data."""

    name: str = "gru"
    """`python -m mmlearn list encoders`."""
    options: Options = field(default_factory=dict)
    """Options of the encoder, such as `hidden_dim=64 bidirectional=false`."""


@dataclass(frozen=True)
class TableConfig:
    """The encoder of columns of numbers and names. Which ones there are is up to the data."""

    name: str = "ft_transformer"
    """`python -m mmlearn list encoders`."""
    max_categories: int = 1000
    """The most frequent names of a column that the model knows; others are unknown."""
    options: Options = field(default_factory=dict)
    """Options of the encoder, such as `hidden_dim=64`."""


@dataclass(frozen=True)
class FusionConfig:
    """How the modalities are joined."""

    name: str = "cross_attention"
    """`python -m mmlearn list fusions`."""
    options: Options = field(default_factory=dict)
    """Options of the fusion, such as `num_layers=2 combine=concat`."""


@dataclass(frozen=True)
class TaskConfig:
    """What the model is for."""

    name: str = "prediction"
    """`python -m mmlearn list tasks`; `prediction` is of classes or numbers, as the labels say."""
    options: Options = field(default_factory=dict)
    """Options of the task, such as `embedding_dim=128` of the retriever."""


@dataclass(frozen=True)
class ModelConfig:
    """Encoders, fusion, task."""

    modalities: tuple[str, ...] = ("images", "text")
    """Which modalities the model takes: any of `images`, `text`, `audio`, `series`, `table`."""
    images: ImagesConfig = field(default_factory=ImagesConfig)
    text: TextConfig = field(default_factory=TextConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    series: SeriesConfig = field(default_factory=SeriesConfig)
    table: TableConfig = field(default_factory=TableConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    hidden_dim: int = 512
    """Size to which features are projected, and of the fused features."""
    head_hidden_dim: int = 256
    """Hidden layer of the head."""
    consistency: str = "squared_difference"
    """How the agreement of the modalities is measured: `python -m mmlearn list consistencies`."""
    dropout: float = 0.1
    """Rate on projected features and in the heads."""
    modality_dropout: float = 0.1
    """Probability of hiding a whole modality of a training example."""


@dataclass(frozen=True)
class TrainingConfig:
    """Phases, batches, devices, seed."""

    phases: tuple[TrainingPhase, ...] = ()
    pretrain: tuple[str, ...] = ()
    """Objectives without labels, of a phase each, in this order, before the others:
    `python -m mmlearn list objectives`."""
    pretrain_epochs: int = 5
    """Of each of these."""
    pretrain_rate: float | None = None
    """Peak of their learning rate. By default that of the first of the other phases."""
    batch_size: int = 32
    """Examples per step, all replicas of all hosts together."""
    precision: str = "auto"
    """`float32`, `mixed_bfloat16`, `mixed_float16`, or `auto`: what the devices compute fastest."""
    strategy: str = "mirrored"
    """`mirrored`, `multi_worker` (several hosts, see mmlearn/training/devices.md) or `none`."""
    num_replicas: int | None = None
    """Of `mirrored`: by default all GPUs, or one; on a CPU, that many logical devices. With JAX, one."""
    seed: int = 0
    """Of weights, order, dropout and augmentation. The same seed gives the same result."""
    checkpoint_minutes: float = 5.0
    """Time between checkpoints within an epoch; there is one at the end of each as well."""
    keep_checkpoints: int = 2
    """How many are kept while the run goes on."""
    restart: bool = False
    """Whether to throw away what an interrupted run has left, instead of going on from there."""
    monitor_contribution: bool = True
    """Whether to measure after each epoch what each modality contributes to the prediction."""
    loggers: tuple[str, ...] = ()
    """Where else the metrics of each epoch go: `python -m mmlearn list loggers`."""
    log_dir: str | None = None
    """Folder of the loggers. By default `OUTPUT.logs`."""


@dataclass(frozen=True)
class CacheConfig:
    """Features of frozen encoders, computed once instead of in each epoch."""

    features: bool = True
    """Whether they are stored, in 16 bits, by a phase that freezes whole encoders."""
    budget_gb: float = 20.0
    """Most space that they may take, in GB."""
    folder: str | None = None
    """Where they are kept for further runs. By default they go with the checkpoints."""


@dataclass(frozen=True)
class ContinualConfig:
    """Going on from an earlier model, on other data or for more classes."""

    model: str | None = None
    """Output folder of an earlier run, or a preset directory. The model is then that one, and the
    config's `model` is not used."""
    add: tuple[str, ...] = ()
    """Modalities that the earlier model does not have and that it gets, each with the encoder of its
    part of the config's `model`. It predicts as before until they are trained."""
    rehearsal: float = 0.0
    """Share of the examples of an epoch that are of the earlier run's training split."""
    distillation: float = 0.0
    """Weight of a loss that keeps predictions near those of the earlier model, on its classes."""
    root: str | None = None
    """Where the data of the earlier run are now, if they have moved."""

    def __post_init__(self):
        if not 0 <= self.rehearsal < 1:
            raise ValueError(
                f"`rehearsal` must be a share in [0, 1). Received: rehearsal={self.rehearsal}."
            )
        if not self.distillation >= 0:
            raise ValueError(
                f"`distillation` must not be negative. Received: distillation={self.distillation}."
            )
        if self.add and self.distillation:
            raise ValueError(
                "`distillation` needs a teacher with all outputs of the model, and the earlier one has "
                f"none of {', '.join(self.add)}. Fix: `rehearsal` instead."
            )


@dataclass(frozen=True)
class UnlabeledConfig:
    """Where the examples of phases without labels come from: texts, images, or both."""

    source: str | None = None
    """`python -m mmlearn list sources`. By default the training split itself."""
    root: str | None = None
    """Folder or file of the data set; by default that of the labels, where both make the same files."""
    options: Options = field(default_factory=dict)
    """Further options of the source."""


@dataclass(frozen=True)
class Experiment:
    """Everything that defines a run."""

    name: str
    """Also the folder's name in `saved_models/`."""
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    cache: CacheConfig = field(default_factory=CacheConfig)
    continual: ContinualConfig = field(default_factory=ContinualConfig)
    unlabeled: UnlabeledConfig = field(default_factory=UnlabeledConfig)
    pruning: PruningConfig = field(default_factory=PruningConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    output: str | None = None
    """Folder of the results. By default `saved_models/NAME`."""
    folds: int | None = None
    """Cross-validation: that many runs, each validated on another part of the training split."""


def three_phases(epochs, learning_rates):
    """The documents' training strategy: encoders alone, then the fusion, then everything.

    Args:
        epochs: three ints.
        learning_rates: three floats.
    """
    return (
        TrainingPhase(
            "encoders",
            epochs[0],
            trainable=("encoders", "auxiliary_heads"),
            learning_rate=learning_rates[0],
            loss_weights={"auxiliary": 1.0},
        ),
        TrainingPhase(
            "fusion",
            epochs[1],
            trainable=("fusion", "head"),
            augment=False,
            learning_rate=learning_rates[1],
            loss_weights={"main": 1.0},
        ),
        TrainingPhase("end to end", epochs[2], learning_rate=learning_rates[2]),
    )


def all_phases(training):
    """The phases of a `TrainingConfig`, those of `pretrain` first."""
    rate = training.pretrain_rate
    if rate is None:
        rate = training.phases[0].learning_rate if training.phases else 1e-3
    pretraining = (
        TrainingPhase(
            objective.replace("_", " "),
            training.pretrain_epochs,
            objective=objective,
            learning_rate=rate,
        )
        for objective in training.pretrain
    )
    return (*pretraining, *training.phases)


def to_dict(config):
    """Turns a config into plain JSON types."""
    return dataclasses.asdict(config)


def from_dict(cls, values, where="config"):
    """Turns plain JSON types back into a config.

    Args:
        cls: the dataclass.
        values: dict.
        where: str. For the message.

    Raises:
        ValueError: when a key is unknown or missing, or a value has a wrong type.
    """
    fields = typing.get_type_hints(cls)
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be an object. Received: {values!r}. Fix: repair the file.")
    unknown = set(values) - set(fields)
    if unknown:
        raise ValueError(f"{where} has the unknown key {sorted(unknown)[0]!r}. Fix: remove it.")
    try:
        return cls(**{k: _restore(fields[k], v, f"{where}.{k}") for k, v in values.items()})
    except TypeError as error:
        raise ValueError(
            f"{where} is not complete or has a wrong type: {error}. Fix: repair the file."
        ) from None


def _restore(kind, value, where):
    if dataclasses.is_dataclass(kind):
        return from_dict(kind, value, where)
    allowed = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    plain = tuple({tuple: list, float: (float, int)}.get(_origin(k), _origin(k)) for k in allowed)
    if not isinstance(value, plain):
        raise ValueError(f"{where} has the wrong value {value!r}. Fix: repair the file.")
    if _origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return tuple(_restore(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    return value


def _origin(kind):
    return typing.get_origin(kind) or kind


def read_run(path):
    """Reads the config of an earlier run, to repeat it.

    Args:
        path: str. A `run.json`.

    Returns:
        The `Experiment` and the fingerprint of its data.

    Raises:
        ValueError: when it is no record of a run.
    """
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        config, fingerprint = record["config"], record["data"]["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path!r} is not the run.json of a run ({error}). Fix: pass that of a run's output folder, such "
            "as saved_models/shapes/run.json, or the name of an experiment."
        ) from None
    return from_dict(Experiment, config, f"{path}: config"), fingerprint
