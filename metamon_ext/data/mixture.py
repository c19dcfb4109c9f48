"""Mixtures of new and old battles to train on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from metamon_ext.data.split import battle_id, draw_battles
from metamon_ext.data.trajectory import trajectory_files
from metamon_ext.errors import cannot_write
from metamon_ext.files import link_or_copy


def link_mixture(
    new: Mapping[str, Path],
    old: Mapping[str, Path],
    output_dir: Path,
    new_share: float,
    seed: int,
) -> dict[str, int]:
    """Link all new battles, and as many old ones as it takes, to `output_dir/{format}/`.

    New battles are `new_share` of all, or more where there are too few old ones. Old battles are
    drawn by a hash of the seed and of their ids, so both points of view of a battle stay together,
    and the same folders give the same mixture. A battle in several folders counts for the first.

    Args:
        new: Name -> a folder of filtered trajectories.
        old: The same.
        output_dir: Files of the mixture that are there already are kept.
        new_share: In (0, 1].
        seed: Another seed draws other battles.

    Returns:
        Name -> battles from there, for every folder.
    """
    battles: dict[str, tuple[str, list[Path]]] = {}
    for name, folder in [*new.items(), *old.items()]:
        found = defaultdict(list)
        for file in trajectory_files(folder):
            found[battle_id(file.name)].append(file)
        battles = {id_: (name, files) for id_, files in found.items()} | battles
    fresh = {id_ for id_, (name, _) in battles.items() if name in new}
    wanted = round(len(fresh) * (1 - new_share) / new_share)
    chosen = fresh | draw_battles(battles.keys() - fresh, wanted, seed)
    counts = dict.fromkeys([*new, *old], 0)
    try:
        for id_ in chosen:
            name, files = battles[id_]
            counts[name] += 1
            for file in files:
                target = output_dir / file.parent.name / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(file, target)
    except OSError as error:
        raise cannot_write(output_dir, error) from error
    return counts
