"""Training in phases through `fit`, on one device or mirrored over several."""
