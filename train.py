"""Train a stage: `python train.py stage=arae`; see `python train.py --help`."""

from xrj.cli import train

if __name__ == "__main__":
    train()
