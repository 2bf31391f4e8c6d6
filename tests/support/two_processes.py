# SPDX-License-Identifier: Apache-2.0
"""Trainings in two processes under torchrun's agent, forked so that what they need is imported once.

``python two_processes.py [[ARGUMENTS, KILLED], ...]`` (JSON) runs ``python -m monai.bundle ARGUMENTS`` in two
processes, one training after the other, and prints whether each one ended well. Where KILLED is true, the second
process dies by SIGKILL at the start of the second epoch.
"""

import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any

import monai.bundle
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import lungcad.papers.dou2017.training
from lungcad.training import trainer

BEGIN_EPOCH = trainer._begin_epoch


def die_in_epoch_2(engine: Any, *arguments: Any) -> None:
    checkpoint = Path(sys.argv[sys.argv.index("--run_dir") + 1], "checkpoint.pt")
    while engine.state.epoch == 2:
        if checkpoint.exists():  # the first process writes it
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
    BEGIN_EPOCH(engine, *arguments)


def worker(arguments: list[str], killed: bool) -> None:
    sys.argv[1:] = arguments
    if killed and os.environ["RANK"] == "1":
        trainer._begin_epoch = die_in_epoch_2
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)


def main(launches: list[tuple[list[str], bool]]) -> None:
    assert monai.bundle and lungcad.papers.dou2017.training  # imported before the fork
    ended_well = []
    for number, (arguments, killed) in enumerate(launches):
        config = LaunchConfig(
            1, 1, 2, run_id=str(number), rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
            start_method="fork", monitor_interval=0.1,
        )  # fmt: skip
        try:
            elastic_launch(config, worker)(arguments, killed)
            ended_well.append(True)
        except ChildFailedError:
            ended_well.append(False)
    print(json.dumps(ended_well))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
