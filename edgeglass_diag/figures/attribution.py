"""Attribution drawn: a heatmap over the picture, and bars for words or latents. Arrays in; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image
from plotly.subplots import make_subplots

FOR, AGAINST = (213, 94, 0), (0, 114, 178)
"""Okabe and Ito's vermilion and blue: what speaks for the pair, and what speaks against it."""

_SCALE = [(0.0, "rgba(0,114,178,0.85)"), (0.5, "rgba(128,128,128,0)"), (1.0, "rgba(213,94,0,0.85)")]


def overlay(picture: NDArray[np.uint8], values: NDArray[np.floating[Any]], *, size: int = 256) -> NDArray[np.uint8]:
    """The picture in grey with the heatmap over it, (S, S', 3) where the longer side is ``size``.

    Vermilion speaks for the pair, blue against it; full colour is the largest absolute value.

    Args:
        picture: (H, W, 3).
        values: (rows, columns), in any unit.

    Raises:
        ValueError: for other shapes.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or values.ndim != 2:
        raise ValueError(f"expected a picture (H, W, 3) and a grid of values, got {picture.shape} and {values.shape}")
    factor = size / max(picture.shape[:2])
    width, height = (max(1, round(side * factor)) for side in (picture.shape[1], picture.shape[0]))
    grey = Image.fromarray(picture).convert("L").resize((width, height), Image.Resampling.NEAREST)
    limit = float(np.abs(values).max()) or 1.0
    heat = Image.fromarray((values / limit).astype(np.float32)).resize((width, height), Image.Resampling.NEAREST)
    strength = np.asarray(heat)[..., None]
    colour = np.where(strength > 0, np.array(FOR), np.array(AGAINST))
    opacity = 0.85 * np.abs(strength)
    base = 60 + 0.75 * np.asarray(grey, dtype=np.float32)[..., None]
    drawn: NDArray[np.uint8] = np.clip(base * (1 - opacity) + colour * opacity, 0, 255).astype(np.uint8)
    return drawn


def strip(
    picture: NDArray[np.uint8], maps: Sequence[NDArray[np.floating[Any]]], *, size: int = 256
) -> NDArray[np.uint8]:
    """The picture itself, and beside it one overlay for each map."""
    factor = size / max(picture.shape[:2])
    shape = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    plain = np.asarray(Image.fromarray(picture).resize(shape, Image.Resampling.NEAREST))
    gap = np.full((plain.shape[0], 8, 3), 255, dtype=np.uint8)
    parts = [plain]
    for values in maps:
        parts += [gap, overlay(picture, values, size=size)]
    return np.concatenate(parts, axis=1)


def heatmap_figure(
    picture: NDArray[np.uint8], maps: dict[str, NDArray[np.floating[Any]]], template: go.layout.Template
) -> go.Figure:
    """The picture with one heatmap over it for each named map, side by side.

    Args:
        picture: (H, W, 3).
        maps: (rows, columns) of what each patch adds to the similarity.
        template: one of ``TEMPLATES``, or any other plotly template.

    Raises:
        ValueError: for no maps.
    """
    if not maps:
        raise ValueError("maps: expected at least one, got none")
    height, width = picture.shape[:2]
    figure = make_subplots(1, len(maps) + 1, subplot_titles=["picture", *maps], horizontal_spacing=0.02)
    for column in range(1, len(maps) + 2):
        figure.add_image(z=picture, row=1, col=column, hoverinfo="skip")
    for column, values in enumerate(maps.values(), start=2):
        rows, columns = values.shape
        limit = float(np.abs(values).max()) or 1.0
        figure.add_heatmap(
            z=values,
            x=(np.arange(columns) + 0.5) * width / columns - 0.5,
            y=(np.arange(rows) + 0.5) * height / rows - 0.5,
            zmin=-limit,
            zmax=limit,
            colorscale=_SCALE,
            showscale=False,
            hovertemplate="%{z:+.4f}<extra></extra>",
            row=1,
            col=column,
        )
    figure.update_xaxes(visible=False, range=[-0.5, width - 0.5], constrain="domain")
    figure.update_yaxes(visible=False, range=[height - 0.5, -0.5], constrain="domain")
    figure.update_layout(template=template, margin={"l": 8, "r": 8, "t": 36, "b": 8})
    return figure


def units_figure(names: Sequence[str], values: Sequence[float], template: go.layout.Template) -> go.Figure:
    """What each word or latent adds to the similarity, as bars in their order.

    Raises:
        ValueError: where names and values are of unequal length.
    """
    if len(names) != len(values):
        raise ValueError(f"names and values: expected as many, got {len(names)} and {len(values)}")
    colours = ["#D55E00" if value > 0 else "#0072B2" for value in values]
    figure = go.Figure()
    figure.add_bar(x=list(range(len(names))), y=list(values), marker_color=colours, hovertemplate="%{y:+.4f}")
    figure.update_xaxes(tickmode="array", tickvals=list(range(len(names))), ticktext=list(names))
    figure.update_yaxes(title_text="adds to the similarity")
    figure.update_layout(template=template, showlegend=False, margin={"l": 8, "r": 8, "t": 36, "b": 8})
    return figure
