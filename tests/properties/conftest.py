"""Profiles of the property suite: ``dev`` for every day, ``ci`` (``make properties``) for more examples."""

from __future__ import annotations

import os

import torch
from hypothesis import HealthCheck, Phase, settings

torch.set_num_threads(1)
_COMMON = {
    "deadline": None,  # other programs on the machine are no defect
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("dev", max_examples=20, **_COMMON)
settings.register_profile("ci", max_examples=100, **_COMMON)
FINDING = (Phase.explicit, Phase.generate)  # a planted defect need not be shrunk
settings.register_profile("mutations", max_examples=20, phases=FINDING, database=None, **_COMMON)
settings.load_profile(os.environ.get("EDGEGLASS_PROPERTIES", "dev"))
