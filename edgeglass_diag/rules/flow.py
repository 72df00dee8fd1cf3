"""Which modules run, learn, and are used, by where their outputs go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.parameters import GRADIENT_NORM, MODULE_GRADIENTS_OFF, MODULE_IN_LOSS
from edgeglass_diag.site_paths import first_call, is_within, parent
from edgeglass_diag.sites import EmbeddingSite, ModuleSite, PairSite


def by_module(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return the parameters by the module that they belong to."""
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        modules[parent(name)].append(name)
    return list(modules.items())


def learns(history: History, module: str) -> bool:
    """Return whether another parameter of the very same module gets gradients."""
    return any(parent(site) == module for site, _ in history.of(GRADIENT_NORM) if site)


def runs(history: History, module: str) -> bool:
    """Return whether a module was called in training."""
    site = history.site(ModuleSite, module)
    return site is not None and site.is_observed


def dropped(history: History, module: str) -> bool:
    """Return whether a module ran, and what it gives was seen not to go into the loss."""
    seen = history.series(MODULE_IN_LOSS, module)
    return len(seen) > 0 and not any(seen.values)


def switched_off(history: History, module: str) -> bool:
    """Return whether gradients are switched off in a module, or in all that it calls, as a decorated forward does.

    That is, it, or one inside of it, was never called with gradients. Of others in it that were nothing is recorded:
    they get gradients.
    """
    seen = [series.values for path, series in history.of(MODULE_GRADIENTS_OFF) if is_within(path, module)]
    return any(all(values) for values in seen)


def cut_off(history: History, without: list[str]) -> list[str]:
    """Return the parameters without gradient of modules that run, are used, and learn by no other parameter.

    A module that is never called may have its weights read by the one around it, as the output projection of
    ``nn.MultiheadAttention``: where that is cut off, so are they.
    """
    modules = by_module(without)
    flows = _flows(history) if modules else []
    idle = {module for module, _ in modules if not learns(history, module)}
    running = {module for module, _ in modules if runs(history, module)}
    cut = {module for module in idle & running if _in_loss(history, module, flows)}
    aside = {module for module in idle - running if parent(module) in cut}
    return [name for module, names in modules if module in cut | aside for name in names]


def _in_loss(history: History, module: str, flows: list[tuple[str, str]]) -> bool:
    """Return whether what a module gives goes into the loss; where that was not seen, whether it goes on beyond it."""
    if len(history.series(MODULE_IN_LOSS, module)):
        return not dropped(history, module)
    return _used(module, flows)


def upstream(history: History, path: str) -> set[str]:
    """Return the modules whose outputs come into one, and itself, by the paths of their first calls."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            module = history.site(ModuleSite, path)
            waiting += () if module is None else module.parents
    return {first_call(path) for path in found}


def last_of(found: list[tuple[str, list[str]]], history: History) -> list[tuple[str, list[str]]]:
    """Return the places without those whose output goes into others of them only: the cut lies behind those."""
    kept = []
    for place, names in found:
        others = [other for other, _ in found if other != place]
        takers = {taker for source, taker in _inflows(history) if _inside(source, place) and not _inside(taker, place)}
        if not takers or not all(any(_inside(taker, other) for other in others) for taker in takers):
            kept.append((place, names))
    return kept or found


def _inflows(history: History) -> Iterator[tuple[str, str]]:
    """Yield modules, and the modules or embeddings that their outputs flow into."""
    for module in history.sites_of(ModuleSite):
        yield from ((source, module.path) for source in module.parents)
    for embedding in history.sites_of(EmbeddingSite):
        yield embedding.module, embedding.path


def _flows(history: History) -> list[tuple[str, str]]:
    """Return modules and embeddings by their first call, and the modules or logits that their outputs flow into."""
    products = [(side, pair.path) for pair in history.sites_of(PairSite) for side in pair.sides]
    return [(first_call(source), taker) for source, taker in [*_inflows(history), *products] if source != taker]


def _inside(path: str, place: str) -> bool:
    """Return whether a module lies in a place or around it; a place is a module or a single parameter."""
    return is_within(path, place) or (bool(path) and is_within(place, path))


def _used(module: str, flows: list[tuple[str, str]]) -> bool:
    """Return whether the output of a module, of one around it, or of one inside of it goes on beyond it."""
    around = {module, *_above(module)} - {""}
    return any(
        source in around or (module and is_within(source, module) and not is_within(taker, module))
        for source, taker in flows
    )


def _above(module: str) -> Iterator[str]:
    while module := parent(module):
        yield module
