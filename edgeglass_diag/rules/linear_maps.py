"""EG012: linear maps straight behind one another, which are one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.site_paths import parent
from edgeglass_diag.sites import ModuleSite, ParameterSite

Maps = Mapping[str, ParameterSite]
"""The matrices of linear maps and convolutions, by path."""


@dataclass(frozen=True)
class NoActivationBetween(Rule):
    """A linear layer takes the output of another one with no activation function between.

    Why: W2 (W1 x + b1) + b2 is one linear map, whatever lies between that is linear too: dropout, a reshape, a factor,
    BatchNorm. The layer costs its parameters and adds no depth, and a network of such layers alone can separate
    nothing but half-spaces.

    Formula: a linear layer or convolution is given the output of another, which nothing else takes. Silent where the
    width between is below those before and behind it, as such a factorisation has fewer parameters (LoRA, bottlenecks,
    factorised embeddings), for convolutions in groups and for those that cut patches. A warning where it is no matter
    of one layer more: ``depth`` or more of them in a row; a width between that is larger than before and behind, which
    only an activation makes worth its parameters, as in a transformer's MLP; two ``nn.Linear`` of one
    ``nn.Sequential`` with another module between them, as Identity or Dropout, where an activation belongs; or
    ``share`` or more of all linear layers, and more than one. Else a fact (info): an encoder's last layer, or an
    attention's output projection, and the projection behind it are often like this. A fact too once nearly all answers
    are right: what a linear map separates needs no activation.
    """

    depth: int = 3
    share: float = 0.5

    code = "EG012"
    name = "no-activation-between"
    title = "No activation between linear layers"
    severity = Severity.WARNING
    page = "coverage"
    source = (
        "derived: a product of matrices is a matrix; DeepCrime ARM (remove activation function); exception: linear "
        "over-parameterisation on purpose, ExpandNets, https://arxiv.org/abs/1811.10495"
    )
    fix = "Put the activation back (nn.GELU() or nn.ReLU()) between the layers, or leave one of them out."
    hinders_learning = True
    faulty = "nn.Sequential(nn.Linear(64, 256), nn.Dropout(0.1), nn.Linear(256, 64))"
    healthy = "nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Dropout(0.1), nn.Linear(256, 64))"

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding for all such layers."""
        maps = {site.path: site for site in history.sites_of(ParameterSite) if site.is_linear}
        pairs = [(maps[site.behind], site) for site in maps.values() if site.behind in maps]
        lost = {second.path: first for first, second in pairs if not _is_bottleneck(first, second)}
        if not lost:
            return
        longest = max((_row(path, lost) for path in lost), key=len)
        wide = [path for path, first in lost.items() if _is_wide(first, maps[path])]
        wide += [path for path, first in lost.items() if path not in wide and _is_chain(history, first, maps[path])]
        grave = len(longest) >= self.depth or bool(wide) or 1 < len(lost) >= self.share * len(maps)
        shown = longest if len(longest) >= self.depth else _row((wide or list(lost))[0], lost)
        modules = [parent(path) or path for path in shown]
        others = [path for path in lost if path not in shown]
        more = f", and so are {listed(others)} with the one before" if len(others) > 1 else ""
        yield self.finding(
            history,
            f"{' -> '.join(modules)} ({_widths(shown, maps)}) are one linear map{more}; "
            f"{len(lost)} of the model's {len(maps)} linear layers add no depth",
            site=modules[-1],
            severity=Severity.WARNING if grave else Severity.INFO,
            evidence={"row": modules, "lost": list(lost)[:20], "layers": len(maps)},
        )


def _is_bottleneck(first: ParameterSite, second: ParameterSite) -> bool:
    """Return whether the width between is below both of what goes in (of a patch, for convolutions) and comes out."""
    return second.shape[1] < min(prod(first.shape[1:]), second.shape[0])


def _is_wide(first: ParameterSite, second: ParameterSite) -> bool:
    """Return whether the width between two matrices is above both of what goes in and comes out."""
    return max(prod(first.shape[2:]), prod(second.shape[2:])) == 1 and first.shape[0] == second.shape[1] > max(
        first.shape[1], second.shape[0]
    )


def _is_chain(history: History, first: ParameterSite, second: ParameterSite) -> bool:
    """Return whether two matrices are those of layers of one ``nn.Sequential`` with another module between them."""
    layers = [parent(site.path) for site in (first, second)]
    chains = {parent(layer) for layer in layers}
    chain = history.site(ModuleSite, chains.pop()) if len(chains) == 1 else None
    if chain is None or chain.class_name != "Sequential" or not len(first.shape) == len(second.shape) == 2:
        return False
    places = [layer.rpartition(".")[2] for layer in layers]
    return all(map(str.isdecimal, places)) and int(places[1]) - int(places[0]) > 1


def _row(path: str, lost: Mapping[str, ParameterSite]) -> list[str]:
    """Return the maps that end in this one, one straight behind the other."""
    row = [path]
    while (first := lost.get(row[0])) is not None and first.path not in row:
        row.insert(0, first.path)
    return row


def _widths(row: list[str], maps: Maps) -> str:
    """Return the widths along a row of maps, as 64 -> 256 -> 64."""
    return " -> ".join(map(str, (maps[row[0]].shape[1], *(maps[path].shape[0] for path in row))))
