"""Pure functions from tensors (or plain numbers) to numbers; one family per file."""
