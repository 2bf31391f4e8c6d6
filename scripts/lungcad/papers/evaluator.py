# SPDX-License-Identifier: Apache-2.0
"""Evaluator of every bundle: MONAI's, with the loader, collation and preparation that whole cases need."""

from collections.abc import Sequence
from typing import Any

import torch
from monai.data.utils import no_collation
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from torch.utils.data import DataLoader, Dataset

from lungcad.papers.transforms import prepare_case


class CaseEvaluator(SupervisedEvaluator):
    """MONAI evaluator that runs a network on a dataset of whole cases, one at a time.

    A case is one dictionary that stays whole: its tensors have their batch dimension already, so that nothing is
    collated before the network and nothing taken apart behind it.

    Args:
        device: device that the network runs on.
        dataset: cases after preprocessing.
        network: network in any mode; it is set to evaluation.
        inferer: inferer that computes ``pred`` from ``image``.
        postprocessing: transform that turns ``pred`` into ``findings``, and writes them where the bundle does.
        val_handlers: scorers and other ignite handlers.
    """

    def __init__(
        self, device: torch.device, dataset: Dataset, network: torch.nn.Module, inferer: Inferer, postprocessing: Any,
        val_handlers: Sequence[Any] = (),
    ):  # fmt: skip
        super().__init__(
            device=device, val_data_loader=DataLoader(dataset, batch_size=None, collate_fn=no_collation),
            network=network, inferer=inferer, postprocessing=postprocessing, prepare_batch=prepare_case,
            decollate=False, val_handlers=list(val_handlers),
        )  # fmt: skip
