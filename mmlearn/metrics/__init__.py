"""Keras metrics that Keras lacks."""
