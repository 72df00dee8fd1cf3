"""A program does under observation what it does without."""

from __future__ import annotations

import zipfile

import pytest

from edgeglass_diag.store import load

IDENTITY = """
    import sys
    print(__name__, __file__, __package__, __doc__, getattr(__spec__, "name", None), __annotations__, __builtins__)
    print(type(__loader__).__name__, sorted(globals()), sys.argv, sys.path[0])
    print(sys.modules["__main__"].__dict__ is globals())
"""
SCRIPTS = {
    "identity": IDENTITY,
    "raises": """
        import os
        def deep():
            try:
                os.stat("/nowhere/at/all")
            except OSError as error:
                raise ValueError("boom \\u00fc") from error
        deep()
    """,
    "exits 3": "import sys; print('out'); sys.exit(3)",
    "exits with a text": "import sys; sys.exit('no data here')",
    "exits well": "import sys; sys.exit()",
    "exits inside": "raise SystemExit(256 + 7)",
    "os._exit": "import os; print('out', flush=True); os._exit(4)",
    "syntax error": "def broken(:\n    pass",
    "interrupted": "print('out', flush=True)\nraise KeyboardInterrupt",
    "replaced excepthook": """
        import sys
        sys.excepthook = lambda kind, error, trace: print("caught", kind.__name__, trace.tb_lineno)
        raise ValueError("boom")
    """,
    "argparse": """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, required=True)
        parser.add_argument("--every", type=int)
        parser.add_argument("rest", nargs="*")
        print(parser.parse_args())
    """,
    "stdin": "print(input()); import sys; print(sys.stdin.read())",
    "bytes on stdout": "import sys; sys.stdout.buffer.write(b'\\x00\\xff'.hex().encode() + b'\\r\\n')",
    "atexit": """
        import atexit, sys
        state = ["script's own"]
        atexit.register(lambda: print("at exit", state, sys.argv))
        raise ValueError("boom")
    """,
    "pickled classes of main": """
        import pickle
        from dataclasses import dataclass, field
        @dataclass
        class Settings:
            values: "list[int]" = field(default_factory=list)
        copy = pickle.loads(pickle.dumps(Settings([1])))
        print(copy, type(copy) is Settings, Settings.__module__)
    """,
    "multiprocessing": """
        import multiprocessing, os, sys
        class Item:
            def __init__(self, value): self.value = value
        def double(item): return Item(2 * item.value)
        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(method, [item.value for item in pool.map(double, [Item(1), Item(2)])])
    """,
    "forked copy": """
        import os, sys
        child = os.fork()
        if child == 0:
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """,
    "forked copy raises": """
        import os
        child = os.fork()
        if child == 0:
            raise ValueError("in the copy")
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """,
    "replaces itself": """
        import os, sys
        if len(sys.argv) < 5:
            os.execv(sys.executable, [sys.executable, *sys.argv, "again"])
        print(sys.argv)
    """,
}


def same(programs, *words, code=None, **options):
    """Run both ways; gives our own part of stderr, which follows the program's."""
    plain, watched = programs.plain(*words, **options), programs.watched(*words, **options)
    assert watched.stdout == plain.stdout
    # Dead of SIGINT is what the shell shows as 130.
    assert watched.returncode == (130 if plain.returncode == -2 else plain.returncode)
    assert all(line in watched.stderr.splitlines() for line in plain.stderr.splitlines()), watched.stderr
    return watched.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_does_as_without_us(programs, name):
    programs.write("train.py", SCRIPTS[name])
    same(programs, "train.py", "--lr", "2e-3", "x", input="first\nsecond\n")
    assert load(programs.folder / "run").windows == 0


def test_the_traceback_of_an_error_is_pythons_own_to_the_letter(programs):
    programs.write("train.py", SCRIPTS["raises"])
    said = programs.plain("train.py").stderr
    assert programs.watched("train.py").stderr.startswith(said)


@pytest.mark.parametrize("words", [("-m", "pkg.train"), ("-m", "pkg"), ("pkg",)])
def test_modules_and_folders_do_as_without_us(programs, words):
    programs.write("pkg/__init__.py", "print('package')")
    programs.write("pkg/beside.py", "VALUE = 1")
    programs.write("pkg/train.py", IDENTITY + "    from .beside import VALUE\n    raise ValueError(VALUE)")
    programs.write("pkg/__main__.py", IDENTITY + "    raise ValueError('main')")
    same(programs, *words, "--lr", "1")


def test_a_script_in_another_folder_is_reached_through_a_link_as_python_does(programs):
    programs.write("src/train.py", "import beside, sys\nprint(beside.__file__, sys.path[0], __file__)")
    programs.write("src/beside.py", "")
    (programs.folder / "link.py").symlink_to(programs.folder / "src" / "train.py")
    same(programs, "link.py")


def test_a_module_that_is_missing_inside_of_a_package_is_reported_by_python(programs):
    programs.write("pkg/__init__.py", "")
    same(programs, "-m", "pkg.none")


def test_how_it_ended_is_in_the_record(programs):
    for source, status, error in (
        ("raise ValueError('boom')", "failed", "ValueError: boom"),
        ("import sys; sys.exit(3)", "failed", "SystemExit: 3"),
        ("import sys; sys.exit(0)", "finished", None),
        ("raise KeyboardInterrupt", "stopped", "KeyboardInterrupt"),
        ("import os; os._exit(0)", "failed", None),
    ):
        programs.write("train.py", source)
        out = programs.folder / error.split(":")[0] if error else programs.folder / status
        programs.watched("train.py", own=("--out", str(out)))
        with load(out) as run:
            assert (run.status, run.result.get("error")) == (status, error)


def test_the_environment_that_a_script_sets_before_torch_holds(programs):
    programs.write("train.py", "import sys; print('torch' in sys.modules, 'numpy' in sys.modules)")
    same(programs, "train.py")


def test_an_archive_with_a_main_is_a_program(programs):
    with zipfile.ZipFile(programs.folder / "train.pyz", "w") as archive:
        archive.writestr("__main__.py", "import sys, beside\nprint(__name__, sys.argv, beside.VALUE)\nsys.exit(2)")
        archive.writestr("beside.py", "VALUE = 1")
    same(programs, "train.pyz", "--lr", "1")
    (programs.folder / "train.zip").write_bytes(b"no archive")
    assert programs.watched("train.zip").returncode == 2
