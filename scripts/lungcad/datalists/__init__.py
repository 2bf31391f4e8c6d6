# SPDX-License-Identifier: Apache-2.0
"""Datalists of LUNA16, LIDC-IDRI and DeepLesion for MONAI: JSON files with training, validation and test lists.

``monai.data.load_decathlon_datalist(path, is_segmentation=False, data_list_key=..., base_dir=...)`` reads them;
``base_dir`` is the folder of the images. Boxes are x, y, z, dx, dy, dz in DICOM LPS mm (MONAI's mode ``cccwhd``) with
dx = dy = dz, the diameter. Identifiers are in a dictionary ``ids``, because MONAI takes a string for a path wherever a
file of that name is in ``base_dir``, and LIDC-IDRI's folders are named after patients.
"""
