"""What a site is, in few words: made here, where it is shown, and read by no program."""

from __future__ import annotations

from edgeglass_diag.sites import (
    AttentionSite,
    BatchSite,
    DropoutPlace,
    DropoutSite,
    EmbeddingSite,
    LossSite,
    ModuleSite,
    ParameterSite,
    ReshapeSite,
    Side,
    Site,
    SoftmaxSite,
)

_DROPOUT = {
    DropoutPlace.EVALUATION: "in evaluation",
    DropoutPlace.FROZEN_ENCODER: "in a frozen encoder",
    DropoutPlace.UNKNOWN: "",
}


def site_text(site: Site) -> str:
    """Return what is known of a site besides its path; empty where there is nothing to say.

    >>> site_text(ParameterSite(path="w", shape=(64, 512), local_shape=(32, 512)))
    '64x512 sharded, here 32x512'
    >>> site_text(BatchSite(path="images", shape=(3, 64, 64), dtype="float32"))
    '3x64x64 float32'
    """
    match site:
        case ModuleSite():
            return site.class_name
        case ParameterSite():
            return _parameter_text(site)
        case AttentionSite():
            return f"queries from {site.queries_from}" if site.queries_from else ""
        case LossSite():
            return "sigmoid" if site.is_sigmoid else site.reduction
        case EmbeddingSite():
            return "" if site.side is Side.UNKNOWN else site.side
        case BatchSite():
            return f"{shape_text(site.shape)} {site.dtype}"
        case ReshapeSite():
            return f"{shape_text(site.before)} to {shape_text(site.after)}"
        case SoftmaxSite():
            return shape_text(site.shape)
        case DropoutSite():
            return _DROPOUT[site.place]
    return ""


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as ``3x64x64``; empty for that of a number."""
    return "x".join(map(str, shape))


def _parameter_text(site: ParameterSite) -> str:
    whole = shape_text(site.shape)
    return whole if site.local_shape is None else f"{whole} sharded, here {shape_text(site.local_shape)}"
