"""Lines of a commit are found again in the present files."""

from edgeglass_diag.replaying.revisions.lines import locate, present_line
from edgeglass_diag.replaying.revisions.patches import Change, Kind, parse


def change(first, count, new, added):
    return Change(Kind.LINES, "a.py", (first, count), (new, added), "-x\n")


def test_lines_found_again_after_later_changes():
    later = [change(2, 0, 3, 2), change(5, 1, 8, 1), change(7, 2, 9, 0)]
    assert [present_line(line, later) for line in range(1, 11)] == [1, 2, 5, 6, None, 8, None, None, 9, 10]


def test_a_place_that_is_gone_is_named_by_its_commit():
    (file,) = parse("diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -4,2 +3,0 @@\n-x\n-y\n")
    kept, gone = change(2, 0, 3, 2), change(3, 0, 4, 2)
    found = locate([kept, gone], [file], "0123456789abcdef")
    assert [hunk.name for hunk in found.values()] == ["a.py:3", "a.py:4-5 at 0123456789"]
    assert locate([kept], [], "0123456789abcdef")["a.py:3-4"].name == "a.py:3-4"
