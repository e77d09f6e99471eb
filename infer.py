"""Justify X-rays, report on a chain: `python infer.py image=PATH`; see `--help`."""

from xrj.cli import infer

if __name__ == "__main__":
    infer()
