"""Lets a torchvision built for other hardware be imported beside this torch.

A torchvision wheel built for CUDA cannot load its compiled library beside a CPU-only torch. `import torchvision` then
fails ("operator torchvision::nms does not exist"), since it registers shape functions for operators which that
library would have defined; and open_clip imports torchvision, for picture transforms that need none of them.
Defining the schemas is enough for the import to pass.
"""

import importlib.util
import sys
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")  # those that torchvision registers without looking whether its library loaded


def define_missing_operators() -> tuple[str, ...]:
    """Define the operator schemas without which torchvision cannot be imported; to be called before it is.

    Does nothing where torchvision is absent, is imported already, or can load its own library.

    Returns:
        The names of the operators defined now.
    """
    if "torchvision" in sys.modules or _library_loads():
        return ()
    missing = tuple(name for name in _OPERATORS if not hasattr(torch.ops.torchvision, name))
    for name in missing:
        torch.library.define(f"torchvision::{name}", _SCHEMA)
    return missing


def _library_loads() -> bool:
    """Whether torchvision's compiled library loads beside this torch (true where torchvision is absent)."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True
    libraries = [path for path in Path(spec.origin).parent.glob("_C*") if path.suffix in {".so", ".pyd"}]
    try:
        for library in libraries:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return bool(libraries)
