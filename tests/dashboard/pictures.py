"""Draws the dashboard's pages in light and dark at several widths, to be looked at one by one.

    python -m tests.dashboard.pictures OUT RUNS        # all pages of the newest run below RUNS, and those of all runs
    python -m tests.dashboard.pictures OUT RUNS --run incident/perceiver --only overview --size 1280x720

``PAGES`` lists them: a name for the file, and the address behind the run's (or from ``/``, of those of all runs).
"""

import argparse
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

from playwright.sync_api import sync_playwright

PAGES = {
    "overview": "",
    "site": "?page=site",
    "explain": "?page=explain",
    "signals": "?page=signals",
    "attention": "?page=attention",
    "gradients": "?page=gradients",
    "signal": "?page=signal",
    "embeddings": "?page=embeddings",
    "retrieval": "?page=retrieval",
    "coverage": "?page=coverage",
    "attribution": "?page=attribution",
    "profile": "?page=profile",
    "runs": "/runs",
    "compare": "/compare",
}
SIZES = ("1440x900", "1280x720", "1000x800", "390x844")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
DRAWN = """async () => {
  const waits = () => /appears? here by itself/.test(document.body.textContent);
  const still = () => document.querySelector('[data-page]') && !waits() &&
    [...document.querySelectorAll('.dash-graph')].every((graph) => graph.querySelector('.main-svg'));
  const end = Date.now() + 60000;
  for (let times = 0; times < 10 && Date.now() < end; times = still() ? times + 1 : 0) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}"""


def draw(browser, address, size, scheme, file, *, whole):
    """One picture; ``whole`` draws what is below the screen as well."""
    width, height = map(int, size.split("x"))
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.evaluate(DRAWN)
    page.screenshot(path=file, full_page=whole)
    wide = page.evaluate("document.documentElement.scrollWidth")
    context.close()
    print(f"{file.name}{f': {wide} pixels wide' if wide > width else ''}", flush=True)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--run", help="path of a run below RUNS; the newest if not given")
    parser.add_argument("--only", nargs="*", help=f"pages: {', '.join(PAGES)}; or an address as ?page=site&site=head")
    parser.add_argument("--size", nargs="*", default=SIZES)
    parser.add_argument("--scheme", nargs="*", default=("light", "dark"))
    parser.add_argument("--screen", action="store_true", help="only what fits the screen")
    return parser.parse_args()


def main():
    asked = options()
    asked.out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "edgeglass_dashboards", str(asked.runs), "--port", "8700"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        run = f"/run/{urllib.parse.quote(asked.run)}" if asked.run else "/"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
            for name in asked.only or PAGES:
                place = PAGES.get(name, name)
                address = url + (place if place.startswith("/") else run + place)
                words = name if name in PAGES else "".join(c if c.isalnum() else "-" for c in name)
                of = f"{asked.run.replace('/', '-')}-" if asked.run else ""
                for size in asked.size:
                    for scheme in asked.scheme:
                        file = asked.out / f"{of}{words}-{size}-{scheme}.png"
                        draw(browser, address, size, scheme, file, whole=not asked.screen)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
