# SPDX-License-Identifier: Apache-2.0
"""Checks that every bundle must pass, one function per check.

A check returns a note for its line of output, raises :class:`SkipCheck` where it cannot be made, and fails with any
other exception. The checks cover all that Project-MONAI/model-zoo's ``ci/verify_bundle.py`` (commit 17e7879c) and the
scripts before it require:

    model-zoo                                         here
    large_files.* are downloaded                      files
    LICENSE, configs/metadata.json, model.pt,         files; a chain's model.pt comes with packing: its first network's
      configs/inference.*
    licence and data licence (CONTRIBUTING)           license
    version in changelog and not yet published        changelog
    metadata satisfies its schema                     metadata
    packages of the metadata are installed by pip     packages
    properties of the inference workflow              properties (there only for bundles with ``supported_apps``)
    verify_net_in_out of network_def                  network
    ckpt_export of model.pt; model.ts loads           torchscript (also: computes the same)

Not required by the model zoo: skeleton, weights, overlays, inference. The zoo keeps single files above 25 MB outside
its repository: to submit MTMR-Net, list its model.pt in a large_files.yml.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from lungcad.checks.bundle import Bundle, SkipCheck
from lungcad.checks.configs import check_overlays, check_properties
from lungcad.checks.layout import FILES, STAGE_FILES, check_files, check_license, check_skeleton
from lungcad.checks.metadata import check_changelog, check_metadata, check_packages
from lungcad.checks.network import check_inference, check_network, check_torchscript, check_weights, hash_key

__all__ = [
    "CHECKS", "FILES", "STAGE_FILES", "Bundle", "SkipCheck", "check_files", "check_inference", "hash_key", "verify",
]  # fmt: skip

CHECKS: tuple[Callable[[Bundle], str], ...] = (
    check_files, check_license, check_metadata, check_changelog, check_packages, check_skeleton, check_properties,
    check_weights, check_network, check_torchscript, check_overlays, check_inference,
)  # fmt: skip
"""Checks of a bundle, in the order in which they are made."""


def verify(
    root: Path, schema: Path | None, work: Path, series: Path | None = None, candidates: Path | None = None,
    checks: Sequence[Callable[[Bundle], str]] = CHECKS,
) -> list[str]:  # fmt: skip
    """Check one bundle and print a line per check.

    Args:
        root, schema, work, series, candidates: see :class:`Bundle`.
        checks: checks to make.

    Returns:
        Names of the checks that failed.
    """
    failed = []
    for check in checks:
        name = check.__name__.removeprefix("check_")
        try:
            result, note = "ok", check(Bundle(root, schema, work, series, candidates))
        except SkipCheck as reason:
            result, note = "skip", str(reason)
        except Exception as error:  # whatever a broken bundle makes MONAI raise is a failed check, not a crash
            result, note = "FAIL", " ".join(f"{type(error).__name__}: {error}".split())[:400]
            failed.append(name)
        print(f"{result:<5}{root.name:<32}{name:<12}{note}", flush=True)
    return failed
