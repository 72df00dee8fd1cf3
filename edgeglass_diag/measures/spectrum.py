"""Singular values of a matrix of embeddings. Numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def singular_values(values: Array) -> Array:
    """Singular values, largest first, those that rounding cannot tell from 0 as 0; (min(N, D),) of float64.

    By the smaller Gram matrix, in which a value below sqrt(eps) of the largest, about 1.5e-8, is lost.
    The matrix is not centred: its effective rank is that of ``measures.geometry.effective_rank``.

    Args:
        values: (N, D), finite.
    """
    matrix = values.astype(np.float64)
    peak = float(np.abs(matrix).max(initial=0.0))
    if peak == 0:
        return np.zeros(min(matrix.shape))
    matrix /= peak  # squares of activations of 1e200 have no place in float64 either
    gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    energies = np.linalg.eigvalsh(gram)[::-1].clip(min=0)
    floor = energies[0] * max(matrix.shape) * np.finfo(np.float64).eps
    result: Array = np.sqrt(np.where(energies > floor, energies, 0)) * peak
    return result
