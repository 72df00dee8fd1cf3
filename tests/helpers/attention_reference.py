"""Statistics of attention, row by row in float64 from the whole matrix: slow and plain."""

import math

import torch


def logits_of(query, key, scale=None):
    query, key = query.double(), key.double().repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    return (query @ key.mT) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)


def allowed_by(mask, shape, is_causal=False):
    """(B, H, L, S) bool, and the keys that no query of a sample may see by the mask alone (causality apart)."""
    allowed = torch.ones(shape, dtype=torch.bool)
    if mask is not None:
        allowed = (mask if mask.dtype == torch.bool else mask.double() > -1000).expand(shape)
    padding = ~allowed.any(2, keepdim=True).expand(shape)
    return (allowed.tril() if is_causal else allowed), padding


def reference(query, key, mask=None, is_causal=False, scale=None):
    logits = logits_of(query, key, scale)
    allowed, padding = allowed_by(mask, logits.shape, is_causal)
    plain = logits.clone()
    if mask is not None and mask.dtype != torch.bool:
        logits = logits + mask.double()
    expected = of_logits(logits, allowed, plain, padding if mask is not None else None)
    if (mask is None and not is_causal) or allowed.shape[2] != allowed.shape[3] or allowed.shape[3] < 2:
        return expected
    return expected | {"first_query_keys": allowed[:, :, 0].double().sum(-1).amax(0)}


def of_logits(logits, allowed, plain=None, padding=None):
    """Dictionary of (H,) statistics, by the names of AttentionStatistics."""
    found = {
        name: [[] for _ in range(logits.shape[1])] for name in ("mean", "var", "max", "entropy", "top1", "padding")
    }
    for b, h, i in torch.cartesian_prod(*(torch.arange(n) for n in logits.shape[:3])).tolist():
        row, keep = logits[b, h, i], allowed[b, h, i]
        if not keep.any():
            continue
        row = row[keep].double()
        weights = row.softmax(-1)
        entropy = torch.special.entr(weights).sum()
        found["mean"][h].append(row.mean())
        found["var"][h].append(row.var(correction=0))
        found["max"][h].append(row.max())
        found["entropy"][h].append(entropy / math.log(len(row)) if len(row) > 1 else 0 * entropy)
        found["top1"][h].append(weights.max())
        if padding is not None:
            hidden = plain[b, h, i][padding[b, h, i]]
            found["padding"][h].append(torch.cat([row, hidden]).softmax(-1)[len(row) :].sum())

    def mean(name):
        return torch.stack([torch.stack(v).mean() if v else torch.tensor(math.nan).double() for v in found[name]])

    expected = {"logit_mean": mean("mean"), "logit_std": mean("var").sqrt(), "entropy": mean("entropy")}
    expected["logit_max"] = torch.tensor([float(max(v, default=-math.inf)) for v in found["max"]]).double()
    expected |= {"top1": mean("top1"), "valid_keys": allowed.double().mean((0, 2, 3))}
    expected["masked_queries"] = (~allowed.any(-1)).double().mean((0, 2))
    return expected | ({"padding_mass": mean("padding")} if padding is not None else {})


UNMASKED = {"valid_keys": 1.0, "masked_queries": 0.0, "padding_mass": 0.0}


def assert_matches(statistics, expected, tolerance=1e-4, unknown=()):
    """All statistics; missing may be the ``unknown`` and those that say no more than that nothing is masked."""
    for name, want in expected.items():
        got = getattr(statistics, name)
        if got is None:
            assert name in unknown or (want == UNMASKED[name]).all(), f"{name} is missing"
            continue
        assert got.shape == want.shape, name
        difference = (got.double() - want).abs()
        close = (difference <= tolerance * (1 + want.abs())) | (got == want) | (got.isnan() & want.isnan())
        assert close.all(), f"{name}: expected {want.tolist()}, got {got.tolist()}"
