"""What serves a trained model: exported versions, their client, and the index that is searched."""
