"""How fast the dashboard is on a long run: first paint, page change, live updates, the server's memory.

A process of its own writes a synthetic run with the store's own writer, window by window as a training does, and goes
on writing while the real server and a real Chromium are measured. The pages are those that the first page links to.

    python tests/benchmarks/dashboard.py                        # 12 million readings, a table in Markdown
    python tests/benchmarks/dashboard.py --signals 5 --pause 0.2  # 50 million, and five windows a second
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edgeglass_diag.pair_samples import PairSamples, Wording
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.store import RunWriter, load

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.synthetic_run import Synthetic

BARS = {"first": 1500.0, "change": 500.0, "live": 200.0, "seen": 1000.0, "memory": 400.0}
DRAWN = """token => {
  const page = document.querySelector('[data-token]');
  if (!page || page.dataset.token === token) return null;
  const graphs = [...page.querySelectorAll('.dash-graph')];
  return graphs.every(graph => graph.querySelector('.main-svg')) ? page.dataset.token : null;
}"""
WORDS = """(() => {
  const mark = () => {
    const words = document.querySelectorAll('#verdict *, #verdict-details *');
    if (!words.length) return;
    words.forEach(element => element.setAttribute('elementtiming', 'words'));
    marker.disconnect();
  };
  const marker = new MutationObserver(mark);
  marker.observe(document, {childList: true, subtree: true});
  new PerformanceObserver(painted => {
    for (const { renderTime } of painted.getEntries()) window.wordsAt = Math.max(window.wordsAt ?? 0, renderTime);
  }).observe({type: 'element', buffered: true});
})()"""
"""When the browser has shown the words, by its own clock (Element Timing): a script that asks in the next frame is
told late where plotly is compiled between the two."""
PROGRESS = """() => {
  window.progressSeen = [];
  const note = () => {
    const found = /step (\\d+)/.exec(document.querySelector('#progress')?.textContent ?? '');
    if (found) window.progressSeen.push([Number(found[1]), Date.now() / 1000]);
  };
  new MutationObserver(note).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


def write(folder: Path, options: argparse.Namespace) -> None:
    """Write the run, say how long that took, then a window each ``pause`` seconds until the process is ended."""
    source = Synthetic(options.sites, options.heads, options.signals)
    writer = RunWriter(folder, name=folder.name, header={"settings": {"total_steps": 20 * options.steps}})
    finding = Finding(
        "EG101", "attention-stays-uniform", Severity.WARNING, "encoder.layers.3.attention", 100, "uniform"
    )
    pauses = []
    for number in range(options.steps):
        window = source.window(10 * number)
        begun = time.perf_counter()
        writer.write(window, [finding])
        pauses.append(1e3 * (time.perf_counter() - begun))
    for step in (0, 10, 100, 1000):
        image, text = source.random.normal(size=(2, 256, 512)).astype(np.float32)
        writer.write_embeddings(step, image, text)
        pictures = source.random.integers(0, 256, (256, 64, 64, 3), np.uint8)
        captions = tuple(
            f"caption {pair}: a picture of nothing, as long as captions usually are" for pair in range(256)
        )
        writer.write_samples(step, PairSamples(pictures, captions, Wording.TEXTS))
    cuts = statistics.quantiles(pauses, n=100)
    print(json.dumps({"median": cuts[49], "p99": cuts[98], "max": max(pauses)}), flush=True)
    sys.stdin.readline()
    for number in range(options.steps, 10**9):
        writer.write(source.window(10 * number), [finding])
        time.sleep(options.pause)


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that is ended with the block."""
    started = subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def line_of(started: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert started.stdout is not None
    return started.stdout.readline().strip()


def memory(pid: int) -> tuple[float, float]:
    """Resident memory of a process now and at its peak, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, peak = (int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) * 1.024e-3 for key in ("VmRSS", "VmHWM"))  # type: ignore[index]
    return now, peak


@dataclass
class Measured:
    """Milliseconds by page: until all figures stand, of the page's processor, of the server."""

    change: dict[str, list[float]] = field(default_factory=dict)
    live: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    words: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    seen: list[list[list[float]]] = field(default_factory=list)


def settle(page: Any, token: str) -> str:
    """Wait until another drawing of the page than ``token`` stands with all its figures."""
    return str(page.wait_for_function(DRAWN, arg=token, polling="raf", timeout=60_000).json_value())


def busy(metrics: Any) -> float:
    """Milliseconds of processor that the page has taken so far; what the machine does beside it does not count."""
    found = metrics.send("Performance.getMetrics")["metrics"]
    return 1e3 * float(next(entry["value"] for entry in found if entry["name"] == "TaskDuration"))


def watch_polls(page: Any, found: Measured, current: list[str]) -> None:
    """Note how long the server took for each poll of the page on the screen."""

    def finished(request: Any) -> None:
        if "/_live" in request.url and request.timing["responseStart"] > 0:
            took = request.timing["responseStart"] - request.timing["requestStart"]
            found.live.setdefault(current[0], []).append(took)

    page.on("requestfinished", finished)


def measure(url: str, options: argparse.Namespace) -> Measured:
    """Open each page some times, and stay on each for some polls."""
    from playwright.sync_api import sync_playwright

    found, current = Measured(), ["Overview"]
    quiet = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=quiet)
        for _ in range(options.repeat):
            context = chromium.new_context(viewport={"width": 1400, "height": 900})
            page = context.new_page()
            page.add_init_script(WORDS)
            metrics = context.new_cdp_session(page)
            metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
            begun = time.perf_counter()
            page.goto(url, wait_until="commit")
            token = settle(page, "")
            found.first.append(1e3 * (time.perf_counter() - begun))
            found.words.append(page.wait_for_function("() => window.wordsAt", timeout=60_000).json_value())
            watch_polls(page, found, current)
            page.evaluate(PROGRESS)
            page.wait_for_timeout(1000 * options.polls)
            found.seen.append(page.evaluate("window.progressSeen"))
            titles = page.locator("nav a[href*='page=']").all_inner_texts()
            for title in [*titles, "Overview"] if titles else []:
                current[0] = title
                begun, taken = time.perf_counter(), busy(metrics)
                page.locator("nav a", has_text=title).first.click()
                token = settle(page, token)
                found.change.setdefault(title, []).append(1e3 * (time.perf_counter() - begun))
                found.cpu.setdefault(title, []).append(busy(metrics) - taken)
                page.wait_for_timeout(1000 * options.polls)
            context.close()
        chromium.close()
    return found


def delays(folder: Path, seen: list[list[float]]) -> list[float]:
    """Milliseconds from the write of each window to when its step or a later one stood on the screen.

    ``seen`` has the step on the screen and the time at each change, of one visit.
    """
    db = sqlite3.connect(f"{(folder / 'signals.sqlite').as_uri()}?mode=ro", uri=True)
    found = []
    for (before, _), (step, at) in pairwise(seen):
        rows = db.execute("SELECT time FROM windows WHERE step > ? AND step <= ?", (before, step)).fetchall()
        found += [1e3 * (at - time_) for (time_,) in rows]
    return found


def readings_in(folder: Path) -> int:
    """Readings of the run: one for each component."""
    with load(folder) as run:
        counted = 0
        for signal in run.signals:
            matrix = run.matrix(signal, bins=1)
            heads = run.heads(signal, matrix.sites[0], bins=1).component.max() + 1
            counted += int(matrix.count.sum()) * int(heads)
    return counted


def row(what: str, values: list[float], bar: str, unit: str = "ms") -> str:
    """A line of the table."""
    if not values:
        return f"| {what} | not measured | | {BARS[bar]:.0f} {unit} | |"
    middle, worst = statistics.median(values), max(values)
    met = "yes" if worst <= BARS[bar] else ("median only" if middle <= BARS[bar] else "no")
    return f"| {what} | {middle:.0f} | {worst:.0f} | {BARS[bar]:.0f} {unit} | {met} |"


def main() -> None:
    """Write, serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    for name, default in (("sites", 200), ("heads", 16), ("steps", 3000), ("signals", 1), ("repeat", 3), ("polls", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between windows of the live run")
    options = parser.parse_args()
    if options.write is not None:
        write(options.write, options)
        return
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = root / "synthetic"
        given = [f"--{name}={getattr(options, name)}" for name in ("sites", "heads", "steps", "signals", "pause")]
        writer = stack.enter_context(process(__file__, "--write", str(folder), *given))
        pauses = json.loads(line_of(writer))
        size = (folder / "signals.sqlite").stat().st_size / 1e6
        written, longest = (f"{pauses[key]:.1f} ms" for key in ("median", "max"))
        print(f"{readings_in(folder) / 1e6:.1f} million readings, {size:.0f} MB; a window is written in {written}")
        print(f"(median; 99 %: {pauses['p99']:.1f} ms, longest: {longest})\n")
        server = stack.enter_context(process("-m", "edgeglass_dashboards", str(root), "--port", "8650"))
        url = line_of(server)
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
        found = measure(url, options)
        now, peak = memory(server.pid)
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        print("| what | median | worst | bar | met |\n| --- | --- | --- | --- | --- |")
        print(row("first useful paint: verdict, headline and fix", found.words, "first"))
        print(row("the same with all figures", found.first, "first"))
        for title, values in found.change.items():
            print(row(f"change to {title}, all figures", values, "change"))
            print(row(f"change to {title}, processor time of the page", found.cpu[title], "change"))
        for title, values in found.live.items():
            print(row(f"live update of {title}, server time", values, "live"))
        print(
            row("from write to screen (Overview)", [ms for visit in found.seen for ms in delays(folder, visit)], "seen")
        )
        print(row("server memory", [now, peak], "memory", "MB"))


if __name__ == "__main__":
    main()
