"""Raw files -> checked examples -> batches of model inputs (tf.data). Never imports mmlearn."""
