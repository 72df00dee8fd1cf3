"""Quality of a trained model, and the inputs that its scores depend on: embeddings in, plain values out."""
