"""What a model is before its first step: one batch forward and backward, no training."""
