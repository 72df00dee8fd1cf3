"""Bisection, with oracles whose answer is known."""

import pytest

from edgeglass_diag.replaying.revisions.commits import Ending, bisect
from edgeglass_diag.replaying.revisions.git import RevisionError
from edgeglass_diag.replaying.revisions.worktrees import WORKING_TREE, Worktrees
from edgeglass_diag.replaying.search import Count
from tests.helpers.git_repositories import GitRepository

ILL, GOOD, FLAKY = Count(3, 3), Count(0, 3), Count(2, 3)


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """A history of ten commits, and an eleventh that changes no file."""
    repository = GitRepository(tmp_path_factory.mktemp("linear") / "user")
    hashes = [repository.commit({"train.py": f"{number}\n"}) for number in range(10)]
    repository.commit()
    with Worktrees(repository.folder) as trees:
        yield trees, hashes


class Told:
    """An oracle that knows the answers, and what it was asked."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def __call__(self, revision):
        self.asked.append(revision)
        return self.answers[revision]


def bisected(trees, answers, good, **options):
    told = Told(answers)
    found = bisect(trees, good, told, **options)
    assert len(told.asked) == len(set(told.asked))
    assert list(found.counts) == told.asked
    return found


@pytest.mark.parametrize("guilty", range(1, 10))
def test_each_commit_is_found(linear, guilty):
    trees, hashes = linear
    answers = dict(zip(hashes, [GOOD] * guilty + [ILL] * (10 - guilty), strict=True))
    found = bisected(trees, answers, hashes[0], bad=hashes[9])
    assert (found.ending, found.good, found.bad) == (Ending.FOUND, hashes[guilty - 1], hashes[guilty])
    assert found.suspects == (hashes[guilty],)
    assert len(found.counts) <= 2 + 4


def test_commits_that_change_no_file_are_passed_over(linear):
    trees, hashes = linear
    found = bisected(trees, dict.fromkeys(hashes, GOOD) | {trees.commit("HEAD"): ILL}, hashes[9])
    assert found.ending is Ending.SAME
    assert not found.counts


def test_what_does_not_run_or_is_flaky_is_neither_good_nor_bad(linear):
    trees, hashes = linear
    answers = dict(zip(hashes, [GOOD] * 4 + [None, FLAKY] + [ILL] * 4, strict=True))
    found = bisected(trees, answers, hashes[0], bad=hashes[9])
    assert (found.good, found.bad) == (hashes[3], hashes[6])
    assert found.suspects == tuple(hashes[4:7])
    assert (found.unresolved, found.flaky) == ([hashes[4]], [hashes[5]])


@pytest.mark.parametrize("guilty", [1, 2, 8, 9])
def test_a_row_that_does_not_run_is_left_quickly(linear, guilty):
    trees, hashes = linear
    answers = dict(zip(hashes, [GOOD] * guilty + [ILL] * (10 - guilty), strict=True))
    answers |= {hashes[number]: None for number in range(3, 7)}
    found = bisected(trees, answers, hashes[0], bad=hashes[9])
    assert found.suspects == (hashes[guilty],)
    assert len(found.unresolved) <= 3


@pytest.mark.parametrize(
    ("good", "bad", "ending"),
    [
        (ILL, ILL, Ending.GOOD_IS_ILL),
        (FLAKY, ILL, Ending.GOOD_IS_FLAKY),
        (None, ILL, Ending.GOOD_IS_UNRESOLVED),
        (GOOD, GOOD, Ending.PRESENT_IS_HEALTHY),
        (GOOD, FLAKY, Ending.PRESENT_IS_FLAKY),
        (GOOD, None, Ending.PRESENT_IS_UNRESOLVED),
        (GOOD, Count(0, 0), Ending.PRESENT_IS_UNRESOLVED),
    ],
)
def test_ends_that_leave_nothing_to_bisect(linear, good, bad, ending):
    trees, hashes = linear
    found = bisected(trees, {hashes[0]: good, hashes[9]: bad}, hashes[0], bad=hashes[9])
    assert found.ending is ending
    assert found.suspects == ()


@pytest.mark.parametrize("in_a_commit", [True, False])
def test_changes_that_are_in_no_commit_are_the_last_revision(repository, in_a_commit):
    hashes = [repository.commit({"train.py": f"{number}\n"}) for number in range(3)]
    repository.write({"train.py": "dirty\n"})
    answers = {hashes[0]: GOOD, hashes[1]: GOOD, hashes[2]: ILL if in_a_commit else GOOD, WORKING_TREE: ILL}
    with Worktrees(repository.folder) as trees:
        found = bisected(trees, answers, hashes[0])
    assert found.suspects == ((hashes[2],) if in_a_commit else (WORKING_TREE,))
    assert found.good == (hashes[1] if in_a_commit else hashes[2])


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """base - left1 - left2 - merge - last, and base - right1 - right2 - merge; names to hashes."""
    repository = GitRepository(tmp_path_factory.mktemp("merged") / "user")
    made = {"base": repository.commit({"a.py": "0\n", "b.py": "0\n"})}
    repository.git("checkout", "--quiet", "-b", "side")
    for number in (1, 2):
        made[f"right{number}"] = repository.commit({"b.py": f"{number}\n"})
    repository.git("checkout", "--quiet", "main")
    for number in (1, 2):
        made[f"left{number}"] = repository.commit({"a.py": f"{number}\n"})
    repository.git("merge", "--quiet", "--no-ff", "--message", "merge", "side")
    made["merge"] = repository.git("rev-parse", "HEAD")
    made["last"] = repository.commit({"a.py": "3\n"})
    with Worktrees(repository.folder) as trees:
        yield trees, made


@pytest.mark.parametrize(
    ("guilty", "ill"),
    [
        ("left2", {"left2", "merge", "last"}),
        ("right1", {"right1", "right2", "merge", "last"}),
        ("right2", {"right2", "merge", "last"}),
        ("merge", {"merge", "last"}),
        ("last", {"last"}),
    ],
)
def test_what_a_merge_brought_is_bisected_too(merged, guilty, ill):
    trees, made = merged
    answers = {commit: ILL if name in ill else GOOD for name, commit in made.items()}
    found = bisected(trees, answers, made["base"])
    assert found.suspects == (made[guilty],)


def test_a_good_revision_on_another_branch(merged):
    trees, made = merged
    answers = {commit: GOOD for commit in made.values()} | {made["left2"]: ILL}
    found = bisected(trees, answers, made["right2"], bad=made["left2"])
    assert (found.ending, found.suspects) == (Ending.FOUND, (made["left2"],))
    answers[made["base"]] = ILL
    found = bisected(trees, answers, made["right2"], bad=made["left2"])
    assert found.ending is Ending.CURED_ELSEWHERE
    answers[made["base"]] = None
    found = bisected(trees, answers, made["right2"], bad=made["left2"])
    assert found.ending is Ending.BRANCHING_IS_UNDECIDED


def test_histories_without_a_common_commit(repository):
    first = repository.commit({"train.py": ""})
    repository.git("checkout", "--quiet", "--orphan", "other")
    second = repository.commit({"train.py": "1\n"})
    match = f"^{first[:10]} and {second[:10]} have no commit in common"
    with Worktrees(repository.folder) as trees, pytest.raises(RevisionError, match=match):
        bisect(trees, first, Told({}))
