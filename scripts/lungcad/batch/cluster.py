# SPDX-License-Identifier: Apache-2.0
"""Submission of shards to Slurm, or to processes of this machine, by submitit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lungcad.batch.run import Job, run_shard
from lungcad.batch.shards import Shard
from lungcad.errors import InputError, missing_package

try:
    import submitit
except ImportError as error:
    raise missing_package("submitit", "cluster") from error


@dataclass(frozen=True)
class Resources:
    """Resources that each shard asks for.

    Attributes:
        cpus: cores.
        memory_gb: memory.
        gpus: GPUs of the node.
        minutes: time after which Slurm stops the shard; it is then queued again.
        parameters: further parameters of submitit by name, such as ``slurm_partition``.
    """

    cpus: int = 2
    memory_gb: float = 8.0
    gpus: int = 0
    minutes: int = 1440
    parameters: Mapping[str, Any] | None = None


class ShardJob(submitit.helpers.Checkpointable):
    """Callable that works through shards; Slurm queues it again after a preemption or at its time limit.

    Nothing has to be saved then: what is settled lies in the output folder.
    """

    def __init__(self, job: Job, count: int) -> None:
        self.job, self.count = job, count

    def __call__(self, shards: tuple[int, ...]) -> dict[str, int]:
        """Work through the shards with these indices; returns the number of series by state."""
        states: dict[str, int] = {}
        for index in shards:
            for state, number in run_shard(self.job, Shard(index, self.count)).states.items():
                states[state] = states.get(state, 0) + number
        return states


def submit_shards(job: Job, cluster: str, shards: int, parallel: int, resources: Resources = Resources()) -> list[Any]:
    """Submit a manifest as an array of jobs and leave.

    Args:
        job: work on the manifest.
        cluster: ``slurm``, ``local`` for processes of this machine, or ``debug`` for this process.
        shards: number of shards, each a task of a Slurm array.
        parallel: largest number of shards at a time.
        resources: resources that each shard asks for.

    Returns:
        Jobs of submitit, with a ``job_id`` each.

    Raises:
        InputError: E-USAGE, there is no such cluster, or it does not take these parameters.
    """
    folder = job.out / "batch" / "jobs"
    try:
        executor = submitit.AutoExecutor(folder, cluster=cluster, **_limits(cluster))
        executor.update_parameters(**_parameters(cluster, parallel, resources))
        # submitit starts all local jobs at once: there, one job takes the shards of one place after the other
        jobs = shards if cluster == "slurm" else min(parallel, shards)
        groups = [tuple(range(place, shards, jobs)) for place in range(jobs)]
        job = replace(job, manifest=job.manifest.absolute(), out=job.out.absolute())
        submitted = list(executor.map_array(ShardJob(job, shards), groups))
    except (RuntimeError, ValueError, NameError, TypeError, KeyError) as error:
        text = f"{cluster} does not take the jobs: {type(error).__name__}: {error}."
        raise InputError("E-USAGE", text, "Is sbatch installed here? Are all --slurm_... parameters right?") from error
    for script in folder.glob(".submission_file_*.sh"):  # Slurm has a copy
        script.unlink(missing_ok=True)
    return submitted


def _limits(cluster: str) -> dict[str, Any]:
    """Options that let a job be queued again as often as its time limit demands."""
    return {"slurm_max_num_timeout": 1000} if cluster == "slurm" else {}


def _parameters(cluster: str, parallel: int, resources: Resources) -> dict[str, Any]:
    parameters: dict[str, Any] = {"timeout_min": resources.minutes, "name": "lungcad", **(resources.parameters or {})}
    if resources.gpus:
        parameters["gpus_per_node"] = resources.gpus
    if cluster == "slurm":
        parameters |= {"cpus_per_task": resources.cpus, "mem_gb": resources.memory_gb}
        parameters["slurm_array_parallelism"] = parallel
    return parameters
