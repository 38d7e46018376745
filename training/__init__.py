"""Training of the demo checkpoint: data made on the fly, PyTorch, transformers' own Gemma 4."""
