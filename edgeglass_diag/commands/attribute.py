"""The verb ``attribute``: what the similarities of a run rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeglass_diag.commands.options import AsJson
from edgeglass_diag.commands.output import print_json, print_parts
from edgeglass_diag.user_input.files import exists, nothing_at


def attribute(
    path: Annotated[Path, typer.Argument(help="Run folder or checkpoint of a recipe.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    pairs: Annotated[int, typer.Option(min=1, help="Pairs that are attributed.")] = 8,
    sample: Annotated[int, typer.Option(min=2, help="Pairs of the information test.")] = 256,
    steps: Annotated[int, typer.Option(min=1, help="Points of the integral of the gradients.")] = 64,
    out: Annotated[Path | None, typer.Option(help="New folder for heatmaps (PNG) and attribution.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Which patches, latents and words carry a pair's similarity, and whether the score tells pictures apart at all."""
    if not exists(path):
        raise nothing_at(path, "run or checkpoint")
    from edgeglass_diag.extras import check_extra

    check_extra("evaluate", "attribute")
    from edgeglass_diag.evaluation.attribute_run import attribute_run

    result = attribute_run(path, split=split, pairs=pairs, sample=sample, steps=steps, out=out)
    if as_json:
        print_json(result)
    else:
        from edgeglass_diag.commands.render.attribution import attribution_tables

        print_parts(attribution_tables(result))
