"""Changes that are made to a training from outside: rules nominate them, replays make them. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

AT_FINDING = "<site of the finding>"
"""Site of a change that a rule nominates for the place at which it found the fault."""


@dataclass(frozen=True, order=True)
class Intervention:
    """One change that is made from outside.

    Attributes:
        name: what is changed, a name of ``KINDS``, such as ``optimizer.lr``.
        value: how: a factor, a limit, a word; None where there is only one way.
        site: path of the parameter, module, attention or loss that is changed; all of its kind if empty.
    """

    name: str
    value: float | str | None = None
    site: str = ""

    @property
    def label(self) -> str:
        """Return the short name of a trial, such as ``optimizer.lr=0.1`` or ``initial.std=0.02 on latents``."""
        value = "" if self.value is None else f"={_short(self.value)}"
        return f"{self.name}{value}" + (f" on {self.site}" if self.site else "")

    @property
    def text(self) -> str:
        """Return what ``parse`` reads.

        >>> Intervention("initial.std", 0.02, "latents").text
        'initial.std=0.02@latents'
        """
        value = "" if self.value is None else f"={self.value}"
        return f"{self.name}{value}" + (f"@{self.site}" if self.site else "")

    @property
    def words(self) -> str:
        """Return what an answer calls the change, such as ``learning rate x 0.1``.

        Raises:
            ValueError: if it is none that can be made.
        """
        kind = self.checked().kind
        words = kind.words if self.value is None else kind.words + kind.with_value
        return words.format(value=_short(self.value), site=self.site or kind.everywhere)

    @property
    def kind(self) -> Kind:
        """Return what changes of this name are.

        Raises:
            ValueError: if there are none.
        """
        if self.name not in KINDS:
            raise ValueError(f"unknown intervention {self.name!r}: known are {', '.join(sorted(KINDS))}")
        return KINDS[self.name]

    def checked(self) -> Intervention:
        """Return it.

        Raises:
            ValueError: if its name is unknown, or its value or its site is none that changes of this name take.
        """
        kind = self.kind
        if not kind.value.takes(self.value):
            got = "none" if self.value is None else repr(self.value)
            raise ValueError(f"{self.name}: expected {kind.value.value}, got {got}")
        if kind.site is Site.NONE and self.site:
            raise ValueError(f"{self.name}: expected no site, got {self.site!r}")
        if kind.site is Site.NEEDED and not self.site:
            raise ValueError(f"{self.name}: expected a site, the {kind.of} that is changed, got none")
        return self

    @classmethod
    def parse(cls, text: str) -> Intervention:
        """Return the change of a text ``NAME[=VALUE][@SITE]``, as of ``explain --try``.

        >>> Intervention.parse("initial.std=0.02@latents").words
        'latents drawn anew with std 0.02'

        Raises:
            ValueError: if there is none of this name, or it does not take this value or site.
        """
        change, _, site = text.partition("@")
        name, has_value, value = change.partition("=")
        try:
            return cls(name, float(value) if has_value else None, site).checked()
        except ValueError as error:
            said = f"expected a number, got {value!r}" if "could not convert" in str(error) else str(error)
            raise ValueError(said) from None

    def of_finding(self, site: str) -> Intervention:
        """Return the change for a finding at a site, which takes the place of ``AT_FINDING``."""
        return replace(self, site=site) if self.site == AT_FINDING else self


class Value(Enum):
    """What value a change takes; in the words of a message."""

    NONE = "no value"
    FACTOR = "a finite number, the factor"
    NUMBER = "a finite number"
    AT_LEAST_0 = "a finite number of at least 0"
    ABOVE_0 = "a finite number above 0"
    ABOVE_0_OR_NONE = "a finite number above 0, or no value"
    SHARE = "a number from 0 to below 1"
    STEPS = "a whole number of at least 1, the steps"

    def takes(self, value: float | str | None) -> bool:
        """Return whether this is such a value."""
        if value is None:
            return self in (Value.NONE, Value.ABOVE_0_OR_NONE)
        if isinstance(value, str | bool) or not math.isfinite(value):
            return False
        return _IN_RANGE[self](value)


_IN_RANGE: Mapping[Value, Callable[[float], bool]] = {
    Value.NONE: lambda _: False,
    Value.FACTOR: lambda _: True,
    Value.NUMBER: lambda _: True,
    Value.AT_LEAST_0: lambda value: value >= 0,
    Value.ABOVE_0: lambda value: value > 0,
    Value.ABOVE_0_OR_NONE: lambda value: value > 0,
    Value.SHARE: lambda value: 0 <= value < 1,
    Value.STEPS: lambda value: value >= 1 and value == int(value),
}


class Site(Enum):
    """Whether a change is made at one place."""

    NONE = "none"
    """It is one of the whole training."""
    OPTIONAL = "optional"
    """At one place, or at all of its kind."""
    NEEDED = "needed"
    """At one place alone."""


@dataclass(frozen=True)
class Kind:
    """What all changes of one name have in common.

    Attributes:
        summary: what is done, as a sentence without its end: ``scale the learning rate of all groups``.
        words: what an answer calls it, with ``{value}`` and ``{site}``: ``learning rate x {value}``.
        value: what value it takes.
        site: whether it is made at one place.
        of: what such a place is: ``parameter``, ``parameter, or the beginning of paths of several``, ``module``.
        everywhere: what the words say in the place of a site where none is given.
        with_value: what the words end with where a value that may be left out is given.
    """

    summary: str
    words: str
    value: Value = Value.NONE
    site: Site = Site.NONE
    of: str = ""
    everywhere: str = ""
    with_value: str = ""


def _short(value: float | str | None) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _at_parameter(summary: str, words: str, value: Value = Value.NONE, with_value: str = "") -> Kind:
    return Kind(summary, words, value, Site.NEEDED, "parameter", with_value=with_value)


def _at_parameters(summary: str, words: str, site: Site, everywhere: str = "") -> Kind:
    return Kind(summary, words, Value.NONE, site, "parameter, or the beginning of the paths of several", everywhere)


def _at_loss(summary: str, words: str, value: Value = Value.NONE) -> Kind:
    return Kind(summary, words, value, Site.OPTIONAL, "loss", "the loss")


def _at_module(summary: str, words: str, value: Value = Value.NONE) -> Kind:
    return Kind(summary, words, value, Site.NEEDED, "module")


def _at_modules(summary: str, words: str, everywhere: str) -> Kind:
    return Kind(summary, words, Value.NONE, Site.OPTIONAL, "module", everywhere)


KINDS: Mapping[str, Kind] = {
    "optimizer.lr": Kind("scale the learning rate of all groups", "learning rate x {value}", Value.AT_LEAST_0),
    "optimizer.lr_at_least": Kind(
        "give groups with a smaller learning rate this one", "a learning rate of at least {value}", Value.ABOVE_0
    ),
    "optimizer.warmup": Kind(
        "let the learning rate rise linearly over the first steps",
        "warm-up of the learning rate over {value} steps",
        Value.STEPS,
    ),
    "optimizer.clip": Kind(
        "clip the norm of the gradients at each step", "gradients clipped to norm {value}", Value.ABOVE_0
    ),
    "optimizer.unclipped": Kind("leave the gradients as they are where the program clips them", "no gradient clipping"),
    "optimizer.weight_decay": Kind("set the weight decay of all groups", "weight decay {value}", Value.AT_LEAST_0),
    "optimizer.weight_decay_of_vectors": Kind(
        "set the weight decay of all parameters of at most one dimension",
        "weight decay {value} on biases, norms and scalars",
        Value.AT_LEAST_0,
    ),
    "optimizer.eps": Kind("set the eps of all groups", "eps {value} in the optimizer", Value.AT_LEAST_0),
    "optimizer.beta2": Kind("set the second beta of all groups", "beta2 {value} in the optimizer", Value.SHARE),
    "optimizer.clear_gradients": Kind("clear the gradients after each step", "gradients cleared after each step"),
    "optimizer.include": _at_parameters(
        "put parameters that have gradients and no optimizer into that of their neighbours",
        "{site} put into the optimizer",
        Site.OPTIONAL,
        "all parameters that no optimizer holds",
    ),
    "optimizer.unfreeze": _at_parameters(
        "let frozen parameters learn, in the optimizer of their neighbours", "{site} no longer frozen", Site.NEEDED
    ),
    "schedule.constant": Kind(
        "hold the learning rate of each group at its first one above 0", "learning rate held constant"
    ),
    "initial.std": _at_parameter(
        "draw a parameter anew with mean 0 and a standard deviation",
        "{site} drawn anew with std {value}",
        Value.ABOVE_0,
    ),
    "initial.orthogonal": _at_parameter(
        "draw a parameter anew as an orthogonal matrix", "{site} drawn anew as an orthogonal matrix"
    ),
    "initial.rows": _at_parameter(
        "draw each row of a parameter for itself",
        "each row of {site} drawn for itself",
        Value.ABOVE_0_OR_NONE,
        " with std {value}",
    ),
    "initial.value": _at_parameter("set a parameter of one number", "{site} set to {value} at the start", Value.NUMBER),
    "loss.temperature": _at_loss("scale the logits of the loss", "logits of {site} x {value}", Value.ABOVE_0),
    "loss.normalised": _at_loss(
        "give the operands of the loss's similarities L2 norm 1", "L2 norm put on the operands of {site}"
    ),
    "loss.not_normalised": _at_loss(
        "skip the normalisation of the operands of the loss's similarities",
        "L2 norm taken off the operands of {site}",
    ),
    "loss.no_softmax": _at_loss(
        "skip a softmax whose output goes into a cross-entropy", "softmax in front of {site} taken out"
    ),
    "loss.diagonal_labels": _at_loss(
        "label each row of a square cross-entropy by its own number", "labels of {site} set to the diagonal"
    ),
    "attention.mask_inverted": Kind(
        "let attention see what its mask hides, and hide what it shows",
        "mask of {site} turned round",
        Value.NONE,
        Site.OPTIONAL,
        "attention",
        "attention",
    ),
    "dropout.off": _at_modules("let dropout drop nothing", "no dropout in {site}", "the model"),
    "autocast.off": Kind("run without autocast", "no autocast, computed in float32"),
    "gradient.kept": _at_modules(
        "lift what keeps gradients from a module, a detach or no_grad", "gradient let through to {site}", "the model"
    ),
    "module.norm_before": _at_module(
        "put a LayerNorm without parameters before a module", "LayerNorm put before {site}"
    ),
    "module.norm_behind": _at_module(
        "put a LayerNorm without parameters behind a module", "LayerNorm put behind {site}"
    ),
    "module.batch_norm_eval": _at_modules(
        "let BatchNorm use its running statistics", "BatchNorm in evaluation mode in {site}", "the model"
    ),
    "module.scaled": _at_module("scale the output of a module", "output of {site} x {value}", Value.FACTOR),
    "data.captions_permuted": Kind("permute the captions within each batch", "captions permuted within the batch"),
    "data.batches_redrawn": Kind(
        "draw the batches of loaders from all of the data set at random", "batches drawn anew from all of the data"
    ),
    "data.pixels_standardised": Kind(
        "give pictures mean 0 and standard deviation 1 in each channel", "pixels standardised per channel"
    ),
    "data.pixels_scaled": Kind("scale the pixels of pictures", "pixels x {value}", Value.FACTOR),
}
"""Name of a change -> what it is. The agreed names; ``replaying.interventions`` makes each of them."""
