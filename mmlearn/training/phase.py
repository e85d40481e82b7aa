"""A training phase as data. Imports nothing heavy, because experiments are made of phases."""

from dataclasses import dataclass, field

_RANGES = {
    "epochs": (0, float("inf")),
    "trainable_blocks": (0, float("inf")),
    "lora_rank": (1, float("inf")),
    "learning_rate": (0, float("inf")),
    "layer_decay": (0, 1),
    "warmup_fraction": (0, 1),
    "weight_decay": (0, float("inf")),
    "clip_norm": (0, float("inf")),
    "ema_momentum": (0, 1),
    "label_smoothing": (0, 1),
    "micro_batches": (1, float("inf")),
    "patience": (1, float("inf")),
}


@dataclass(frozen=True)
class TrainingPhase:
    """What one phase trains, how long and how fast."""

    name: str
    """Shown in progress, figures and `run.json`."""
    epochs: int
    """Passes over the training split."""
    trainable: tuple[str, ...] = ("all",)
    """Parts that learn: `{modality}_encoder`, `encoders`, `fusion`, `head`, `auxiliary_heads`, `all`; or a
    modality that was added to a trained model, for all that is its own."""
    trainable_blocks: int = 0
    """Top blocks of the other encoders that learn as well."""
    lora_rank: int | None = None
    """Rank of the updates (LoRA) through which encoders learn, instead of their own weights. At the end of
    the phase they are added to these."""
    augment: bool = True
    """Whether training examples are augmented. Where they are not, the features of frozen encoders are
    computed once and stored."""
    optimizer: str = "adamw"
    """`adamw` or `sgd` (momentum 0.9)."""
    learning_rate: float = 1e-4
    """Peak of the cosine schedule."""
    part_rates: dict[str, float] = field(default_factory=dict)
    """Rates of parts relative to `learning_rate`, such as `images_encoder 0.1` or `encoders 0.1`."""
    layer_decay: float = 1.0
    """How much slower each block of an encoder learns than the one above it."""
    warmup_fraction: float = 0.1
    """Share of the steps in which the rate rises from 0 to its peak."""
    weight_decay: float = 1e-2
    """Decoupled, as in AdamW; biases and norms do not decay."""
    clip_norm: float | None = None
    """Largest norm of all gradients together; larger ones are scaled down."""
    loss: str = "auto"
    """`python -m mmlearn list losses`; `auto` is cross-entropy of classes, the mean squared error of numbers."""
    label_smoothing: float = 0.0
    """How far targets are moved from 0 and 1 towards the middle."""
    loss_weights: dict[str, float] = field(
        default_factory=lambda: {
            "main": 1.0,
            "auxiliary": 0.5,
            "consistency": 0.1,
            "grounding": 3.0,
        }
    )
    """Weight of each output's loss; `main` stands for the predictions from fused features, `auxiliary` for
    the heads of all modalities, `grounding` for the words' attention where the fusion trains it."""
    learn_loss_weights: bool = False
    """Whether each prediction's loss is also weighted by its own learned uncertainty; `part_rates
    loss_weights 100` lets these learn faster."""
    micro_batches: int = 1
    """Parts into which a batch is divided to save memory; their mean gradient makes one update."""
    ema_momentum: float | None = None
    """Of a moving average of the weights, which is what is validated and kept."""
    restore_best: bool = False
    """Whether to end with the weights of the best epoch."""
    patience: int | None = None
    """Epochs without a better one after which the phase ends."""
    monitor: str = "val_loss"
    """What the best epoch is judged by; larger is better unless it ends in `loss`, `mae` or `rmse`."""
    objective: str = "labels"
    """`python -m mmlearn list objectives`. All but `labels` train encoders alone, without labels; `loss`,
    `label_smoothing` and `loss_weights` are of the labels."""

    def __post_init__(self):
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(
                    f"`{name}` of phase {self.name!r} must be in [{low}, {high}]. Received: {value}."
                )
