"""Classes that a retriever was never trained on, by texts that name them."""

import numpy as np

from mmlearn.evaluation.embedded import embed_texts, text_batches

TEMPLATES = (
    "{}",
    "a {}",
    "a photo of a {}",
    "a picture of a {}",
    "there is a {}",
)


def embed_classes(task, names, templates=TEMPLATES):
    """Embeds classes: each is the mean of what its name says in several sentences.

    Args:
        task: `ImageTextRetriever` with a preprocessor.
        names: iterable of str, what the classes are called.
        templates: iterable of str with `{}` in the place of the name.

    Returns:
        float32 `(num_classes, embedding_dim)`, L2-normalised.

    Raises:
        ValueError: when there are no names, or a template has no place for one.

    Reference:
        Radford et al. 2021, "Learning transferable visual models from natural language supervision",
        section 3.1.4 (prompt ensembling).
    """
    names, templates = list(names), list(templates)
    if not names or not templates:
        raise ValueError(
            f"Classes need names and templates. Received: {len(names)} names, {len(templates)} "
            "templates."
        )
    for template in templates:
        if "{}" not in template:
            raise ValueError(
                f"A template needs {{}} where the name of the class goes. Received: {template!r}."
            )
    texts = [template.replace("{}", name) for name in names for template in templates]
    embeddings, _, _ = embed_texts(task, text_batches(task, texts))
    mean = embeddings.reshape(len(names), len(templates), -1).mean(axis=1)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
