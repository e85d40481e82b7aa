"""How many parameters the full-size encoders have, beside what the documents and the papers say.

    python -m tests.benchmarks.parameter_counts

Builds each pair of encoders with random weights and the fusion of the documents, counts, and prints.
Nothing is trained or downloaded.
"""

import dataclasses
from dataclasses import dataclass

import keras
import tyro
from rich.console import Console
from rich.table import Table

from data_prep.names import find
from mmlearn import MultimodalBackbone, encoders, fusions

# Millions, of the whole network with its classifier of 1,000 classes or its pooler: keras.applications
# (EfficientNet-B4: Tan and Le, 2019, table 2, says 19), torchvision (ViT-B/16), Devlin et al. (2019),
# Liu et al. (2019).
PUBLISHED = {
    "resnet50": 25.6,
    "resnet101": 44.7,
    "efficientnet_b4": 19.5,
    "vit_base": 86.6,
    "bert_base_en_uncased": 110,
    "bert_large_en_uncased": 340,
    "roberta_base_en": 125,
}
# The architecture document's table of backbones.
DOCUMENTS = {"resnet50": 25, "efficientnet_b4": 19, "vit_base": 86}
PAIRS = (
    "resnet50+bert_base_en_uncased",
    "resnet101+bert_large_en_uncased",
    "efficientnet_b4+roberta_base_en",
    "vit_base+bert_base_en_uncased",
)
IMAGE_SIZES = {"efficientnet_b4": 380}  # others 224


@dataclass(frozen=True)
class Options:
    """Builds and counts."""

    pairs: tuple[str, ...] = PAIRS
    """IMAGES+TEXT, names of encoders."""


@dataclass(frozen=True)
class Counts:
    """The parameters of a model, by part.

    Attributes:
        images: of the image network.
        images_with_top: with a dense layer of 1,000 classes on top, as it is published.
        text: of the text network.
        rest: positions, projections, missing tokens, fusion.
    """

    images: int
    images_with_top: int
    text: int
    rest: int

    @property
    def total(self):
        return self.images + self.text + self.rest


def count(images, text):
    """Builds a backbone of two encoders by name, with random weights, and counts.

    Args:
        images: str.
        text: str.
    """
    find(text, encoders.ENCODERS["text"], "text encoder")
    built = {
        "images": encoders.get(
            "images", images, image_size=IMAGE_SIZES.get(images, 224), weights="none"
        ),
        "text": encoders.get("text", text, weights="none"),
    }
    backbone = MultimodalBackbone(built, fusions.get("cross_attention", num_heads=8))
    network, dim = built["images"].model.count_params(), built["images"].dim
    words = built["text"].count_params()
    return Counts(
        images=network,
        images_with_top=network + 1000 * (dim + 1),
        text=words,
        rest=backbone.count_params() - network - words,
    )


def make_table(found):
    """Makes a table of the counts.

    Args:
        found: dict of "IMAGES+TEXT" to `Counts`.
    """
    table = Table(title="parameters in millions")
    table.add_column("part")
    for column in ("here", "with a top", "published", "documents"):
        table.add_column(column, justify="right")

    def add(name, value, with_top=None):
        said = [PUBLISHED.get(name), DOCUMENTS.get(name)]
        cells = [value / 1e6, None if with_top is None else with_top / 1e6]
        table.add_row(
            name,
            *("" if x is None else f"{x:.2f}" for x in cells),
            *("" if x is None else f"{x:g}" for x in said),
        )

    for pair, counts in found.items():
        images, text = pair.split("+")
        table.add_section()
        add(images, counts.images, counts.images_with_top)
        add(text, counts.text)
        add("projections, fusion and so on", counts.rest)
        add("in all", counts.total)
    return table


def main(options):
    """Counts each pair and prints the table."""
    found = {}
    for pair in options.pairs:
        found[pair] = count(*pair.split("+"))
        keras.backend.clear_session()
    console = Console()
    console.print(make_table(found))
    console.print(
        "Image networks are smaller here because the classifier is left out: with a dense layer of "
        "1,000 classes they are the published ones (but for 7 numbers of EfficientNet's own input "
        "normalisation). BERT is counted without its pooler, and papers round."
    )
    console.print_json(data={pair: dataclasses.asdict(counts) for pair, counts in found.items()})


if __name__ == "__main__":
    main(tyro.cli(Options))
