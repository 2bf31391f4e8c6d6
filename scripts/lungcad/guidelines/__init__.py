# SPDX-License-Identifier: Apache-2.0
"""Guidelines and risk models for lung nodules as pure functions with named inputs; see README.md beside this file.

Each function proposes, with its reasons and assumptions; a radiologist decides. A result without enough input reads
"not computed: needs ...", and impossible input raises ValueError.
"""

from lungcad.guidelines.brock import brock
from lungcad.guidelines.bts import Bts, bts, bts_follow_up
from lungcad.guidelines.fleischner import Fleischner, fleischner
from lungcad.guidelines.fleischner_leading import Leading, fleischner_leading
from lungcad.guidelines.growth import (
    Growth,
    GrowthHistory,
    bts_growth,
    fleischner_growth,
    lung_rads_growth,
    lung_rads_growth_history,
    volume_change_percent,
    volume_doubling_days,
)
from lungcad.guidelines.inputs import CALCIFICATIONS, KINDS
from lungcad.guidelines.lung_rads import lung_rads
from lungcad.guidelines.lung_rads_exam import lung_rads_airway, lung_rads_cyst, lung_rads_exam
from lungcad.guidelines.lung_rads_input import SHAPES, STATUSES, SUSPICIOUS
from lungcad.guidelines.lung_rads_result import LungRads
from lungcad.guidelines.mayo import mayo
from lungcad.guidelines.measurement_error import (
    Repeatability,
    beyond_error,
    volume_change_interval,
    volume_repeatability,
)
from lungcad.guidelines.measuring import mean_diameter_mm, sphere_diameter_mm, sphere_volume_mm3

__all__ = [
    "CALCIFICATIONS",
    "KINDS",
    "SHAPES",
    "STATUSES",
    "SUSPICIOUS",
    "Bts",
    "Fleischner",
    "Growth",
    "GrowthHistory",
    "Leading",
    "LungRads",
    "Repeatability",
    "beyond_error",
    "brock",
    "bts",
    "bts_follow_up",
    "bts_growth",
    "fleischner",
    "fleischner_growth",
    "fleischner_leading",
    "lung_rads",
    "lung_rads_airway",
    "lung_rads_cyst",
    "lung_rads_exam",
    "lung_rads_growth",
    "lung_rads_growth_history",
    "mayo",
    "mean_diameter_mm",
    "sphere_diameter_mm",
    "sphere_volume_mm3",
    "volume_change_interval",
    "volume_change_percent",
    "volume_doubling_days",
    "volume_repeatability",
]
