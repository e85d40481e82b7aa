"""Figures and what they show: training curves, attention."""
