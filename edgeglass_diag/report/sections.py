"""The sections of a report as plain values for the template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from edgeglass_diag.explained.map_words import effect_table, legend, line_table, panel_tables
from edgeglass_diag.render import explanation as explained
from edgeglass_diag.report.figures import Album, Drawn, embeddings_of, loss_of, map_of, ranks_of, recalls_of, trials_of
from edgeglass_diag.report.key_metrics import key_metrics
from edgeglass_diag.report.render import (
    WAYS,
    divergence_sentence,
    duration,
    mean_recall,
    not_finite_sentence,
    number,
    prefix_sentences,
    retrieval_sentence,
)
from edgeglass_diag.report.report_run import Subject, last_finite
from edgeglass_diag.signals.losses import LOSS_CHANCE, LOSS_TOTAL

Rows = list[tuple[str, list[str]]]
RECALLS = ("R@1", "R@5", "R@10")


def sections(subjects: Sequence[Subject], comparison: Mapping[str, Any], album: Album) -> dict[str, Any]:
    """Everything that the template shows, figures put into ``album``.

    Args:
        subjects: the runs.
        comparison: ``differing_settings`` and ``first_divergence`` as ``compare --json`` prints them.
        album: takes the figures.
    """
    drawn = {s.label: list(embeddings_of(s, album)) for s in subjects}
    evaluated = {s.label: s.evaluation.result for s in subjects if s.evaluation is not None}
    return {
        "labels": [s.label for s in subjects],
        "verdicts": [(s.label, s.verdict) for s in subjects],
        "setup": setup(subjects),
        "settings": settings(subjects),
        "without_settings": [s.label for s in subjects if not s.settings],
        "results": results(subjects),
        "retrieval": [retrieval_sentence(name, result) for name, result in evaluated.items()],
        "not_finite": [said for name, result in evaluated.items() if (said := not_finite_sentence(name, result))],
        "missing": [(s.label, s.missing) for s in subjects if s.evaluation is None],
        "divergence": divergence_sentence(comparison.get("first_divergence"), len(subjects)),
        "losses": [figure for s in subjects for figure in (loss_of(s, album), ranks_of(s, album)) if figure],
        "recall_figure": recalls_of(subjects, album),
        "failures": [_failure(s, drawn[s.label]) for s in subjects],
        "explained": [
            _explained(s, map_of(s, album) or trials_of(s, album)) for s in subjects if s.explanation or s.unexplained
        ],
        "mrl": [_mrl(name, result, _of_kind(drawn[name], "mrl")) for name, result in evaluated.items()],
    }


def setup(subjects: Sequence[Subject]) -> Rows:
    """What ran where and how long; one column per run, empty rows left out."""
    columns = [_about(s) for s in subjects]
    keys = dict.fromkeys(key for column in columns for key in column)
    return [(key, [column.get(key, "–") for column in columns]) for key in keys]


def settings(subjects: Sequence[Subject]) -> list[tuple[str, list[str], bool]]:
    """Settings of the recipes and whether they differ, those that do first."""
    known = [s.settings for s in subjects]
    keys = dict.fromkeys(key for one in known for key in one if key not in ("name", "description"))
    rows = [(key, [json.dumps(one[key]) if key in one else "–" for one in known]) for key in keys]
    marked = [(key, cells, len(set(cells)) > 1) for key, cells in rows]
    return sorted(marked, key=lambda row: not row[2])


def results(subjects: Sequence[Subject]) -> Rows:
    """Losses with their chance level, recalls with their intervals, and the geometry at full width."""
    rows: Rows = [
        ("train loss", [number(_train_loss(s)) for s in subjects]),
        ("chance level of the loss", [number(last_finite(s.series(LOSS_CHANCE))) for s in subjects]),
        ("validation loss", [number(s.run.result.get("val_loss")) for s in subjects]),
    ]
    for way, words in WAYS.items():
        rows += [(f"{words} {k}", [_recall(s, way, k) for s in subjects]) for k in RECALLS]
    rows.append(("pairs ranked", [_evaluated(s, "n_images") or number(s.run.result.get("n")) for s in subjects]))
    return rows


def _train_loss(subject: Subject) -> object:
    """What the run reports, else the last loss that was recorded."""
    told = subject.run.result.get("train_loss")
    return last_finite(subject.series(LOSS_TOTAL)) if told is None else told


def _recall(subject: Subject, way: str, k: str) -> str:
    if subject.evaluation is None:
        return number((subject.run.result.get(way) or {}).get(k))
    result = subject.evaluation.result
    low, high = result["ci95"][way][k]
    return f"{result[way][k]:.3f} ({low:.3f} to {high:.3f}; chance {result['chance'][way][k]:.4f})"


def _evaluated(subject: Subject, key: str) -> str:
    return "" if subject.evaluation is None else str(subject.evaluation.result[key])


def _about(subject: Subject) -> dict[str, str]:
    run, header = subject.run, subject.run.header
    environment, git = header.get("environment") or {}, header.get("git") or {}
    ended = header.get("ended")
    known = {
        "status": run.status + (f": {error}" if (error := run.failure or run.result.get("error")) else ""),
        "began": datetime.fromtimestamp(header["created"], UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "took": duration(ended - header["created"] if ended else None),
        "last recorded step": str(run.last_step) if run.last_step >= 0 else "none",
        "windows recorded": str(run.windows),
        "resumed": ", ".join(f"at step {cut.step}" for cut in run.cuts),
        "processes": ", ".join(f"rank {rank}" for rank in run.ranks) if len(run.ranks) > 1 else "",
        "evaluated on": f"split {subject.evaluation.result.get('split', '')}" if subject.evaluation else "",
        "Python": str(environment.get("python", "")),
        "torch": str(environment.get("torch", "")),
        "platform": str(environment.get("platform", "")),
        "commit": (str(git.get("commit", ""))[:12] + (" with changes" if git.get("dirty") else "")) if git else "",
        "command": " ".join(map(str, header.get("command", ()))),
    }
    return {key: value for key, value in known.items() if value}


def _failure(subject: Subject, drawn: Sequence[Drawn]) -> dict[str, Any]:
    result = subject.evaluation.result if subject.evaluation else None
    return {
        "label": subject.label,
        "verdict": subject.verdict,
        "branches": subject.branches,
        "key_metrics": key_metrics(subject.run),
        "figures": [figure for figure in drawn if figure.kind != "mrl"],
        "shapes": _shapes(result["mrl"]) if result else [],
        "hubness": _hubness(result["geometry"]["hubness"]) if result else [],
        "missing": subject.missing,
    }


def _explained(subject: Subject, figure: Drawn | None) -> dict[str, Any]:
    found = subject.explanation
    shown: dict[str, Any] = {"label": subject.label, "fault": subject.unexplained, "figure": figure, "tables": []}
    if found is None:
        return shown | {"verdict": "", "notes": []}
    tables = [
        ("Causes", explained.TRIED_COLUMNS, [explained.tried_cells(each) for each in found.causes]),
        ("Findings of the run", explained.MARK_COLUMNS, [explained.mark_cells(each) for each in found.findings]),
        ("All replays", explained.TRIAL_COLUMNS, [explained.trial_cells(each, found) for each in found.trials]),
        ("Tried, and no cause", explained.TRIED_COLUMNS, [explained.tried_cells(each) for each in found.not_causes]),
    ]
    mapped = [] if found.phase_map is None else [effect_table(found.phase_map), line_table(found.phase_map)]
    tables = [*(() if found.phase_map is None else panel_tables(found.phase_map)), *mapped, *tables]
    said = [] if found.phase_map is None else [legend(found.phase_map)]
    return shown | {
        "verdict": found.verdict,
        "notes": [*said, *explained.notes(found)],
        "tables": [table for table in tables if table[2]],
    }


def _shapes(entries: Mapping[str, Any]) -> list[list[str]]:
    """Geometry of each width."""
    rows = []
    for dim, entry in entries.items():
        shape = entry["geometry"]
        cells = [number(shape["modality_gap"]), number(shape["alignment"])]
        for name, digits in (("uniformity", 3), ("effective_rank", 1)):
            cells += [number(shape[name][side], digits) for side in ("image", "text")]
        rows.append([dim, *cells])
    return rows


def _hubness(found: Mapping[str, Any]) -> list[str]:
    said = []
    for way, what in (("i2t", "captions"), ("t2i", "images")):
        if (hubs := found[way]) is not None:
            never = f"{hubs['never']:.0%} of the {what} are never among the first {hubs['k']}"
            most = f"the most found one is {hubs['largest']:.4g} times"
            said.append(f"Hubness {WAYS[way]}: skew {hubs['skew']:.2f}; {never}, {most}.")
    return said


def _mrl(name: str, result: Mapping[str, Any], figure: Drawn | None) -> dict[str, Any]:
    full = max(map(int, result["mrl"]))
    whole = mean_recall(result["mrl"][str(full)])
    rows = []
    for dim, entry in result["mrl"].items():
        share = f"{mean_recall(entry) / whole:.1%}" if whole else "–"
        recalls = [number(entry[way][k]) for way in WAYS for k in RECALLS]
        rows.append([dim, f"{full / int(dim):.3g}x", *recalls, share])
    return {"label": name, "sentences": prefix_sentences(name, result), "rows": rows, "figure": figure}


def _of_kind(drawn: Sequence[Drawn], kind: str) -> Drawn | None:
    return next((figure for figure in drawn if figure.kind == kind), None)
