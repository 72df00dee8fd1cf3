"""Which modules run, learn, and are used, told by where their outputs go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from edgeglass_diag.rules.history import History


def by_module(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Parameters by the module that they belong to."""
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        modules[name.rpartition(".")[0]].append(name)
    return list(modules.items())


def learns(history: History, module: str) -> bool:
    """Whether another parameter of the very same module gets gradients."""
    return any(site.rpartition(".")[0] == module for site, _ in history.of("gradient/norm") if site)


def runs(history: History, name: str) -> bool:
    """Whether the module of a parameter was called in training."""
    site = history.sites.get((name.rpartition(".")[0], "module"))
    return site is not None and site.status == "observed"


def cut_off(history: History, without: list[str]) -> list[str]:
    """Parameters without gradient of modules that run, are used, and learn by no other parameter.

    A module that is never called may have its weights read by the one around it, as the output projection of
    ``nn.MultiheadAttention``: where that is cut off, so are they.
    """
    modules = by_module(without)
    flows = _flows(history) if modules else []
    idle = {module for module, _ in modules if not learns(history, module)}
    running = {module for module, _ in modules if runs(history, f"{module}.weight")}
    cut = {module for module in idle & running if _used(module, flows)}
    aside = {module for module in idle - running if module.rpartition(".")[0] in cut}
    return [name for module, names in modules if module in cut | aside for name in names]


def _flows(history: History) -> list[tuple[str, str]]:
    """Sites, and the modules or logits of a loss that their outputs flow into."""
    return [
        (parent.split("#")[0], path)
        for (path, kind), site in history.sites.items()
        for parent in site.parents
        if kind in ("module", "embedding", "pairs") and parent != path
    ]


def last_of(found: list[tuple[str, list[str]]], history: History) -> list[tuple[str, list[str]]]:
    """Without the places whose output goes into others of them only: the cut lies behind those."""
    kept = []
    for place, names in found:
        others = [other for other, _ in found if other != place]
        takers = [
            path
            for (path, kind), site in history.sites.items()
            if kind in ("module", "embedding")
            and not _inside(path, place)
            and any(_inside(parent, place) for parent in site.parents)
        ]
        if not takers or not all(any(_inside(taker, other) for other in others) for taker in takers):
            kept.append((place, names))
    return kept or found


def _inside(path: str, place: str) -> bool:
    module = place.removesuffix(".weight").removesuffix(".bias")
    return path == module or path.startswith(f"{module}.") or (module.startswith(f"{path}.") and bool(path))


def _used(module: str, flows: list[tuple[str, str]]) -> bool:
    """Whether the output of a module, of one that it lies in, or of one inside of it goes on beyond it."""
    around = {part for part in (module, *_above(module)) if part}
    within = f"{module}."
    return any(
        source in around or (source.startswith(within) and taker != module and not taker.startswith(within))
        for source, taker in flows
    )


def _above(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module
