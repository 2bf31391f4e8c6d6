# SPDX-License-Identifier: Apache-2.0
"""The evaluator of every bundle: MONAI's, with the loader, collation and preparation that whole cases need."""

from collections.abc import Sequence
from typing import Any

import torch
from monai.data.utils import no_collation
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from torch.utils.data import DataLoader, Dataset

from lungcad.papers.transforms import prepare_case


class CaseEvaluator(SupervisedEvaluator):
    """Runs a network on a dataset of whole cases, one at a time.

    A case is one dictionary that stays whole: its tensors have their batch dimension already, so that nothing is
    collated before the network and nothing taken apart behind it.

    Args:
        device: where the network runs.
        dataset: cases after preprocessing.
        network: in any mode; it is set to evaluation.
        inferer: gives ``pred`` from ``image``.
        postprocessing: from ``pred`` to ``findings``, and what becomes of them.
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
