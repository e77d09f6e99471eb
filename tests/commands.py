"""`infer.py` as its user calls it, in this process."""

import sys

from xrj.cli import infer


def call_infer(monkeypatch, capsys, folder, arguments):
    """Call it in a folder; return exit status, lines of stdout and of stderr."""
    argv = ["infer.py", *arguments]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", ["python", *argv])
    monkeypatch.chdir(folder)
    status = 0
    try:
        infer()
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err.splitlines()
