"""The smallest models that are still the real thing: same classes, tiny sizes."""

import numpy as np

IMAGE_SIZE, SEQUENCE_LENGTH, NUM_CLASSES = 32, 8, 3
NUM_SAMPLES, SERIES_SHAPE = 3200, (6, 2)
COLUMNS = {
    "age": {"mean": 30.0, "std": 10.0},
    "city": {"vocabulary": ["Rome", "Oslo"]},
    "net income": {"mean": 0.0, "std": 1.0},
}
WORDS = ["a", "dog", "cat", "on", "the", "sofa", "red", "blue", "circle", "square", "left", "of"]


def tokenizer():
    """A BERT tokenizer over a dozen words."""
    from mmlearn.encoders.text_tokenizers import SPECIAL_TOKENS, make_tokenizer

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


def get_fusion(identifier):
    """A fusion for 16 hidden units, by name; an instance is returned as it is."""
    from mmlearn import fusions

    options = {"num_heads": 2} if identifier == "cross_attention" else {}
    return fusions.get(identifier, **options)


def backbone(modalities=("images", "text"), fusion="cross_attention", **kwargs):
    """A tiny backbone; `fusion` is a name or an instance."""
    from mmlearn import MultimodalBackbone

    built = {modality: encoder(modality) for modality in modalities}
    return MultimodalBackbone(built, get_fusion(fusion), **{"hidden_dim": 16, **kwargs})


def preprocessor(modalities=("images", "text")):
    """The preprocessor of the tiny backbone."""
    from mmlearn import MultimodalPreprocessor, encoders

    length, num_channels = SERIES_SHAPE
    converters = {
        "images": encoders.ImageConverter(IMAGE_SIZE),
        "text": encoders.TextConverter(tokenizer(), SEQUENCE_LENGTH),
        "audio": encoders.AudioConverter(NUM_SAMPLES),
        "series": encoders.SeriesConverter(length, [1.0] * num_channels, [2.0] * num_channels),
        "table": encoders.TableConverter(COLUMNS),
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


def retriever(**options):
    """A tiny retriever."""
    from mmlearn import ImageTextRetriever

    return ImageTextRetriever(
        backbone(), preprocessor(), **{"embedding_dim": 8, "hidden_dim": 8, **options}
    )


def examples(count=8, seed=0):
    """Raw examples `{"images", "text"}` and labels `(count, 3)`."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 40, 48, 3), dtype=np.uint8)
    text = [" ".join(random.choice(WORDS, 4)) for _ in range(count)]
    labels = random.integers(0, 2, (count, NUM_CLASSES))
    return {"images": images, "text": text}, labels


def signals(count=4, seed=0):
    """Raw examples `{"audio", "series", "table"}` as an exported model takes them, with gaps."""
    random = np.random.default_rng(seed)
    series = random.normal(size=(count, *SERIES_SHAPE)).astype("float32")
    series[random.random(series.shape) < 0.2] = np.nan
    series[-1] = np.nan
    numbers = random.normal(30, 10, (2, count)).astype("float32")
    numbers[:, 1] = np.nan
    table = {"age": numbers[0], "city": ["Rome", "", "Bonn", "Oslo"] * (count // 4)}
    waveforms = random.uniform(-1, 1, (count, NUM_SAMPLES // 2))
    return {
        "audio": [*(wav(waveform) for waveform in waveforms[1:]), b""],
        "series": series,
        "table": {**table, "net income": numbers[1]},
    }


def wav(samples, sample_rate=16000):
    """The bytes of a WAV file of samples `(num_samples,)` or `(num_samples, channels)` in [-1, 1]."""
    import tensorflow as tf

    samples = np.asarray(samples, "float32").reshape(len(samples), -1)
    return tf.audio.encode_wav(samples, sample_rate).numpy()
