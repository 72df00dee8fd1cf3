"""A user's torchvision loads by itself; beside a CPU-only torch the surroundings of the program have to help it."""

import sys


class BeforeTorchvision:
    """Defines what torchvision expects, just before it is imported."""

    def find_spec(self, name, path=None, target=None):
        """Return nothing: the import goes on."""
        if name == "torchvision":
            sys.meta_path.remove(self)
            from edgeglass_models.torchvision_operators import define_missing_operators

            define_missing_operators()


sys.meta_path.insert(0, BeforeTorchvision())
