"""The places that a record speaks of: a type for each kind, with its facts in fields, and what is known of each.

A site's ``path`` identifies it among those of its kind. Paths are made and taken apart in this module alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar

from edgeglass_diag.compared import Compared
from edgeglass_diag.loss_kinds import LossFunction as LossFunction
from edgeglass_diag.loss_kinds import Task as Task
from edgeglass_diag.site_coverage import Coverage as Coverage


class Kind(StrEnum):
    """Kinds of sites."""

    MODULE = "module"
    PARAMETER = "parameter"
    ATTENTION = "attention"
    LOSS = "loss"
    EMBEDDING = "embedding"
    PAIR = "pairs"
    BATCH = "data"
    RESHAPE = "reshape"
    SOFTMAX = "softmax"
    DROPOUT = "noise"
    RECORDER = "recorder"
    PROBE = "probe"


class Side(StrEnum):
    """What a set of embeddings is made of."""

    IMAGE = "image"
    TEXT = "text"
    UNKNOWN = "side"


class DropoutPlace(StrEnum):
    """Where dropout acts although none belongs there."""

    EVALUATION = "evaluation"
    FROZEN_ENCODER = "frozen_encoder"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place that was seen.

    Attributes:
        path: identifies it among the sites of its kind.
        order: order of first execution.
        parents: paths of the sites whose outputs flow into it.
        coverage: whether it is observed, or why it cannot be.
        detail: what belongs to the coverage and is shown with it, as the message of an error; never read by a program.
    """

    kind: ClassVar[Kind]
    path: str
    order: int = 0
    parents: tuple[str, ...] = ()
    coverage: Coverage = Coverage.OBSERVED
    detail: str = ""

    @property
    def is_observed(self) -> bool:
        """Whether the site is observed."""
        return self.coverage is Coverage.OBSERVED

    @property
    def facts(self) -> dict[str, Any]:
        """The fields that only sites of this kind have."""
        common = {field.name for field in fields(Site)}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in common}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSite(Site):
    """A call of a module; the path of its second call in one forward pass ends in ``#1``.

    Attributes:
        class_name: name of its class.
    """

    kind = Kind.MODULE
    class_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSite(Site):
    """A parameter, and how it is held.

    Attributes:
        shape: of the whole parameter; empty for a number and where it is unknown.
        local_shape: of the shard that this process holds, None where the parameter is not sharded.
        optimizer: number of the optimizer that holds it, from 0 in order of their first steps; None where none does.
        group: number of the parameter group within that optimizer.
        dtype: name of its dtype, as ``float16``; empty where it is unknown.
        state_dtype: that of the moments which the optimizer keeps of it, where it is half precision; else empty.
        trainable_since: step at which it was first seen to require a gradient after it had not; None where it did not
            change.
        frozen_since: step at which it was first seen to require none after it had; None where it did not change.
        replaced_since: step at which another tensor was first seen in its place; None where none was.
        untied_from: the parameter that it was one tensor with before; empty where it was with none.
        is_linear: whether it is the matrix of a linear map or a convolution: (outputs, inputs, ...).
        behind: the matrix of such a map whose output this one is given, with nothing between that is not linear, and
            which nothing else takes; empty where there is none.
    """

    kind = Kind.PARAMETER
    shape: tuple[int, ...] = ()
    local_shape: tuple[int, ...] | None = None
    optimizer: int | None = None
    group: int | None = None
    dtype: str = ""
    state_dtype: str = ""
    trainable_since: int | None = None
    frozen_since: int | None = None
    replaced_since: int | None = None
    untied_from: str = ""
    is_linear: bool = False
    behind: str = ""

    @property
    def is_sharded(self) -> bool:
        """Whether other ranks hold other parts of it."""
        return self.local_shape is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSite(Site):
    """An attention: one product of softmax weights and values.

    Attributes:
        module: path of the call of the module that computes it.
        queries_from: the parameter that its learned queries come from, empty where they are none or it is unknown.
    """

    kind = Kind.ATTENTION
    module: str = ""
    queries_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSite(Site):
    """A call of a loss function.

    Attributes:
        function: the function.
        reduction: ``mean``, ``sum`` or ``none``; empty where the function has none.
        task: what it asks of the model, as far as its call alone tells; see ``rules.tasks``.
    """

    kind = Kind.LOSS
    function: LossFunction = LossFunction.UNKNOWN
    reduction: str = ""
    task: Task = Task.UNKNOWN

    @property
    def is_sigmoid(self) -> bool:
        """Whether it judges each pair by itself, by a sigmoid, and not by a softmax over candidates."""
        return self.function in (LossFunction.LOGSIGMOID, LossFunction.SOFTPLUS, LossFunction.BINARY_CROSS_ENTROPY)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSite(Site):
    """One of two sets of embeddings that a loss compares: the output of a module, cut to its first dimensions.

    Attributes:
        module: path of the module that it comes from.
        width: dimensions that take part.
        side: what it is made of, as far as names tell.
        compared: how.
    """

    kind = Kind.EMBEDDING
    module: str = ""
    width: int = 0
    side: Side = Side.UNKNOWN
    compared: Compared = Compared.LOGITS


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSite(Site):
    """Two sets of embeddings that a loss compares.

    Attributes:
        left: path of the embedding site of its rows.
        right: path of that of its columns.
    """

    kind = Kind.PAIR
    left: str = ""
    right: str = ""

    @property
    def sides(self) -> tuple[str, str]:
        """Paths of both embedding sites."""
        return self.left, self.right


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSite(Site):
    """A tensor that a model is called with.

    Attributes:
        module: path of the model.
        argument: name of the argument, ``input0`` for the first without a name.
        shape: of one sample.
        dtype: name of the dtype, as ``float32``.
    """

    kind = Kind.BATCH
    module: str = ""
    argument: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""

    @property
    def is_picture(self) -> bool:
        """Whether a sample has the shape of a picture of 1 or 3 channels, which come first or last."""
        return len(self.shape) == 3 and not {self.shape[0], self.shape[-1]}.isdisjoint((1, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReshapeSite(Site):
    """A reshape next to attention that mixes elements of different positions; its path is that of the module.

    Attributes:
        before: shape that went in.
        after: shape that came out.
    """

    kind = Kind.RESHAPE
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxSite(Site):
    """A softmax over samples that weighs what lies along another dimension; its path is that of the module.

    Attributes:
        shape: of the logits, the samples first.
    """

    kind = Kind.SOFTMAX
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DropoutSite(Site):
    """A module in which dropout acts where none belongs.

    Attributes:
        place: why none belongs there.
    """

    kind = Kind.DROPOUT
    place: DropoutPlace = DropoutPlace.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderSite(Site):
    """A part of the recorder, noted where it failed or left something out."""

    kind = Kind.RECORDER
