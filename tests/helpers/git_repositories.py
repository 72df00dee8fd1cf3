"""Small git repositories, and what they hold to the byte."""

import os
import stat
import subprocess
from pathlib import Path

OWN = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def call_git(folder, *words):
    done = subprocess.run(["git", *words], cwd=folder, env=os.environ | OWN, capture_output=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout.decode().strip()


class GitRepository:
    """A repository of a user's."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", "--template=")

    def git(self, *words):
        return call_git(self.folder, *words)

    def write(self, files):
        for path, content in files.items():
            file = self.folder / path
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, files=None, message="m"):
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


def everything(folder):
    """Return mode, time and content of each file, folder and link below a folder."""
    found = {}
    for place in sorted(Path(folder).rglob("*")):
        facts = place.lstat()
        content = os.readlink(place) if place.is_symlink() else place.read_bytes() if place.is_file() else None
        found[str(place)] = stat.filemode(facts.st_mode), facts.st_mtime_ns, content
    return found


def files(folder):
    """Return whether executable, and content, of each file below a folder, without those of git."""
    places = [place for place in Path(folder).rglob("*") if place.is_symlink() or place.is_file()]
    named = {place.relative_to(folder): place for place in places}
    return {str(name): _file(place) for name, place in named.items() if ".git" not in name.parts}


def _file(place):
    content = os.readlink(place) if place.is_symlink() else place.read_bytes()
    return bool(place.lstat().st_mode & 0o100), content
