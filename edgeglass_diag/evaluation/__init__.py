"""Whether a trained model is any good, and what its scores rest on: embeddings in, plain values out."""
