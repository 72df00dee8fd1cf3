"""Checks a built site: ``python docs/site/links.py site``.

Every link to a page, file or anchor of the site leads somewhere, and no page fetches anything from elsewhere: neither
scripts, styles, fonts nor pictures. Links that a reader follows to other sites are not tried.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
NAMED = ("canonical", "prev", "next", "alternate")
STYLE_URL = re.compile(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)|@import\s+[\"']((?:https?:)?//[^\"']+)")


class Parsed(HTMLParser):
    """What a page links to, what it fetches, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = {"", "__top"}
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the links and anchors of one tag."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given and tag != "meta"}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if tag in FETCHED and FETCHED[tag] in given and given.get("rel") not in NAMED:
            self.fetched.add(given[FETCHED[tag]])


def faults(site: Path) -> Iterator[str]:
    """Yield what is wrong, in one line each."""
    pages = {path: Parsed(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        for link in sorted(page.links | page.fetched):
            fault = _fault(site, path, link, pages)
            if fault:
                yield f"{path.relative_to(site)}: {link}: {fault}"
        yield from (f"{path.relative_to(site)}: fetches {link}" for link in sorted(page.fetched) if _elsewhere(link))
    for path in sorted(site.rglob("*.css")):
        found = STYLE_URL.findall(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)}: fetches {one or other}" for one, other in found)


def _elsewhere(link: str) -> bool:
    return bool(urlsplit(link).netloc)


def _fault(site: Path, path: Path, link: str, pages: dict[Path, Parsed]) -> str:
    """Return what is wrong with a link within the site; empty if nothing is."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    base = site if parts.path.startswith("/") else path.parent
    target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path.resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site.resolve()) or not target.exists():
        return "no such page"
    known = pages.get(site / target.relative_to(site.resolve()))
    if known is not None and unquote(parts.fragment) not in known.anchors:
        return "no such anchor"
    return ""


def main() -> int:
    """Print what is wrong; exit status 1 if anything is."""
    site = Path(sys.argv[1])
    found = list(faults(site))
    print("\n".join(found) or f"{site}: {sum(1 for _ in site.rglob('*.html'))} pages, all links lead somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
