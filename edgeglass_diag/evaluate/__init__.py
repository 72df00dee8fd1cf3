"""Evaluation of embeddings: where they come from, how they retrieve, what a prefix of them keeps."""
