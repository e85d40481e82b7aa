"""Smaller models by training: pruning."""
