"""The process of a further device of a training; started by :mod:`ebsdsg_ml.ranks`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Make the steps of one rank.

    The one argument is a JSON mapping: ``config`` (fields of
    :class:`ebsdsg_ml.protocol.TrainingConfig`), ``dataset``, ``directory``, ``validation_fold``,
    ``precision`` (Lightning's name), ``device``, ``threads``, ``rank``, ``of``, ``meeting``.
    """
    task = json.loads(sys.argv[1])
    import torch

    from ebsdsg_ml.protocol import TrainingConfig
    from ebsdsg_ml.ranks import Rank, end_with_rank_0, group
    from ebsdsg_ml.training import patterns_of, quiet
    from ebsdsg_ml.training_loop import run_training

    end_with_rank_0()
    torch.set_num_threads(task["threads"])
    rank = Rank(task["rank"], task["of"])
    training, validation = patterns_of(task["dataset"], task["validation_fold"])
    print("ready", flush=True)
    with quiet(), group(rank, Path(task["meeting"]), task["device"]):
        run_training(
            TrainingConfig.from_dict(task["config"]),
            training,
            validation,
            Path(task["directory"]),
            precision=task["precision"],
            device=task["device"],
            on_epoch=None,
            progress=None,
            rank=rank,
        )


if __name__ == "__main__":
    main()
