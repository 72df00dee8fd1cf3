"""What retrieval costs: all Matryoshka widths in one pass, beside one pass for each width done with other tools.

Each tool runs in a process of its own on the same drawn embeddings, both directions, R@1/5/10 and MRR; peak memory is
what the process holds above the embeddings. All recalls must agree.

    python tests/benchmarks/retrieval.py                        # 5000 images, 25000 captions, 4096 dims, 7 widths
    python tests/benchmarks/retrieval.py --images 1000 --captions 5000 --width 512 --widths 4
    python tests/benchmarks/retrieval.py --large                # 100000 x 100000, 512 dims: extrapolated, then measured

torchmetrics ranks one query at a time, and so only a hundredth of the queries are timed; its seconds are a hundred
times theirs, and scoring, which it leaves to its user, is not among them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

KS = (1, 5, 10)
TOOLS = {
    "ours": "edgeglass-diag, one pass",
    "each": "edgeglass-diag, a pass for each width",
    "sentence-transformers": "sentence-transformers, a pass for each width",
    "torchmetrics": "torchmetrics, a pass for each width (extrapolated)",
}
SHARE = 100


def embeddings(options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    """Gaussian images, and captions near theirs; captions are dealt out in turn."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(options.images, options.width, generator=generator)
    owner = torch.arange(options.captions) % options.images
    text = torch.randn(options.captions, options.width, generator=generator)
    for rows in torch.arange(options.captions).split(1024):
        text[rows] += 0.2 * image[owner[rows]]
    return image, text, owner


def ours(image: Tensor, text: Tensor, owner: Tensor, widths: list[int]) -> list[list[float]]:
    """R@1 of both directions for each width."""
    from edgeglass_diag.measures.ranking import hits, mean_reciprocal_rank
    from edgeglass_diag.measures.retrieval import place_pairs

    placed = place_pairs(image, text, owner, dims=widths)
    tables = [[hits(side, k).mean(1) for k in KS] + [mean_reciprocal_rank(side)] for side in placed]
    return torch.stack([table[0] for table in tables], 1).tolist()


def each(image: Tensor, text: Tensor, owner: Tensor, widths: list[int]) -> list[list[float]]:
    """The same, one width at a time."""
    return [ours(image, text, owner, [width])[0] for width in widths]


class Ready:
    """A model whose embeddings are there already; its texts are row numbers."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def encode_query(self, texts: list[str], truncate_dim: int | None = None, **_: object) -> Tensor:
        return self.rows[torch.tensor([int(text) for text in texts]), :truncate_dim]

    encode_document = encode_query


def sentence_transformers(image: Tensor, text: Tensor, owner: Tensor, widths: list[int]) -> list[list[float]]:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    names = [str(index) for index in range(max(len(image), len(text)))]
    captions: dict[str, set[str]] = {}
    for caption, index in enumerate(owner.tolist()):
        captions.setdefault(names[index], set()).add(names[caption])
    images = {names[caption]: {names[index]} for caption, index in enumerate(owner.tolist())}
    recalls = []
    for width in widths:
        row = []
        for queries, corpus, relevant in ((image, text, captions), (text, image, images)):
            evaluator = InformationRetrievalEvaluator(
                {name: name for name in names[: len(queries)]},
                {name: name for name in names[: len(corpus)]},
                relevant,
                corpus_chunk_size=4096,
                truncate_dim=width,
                accuracy_at_k=list(KS),
                **{f"{kind}_at_k": [10] for kind in ("mrr", "ndcg", "precision_recall", "map")},
                score_functions={"cosine": cos_sim},
            )
            scores = evaluator.compute_all_metrics(Ready(queries), Ready(corpus))
            row.append(scores["cosine"]["accuracy@k"][1])
        recalls.append(row)
    return recalls


def torchmetrics(image: Tensor, text: Tensor, owner: Tensor, widths: list[int]) -> tuple[list[list[float]], float]:
    """Recalls of a hundredth of the queries, and the seconds that all of them would take."""
    from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_reciprocal_rank

    recalls, seconds = [], 0.0
    index = torch.arange(len(image))
    for width in widths:
        left, right = F.normalize(image[:, :width], dim=1), F.normalize(text[:, :width], dim=1)
        row = []
        for queries, corpus, own, other in ((left, right, index, owner), (right, left, owner, index)):
            found = []
            for query in range(0, len(queries), SHARE):
                scores = 2 + corpus @ queries[query]  # a match with a score below 0 would not count
                start = time.perf_counter()
                found.append([retrieval_hit_rate(scores, other == own[query], top_k=k) for k in KS])
                retrieval_reciprocal_rank(scores, other == own[query])
                seconds += SHARE * (time.perf_counter() - start)
            row.append(float(torch.tensor(found)[:, 0].mean()))
        recalls.append(row)
    return recalls, seconds


def status(field: str) -> float:
    """A field of /proc/self/status in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def measure(tool: str, options: argparse.Namespace) -> dict[str, object]:
    """Seconds, MiB above the embeddings, and recalls of one tool in this process."""
    from edgeglass_models.torchvision_operators import define_missing_operators

    define_missing_operators()
    image, text, owner = embeddings(options)
    run = {"ours": ours, "each": each, "sentence-transformers": sentence_transformers, "torchmetrics": torchmetrics}[
        tool
    ]
    run(image[:50], text[:50], torch.arange(50), [8])  # imports and first touches
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak so far is forgotten
    before, start = status("VmRSS"), time.perf_counter()
    recalls = run(image, text, owner, [options.width >> halving for halving in range(options.widths)])
    seconds = time.perf_counter() - start
    if isinstance(recalls, tuple):
        recalls, seconds = recalls
    return {"seconds": seconds, "mib": status("VmHWM") - before, "recalls": recalls}


def elsewhere(tool: str, **changes: int) -> dict[str, object]:
    """The measure of a tool in a new process."""
    words = [word for name, value in changes.items() for word in (f"--{name}", str(value))]
    line = [sys.executable, __file__, "--tool", tool, *words]
    return json.loads(subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout)  # type: ignore[no-any-return]


def compare(tools: list[str], sizes: dict[str, int]) -> None:
    """A Markdown table."""
    print(f"{sizes}, {torch.get_num_threads()} threads\n\n| tool | seconds | times | MiB above | i2t R@1 by width |")
    print("| --- | --- | --- | --- | --- |")
    first: float | None = None
    for tool in tools:
        result = elsewhere(tool, **sizes)
        first = first or result["seconds"]
        recalls = " ".join(f"{row[0]:.4f}" for row in result["recalls"])
        times = f"{result['seconds'] / first:.1f}x"
        print(f"| {TOOLS[tool]} | {result['seconds']:.1f} | {times} | {result['mib']:.0f} | {recalls} |", flush=True)


def large(widths: int, count: int) -> None:
    """The time of a large square one, guessed from an eighth of its sides, then measured."""
    guess = elsewhere("ours", images=count // 8, captions=count // 8, width=512, widths=widths)
    print(
        f"{count // 8}^2: {guess['seconds']:.1f} s; so {count}^2 takes about {guess['seconds'] * 64:.0f} s", flush=True
    )
    result = elsewhere("ours", images=count, captions=count, width=512, widths=widths)
    print(f"{count}^2: {result['seconds']:.1f} s, {result['mib']:.0f} MiB above the embeddings")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("images", 5000), ("captions", 25000), ("width", 4096), ("widths", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=list(TOOLS))
    parser.add_argument("--large", type=int, nargs="?", const=100_000, help="images and captions, at 512 dims")
    parser.add_argument("--tool", choices=list(TOOLS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool:
        print(json.dumps(measure(options.tool, options)))
    elif options.large:
        large(1, options.large)
    else:
        compare(options.tools, {name: getattr(options, name) for name in ("images", "captions", "width", "widths")})


if __name__ == "__main__":
    main()
