"""Whether chains that share a row of a table were trained alike, but for chance."""

import json
from collections.abc import Callable, Hashable, Sequence

from xrj.errors import HandoverError
from xrj.evaluate.chains import Chain

CHANCE = ("seed", "data.split.seed")
"""Settings in which runs of one method differ."""
ELSEWHERE = ("parents.", "trainer.")
"""Beginnings of settings that say on what and where a stage was trained."""
LOSSES = ("image_weight", "embedding_weight", "noise_weight", "caption_weight")
"""Weights of the inverse mapping's losses beside that of the label."""


def check_alike(
    chains: Sequence[Chain],
    stage: str,
    flag: str,
    group: Callable[[Chain], Hashable] = lambda _chain: None,
) -> None:
    """Check that chains may count as runs of one method: other seeds or folds, the same settings.

    What a chain did not record is not compared.

    Args:
        chains: That are averaged.
        stage: Of which.
        flag: That named them.
        group: Chains of different groups share no row.

    Raises:
        HandoverError: Two have one seed and split, or were trained with other settings.
    """
    known: dict[Hashable, list[Chain]] = {}
    for chain in chains:
        others = known.setdefault(group(chain), [])
        for other in others:
            _check_pair(other, chain, stage, flag)
        others.append(chain)


def _check_pair(first: Chain, second: Chain, stage: str, flag: str) -> None:
    both = f"{flag}: {first.name} and {second.name}"
    seed = first.seed(stage)
    splits = {chain.export(stage).info["split"] for chain in (first, second)}
    if seed is not None and seed == second.seed(stage) and len(splits) == 1:
        raise HandoverError(
            f"{both}: their '{stage}' are of one seed, {seed}, and one split, and would count as "
            "two runs; leave one out"
        )
    if unlike := unlike_settings(first, second, stage):
        key, values = unlike[0]
        raise HandoverError(
            f"{both}: were trained with {key}={json.dumps(values[0])} and {json.dumps(values[1])} "
            "and would count as one method; leave one out"
        )


def unlike_settings(
    first: Chain, second: Chain, stage: str
) -> list[tuple[str, tuple[object, object]]]:
    """Return the settings, with both values, in which a stage of two chains was trained unlike.

    Chance, parents and devices do not count, nor what one of them did not record.
    """
    mine, others = first.settings(stage), second.settings(stage)
    return [
        (key, (mine[key], others[key]))
        for key in mine
        if key in others
        and key not in CHANCE
        and not key.startswith(ELSEWHERE)
        and mine[key] != others[key]
    ]


def check_label_loss(chains: Sequence[Chain]) -> None:
    """Check that inverse mappings were trained by the label loss alone.

    Raises:
        HandoverError: One had another loss, too.
    """
    for chain in chains:
        for weight in LOSSES:
            if given := chain.settings("inverse").get(f"inverse.{weight}"):
                raise HandoverError(
                    f"evaluate.label_loss: {chain.name}: was trained with inverse.{weight}="
                    f"{given}, which is not the label loss alone; leave it out"
                )


def check_other_preset(chains: Sequence[Chain], main: Chain, stages: Sequence[str]) -> None:
    """Check that chains were not trained with the settings of the one that they are set beside.

    Raises:
        HandoverError: One was, in all of the stages, where both recorded theirs.
    """
    for chain in chains:
        both = [
            stage
            for stage in stages
            if len(chain.settings(stage)) > 1 and len(main.settings(stage)) > 1
        ]
        if both and not any(unlike_settings(main, chain, stage) for stage in both):
            raise HandoverError(
                f"evaluate.paper: {chain.name}: was trained with the settings of {main.name}; name "
                "chains of experiment=paper"
            )


def unlike_rivals(chains: Sequence[Chain]) -> list[str]:
    """Return the settings in which stages I of ARAE and embedding layer differ, in words."""
    found = []
    for chain in chains:
        own, rival = chain.settings("gan1"), chain.settings("embedding_gan1")
        for key, value in own.items():
            other = rival.get(f"embedding_{key}", value)
            if key.startswith("gan1.") and other != value:
                found.append(f"{key}={json.dumps(value)} but embedding_{key}={json.dumps(other)}")
    return sorted(set(found))
