"""Init schemes of the field, each with its standard deviation from shapes and its source."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Fans = tuple[int, int]
"""fan-in and fan-out: columns and rows of an nn.Linear's weight."""


@dataclass(frozen=True)
class Scheme:
    """One way to draw a matrix (rows, columns) of latents or of a projection.

    Attributes:
        name: as in ``SCHEMES``.
        std: standard deviation of the entries, from (fan_in, fan_out) and the number of layers.
        draw: fills a tensor in place, given the number of layers.
        source: title and URL.
    """

    name: str
    std: Callable[[Fans, int], float]
    draw: Callable[[Tensor, int], object]
    source: str

    def fill(self, tensor: Tensor, *, layers: int = 1) -> Tensor:
        """Fill a parameter in place; a vector is drawn as a matrix of one row, whose width is its fan-in.

        Args:
            tensor: (rows, columns) or (columns,).
            layers: layers of the model, for the schemes that scale with depth.

        Raises:
            ValueError: for another number of dimensions.
        """
        if tensor.dim() not in (1, 2):
            raise ValueError(f"a scheme fills a vector or a matrix, got shape {tuple(tensor.shape)}")
        with torch.no_grad():
            self.draw(tensor if tensor.dim() == 2 else tensor[None], layers)
        return tensor

    def predicted_std(self, tensor: Tensor, *, layers: int = 1) -> float:
        """Return the standard deviation that ``fill`` gives the entries of this tensor."""
        rows, columns = tensor.shape if tensor.dim() == 2 else (1, tensor.shape[0])
        return self.std((columns, rows), layers)


_XAVIER = "Understanding the difficulty of training deep feedforward neural networks, Glorot & Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html"
_KAIMING = "Delving Deep into Rectifiers, https://arxiv.org/abs/1502.01852"


def _xavier(fans: Fans, layers: int) -> float:
    return math.sqrt(2 / (fans[0] + fans[1]))


def _kaiming(fans: Fans, layers: int) -> float:
    return math.sqrt(2 / fans[0])


def _lecun(fans: Fans, layers: int) -> float:
    return 1 / math.sqrt(fans[0])


def _mup_readout(fans: Fans, layers: int) -> float:
    return 1 / fans[0]


def _gpt2(fans: Fans, layers: int) -> float:
    return 0.02 / math.sqrt(2 * layers)


def _tfixup(fans: Fans, layers: int) -> float:
    return 0.67 * math.pow(layers, -0.25) * _xavier(fans, layers)


def _orthogonal(fans: Fans, layers: int) -> float:
    return 1 / math.sqrt(max(fans))


def _normal(std: Callable[[Fans, int], float]) -> Callable[[Tensor, int], object]:
    return lambda t, layers: nn.init.normal_(t, std=std((t.shape[1], t.shape[0]), layers))


def _reported(tensor: Tensor, layers: int) -> object:
    tensor.copy_(torch.randn_like(tensor))
    return nn.init.normal_(tensor, std=0.02)


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("xavier_uniform", _xavier, lambda t, _: nn.init.xavier_uniform_(t), _XAVIER),
        Scheme("xavier_normal", _xavier, lambda t, _: nn.init.xavier_normal_(t), _XAVIER),
        Scheme(
            "kaiming_uniform", _kaiming, lambda t, _: nn.init.kaiming_uniform_(t, nonlinearity="relu"), _KAIMING
        ),
        Scheme("kaiming_normal", _kaiming, lambda t, _: nn.init.kaiming_normal_(t, nonlinearity="relu"), _KAIMING),
        Scheme(
            "torch_linear",
            lambda fans, _: 1 / math.sqrt(3 * fans[0]),
            lambda t, _: nn.init.kaiming_uniform_(t, a=math.sqrt(5)),
            "torch.nn.Linear.reset_parameters, https://github.com/pytorch/pytorch/issues/57109",
        ),
        Scheme(
            "lecun_normal", _lecun, _normal(_lecun),
            "Efficient BackProp, LeCun et al. 1998; Self-Normalizing Neural Networks, https://arxiv.org/abs/1706.02515",
        ),
        Scheme(
            "trunc_normal_0.02",
            lambda *_: 0.02,  # cut at +-2, which is a hundred standard deviations: nothing is cut
            lambda t, _: nn.init.trunc_normal_(t, std=0.02),
            "BERT, https://arxiv.org/abs/1810.04805; ViT in timm, https://github.com/huggingface/pytorch-image-models",
        ),
        Scheme(
            "orthogonal", _orthogonal, lambda t, _: nn.init.orthogonal_(t),
            "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks, https://arxiv.org/abs/1312.6120",
        ),
        Scheme(
            "depth_scaled", _gpt2, _normal(_gpt2),
            "Language Models are Unsupervised Multitask Learners (GPT-2), section 2.3: residual / sqrt(2 layers)",
        ),
        Scheme(
            "t_fixup", _tfixup, _normal(_tfixup),
            "T-Fixup, https://proceedings.mlr.press/v119/huang20f.html: encoder 0.67 N^-1/4 times Xavier",
        ),
        Scheme(
            "mup_hidden", _lecun, _normal(_lecun),
            "Tensor Programs V, https://arxiv.org/abs/2203.03466, table 3: hidden variance 1 / fan_in",
        ),
        Scheme(
            "mup_readout", _mup_readout, _normal(_mup_readout),
            "Tensor Programs V, https://arxiv.org/abs/2203.03466, table 3: output variance 1 / fan_in^2",
        ),
        Scheme(
            "unit_normal", lambda *_: 1.0, lambda t, _: nn.init.normal_(t),
            "Flamingo's resampler, https://arxiv.org/abs/2204.14198: latents of randn",
        ),
        Scheme("reported", lambda *_: 0.02, _reported, "the Edge Glass report: randn, then normal_(std=0.02)"),
        Scheme(
            "zeros", lambda *_: 0.0, lambda t, _: nn.init.zeros_(t),
            "gates of Flamingo, https://arxiv.org/abs/2204.14198; ReZero, https://arxiv.org/abs/2003.04887",
        ),
        Scheme(
            "ones", lambda *_: 0.0, lambda t, _: nn.init.ones_(t),
            "a fault for latents: https://github.com/huggingface/transformers/issues/31151",
        ),
    )
}  # fmt: skip
"""By name. ``zeros`` is for gates, ``zeros`` and ``ones`` are faults of latents; ``std`` is about the entries' mean."""

IDENTICAL_ROWS = ("zeros", "ones")
"""Schemes whose rows are all equal: a fault for latents."""


def initialise(module: nn.Module, scheme: Scheme, *, layers: int = 1) -> None:
    """Draw the weight of every nn.Linear of a module by a scheme; biases become zero.

    Args:
        module: its projections are filled; norms, embeddings and parameters of its own are left alone.
        scheme: see ``SCHEMES``.
        layers: layers of the model.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            scheme.fill(part.weight, layers=layers)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
