"""The lines of a revision, apart from each other."""

import random

import pytest

from edgeglass_diag.replaying.revisions.hunks import blame_hunks, difference
from edgeglass_diag.replaying.revisions.patches import patch_of
from edgeglass_diag.replaying.revisions.replays import StateReplays
from edgeglass_diag.replaying.revisions.worktrees import WORKING_TREE, State, Worktrees
from edgeglass_diag.replaying.search import Count
from tests.helpers.git_repositories import GitRepository, call_git, files


def changes_of(found):
    return {change.key: change for file in found for change in file.changes}


def applied(trees, good, found, chosen):
    with trees.bare(State(good, patch_of(found, chosen))) as place:
        return files(place)


BEFORE = {
    "same.py": "1\n",
    "moved.py": "".join(f"line {n}\n" for n in range(40)),
    "mode.sh": "a\n",
    "both.sh": "a\nb\nc\n",
    "weights.npz": b"\0\1\2",
    "deleted.py": "x\ny\n",
    "windows.py": "a\r\nb\r\nc\r\nd\r\n",
    "ends.py": "a\nb\nlast",
    "latin.py": "# caf\xe9\na\n# caf\xe9\n".encode("latin-1"),
    "with space.py": "a\nb\nc\n",
    'quote".py': "a\nb\nc\n",
    "gr\u00fc\u00df.py": "a\nb\nc\n",
    "form.py": "a\x0cb\x1cc\nd\n",
    "emptied.py": "a\n",
    "filled.py": "",
}
MOVED = BEFORE["moved.py"].replace("line 5\n", "line five\n").replace("line 30\n", "")
AFTER = {
    "moved.py": None,
    "pkg/moved.py": MOVED,
    "both.sh": "a\nB\nc\n",
    "weights.npz": b"\0\1\3",
    "deleted.py": None,
    "windows.py": "a\r\nB\r\nc\r\nD\r\n",
    "ends.py": "A\nb\nlast\nmore",
    "latin.py": "# caf\xe9!\na\n# caf\xe9?\n".encode("latin-1"),
    "with space.py": "a\nB\nc\nd\n",
    'quote".py': "A\nb\nC\n",
    "gr\u00fc\u00df.py": "A\nb\nC\n",
    "form.py": "a\x0cB\x1cc\nd\n",
    "emptied.py": "",
    "filled.py": "a\n",
    "new.py": "one\ntwo\n",
    "none.py": "",
    "new.npz": b"\0",
}


@pytest.fixture(params=["commit", "dirty"])
def every_kind(request, repository):
    good = repository.commit(BEFORE)
    repository.write(AFTER)
    for name in ("mode.sh", "both.sh"):
        (repository.folder / name).chmod(0o755)
    if request.param == "dirty":
        repository.git("add", "none.py", "new.npz", "form.py")
        return repository, good, WORKING_TREE
    return repository, good, repository.commit()


def test_every_kind_of_change_is_made_alone_and_with_all_others(every_kind, scratch):
    repository, good, bad = every_kind
    with Worktrees(repository.folder, scratch) as trees:
        found = difference(trees, good, bad)
        changes = changes_of(found)
        with trees.bare(State(bad)) as place:
            after = files(place)
        with trees.bare(State(good)) as place:
            before = files(place)
        assert applied(trees, good, found, set(changes)) == after
        for key, change in list(changes.items())[:: 1 if bad != WORKING_TREE else 5]:
            made = applied(trees, good, found, {key})
            touched = {path for path in made.keys() | before.keys() if made.get(path) != before.get(path)}
            assert touched, key
            assert touched <= {change.path, change.before, "moved.py"}, key
        assert len(changes) == sum(len(file.changes) for file in found) == 26


def test_keys_name_files_and_lines(every_kind, scratch):
    repository, good, bad = every_kind
    with Worktrees(repository.folder, scratch) as trees:
        keys = set(changes_of(difference(trees, good, bad)))
    lines = {"both.sh:2", "windows.py:4", "pkg/moved.py:6", "pkg/moved.py:30", "ends.py:1", "ends.py:3-4"}
    names = {"with space.py:2", "with space.py:4", 'quote".py:1', "gr\u00fc\u00df.py:3", "latin.py:1", "new.py:1-2"}
    whole = {"pkg/moved.py (renamed)", "mode.sh (mode)", "both.sh (mode)", "deleted.py (deleted file)"}
    assert lines | names | whole | {"weights.npz (binary)"} <= keys


@pytest.mark.parametrize("seed", range(2))
def test_any_subset_of_lines_is_that_subset(repository, scratch, seed):
    draw = random.Random(seed)
    before = [f"{draw.randrange(4)}\n" for _ in range(40)]  # many lines are the same: only numbers tell them apart
    after = list(before)
    for _ in range(14):
        place = draw.randrange(len(after) + 1)
        after[place : place + draw.randrange(3)] = [f"{draw.randrange(4)}\n" for _ in range(draw.randrange(3))]
    good = repository.commit({"a.py": "".join(before)})
    bad = repository.commit({"a.py": "".join(after)})
    with Worktrees(repository.folder, scratch) as trees:
        found = difference(trees, good, bad)
        changes = changes_of(found)
        for share in (0.2, 0.6, 1.0):
            chosen = {key for key in changes if draw.random() <= share}
            expected = list(before)
            for key in reversed([key for key in changes if key in chosen]):
                (first, count), text = changes[key].old, changes[key].text
                start = first - 1 if count else first
                expected[start : start + count] = [line[1:] + "\n" for line in text.split("\n")[:-1] if line[0] == "+"]
            assert applied(trees, good, found, chosen)["a.py"][1].decode() == "".join(expected)


def test_settings_of_the_user_do_not_change_what_git_says(repository, scratch, tmp_path, monkeypatch):
    good = repository.commit({"a.py": "a\nb\nc\nd\n"})
    bad = repository.commit({"a.py": "A \nb\nC\nd\n", "b.py": ""})
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[diff]\nnoprefix = true\nmnemonicPrefix = true\nexternal = false\ncontext = 9\ninterHunkContext = 9\n"
        "renames = false\nrelative = true\n[color]\nui = always\n[apply]\nwhitespace = fix\n[core]\nabbrev = 5\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    with Worktrees(repository.folder, scratch) as trees:
        found = difference(trees, good, bad)
        assert set(changes_of(found)) == {"a.py:1", "a.py:3", "b.py (new file)"}
        assert applied(trees, good, found, {"a.py:1"}) == {"a.py": (False, b"A \nb\nc\nd\n")}


def counting(ill):
    """Return replays that read all files of a place; ``ill`` returns how many of three are, or None."""

    def replay(state, place):
        text = "".join(file.read_text() for file in sorted(place.root.glob("*.py")))
        hits = ill(text)
        return None if hits is None else Count(hits, 3)

    return replay


LINES = "".join(f"{letter}\n" for letter in "abcdefghijkl")


def blamed(repository, scratch, good, bad, ill):
    with Worktrees(repository.folder, scratch) as trees:
        replays = StateReplays(trees, counting(ill))
        return blame_hunks(trees, good, bad, replays), replays


def test_one_guilty_line_both_ways(repository, scratch):
    good = repository.commit({"perceiver.py": LINES, "other.py": LINES})
    changed = LINES.replace("b\n", "B\n").replace("f\ng\n", "F\nG\n")
    bad = repository.commit({"perceiver.py": changed, "other.py": LINES.replace("c", "C")})
    repository.commit({"perceiver.py": "first\nsecond\n" + changed})
    repository.write({"perceiver.py": "zero\nfirst\nsecond\n" + changed})
    blame, _ = blamed(repository, scratch, good, bad, lambda text: 3 if "G" in text else 0)
    assert [blame.names(found) for found in blame.cures.sets] == [["perceiver.py:9-10"]]
    assert [blame.names(found) for found in blame.made_ill.sets] == [["perceiver.py:9-10"]]
    assert [str(count) for count in (*blame.cures.counts.values(), *blame.made_ill.counts.values())] == ["3/3", "3/3"]
    assert (str(blame.healthy), str(blame.ill)) == ("0/3", "3/3")
    (key,) = blame.cures.sets[0]
    assert blame.hunks[key].change.text == "-f\n-g\n+F\n+G\n"
    assert {found: str(count) for found, count in blame.at_present.items()} == {frozenset({key}): "3/3"}


@pytest.mark.parametrize(
    ("old", "new", "later", "cured"),
    [
        (
            LINES,
            LINES.replace("f\n", ""),
            "0\n" + LINES.replace("f\n", "").replace("j", "J"),
            "0\n" + LINES.replace("j", "J"),
        ),
        (LINES, LINES[2:], LINES[2:] + "m\n", LINES + "m\n"),
        (LINES, LINES[:-1], "0\n" + LINES[:-1], "0\n" + LINES),
        (LINES, LINES.replace("f\n", "f\nbad\n"), LINES.replace("f\n", "0\nf\nbad\n"), LINES.replace("f\n", "0\nf\n")),
        (LINES, LINES.replace("f\ng", "F\nG"), LINES.replace("f\ng", "F\n0\nG"), None),
        (LINES, LINES.replace("f\ng", "F\nG"), LINES.replace("f\ng", "F\n0"), None),
    ],
)
def test_a_change_is_taken_back_in_the_present_files(repository, scratch, old, new, later, cured):
    good, bad = repository.commit({"a.py": old}), repository.commit({"a.py": new})
    repository.commit({"a.py": later})
    seen = []

    def replay(state, place):
        text = (place.root / "a.py").read_bytes().decode()
        seen.append(text)
        return Count(3 if text in (new, later) else 0, 3)

    with Worktrees(repository.folder, scratch) as trees:
        blame = blame_hunks(trees, good, bad, StateReplays(trees, replay))
    assert [str(count) for count in blame.at_present.values()] == ["None" if cured is None else "3/3"]
    assert seen[-1] == (new if cured is None else cured)


def test_two_lines_that_are_ill_only_together(repository, scratch):
    good = repository.commit({"a.py": LINES})
    bad = repository.commit({"a.py": LINES.replace("b", "B").replace("f", "F").replace("k", "K")})
    blame, _ = blamed(repository, scratch, good, bad, lambda text: 3 if "B" in text and "K" in text else 0)
    assert sorted(map(sorted, blame.cures.sets)) == [["a.py:11"], ["a.py:2"]]
    assert blame.made_ill.sets == [{"a.py:2", "a.py:11"}]


def test_lines_that_crash_without_each_other_are_unresolved_and_not_ill(repository, scratch):
    good = repository.commit({"a.py": LINES})
    repository.write({"a.py": LINES.replace("b", "import new").replace("k", "K"), "new.py": "ill\n"})

    def ill(text):
        return None if "import new" in text and "ill" not in text else 3 if "import new" in text else 0

    blame, _ = blamed(repository, scratch, good, WORKING_TREE, ill)
    assert blame.cures.sets == [{"a.py:2"}]
    assert blame.cures.singles["new.py:1"] is None
    assert blame.made_ill.singles["a.py:2"] is None
    assert blame.made_ill.sets == [{"a.py:2", "new.py:1"}]


MANY = [f"line {number}\n" for number in range(40)]


@pytest.mark.parametrize("guilty", [{7}, {11, 33}])
def test_many_changes_are_not_each_tried(repository, scratch, guilty):
    good = repository.commit({"a.py": "".join(MANY)})
    bad = repository.commit({"a.py": "".join(line.upper() if n % 2 else line for n, line in enumerate(MANY))})
    ill = lambda text: 3 * all(f"LINE {number}\n" in text for number in guilty)  # noqa: E731
    blame, replays = blamed(repository, scratch, good, bad, ill)
    assert len(blame.hunks) == 20
    assert blame.made_ill.sets == [{f"a.py:{number + 1}" for number in guilty}]
    (cure,) = blame.cures.sets
    assert len(cure) == 1
    assert cure <= blame.made_ill.sets[0]
    assert len(guilty) > 1 or len(replays.counts) < 20


@pytest.mark.parametrize(("without", "with_all"), [(3, 3), (0, 0), (None, 3), (0, None)])
def test_nothing_is_searched_between_revisions_that_do_not_differ(repository, scratch, without, with_all):
    good = repository.commit({"a.py": LINES})
    bad = repository.commit({"a.py": LINES.replace("b", "B").replace("k", "K")})
    blame, replays = blamed(repository, scratch, good, bad, lambda text: with_all if "B" in text else without)
    assert (blame.cures.sets, blame.made_ill.sets, len(replays.counts)) == ([], [], 2)


def test_seeds_that_disagree_are_named(repository, scratch):
    good = repository.commit({"a.py": LINES})
    bad = repository.commit({"a.py": LINES.replace("b", "B").replace("k", "K")})
    blame, _ = blamed(repository, scratch, good, bad, lambda text: ("B" in text) * 2 + ("K" in text))
    assert {"a.py:2"} in blame.cures.flaky
    assert {"a.py:2"} in blame.made_ill.flaky


def test_a_patch_that_does_not_apply_is_unresolved_with_a_reason(repository, scratch):
    good = repository.commit({"a.py": LINES})
    broken = State(good, "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,1 +1,1 @@\n-x\n+y\n")
    with Worktrees(repository.folder, scratch) as trees:
        replays = StateReplays(trees, counting(lambda text: 0))
        assert replays(broken) is None
        assert "patch does not apply" in replays.reasons[broken]


def test_changes_inside_a_submodule(repository, scratch, tmp_path):
    GitRepository(tmp_path / "library").commit({"part.py": LINES})
    url = str(tmp_path / "library")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, "lib")
    good = repository.commit({"train.py": LINES})
    (repository.folder / "lib/part.py").write_text(LINES.replace("c", "C").replace("k", "K"))
    call_git(repository.folder / "lib", "commit", "--quiet", "--all", "--message", "m")
    bad = repository.commit({"train.py": LINES.replace("a", "A")})
    with Worktrees(repository.folder, scratch) as trees:
        found = difference(trees, good, bad)
        assert set(changes_of(found)) == {"lib/part.py:3", "lib/part.py:11", "train.py:1"}
        made = applied(trees, good, found, {"lib/part.py:11"})
        assert made["lib/part.py"][1].decode() == LINES.replace("k", "K")
