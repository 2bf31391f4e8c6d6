# SPDX-License-Identifier: Apache-2.0
"""Validated intake as a MONAI image reader, for ``LoadImaged`` in bundle configs.

``LoadImage`` tries its own readers when the named one raises in ``read``, and ITKReader or PydicomReader would then
return a refused series, wrong. So ``read`` never raises: it hands the refusal on, and ``get_data``, which
``LoadImage`` calls outside its retry loop, raises it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader, MetaTensor

from lungcad.dicom import Leniency
from lungcad.errors import InputError
from lungcad.geometry import swap_lps_ras
from lungcad.options import options_by_name, text_or_none
from lungcad.reading.volume_file import read_volume
from lungcad.volume import Origin, Volume


class CTSeriesReader(ImageReader):
    """MONAI image reader of every input of :func:`lungcad.reading.volume_file.read_volume`.

    Args:
        series_uid: SeriesInstanceUID, where a folder holds several series.
        acquisition: label of the acquisition to read, where a series holds several.
        leniency: options of :class:`lungcad.dicom.Leniency` by name, as a config gives them.
        **options: the same options, one by one.

    Raises:
        InputError: E-CONFIG, an unknown option, or a value of another kind.

    Example:
        ``{"_target_": "LoadImaged", "keys": "image",
        "reader": "lungcad.reading.monai_reader.CTSeriesReader", "series_uid": null}``
    """

    def __init__(self, series_uid: str | None = None, acquisition: str | None = None,
                 leniency: Mapping[str, Any] | None = None, **options: Any) -> None:  # fmt: skip
        super().__init__()
        self.series_uid = text_or_none("series_uid", series_uid)
        self.leniency = {**options_by_name("leniency", leniency), **options}
        Leniency.from_options(self.leniency)
        if acquisition is not None:
            self.leniency["acquisition"] = str(acquisition)

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Accept every path, so that no other reader gets an input that this one refuses."""
        return True

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Volume | InputError:
        """Read one path; a refusal is returned, not raised (see the module's docstring)."""
        try:
            paths = [data] if isinstance(data, str) or not isinstance(data, Sequence) else list(data)
            if len(paths) != 1:
                text = f"{len(paths)} paths for one image (expected 1)."
                raise InputError("E-CONFIG", text, "Give the folder of the series, not its files.")
            return read_volume(paths[0], self.series_uid, **(self.leniency | kwargs))
        except InputError as error:
            return error

    def get_data(self, img: Volume | InputError) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the array (X, Y, Z) float32 HU and its metadata.

        ``affine`` is RAS as everywhere in MONAI. Further keys: ``space``, ``spatial_shape``,
        ``original_channel_dim``, ``series_uid``, ``published_uid``, ``sop_instance_uids``, ``instance_numbers``,
        ``study_uid``, ``frame_of_reference_uid``, ``description``, ``warnings`` (strings that begin with their code),
        ``origin`` (path and leniency; empty where unknown).

        Raises:
            InputError: the refusal of :meth:`read`.
        """
        if isinstance(img, InputError):
            raise img
        affine = swap_lps_ras(img.affine)
        return img.hu, {
            "affine": affine,
            "original_affine": affine.copy(),
            "space": "RAS",
            "spatial_shape": np.array(img.hu.shape),
            "original_channel_dim": float("nan"),  # MONAI's word for "there is no channel axis"
            "series_uid": img.series_uid,
            "published_uid": img.published_uid,
            "sop_instance_uids": img.sop_instance_uids,
            "instance_numbers": img.instance_numbers,
            "study_uid": img.study_uid,
            "frame_of_reference_uid": img.frame_of_reference_uid,
            "description": img.description,
            "warnings": list(img.warnings),
            "origin": {"path": str(img.origin.path), "leniency": dict(img.origin.leniency)} if img.origin else {},
        }


def to_volume(image: MetaTensor) -> Volume:
    """Volume of a tensor that :class:`CTSeriesReader` loaded, (1, X, Y, Z) or (X, Y, Z)."""
    meta = image.meta
    hu = image.as_tensor().numpy()
    return Volume(
        hu[0] if hu.ndim == 4 else hu,
        swap_lps_ras(np.asarray(image.affine)),
        meta["series_uid"],
        tuple(meta["sop_instance_uids"]),
        tuple(meta["instance_numbers"]),
        meta["study_uid"],
        meta["frame_of_reference_uid"],
        meta["description"],
        list(meta["warnings"]),
        Origin(Path(meta["origin"]["path"]), meta["origin"]["leniency"]) if meta["origin"] else None,
        meta["published_uid"],
    )
