"""Retrieval against torchmetrics and sentence-transformers, where their conventions are ours, and where they are not.

- One match per query: R@K is their recall, MRR their reciprocal rank.
- Several captions per image: R@K asks for any of them, their hit rate and accuracy; their recall is the share of them.
- Ties: they take one order of the tied (torchmetrics that of its sort, sentence-transformers that of the ids), ours is
  the mean over all orders.
- A score of 0 or less never counts as found in torchmetrics, so it gets 2 + cosine.
"""

import pytest
import torch
from torch.nn.functional import normalize

from edgeglass_diag.measures.ranking import hits, mean_reciprocal_rank
from edgeglass_diag.measures.retrieval import place_pairs
from edgeglass_models.torchvision_operators import define_missing_operators

define_missing_operators()
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator  # noqa: E402
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR, RetrievalRecall  # noqa: E402

KS = (1, 5, 10)


def drawn(captions):
    generator = torch.Generator().manual_seed(captions)
    image = torch.randn(40, 12, generator=generator)
    owner = torch.arange(40).repeat_interleave(captions)
    text = image[owner] + 1.2 * torch.randn(len(owner), 12, generator=generator)
    return image, text, owner


def measured(metric, image, text, owner, way):
    scores, relevant = 2 + normalize(image) @ normalize(text).T, torch.arange(len(image))[:, None] == owner
    if way == "t2i":
        scores, relevant = scores.T, relevant.T
    queries = torch.arange(len(scores))[:, None].expand_as(scores)
    return float(metric(scores.flatten(), relevant.flatten(), indexes=queries.flatten()))


@pytest.mark.parametrize("captions", [1, 3])
def test_torchmetrics_agrees(captions):
    image, text, owner = drawn(captions)
    for way, placed in zip(("i2t", "t2i"), place_pairs(image, text, owner), strict=True):
        for k in KS:
            expected = measured(RetrievalHitRate(top_k=k), image, text, owner, way)
            assert float(hits(placed, k).mean()) == pytest.approx(expected, abs=1e-6)
            if captions == 1 or way == "t2i":
                assert measured(RetrievalRecall(top_k=k), image, text, owner, way) == pytest.approx(expected, abs=1e-6)
        expected = measured(RetrievalMRR(), image, text, owner, way)
        assert float(mean_reciprocal_rank(placed)) == pytest.approx(expected, abs=1e-6)


def test_torchmetrics_takes_one_order_of_the_tied():
    image, text, owner = torch.eye(4)[[0, 0, 1]], torch.eye(4)[[0, 1]], torch.tensor([0, 2])
    assert hits(place_pairs(image, text, owner)[1], 1).tolist() == [[0.5, 1]]
    assert measured(RetrievalRecall(top_k=1), image, text, owner, "t2i") in (0.5, 1)


class Ready:
    """A model whose embeddings are there already: its texts are the numbers of their rows."""

    def __init__(self, rows):
        self.rows = rows

    def encode_query(self, texts, *, truncate_dim, **_):
        return self.rows[[int(text) for text in texts], :truncate_dim]

    encode_document = encode_query


def evaluated(queries, gallery, relevant, width):
    evaluator = InformationRetrievalEvaluator(
        {str(row): str(row) for row in range(len(queries))},
        {str(row): str(row) for row in range(len(gallery))},
        relevant,
        mrr_at_k=[len(gallery)],
        accuracy_at_k=list(KS),
        truncate_dim=width,
        score_functions={"cosine": lambda left, right: normalize(left) @ normalize(right).T},
    )
    return evaluator.compute_all_metrics(Ready(queries), Ready(gallery))["cosine"]


@pytest.mark.parametrize("captions", [1, 3])
def test_sentence_transformers_agrees_at_every_width(captions):
    image, text, owner = drawn(captions)
    of_image = {str(row): {str(caption) for caption in (owner == row).nonzero()[:, 0].tolist()} for row in range(40)}
    of_text = {str(caption): {str(row)} for caption, row in enumerate(owner.tolist())}
    sides = ((image, text, of_image), (text, image, of_text))
    for placed, side in zip(place_pairs(image, text, owner, dims=[12, 6, 3]), sides, strict=True):
        for row, width in enumerate([12, 6, 3]):
            expected = evaluated(*side, width)
            for k in KS:
                assert float(hits(placed, k)[row].mean()) == pytest.approx(expected["accuracy@k"][k], abs=1e-9)
            assert float(mean_reciprocal_rank(placed)[row]) == pytest.approx(
                next(iter(expected["mrr@k"].values())), abs=1e-9
            )
