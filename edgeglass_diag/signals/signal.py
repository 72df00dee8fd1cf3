"""What a signal is: a slash path, and what is known of the numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from edgeglass_diag.sites import Kind

if TYPE_CHECKING:
    from typing import Self


class Reduction(StrEnum):
    """How several occurrences within one window (accumulation, several forward passes) become one number."""

    MEAN = "mean"
    SUM = "sum"
    MAX = "max"


class Components(StrEnum):
    """What the numbers of one reading are."""

    ONE = "one number"
    HEADS = "one number per head"


class Palette(StrEnum):
    """What colours mean."""

    SHARE = "share"
    SIZE = "size"
    DEVIATION = "deviation"


@dataclass(frozen=True, slots=True)
class Usual:
    """Bounds that a publication gives, where no rule has a threshold; None for a side without bound."""

    low: float | None
    high: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a signal is drawn over sites and steps.

    Attributes:
        label: its name on a chart.
        caption: unit, and which head is shown.
        palette: what the colours mean.
        meaning: what its ends say.
        bounds: what is known of healthy values; ``{low}`` and ``{high}`` stand for the bounds that a rule gives.
        logarithmic: whether colours follow the power of ten.
        extent: ends of the colours, powers of ten where logarithmic; those of the data where None.
        component: which of several heads a cell shows: ``mean``, ``min`` or ``max``.
        extreme: which end of a stretch of steps a cell shows: ``low`` or ``high``.
    """

    label: str
    caption: str
    palette: Palette
    meaning: str
    bounds: str = "no bound is known"
    logarithmic: bool = False
    extent: tuple[float, float] | None = None
    component: str = "mean"
    extreme: str = "high"


class Signal(str):
    """A signal: its slash path, as ``attention/entropy``, with what is known of it.

    It is a string, so that it is stored, printed and compared as its path. Signals are made in
    ``edgeglass_diag.signals`` alone.

    Attributes:
        kind: kind of the sites it is measured at, None for the whole model, an optimizer or the run.
        sentence: what it measures, and of what.
        unit: unit of the number; ``1`` where it has none.
        low: least possible value.
        high: greatest possible value.
        reduction: how occurrences within one window become one.
        components: what the numbers of a reading are.
        drawing: how it is drawn over sites and steps, None where it is not.
        usual: published bounds, None where there are none.
        former: paths under which older runs hold it.
    """

    __slots__ = (
        "components", "drawing", "former", "high", "kind", "low", "reduction", "sentence", "unit", "usual",
    )  # fmt: skip

    kind: Kind | None
    sentence: str
    unit: str
    low: float
    high: float
    reduction: Reduction
    components: Components
    drawing: Drawing | None
    usual: Usual | None
    former: tuple[str, ...]

    def __new__(
        cls,
        path: str,
        kind: Kind | None,
        sentence: str,
        *,
        unit: str = "1",
        low: float = float("-inf"),
        high: float = float("inf"),
        reduction: Reduction = Reduction.MEAN,
        components: Components = Components.ONE,
        drawing: Drawing | None = None,
        usual: Usual | None = None,
        former: tuple[str, ...] = (),
    ) -> Self:
        """Return a signal; a path is two or more words, with slashes between them."""
        made = super().__new__(cls, path)
        made.kind, made.sentence, made.unit, made.low, made.high = kind, sentence, unit, low, high
        made.reduction, made.components, made.drawing, made.usual = reduction, components, drawing, usual
        made.former = former
        return made

    def __getnewargs__(self) -> tuple[str, Kind | None, str]:  # type: ignore[override]
        return str(self), self.kind, self.sentence

    @property
    def family(self) -> str:
        """The first word of its path."""
        return self.partition("/")[0]

    @property
    def quantity(self) -> str:
        """The path behind the family."""
        return self.partition("/")[2]
