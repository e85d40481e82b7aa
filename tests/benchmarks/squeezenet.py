"""SqueezeNet 1.1 as a Keras model of a user's own, with the weights of a file.

No part of the library: what someone brings who has an image network that it does not know.
"""

import h5py
import keras
from keras import layers

# Of each fire module: filters that squeeze, and filters of each of the two kinds that expand.
FIRES = {
    "fire2": (16, 64),
    "fire3": (16, 64),
    "fire4": (32, 128),
    "fire5": (32, 128),
    "fire6": (48, 192),
    "fire7": (48, 192),
    "fire8": (64, 256),
    "fire9": (64, 256),
}
POOLED = ("fire3", "fire5")  # what a maximum over 3x3, step 2, follows
NORMALIZATION = "caffe"  # what the weights were trained with: BGR minus the means


def squeezenet(weights, image_size=227):
    """Builds the network without its classifier.

    Args:
        weights: str. An HDF5 file of a Keras model with the paper's layer names; without its
            classifier 722,496 parameters.
        image_size: int. Side of the images in pixels; 227 gives a grid of 13x13, 288 one of 17x17.

    Returns:
        A `keras.Model` from images to a feature map `(batch_size, grid, grid, 512)`.

    Reference:
        Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB
        model size", 2016, section 3.1 (the fire module) and table 1; version 1.1 squeezes earlier.
    """
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(inputs)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    for name, (squeezed, expanded) in FIRES.items():
        x = layers.Conv2D(squeezed, 1, activation="relu", name=f"{name}_squeeze1x1")(x)
        parts = [
            layers.Conv2D(
                expanded,
                size,
                padding="same",
                activation="relu",
                name=f"{name}_expand{size}x{size}",
            )(x)
            for size in (1, 3)
        ]
        x = layers.Concatenate(name=f"{name}_concat")(parts)
        if name in POOLED:
            x = layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x)
    model = keras.Model(inputs, x, name="squeezenet")
    with h5py.File(weights) as file:
        for layer in model.layers:
            if layer.weights:  # Keras no longer allows a slash in a name
                stored = file[layer.name.replace("_", "/")]
                layer.set_weights([stored[name][()] for name in stored.attrs["weight_names"]])
    return model
