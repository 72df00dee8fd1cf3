"""What processes that tests start inherit."""

import signal


def hear_ctrl_c() -> None:
    """Let a process hear Ctrl-C, as its ``preexec_fn``: one that is started in the background of a shell ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
