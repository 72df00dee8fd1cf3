"""The hook of mkdocs: pages that are made of the code, their places in the navigation, links that leave the folder.

``on_config`` puts the made pages into the navigation, ``on_files`` adds them, ``on_page_markdown`` turns links and
codes of rules into links of the site. mkdocs finds the modules beside this one while it loads it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

import api_pages
import command_pages
import rule_pages
import signal_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
TOP = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
INDEXED = {"rules": rule_pages.index, "signals": signal_pages.index, "cli": command_pages.index}
MOVED = TOP | {f"docs/{name}.md": f"{name}/index.md" for name in INDEXED}
MADE = {"RULES": rule_pages, "SIGNALS": signal_pages, "API": api_pages, "CLI": command_pages}
UNLINKED = ("changelog.md",)
LINK = re.compile(r"(?<!\\)(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
QUOTED = re.compile(r"(^```.*?^```$|^ {4}.*?$|`+[^`]*`+|^#.*?$|!?\[(?:[^\[\]]|\[[^\]]*\])*\]\([^()]*\))", re.M | re.S)
CODE = re.compile(r"\bEG\d{3}\b")
log = logging.getLogger("mkdocs.plugins.edgeglass")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that are made in place of the names in capitals."""
    config.nav = _filled(config.nav)
    return config


def _filled(entry: Any) -> Any:
    if isinstance(entry, list):
        return [_filled(each) for each in entry]
    if isinstance(entry, dict):
        return {title: _filled(content) for title, content in entry.items()}
    return MADE[entry].navigation() if entry in MADE else entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of rules, signals, verbs and names, and those that stand at the top of the repository."""
    for path, text in _made_pages().items():
        files.append(File.generated(config, path, content=text))
    for source, path in TOP.items():
        files.append(
            File.generated(config, path, content=_with_links(_text(source), lambda target: relpath(target, "docs")))
        )
    for name, index in INDEXED.items():
        files.remove(files.src_uris[f"{name}.md"])
        text = index(_with_links(_text(f"docs/{name}.md"), lambda target: f"../{target}"))
        files.append(File.generated(config, f"{name}/index.md", content=text))
    return files


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def _made_pages() -> dict[str, str]:
    return {path: text for module in MADE.values() for path, text in module.pages().items()}


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page whose links lead to pages of the site, and whose codes of rules are links."""
    path = page.file.src_uri
    markdown = _with_links(markdown, lambda target: _inside(target, path, files))
    return markdown if path in UNLINKED else _with_codes(markdown, path)


def _with_links(text: str, turned: Callable[[str], str | None]) -> str:
    """Return a text whose links of the repository are turned; a link of which nothing is left becomes its text."""

    def changed(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        if re.match(r"\w+:|#", target):
            return found[0]
        new = turned(target)
        return words if new is None else f"{mark}[{words}]({new})"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
    return "".join(part if number % 2 else LINK.sub(changed, part) for number, part in enumerate(parts))


def _inside(target: str, path: str, files: Files) -> str | None:
    """Return a link as the site has it; None where it leads to a file of the repository that is no page."""
    place, _, anchor = target.partition("#")
    rule = re.match(r"(eg\d{3})-", anchor)
    if rule and place.endswith(("rules.md", "rules/index.md")):
        return relpath(f"rules/{rule[1].upper()}.md", PurePosixPath(path).parent.as_posix())
    whole = normpath(PurePosixPath("docs") / PurePosixPath(path).parent / place)
    if whole in MOVED:
        return relpath(MOVED[whole], PurePosixPath(path).parent.as_posix()) + ("#" + anchor if anchor else "")
    if whole.startswith("docs/"):
        return target
    if not (ROOT / whole).exists():
        log.warning("%s links to %s, which the repository does not have", path, whole)
    return None


def _with_codes(text: str, path: str) -> str:
    """Return a text in which codes of rules outside of code, headings and links lead to their pages."""
    known = rule_pages.codes()
    folder = PurePosixPath(path).parent.as_posix()

    def linked(found: re.Match[str]) -> str:
        target = relpath(f"rules/{found[0]}.md", folder)
        own = f"rules/{found[0]}.md" == path
        return f"[{found[0]}]({target})" if found[0] in known and not own else found[0]

    parts = QUOTED.split(text)
    return "".join(part if number % 2 else CODE.sub(linked, part) for number, part in enumerate(parts))
