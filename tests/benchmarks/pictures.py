"""Pictures of the dashboard's pages for the README: ``python tests/benchmarks/pictures.py RUNS docs/pictures``.

RUNS is what ``edgeglass-diag run incident --every 2 --out RUNS/incident`` wrote. Each picture is at most 1000 pixels
wide and smaller than 100 kB.
"""

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ILL, HEALTHY = "/run/incident/perceiver", "/run/incident/baseline"
HEAD = "image_head.resampler.layers.3.attention.attention"
OVERLAID = "runs=incident/baseline&show=loss/total&show=update/ratio&show=activation/sample_signal&log=1"
PICTURES = {
    "overview": (ILL, 860),
    "site": (f"{ILL}?page=site&site=image_head.resampler.layers.0.attention", 1100),
    "attention": (f"{ILL}?page=attention&signal=attention/logit_max&site={HEAD}", 980),
    "gradients": (f"{ILL}?page=gradients", 1120),
    "signal": (f"{ILL}?page=signal", 1440),
    "signals": (f"{ILL}?page=signals&{OVERLAID}", 980),
    "embeddings": (f"{ILL}?page=embeddings", 1120),
    "embeddings-healthy": (f"{HEALTHY}?page=embeddings&signal=tsne", 980),
    "retrieval": (f"{HEALTHY}?page=retrieval", 1240),
    "compare": ("/compare", 900),
    "coverage": (f"{HEALTHY}?page=coverage", 700),
    "runs": ("/runs", 480),
}
LARGEST = 100_000


def shrunk(png):
    """The picture as PNG with as many colours as fit."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for colors in (256, 128, 64, 32, 16):
        file = io.BytesIO()
        image.quantize(colors, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if file.tell() < LARGEST:
            return file.getvalue()
    raise SystemExit(f"a picture of {image.size} does not fit {LARGEST} bytes")


def chromium(playwright):
    """The browser, which fetches nothing."""
    quiet = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=quiet)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "edgeglass_dashboards", str(options.runs), "--port", "8700"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = chromium(playwright)
            for name, (place, height) in PICTURES.items():
                scheme = "dark" if name in ("signal", "embeddings-healthy") else "light"
                page = browser.new_page(viewport={"width": 1000, "height": height}, color_scheme=scheme)
                page.goto(url + place)
                page.locator("#page .overview").wait_for()
                if "tsne" in place:
                    page.locator("#projection .js-plotly-plot").wait_for(timeout=120_000)
                page.wait_for_timeout(1500)
                picture = shrunk(page.screenshot())
                (options.out / f"{name}.png").write_bytes(picture)
                print(f"{name}.png: {len(picture) // 1000} kB")
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
