"""Keras losses that Keras lacks."""
