"""One ordinary training script each; run as ``python <name>.py [--seed N]``."""
