"""The folder that stands first on the PYTHONPATH of child processes; its modules import the standard library alone."""
