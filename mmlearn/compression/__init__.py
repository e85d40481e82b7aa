"""Smaller models: pruned ones, students, cascades."""
