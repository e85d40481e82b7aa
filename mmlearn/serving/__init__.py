"""What serves a trained model: the index that is searched."""
