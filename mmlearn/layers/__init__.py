"""Keras layers that Keras lacks. They use `keras.ops` only and run on every Keras backend."""
