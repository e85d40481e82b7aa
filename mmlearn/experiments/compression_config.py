"""How a run makes a smaller model of an earlier one. Imports nothing heavy."""

from dataclasses import dataclass


def check_ranges(config, ranges):
    """Raises a `ValueError` where a number of a config is out of its range; `None` is none.

    Args:
        config: a dataclass.
        ranges: dict of name to `(low, high)`.
    """
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            raise ValueError(f"`{name}` must be in [{low}, {high}]. Received: {name}={value}.")


@dataclass(frozen=True)
class PruningConfig:
    """Removing what matters least."""

    model: str | None = None
    """Output folder of an earlier run, or a preset directory. Training goes on from its weights, and the
    config's `model` is not used."""
    units: float | None = None
    """Share of the filters, hidden units and attention heads that are removed before training goes on."""
    criterion: str = "taylor"
    """Which of these go: those that change the loss least (`taylor`), or those with the smallest weights
    (`l1`)."""
    examples: int = 1024
    """Of the training split, on which `taylor` measures."""
    sparsity: float | None = None
    """Share of the weights of each kernel that become 0, more and more of them, in the last phase."""
    begin: float = 0.0
    """Share of the phase before the first weight becomes 0."""
    end: float = 0.75
    """Share of the phase after which no more weights become 0."""
    every: int = 10
    """Steps from one choice of weights to the next."""

    def __post_init__(self):
        check_ranges(self, {"units": (0.01, 0.99), "sparsity": (0.01, 0.999)})
        if self.units is not None and self.model is None:
            raise ValueError("`units` are removed from an earlier model. Fix: --pruning.model DIR.")
        if self.examples < 1:
            raise ValueError(f"`examples` must be at least 1. Received: examples={self.examples}.")


@dataclass(frozen=True)
class DistillationConfig:
    """Learning from the predictions of an earlier, larger model besides the labels."""

    model: str | None = None
    """Output folder of an earlier run, or a preset directory: the teacher."""
    weight: float = 1.0
    """Of the divergence from the teacher's probabilities, beside the loss of the labels."""
    temperature: float = 2.0
    """By which logits are divided first: above 1, small probabilities count more."""
    attention: float = 0.1
    """Weight of the divergence from the teacher's attention between modalities, if both have it."""
    modality_weights: float = 0.1
    """Weight of the divergence from the teacher's weights of the modalities, if both have them."""

    def __post_init__(self):
        ends = (0, float("inf"))
        check_ranges(self, dict.fromkeys(("weight", "attention", "modality_weights"), ends))
        if not self.temperature > 0:
            raise ValueError(
                f"`temperature` must be positive. Received: temperature={self.temperature}."
            )
