"""Make a torchvision that was built for other hardware importable with this torch.

A torchvision wheel built for CUDA cannot load its compiled library with a CPU-only torch. `import torchvision` then
fails ("operator torchvision::nms does not exist"): it registers shape functions for operators that the library would
define. open_clip imports torchvision for image transforms, which need none of these operators. Defining their schemas
is enough for the import.
"""

import importlib.util
import sys
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")  # those that torchvision registers even if its library did not load


def define_missing_operators() -> tuple[str, ...]:
    """Define the operator schemas that the import of torchvision needs; call it before that import.

    Does nothing if torchvision is absent, already imported, or can load its own library.

    Returns:
        The names of the defined operators.
    """
    if "torchvision" in sys.modules or _library_loads():
        return ()
    missing = tuple(name for name in _OPERATORS if not hasattr(torch.ops.torchvision, name))
    for name in missing:
        torch.library.define(f"torchvision::{name}", _SCHEMA)
    return missing


def _library_loads() -> bool:
    """Return whether torchvision's compiled library loads with this torch; True if torchvision is absent."""
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
