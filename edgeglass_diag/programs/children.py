"""Attach to the processes that a watched program starts; called by ``bootstrap.sitecustomize`` in each of them."""

from __future__ import annotations

from edgeglass_diag.programs.attaching import Attachment
from edgeglass_diag.programs.options import ProcessOptions


def attach_child(text: str) -> None:
    """Watch this process, whose torch has just been imported, up to its end.

    Its run folder is made when its first optimizer step ends, so that launchers, loaders and tools leave none.

    Args:
        text: the options as ``ProcessOptions.as_text`` wrote them into the environment.
    """
    Attachment.of_child(ProcessOptions.parse(text))
