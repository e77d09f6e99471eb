"""How many processes and devices share a training, and who has started them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from xrj.errors import ConfigError

LAUNCHERS: Mapping[str, tuple[str, str, str]] = {
    "torchrun": ("WORLD_SIZE", "RANK", "LOCAL_RANK"),
    "srun": ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"),
    "jsrun": ("JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_LOCAL_RANK"),
    "mpirun": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "mpiexec": ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),
}
"""What each launcher tells its processes: how many there are, which this is, which on its node."""
_OTHERS = ("NODE_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID")


@dataclass(frozen=True)
class Launch:
    """Who started this process, as which of how many."""

    by: str = "python"
    processes: int = 1
    rank: int = 0


def launched() -> Launch:
    """Return how this process was started, and leave torch's account of it in the environment.

    Lightning and torch read the variables of launchers at several places, at import, too, and each
    in its own way. So what a launcher of several processes has set becomes torch's variables, and
    what one has left behind for a process that is alone is removed.

    Raises:
        ConfigError: The launcher's variables contradict each other.
    """
    for by, names in LAUNCHERS.items():
        if by == "srun" and os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
            continue  # a shell in an allocation: what it starts is alone
        processes = _number(names[0]) or 1
        if processes > 1 or "TORCHELASTIC_RUN_ID" in os.environ:
            break
    if processes == 1:
        alone()
        return Launch()
    rank, local = (_number(name) for name in names[1:])
    if rank is None or local is None:
        missing = names[1] if rank is None else names[2]
        raise ConfigError(
            f"{names[0]}={processes}, but {missing} is not set: this is none of {processes} "
            f"processes that {by} has started; start it with {by}, or unset {names[0]}"
        )
    if not local <= rank < processes:
        raise ConfigError(
            f"{names[1]}={rank}, {names[2]}={local}: do not go with {names[0]}={processes}; start "
            f"with {by}, or unset them"
        )
    os.environ.update(WORLD_SIZE=str(processes), RANK=str(rank), LOCAL_RANK=str(local))
    if by == "srun":
        _meet_in_slurm()
    return Launch(by, processes, rank)


def alone() -> None:
    """Remove what launchers have left in the environment of a process that is alone."""
    for name in (*(name for names in LAUNCHERS.values() for name in names), *_OTHERS):
        os.environ.pop(name, None)


def _number(name: str) -> int | None:
    """Return an environment variable's number, None where it is unset or empty.

    Raises:
        ConfigError: It is no number.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal():
        raise ConfigError(f"{name}={text}: not a number; unset it, or start with its launcher")
    return int(text)


def _meet_in_slurm() -> None:
    """Name the place where SLURM's processes meet: the first node, a port from the job's number."""
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST")
    first = SLURMEnvironment.resolve_root_node_address(nodes or "127.0.0.1")
    os.environ.setdefault("MASTER_ADDR", first)
    os.environ.setdefault("MASTER_PORT", str(15000 + (_number("SLURM_JOB_ID") or 0) % 10000))


def devices(trainer: DictConfig) -> int | list[int]:
    """Return how many devices of a node share the work, or which GPUs do.

    Args:
        trainer: Its `devices` are a number, the numbers of GPUs (a list, or with commas), or `auto`
            or -1 for all there are; its `accelerator` may rule GPUs out.

    Raises:
        ConfigError: `devices` is nothing of this.
    """
    import torch  # only now: help and mistaken flags need not wait for it

    given = trainer.devices
    on_gpu = torch.cuda.is_available() and trainer.accelerator != "cpu"
    if str(given).strip() in ("auto", "-1"):
        return torch.cuda.device_count() if on_gpu else 1
    listed = OmegaConf.is_list(given) or (isinstance(given, str) and "," in given)
    parts = [given]
    if listed:
        parts = list(given) if OmegaConf.is_list(given) else given.strip().rstrip(",").split(",")
    texts = [str(part).strip() for part in parts if isinstance(part, str) or type(part) is int]
    numbers = [int(text) for text in texts if text.isascii() and text.isdecimal()]
    if len({*numbers}) < max(len(parts), 1) or (not listed and numbers == [0]):
        raise ConfigError(
            f"trainer.devices={given}: give how many, such as 4, which GPUs, such as [0, 1], "
            "or auto"
        )
    if not listed:
        return numbers[0]
    return numbers if on_gpu else len(numbers)  # CPUs have no numbers


def count_devices(trainer: DictConfig) -> int:
    """Return how many devices of a node share the work; raises as `devices` does."""
    found = devices(trainer)
    return found if isinstance(found, int) else len(found)


def check_processes(launch: Launch, trainer: DictConfig) -> None:
    """Check that a launcher has started a process a device, or none has and they are spawned.

    Raises:
        ConfigError: Their numbers differ.
    """
    count, nodes, started = count_devices(trainer), trainer.num_nodes, launch.processes
    if started == count * nodes or (started == nodes == 1):
        return
    if started == 1:
        raise ConfigError(
            f"trainer.num_nodes={nodes}: needs a process a device on every node, started by "
            "torchrun or srun; start it so, or set trainer.num_nodes=1"
        )
    real = max(1, _number("SLURM_NNODES") or started // (_number("LOCAL_WORLD_SIZE") or started))
    raise ConfigError(
        f"{launch.by} has started {started} processes, but trainer.devices={trainer.devices} and "
        f"trainer.num_nodes={nodes} ask for {count * nodes}; set trainer.devices={started // real} "
        f"trainer.num_nodes={real}, or start one process"
    )
