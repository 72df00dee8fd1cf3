"""What is known of kept pairs beside their embeddings: pictures, captions, neighbours; as parts of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dash import html

from edgeglass_dashboards.context import Context
from edgeglass_dashboards.pair_pictures import base, picture_address
from edgeglass_dashboards.snapshots import key_of, sample_at, samples_at
from edgeglass_diag.pair_samples import NO_SAMPLES, PairSamples, Wording

if TYPE_CHECKING:
    from edgeglass_diag.evaluation.neighbours import Neighbours

COLORS = {"": "Side", "similarity": "Cosine of the pair", "rank": "Rank of the partner", "hubness": "Hubness"}
"""What the points are coloured by."""
_WORDINGS = {
    Wording.TEXTS: " (strings of the batch)",
    Wording.DECODED: " (decoded by the program's tokenizer)",
    Wording.IDS: " (token ids: the program has no tokenizer that fits)",
    Wording.NONE: "",
}
_NONE = "No pairs were kept."


@dataclass(frozen=True, slots=True)
class KeptPairs:
    """The pairs of a step; ``address`` is that of their pictures, empty where there are none.

    ``samples`` are without the pictures, which are read when they are asked for: ``count`` of them, ``size`` bytes with
    the captions.
    """

    step: int
    found: Neighbours
    samples: PairSamples
    count: int
    size: int
    address: str

    def label(self, pair: int) -> str:
        """Return the caption of a pair, or its number."""
        return caption_of(self.samples.captions, pair)

    @property
    def pictures(self) -> str:
        """Return the address that the browser asks for pictures at, but for the pair's number at its end."""
        return base() + self.address if self.address else ""

    def color(self, name: str, side: str) -> Any:
        """Return a number for each pair, by the name of a colour."""
        if name == "similarity":
            return self.found.similarity
        return self.found.rank[side] + 1 if name == "rank" else self.found.hubness[side]


def caption_of(captions: Sequence[str], pair: int) -> str:
    """Return the caption of a pair, or its number where there is none."""
    return (captions[pair] if pair < len(captions) else "") or f"pair {pair}"


def kept_pairs(context: Context, step: int | None) -> KeptPairs | None:
    """Return the pairs of a step, worked out once; None where there are none."""
    if step is None:
        return None

    def make() -> KeptPairs | None:
        from edgeglass_diag.evaluation.neighbours import neighbours

        run = context.run
        sample = sample_at(run, step)
        found = None if sample is None else neighbours(sample)
        if found is None:
            return None
        samples = samples_at(run, step)
        samples = replace(samples, note=samples.note.replace(f"{context.root}/", ""))
        address = picture_address(context.path, step, float(run.header.get("created", 0.0)))
        count = len(samples.pictures)
        texts = replace(samples, pictures=NO_SAMPLES.pictures)
        return KeptPairs(step, found, texts, count, samples.size, address if count else "")

    kept: KeptPairs | None = context.index.jobs.once(key_of(context, step, "neighbours"), make)
    return kept


def color_choices(context: Context) -> Any:
    """The colours as links."""
    links = []
    for name, title in COLORS.items():
        here = {"aria-current": "true"} if context.view.color == name else {}
        links.append(html.Li(html.A(title, href=context.view.link(color=name), **here)))
    return html.Nav(
        [html.Span("Colour", className="dimmed"), html.Ul(links)], className="choices steps", **{"aria-label": "Colour"}
    )


def what_was_kept(kept: KeptPairs | None) -> str:
    """What is kept of a step's pairs, in a sentence or two."""
    if kept is None:
        return _NONE
    samples = kept.samples
    if not kept.count and not samples.captions:
        return f"Neither pictures nor captions were kept of this step{f': {samples.note}' if samples.note else ''}."
    captions = f"{len(samples.captions)} captions{_WORDINGS[samples.wording]}"
    size = f"{kept.size / 1e3:.0f} kB in the run's folder"
    note = f" {samples.note[0].upper()}{samples.note[1:]}." if samples.note else ""
    return f"Kept of this step: {kept.count} pictures and {captions}, {size}.{note}"


def shown_pair(context: Context, kept: KeptPairs | None) -> int | None:
    """The pair that the address asks for, else the worst one; None where there are no pairs."""
    if kept is None:
        return None
    asked = context.view.pair
    return asked if asked is not None and asked in kept.found.pairs else kept.found.worst(1)[0]


def pair_details(context: Context, kept: KeptPairs | None) -> Any:
    """One pair, and the neighbours of both of its sides."""
    pair = shown_pair(context, kept)
    if kept is None or pair is None:
        return html.P(_NONE, className="caption")
    found = kept.found
    place = int((found.pairs == pair).argmax())
    ranks = [int(found.rank[side][place]) + 1 for side in ("image", "text")]
    words = (
        f"Cosine {found.similarity[place]:.3f}. Among {len(found.pairs)}, its text is number {ranks[0]} for its image, "
        f"its image is number {ranks[1]} for its text."
    )
    hint = "Click a point for its pair" if pair == context.view.pair else "The worst pair; click a point for another"
    ways = {"image": "Texts nearest to its image", "text": "Images nearest to its text"}
    texts = [html.P(kept.label(pair), className="pair-caption"), html.P(words, className="caption")]
    lists = [
        _list(context, kept, title, [(other, f"{cosine:.3f}") for other, cosine in found.nearest(pair, side)], own=pair)
        for side, title in ways.items()
    ]
    head = html.Div([_picture(kept, pair), html.Div(texts)], className="pair-head")
    return html.Div([html.P(f"{hint}.", className="caption"), head, html.Div(lists, className="pair-lists")])


def pair_lists(context: Context, kept: KeptPairs | None) -> Any:
    """The worst pairs and the hubs of both sides."""
    if kept is None:
        return None
    found = kept.found
    place = {int(pair): n for n, pair in enumerate(found.pairs)}
    worst = [(pair, f"{found.similarity[place[pair]]:.3f}") for pair in found.worst()]
    lists = [_list(context, kept, "Worst pairs: farthest behind the nearest other", worst)]
    for side, other in (("image", "text"), ("text", "image")):
        hubs = [(pair, f"{times:.3g} {other}s") for pair, times in found.hubs(side)]
        title = f"{side.capitalize()} hubs: in the first {found.k} of many {other}s"
        lists.append(_list(context, kept, title, hubs))
    return html.Div(lists, className="pair-lists")


def _list(context: Context, kept: KeptPairs, title: str, rows: list[tuple[int, str]], own: int | None = None) -> Any:
    items = [
        html.Li(
            html.A(
                [
                    _picture(kept, pair),
                    html.Span(kept.label(pair), className="pair-caption"),
                    html.Span(words + (" own" if pair == own else ""), className="dimmed"),
                ],
                href=context.view.link(pair=pair, step=kept.step),
            )
        )
        for pair, words in rows
    ]
    return html.Div([html.H3(title), html.Ol(items) if items else html.P("None.", className="caption")])


def _picture(kept: KeptPairs, pair: int) -> Any:
    if not kept.address:
        return None
    return html.Img(src=f"{kept.pictures}{pair}", alt=f"picture of pair {pair}", className="pair-picture")
