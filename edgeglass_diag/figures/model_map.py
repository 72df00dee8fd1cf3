"""The model as lanes of modules in order of execution: one lane for each side of the loss, which they meet at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from edgeglass_diag import site_paths
from edgeglass_diag.figures.of_run import widest_sides
from edgeglass_diag.sites import AttentionSite, ModuleSite, ParameterSite, Side, Site

TONES = ("critical", "warning", "info", "neutral", "good")
"""What is known of a module, the worst first."""
MOST_CELLS = 6
BEHIND = "behind"
"""The lane of modules that are given what the loss compares, between the sides and the loss."""
_MOST_BEHIND = 1


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a module: a tone of ``TONES``, and the worst of it in two or three words."""

    tone: str
    words: str

    @property
    def rank(self) -> int:
        """0 for the worst tone."""
        return TONES.index(self.tone)


OK, UNKNOWN = State("good", "healthy"), State("neutral", "not measured")


@dataclass(frozen=True, slots=True)
class Cell:
    """One module, or several behind one another that lie in one.

    Attributes:
        path: of the module that a click opens: the only one, the worst one, or the one that holds all.
        label: its short name.
        size: how many modules it stands for.
        state: the worst of theirs.
        kind: name of the class where it is one module.
    """

    path: str
    label: str
    size: int
    state: State
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """The modules that an embedding is made by, in order of execution, under the word for its side."""

    name: str
    cells: tuple[Cell, ...]


def lanes_of(sites: Sequence[Site], states: Mapping[str, State], most: int = MOST_CELLS) -> list[Lane]:
    """Return the lanes of a model; of one whose loss compares no two sides a single one.

    Args:
        sites: all of a run, in order of execution.
        states: what is known of modules, by path.
        most: cells of a lane at most; neighbours in one module become one cell where there are more.
    """
    modules = {site.path: site for site in sites if isinstance(site, ModuleSite) and site.path}
    leaves = _drawn(modules, sites)
    states = _carried(states, leaves)
    held_by = _held_by(modules)
    sides: dict[str, set[str]] = {}
    for number, side in enumerate(widest_sides(sites)):
        name = str(side.side) if side.side is not Side.UNKNOWN else f"side {number + 1}"
        sides[name if name not in sides else f"{name} {number + 1}"] = _ancestors(side.module, modules, held_by)
    for within in sides.values():
        held = set(within)
        holders = {outer for inner in held for outer in _around(inner)}
        within.update(holders.intersection(leaves))
    ordered = sorted(sides.items(), key=lambda item: item[0] != Side.IMAGE)
    shared = set.intersection(*sides.values()) if len(sides) > 1 else set()
    groups = [("both", shared), *((name, within - shared) for name, within in ordered)]
    cells = partial(_cells, modules=modules, states=states, most=most)
    lanes = [Lane(name, cells([leaf for leaf in leaves if leaf in within])) for name, within in groups]
    lanes = [lane for lane in lanes if lane.cells]
    rest = [leaf for leaf in leaves if not any(leaf in within for _, within in groups)]
    fed = [leaf for leaf in rest if any(_ancestors(leaf, modules, held_by) & within for _, within in groups)]
    if fed:
        lanes.append(Lane(BEHIND, _cells(fed, modules=modules, states=states, most=_MOST_BEHIND)))
        rest = [leaf for leaf in rest if leaf not in fed]
    bad = any(states.get(leaf, OK).rank < State("info", "").rank for leaf in rest)
    if rest and (bad or not lanes):
        lanes.append(Lane("other" if lanes else "model", cells(rest)))
    return lanes


def _drawn(modules: Mapping[str, ModuleSite], sites: Iterable[Site]) -> list[str]:
    """The modules that compute something themselves: they hold no other one that ran, or attend, or own parameters."""
    holders = {outer for path in modules for outer in _around(path)}
    owners = {site.module for site in sites if isinstance(site, AttentionSite)}
    owners |= {site_paths.parent(site.path) for site in sites if isinstance(site, ParameterSite)}
    return [
        path for path in modules
        if (path not in holders or path in owners) and site_paths.first_call(path) == path
    ]  # fmt: skip


def _carried(states: Mapping[str, State], leaves: Sequence[str]) -> Mapping[str, State]:
    """The states with the faults of modules that are not drawn, as one that holds others, at the last one within."""
    known = dict(states)
    drawn = set(leaves)
    for path, state in states.items():
        if path in drawn or state.rank >= State("info", "").rank:
            continue
        last = next((leaf for leaf in reversed(leaves) if site_paths.is_within(leaf, path)), None)
        if last is not None and state.rank < known.get(last, UNKNOWN).rank:
            known[last] = state
    return known


def _around(path: str) -> Iterable[str]:
    while path := site_paths.parent(path):
        yield path


def _held_by(modules: Mapping[str, ModuleSite]) -> dict[str, list[str]]:
    """The modules that lie in each path."""
    held: dict[str, list[str]] = {}
    for path in modules:
        for outer in _around(path):
            held.setdefault(outer, []).append(path)
    return held


def _ancestors(module: str, modules: Mapping[str, ModuleSite], held_by: Mapping[str, Sequence[str]]) -> set[str]:
    """A module and all whose outputs flow into it, with what they hold and first calls for later ones."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        site = modules.get(path)
        waiting += [*(site.parents if site is not None else ()), site_paths.first_call(path)]
        waiting += held_by.get(path, ())
    return found


def _cells(
    leaves: Sequence[str], *, modules: Mapping[str, ModuleSite], states: Mapping[str, State], most: int
) -> tuple[Cell, ...]:
    groups = [_Group("", tuple(leaves))] if leaves else []
    while True:
        splits = sorted((-len(group.leaves), at) for at, group in enumerate(groups) if group.is_open)
        for _, at in splits:
            free = most - len(groups) + 1
            parts = _split(groups[at])
            if len(parts) <= free or free > 1:
                groups[at : at + 1] = parts if len(parts) <= free else _bundled(parts, free)
                break
        else:
            return _told_apart([_cell(group, states, modules) for group in groups])


@dataclass(frozen=True, slots=True)
class _Group:
    """Modules behind one another that lie in ``prefix``; ``label`` names several parts of it that were bundled."""

    prefix: str
    leaves: tuple[str, ...]
    label: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it can be split."""
        return len(self.leaves) > 1 and not self.label


def _split(group: _Group) -> list[_Group]:
    """Neighbours that lie in one module one level below stay together."""
    deeper = len(site_paths.parts(group.prefix)) + 1
    parts: list[tuple[str, list[str]]] = []
    for leaf in group.leaves:
        inner = ".".join(site_paths.parts(leaf)[:deeper])
        if not parts or parts[-1][0] != inner:
            parts.append((inner, []))
        parts[-1][1].append(leaf)
    if len(parts) == 1:
        return _split(_Group(parts[0][0], group.leaves))
    return [_Group(prefix, tuple(leaves)) for prefix, leaves in parts]


def _bundled(parts: Sequence[_Group], most: int) -> list[_Group]:
    """Neighbours in at most ``most`` bundles."""
    ends = [round(at * len(parts) / most) for at in range(most + 1)]
    bundles = []
    for begin, end in pairwise(ends):
        bundle = parts[begin:end]
        leaves = tuple(leaf for part in bundle for leaf in part.leaves)
        last = site_paths.parts(bundle[-1].prefix)[-1]
        label = f"{_label(bundle[0].prefix)}-{last}" if len(bundle) > 1 else ""
        prefix = site_paths.common([part.prefix for part in bundle])
        bundles.append(_Group(prefix, leaves, label))
    return bundles


def _cell(group: _Group, states: Mapping[str, State], modules: Mapping[str, ModuleSite]) -> Cell:
    known = [(states.get(leaf, UNKNOWN), leaf) for leaf in group.leaves]
    worst, at = min(known, key=lambda item: item[0].rank)
    measured = [state for state, _ in known if state.tone == "good"]
    if worst.tone == "neutral" and measured:
        worst = measured[0]
    if len(known) == 1:
        return Cell(at, _label(at), 1, worst, modules[at].class_name)
    path = at if worst.rank < UNKNOWN.rank else group.prefix or at
    return Cell(path, group.label or _label(group.prefix), len(known), worst)


def _told_apart(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Cells of one label have the numbered part of their paths in it, as ``layers.0 to_query``."""
    count = Counter(cell.label for cell in cells)
    return tuple(replace(cell, label=_whose(cell)) if count[cell.label] > 1 else cell for cell in cells)


def _whose(cell: Cell) -> str:
    names = site_paths.parts(cell.path)
    at = next((place for place in range(len(names) - 2, -1, -1) if names[place].isdigit()), None)
    return cell.label if at is None else f"{'.'.join(names[max(0, at - 1) : at + 1])} {cell.label}"


def _label(path: str) -> str:
    """The end of a path that tells it apart: a number keeps the name of what it counts.

    >>> _label("image_head.resampler.layers.3"), _label("text_proj")
    ('layers.3', 'text_proj')
    """
    names = site_paths.parts(path)
    return ".".join(names[-2:]) if len(names) > 1 and names[-1].isdigit() else names[-1] if names else "model"
