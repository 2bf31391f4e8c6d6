# SPDX-License-Identifier: Apache-2.0
"""A made-up DL_info.csv, shared by tests."""

import csv
from pathlib import Path

COLUMNS = (
    "File_name,Patient_index,Study_index,Series_ID,Key_slice_index,Measurement_coordinates,Bounding_boxes,"
    "Lesion_diameters_Pixel_,Normalized_lesion_location,Coarse_lesion_type,Possibly_noisy,Slice_range,Spacing_mm_px_,"
    "Image_size,DICOM_windows,Patient_gender,Patient_age,Train_Val_Test"
).split(",")


def row(patient: int = 1, key: int = 20, box: str = "90, 190, 110, 210", diameters: str = "10, 8", noisy: int = 0,
        slices: str = "14, 26", split: int = 1, kind: int = 3, spacing: str = "0.8, 0.8, 5",
        **cells: str) -> dict[str, str]:  # fmt: skip
    """One row of DL_info.csv: a lesion of 10 px around (100, 200) px in slice 20 of 14 to 26."""
    values = {
        "File_name": f"{patient:06d}_01_02_{key:03d}.png", "Patient_index": f"{patient}", "Study_index": "1",
        "Series_ID": "2", "Key_slice_index": f"{key}", "Bounding_boxes": box, "Lesion_diameters_Pixel_": diameters,
        "Coarse_lesion_type": f"{kind}", "Possibly_noisy": f"{noisy}", "Slice_range": slices,
        "Spacing_mm_px_": spacing, "Train_Val_Test": f"{split}",
    }  # fmt: skip
    return dict.fromkeys(COLUMNS, "") | values | cells


def table(folder: Path, *rows: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "DL_info.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path
