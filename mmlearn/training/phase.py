"""A training phase as data. Imports nothing heavy, because experiments are made of phases."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainingPhase:
    """What one phase trains, how long and how fast."""

    name: str
    """Shown in progress, figures and `run.json`."""
    epochs: int
    """Passes over the training split."""
    trainable: tuple[str, ...] = ("all",)
    """Parts that learn: `{modality}_encoder`, `encoders`, `fusion`, `head`, `auxiliary_heads`, `all`."""
    learning_rate: float = 1e-4
    """Peak of the cosine schedule."""
    warmup_fraction: float = 0.1
    """Share of the steps in which the rate rises from 0 to its peak."""
    weight_decay: float = 1e-2
    """Decoupled, as in AdamW."""
    loss_weights: dict[str, float] = field(
        default_factory=lambda: {"classes": 1.0, "auxiliary": 0.5, "consistency": 0.1}
    )
    """Weight of each output's loss; `auxiliary` stands for the heads of all modalities."""

    def __post_init__(self):
        for name, low, high in (
            ("epochs", 0, float("inf")),
            ("learning_rate", 0, float("inf")),
            ("warmup_fraction", 0, 1),
            ("weight_decay", 0, float("inf")),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(
                    f"`{name}` of phase {self.name!r} must be in [{low}, {high}]. Received: {value}."
                )
