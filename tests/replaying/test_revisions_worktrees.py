"""Folders of revisions hold what they should."""

import os
import subprocess
import sys

import pytest

from edgeglass_diag.replaying.revisions import surroundings
from edgeglass_diag.replaying.revisions.git import RevisionError
from edgeglass_diag.replaying.revisions.worktrees import WORKING_TREE, State, Worktrees
from tests.helpers.git_repositories import GitRepository, call_git, files


def test_a_commit_with_data_that_git_does_not_know(repository, scratch):
    old = repository.commit({"train.py": "print(1)\n", "gone.py": "", ".gitignore": "data/\nlocal.py\n"})
    repository.commit({"train.py": "print(2)\n", "gone.py": None, "later.py": ""})
    repository.write({"data/pairs.bin": b"\0", "local.py": "here = 1\n", "notes.json": "{}", "new.py": "not yet\n"})
    with Worktrees(repository.folder, scratch) as trees, trees.place(State(old)) as place:
        found = files(place.root)
        assert sorted(found) == [".gitignore", "data/pairs.bin", "gone.py", "local.py", "notes.json", "train.py"]
        assert found["train.py"] == (False, b"print(1)\n")
        assert (place.root / "data/pairs.bin").is_symlink()
        assert not (place.root / "data").is_symlink()  # what a program writes there stays there
        assert not (place.root / "local.py").is_symlink()
        assert call_git(place.root, "rev-parse", "HEAD") == old
    assert not list(scratch.iterdir())


def test_the_working_tree_as_it_is(repository, scratch):
    first = {
        "same.py": "a\n",
        "train.py": "1\n",
        "gone.py": "",
        "run.sh": "x\n",
        "dir/a.py": "",
        "was/a.py": "",
        "b": "1",
    }
    repository.commit({**first, "old.py": "many\nlines\nof\ntext\n"})
    repository.git("mv", "old.py", "renamed.py")
    repository.write({"train.py": "2\n", "gone.py": None, "untracked.py": "3\n", "staged.txt": "4\n", "dir/a.py": None})
    repository.git("add", "staged.txt")
    (repository.folder / "run.sh").chmod(0o755)
    (repository.folder / "dir").rmdir()
    (repository.folder / "dir").symlink_to("was")
    repository.write({"was/a.py": None, "b": None})
    (repository.folder / "was").rmdir()
    repository.write({"was": "now a file", "b/c.py": "now in a folder", "data.npz": b"\0"})
    repository.git("add", "dir")
    with Worktrees(repository.folder, scratch) as trees:
        assert trees.present() == WORKING_TREE
        with trees.place(State(WORKING_TREE)) as place:
            found = files(place.root)
            assert (place.root / "data.npz").is_symlink()
            found["data.npz"] = False, b"\0"
            if (place.root / "was").is_symlink():
                found["was"] = False, (place.root / "was").read_bytes()
            assert found == files(repository.folder)
        assert trees.overlay.unknown == ("b/c.py", "untracked.py")


def test_a_clean_tree_is_its_last_commit(repository, scratch):
    head = repository.commit({"train.py": "1\n"})
    (repository.folder / "train.py").touch()
    with Worktrees(repository.folder, scratch) as trees:
        assert trees.present() == head


def test_what_changes_later_does_not_change_the_working_tree(repository, scratch):
    repository.commit({"train.py": "1\n"})
    repository.write({"train.py": "2\n"})
    with Worktrees(repository.folder, scratch) as trees:
        repository.write({"train.py": "3\n"})
        with trees.place(State(WORKING_TREE)) as place:
            assert (place.root / "train.py").read_text() == "2\n"


def test_a_program_in_a_subfolder(repository, scratch, monkeypatch):
    old = repository.commit(
        {"src/pkg/__init__.py": "value = 1\n", "scripts/train.py": "import pkg\nprint(pkg.value)\n"}
    )
    repository.commit({"src/pkg/__init__.py": "value = 2\n"})
    user = repository.folder
    monkeypatch.setenv("PYTHONPATH", f"{user / 'src'}{os.pathsep}/elsewhere")
    monkeypatch.setattr(sys, "path", [str(user), str(user / "src"), *sys.path[1:]])
    with Worktrees(user / "scripts", scratch) as trees, trees.place(State(old)) as place:
        assert place.folder == place.root / "scripts"
        assert place.environment["PYTHONPATH"] == f"{place.root / 'src'}{os.pathsep}/elsewhere"
        assert place.counterpart(user / "scripts" / "train.py") == place.root / "scripts" / "train.py"
        assert place.counterpart(scratch) == scratch
        environment = os.environ | place.environment
        done = subprocess.run(
            [sys.executable, "train.py"], cwd=place.folder, env=environment, capture_output=True, check=True
        )
        assert done.stdout == b"1\n"


def test_an_editable_install_whose_finder_maps_names(repository, scratch, monkeypatch, tmp_path):
    repository.commit({"lib/inner/tool_of_user/__init__.py": ""})
    site, code = tmp_path / "site", repository.folder / "lib" / "inner"
    facts = site / "tool-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: tool\nVersion: 1\n")
    (facts / "top_level.txt").write_text("tool_of_user\n")
    (facts / "direct_url.json").write_text(
        f'{{"url": "{repository.folder.as_uri()}", "dir_info": {{"editable": true}}}}'
    )

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            from importlib.machinery import PathFinder

            return PathFinder.find_spec(name, [str(code)]) if name == "tool_of_user" else None

    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with Worktrees(repository.folder, scratch) as trees, trees.place(State(trees.commit("HEAD"))) as place:
        assert place.environment == {"PYTHONPATH": str(place.root / "lib" / "inner")}


def test_a_submodule(tmp_path, repository, scratch):
    library = GitRepository(tmp_path / "library")
    library.commit({"part.py": "1\n"})
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library.folder), "lib")
    old = repository.commit({"train.py": ""})
    inside = repository.folder / "lib"
    (inside / "part.py").write_text("2\n")
    call_git(inside, "commit", "--quiet", "--all", "--message", "m")
    new = repository.commit()
    (inside / "part.py").write_text("3\n")
    (inside / "more.py").write_text("")
    (inside / "data.bin").write_text("")
    with Worktrees(repository.folder, scratch) as trees:
        read = {}
        for revision in (old, new, WORKING_TREE):
            with trees.place(State(revision)) as place:
                read[revision] = (place.root / "lib/part.py").read_text(), (place.root / "lib/more.py").exists()
        assert list(read.values()) == [("1\n", False), ("2\n", False), ("3\n", True)]


def test_files_of_git_lfs(repository, scratch):
    def pointed(oid):
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 1\n"

    here, present, nowhere = "1" * 64, "2" * 64, "3" * 64
    repository.git("config", "filter.lfs.smudge", "false")  # as if it failed, or began to download
    repository.git("config", "filter.lfs.required", "true")
    first = {".gitattributes": "*.bin filter=lfs\n", "a.bin": pointed(here), "c.bin": pointed(present)}
    repository.git("config", "filter.lfs.clean", "cat")
    old = repository.commit(first)
    bad = repository.commit({"b.bin": pointed(nowhere)})
    repository.commit({"b.bin": pointed(present)})
    kept = repository.folder / ".git/lfs/objects/11/11" / here
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    with Worktrees(repository.folder, scratch) as trees:
        with trees.place(State(old)) as place:
            assert (place.root / "a.bin").read_bytes() == b"weights"
            assert (place.root / "c.bin").read_text() == pointed(present)  # the user has no more either
        with pytest.raises(RevisionError) as raised, trees.place(State(bad)):
            pass
    expected = "b.bin: Git LFS keeps it and its content is not here; git lfs fetch --all brings it"
    assert str(raised.value) == expected


@pytest.mark.parametrize("index", ["--sparse-index", "--no-sparse-index"])
def test_a_sparse_checkout(repository, scratch, index):
    repository.commit({"a/train.py": "", "b/other.py": "1\n"})
    repository.git("sparse-checkout", "set", "--cone", index, "a")
    assert not (repository.folder / "b").exists()
    with Worktrees(repository.folder, scratch) as trees:
        assert trees.present() == trees.commit("HEAD")
        with trees.place(State(trees.present())) as place:
            assert (place.root / "b/other.py").read_text() == "1\n"
    repository.write({"a/train.py": "2\n"})
    with Worktrees(repository.folder, scratch) as trees:
        assert (trees.overlay.changed, trees.overlay.removed) == (("a/train.py",), ())


def test_modes_that_the_file_system_does_not_keep(repository, scratch):
    head = repository.commit({"train.py": ""})
    repository.git("config", "core.fileMode", "false")
    (repository.folder / "train.py").chmod(0o755)
    with Worktrees(repository.folder, scratch) as trees:
        assert trees.present() == head


def test_a_linked_work_tree_and_a_shallow_clone(tmp_path, repository, scratch):
    repository.commit({"train.py": "1\n"})
    repository.commit({"train.py": "2\n"})
    linked, clone = tmp_path / "linked", tmp_path / "clone"
    repository.git("worktree", "add", "--quiet", "--detach", str(linked), "HEAD~1")
    repository.git("clone", "--quiet", "--depth=1", repository.folder.as_uri(), str(clone))
    for folder, content in ((linked, "1\n"), (clone, "2\n")):
        with Worktrees(folder, scratch) as trees, trees.place(State(trees.present())) as place:
            assert (place.root / "train.py").read_text() == content


def test_line_ends_are_converted_as_in_the_users_tree(repository, scratch):
    head = repository.commit({"train.py": "1\n", ".gitattributes": "*.sh eol=lf\n", "run.sh": "x\n"})
    repository.git("config", "core.autocrlf", "true")
    with Worktrees(repository.folder, scratch) as trees, trees.bare(State(head)) as place:
        assert (place / "train.py").read_bytes() == b"1\r\n"
        assert (place / "run.sh").read_bytes() == b"x\n"


def test_large_folders_are_linked_as_a_whole_and_the_scratch_folder_is_not(repository, monkeypatch):
    monkeypatch.setattr(surroundings, "_MOST", 3)
    head = repository.commit({"train.py": "", "runs/readme": ""})
    many = {f"images/{n}.bin": b"" for n in range(4)}
    repository.write({**many, **{f"runs/{n}.bin": b"" for n in range(4)}, "venv/pyvenv.cfg": "", "venv/x/y": ""})
    inside = repository.folder / "runs" / "scratch"
    inside.mkdir()
    with Worktrees(repository.folder, inside) as trees, trees.place(State(head)) as place:
        links = [path for path in place.root.rglob("*") if path.is_symlink()]
        names = sorted(str(path.relative_to(place.root)) for path in links)
        assert names == ["images", "runs/0.bin", "runs/1.bin", "runs/2.bin", "runs/3.bin", "venv"]


def test_a_link_of_a_revision_that_leads_out_is_not_followed(repository, scratch, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (repository.folder / "data").symlink_to(outside)
    old = repository.commit({"train.py": ""})
    (repository.folder / "data").unlink()
    repository.commit()
    repository.write({"data/pairs.bin": b"\0"})
    with Worktrees(repository.folder, scratch) as trees, trees.place(State(old)) as place:
        assert (place.root / "data").is_symlink()
    assert not list(outside.iterdir())


def test_variables_of_a_hook_name_no_other_repository(repository, scratch, tmp_path, monkeypatch):
    other = GitRepository(tmp_path / "other")
    other.commit({"other.py": ""})
    head = repository.commit({"train.py": ""})
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.folder / ".git" / "index"))
    with Worktrees(repository.folder, scratch) as trees, trees.bare(State(head)) as place:
        assert list(files(place)) == ["train.py"]


def test_errors(repository, scratch, tmp_path):
    with pytest.raises(RevisionError, match=rf"git rev-parse in {scratch}: not a git repository"):
        Worktrees(scratch)
    with pytest.raises(RevisionError, match="user has no commit yet"), Worktrees(repository.folder, scratch):
        pass
    assert not list(scratch.iterdir())
    first = repository.commit({"a.py": ""})
    repository.commit({"sub/train.py": ""})
    with Worktrees(repository.folder / "sub", scratch) as trees:
        with pytest.raises(RevisionError, match=f"^no such revision in {repository.folder}: nowhere$"):
            trees.commit("nowhere")
        missing = f"^sub: the working directory does not exist in {first[:10]}$"
        with pytest.raises(RevisionError, match=missing), trees.place(State(first)):
            pass
