"""Whether a trained model is any good, and what its scores rest on: embeddings in, plain values out."""

from edgeglass_diag.evaluate.attribution import Attribution, attribute

__all__ = ["Attribution", "attribute"]
