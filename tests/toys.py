"""The smallest models that are still the real thing: same classes, tiny sizes."""

import numpy as np

IMAGE_SIZE, SEQUENCE_LENGTH, NUM_CLASSES = 32, 8, 3
WORDS = ["a", "dog", "cat", "on", "the", "sofa", "red", "blue", "circle", "square", "left", "of"]


def tokenizer():
    """A BERT tokenizer over a dozen words."""
    from mmlearn.encoders.text import SPECIAL_TOKENS, make_tokenizer

    return make_tokenizer([*SPECIAL_TOKENS, *WORDS])


def encoder(modality):
    """A tiny encoder of images (2x2 grid, 128 channels) or text (8 tokens, 16 channels)."""
    import keras_hub

    from mmlearn import encoders

    if modality == "images":
        return encoders.get("images", "resnet_tiny", image_size=IMAGE_SIZE)
    bert = keras_hub.models.BertBackbone(
        vocabulary_size=tokenizer().vocabulary_size(),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=16,
        max_sequence_length=SEQUENCE_LENGTH,
    )
    return encoders.TextEncoder(bert, SEQUENCE_LENGTH, name="text_encoder")


def backbone(modalities=("images", "text"), fusion="cross_attention", **kwargs):
    """A tiny backbone; `fusion` is a name or an instance."""
    from mmlearn import MultimodalBackbone, fusions

    options = {"num_heads": 2} if fusion == "cross_attention" else {}
    built = {modality: encoder(modality) for modality in modalities}
    return MultimodalBackbone(built, fusions.get(fusion, **options), **{"hidden_dim": 16, **kwargs})


def preprocessor(modalities=("images", "text")):
    """The preprocessor of the tiny backbone."""
    from mmlearn import MultimodalPreprocessor, encoders

    converters = {
        "images": encoders.ImageConverter(IMAGE_SIZE),
        "text": encoders.TextConverter(tokenizer(), SEQUENCE_LENGTH),
    }
    return MultimodalPreprocessor({m: converters[m] for m in modalities})


def classifier(modalities=("images", "text"), fusion="cross_attention", **kwargs):
    """A tiny classifier of three labels."""
    from mmlearn import MultimodalClassifier

    return MultimodalClassifier(
        backbone(modalities, fusion, **kwargs),
        NUM_CLASSES,
        preprocessor=preprocessor(modalities),
        label_names=["dog", "cat", "sofa"],
        hidden_dim=8,
    )


def examples(count=8, seed=0):
    """Raw examples `{"images", "text"}` and labels `(count, 3)`."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 40, 48, 3), dtype=np.uint8)
    text = [" ".join(random.choice(WORDS, 4)) for _ in range(count)]
    labels = random.integers(0, 2, (count, NUM_CLASSES))
    return {"images": images, "text": text}, labels
