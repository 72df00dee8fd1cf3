"""Make real pictures with captions without any download: the emoji of Debian's Noto font and their Unicode names.

    apt-get install fonts-noto-color-emoji unicode-data
    python examples/emoji_pairs.py OUT_DIR

writes about 3,600 pictures of 136 x 136 pixels to OUT_DIR/images and their names to OUT_DIR/pairs.csv, which
`--set data.path=OUT_DIR/pairs.csv` reads.
"""

import argparse
import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features
from rich.progress import track

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
EMOJI_LIST = Path("/usr/share/unicode/emoji/emoji-test.txt")
FONT_SIZE = 109  # the only size of the font's pictures
SIDE = 136  # pixels of one picture's width
ENTRY = re.compile(r"^(?P<codes>[0-9A-F ]+?) *; fully-qualified +# \S+ E\d+\.\d+ (?P<name>.+)$")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make picture-caption pairs out of an emoji font.")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument("--list", type=Path, default=EMOJI_LIST, help="Unicode's emoji-test.txt")
    options = parser.parse_args(arguments)
    try:
        made, left_out = make_pairs(options.out, font_file=options.font, list_file=options.list)
    except (OSError, ValueError) as error:
        print(f"emoji_pairs: {error}", file=sys.stderr)
        return 2
    print(f"{made} pictures and {options.out / 'pairs.csv'}; {left_out} emoji are not in the font")
    return 0


def make_pairs(out: Path, *, font_file: Path = FONT, list_file: Path = EMOJI_LIST) -> tuple[int, int]:
    """Write pictures and pairs.csv; return how many emoji were made and how many the font lacks."""
    font = load_font(font_file)
    emoji = list(read_emoji(list_file))
    (out / "images").mkdir(parents=True, exist_ok=True)
    made = 0
    with (out / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption"])
        for text, name in track(emoji, "emoji", transient=True):
            picture = render(text, font)
            if picture is not None:
                image = f"images/{'-'.join(f'{ord(character):x}' for character in text)}.png"
                picture.save(out / image)
                writer.writerow([image, name])
                made += 1
    return made, len(emoji) - made


def load_font(path: Path) -> ImageFont.FreeTypeFont:
    if not path.is_file():
        raise ValueError(f"expected the font {path} (apt-get install fonts-noto-color-emoji); it is not there")
    if not features.check("raqm"):
        raise ValueError("expected a Pillow with raqm, which joins emoji sequences; this one lacks it")
    return ImageFont.truetype(path, FONT_SIZE, layout_engine=ImageFont.Layout.RAQM)


def read_emoji(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (characters, name) of each fully qualified emoji of Unicode's emoji-test.txt."""
    if not path.is_file():
        raise ValueError(f"expected Unicode's list {path} (apt-get install unicode-data); it is not there")
    for line in path.read_text(encoding="utf-8").splitlines():
        if entry := ENTRY.match(line):
            yield "".join(chr(int(code, 16)) for code in entry["codes"].split()), entry["name"]


def render(text: str, font: ImageFont.FreeTypeFont) -> Image.Image | None:
    """Picture on white, or None where the font has no single glyph for the text."""
    left, top, right, bottom = font.getbbox(text)
    if right <= left or right - left > SIDE:
        return None
    page = Image.new("RGB", (SIDE, SIDE), "white")
    position = ((SIDE - right - left) / 2, (SIDE - bottom - top) / 2)
    ImageDraw.Draw(page).text(position, text, font=font, embedded_color=True)
    return page


if __name__ == "__main__":
    sys.exit(main())
