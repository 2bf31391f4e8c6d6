# SPDX-License-Identifier: Apache-2.0
"""Inputs of ``lung_rads`` on one nodule, checked one by one and against each other."""

from collections.abc import Collection
from dataclasses import dataclass

from lungcad.guidelines.inputs import (
    KINDS,
    benign_calcification,
    choice,
    flag,
    number,
    positive,
    size_mm,
    solid_part_mm,
)
from lungcad.guidelines.lung_rads_result import CATEGORIES
from lungcad.guidelines.measuring import rounded

STATUSES = ("baseline", "new", "stable", "growing")
"""Statuses: first screening CT; absent from the prior exam; known and not growing; growing by Lung-RADS's rule."""

DOUBLED = "non-solid doubled within a year"
SUSPICIOUS = ("spiculation", "lymphadenopathy", "metastatic disease", DOUBLED, "other")
"""Features that turn category 3 or 4 into 4X."""

JUXTAPLEURAL_SHAPES = ("oval", "lentiform", "triangular")
SHAPES = (*JUXTAPLEURAL_SHAPES, "round", "other")
"""Shapes of a juxtapleural nodule; the first three are typical of a benign one."""


@dataclass
class Nodule:
    """Nodule as described by the arguments of ``lung_rads``, in their order; sizes are rounded to one decimal.

    Raises:
        ValueError: impossible or contradictory input.
    """

    kind: str
    mean_mm: float
    solid_mm: float | None
    status: str | None
    juxtapleural: bool
    prior_mm: float | None
    prior_solid_mm: float | None
    months: float | None
    prior_category: str | None
    prior_kind: str | None
    smooth: bool | None
    shape: str | None
    calcification: str | None
    fat: bool
    suspicious: Collection[str]
    slow_growth: bool
    proven_benign: bool

    def __post_init__(self) -> None:
        choice("kind", self.kind, KINDS)
        if self.status is not None:
            choice("status", self.status, STATUSES)
        for name in ("juxtapleural", "fat", "slow_growth", "proven_benign"):
            setattr(self, name, flag(name, getattr(self, name)))
        self._check_sizes()
        self._check_prior()
        self.smooth = None if self.smooth is None else flag("smooth", self.smooth)
        if self.shape is not None:
            choice("shape", self.shape, SHAPES)
        if isinstance(self.suspicious, str) or not isinstance(self.suspicious, Collection):
            raise ValueError(f"suspicious must be a list of features, not {self.suspicious!r}")
        for feature in self.suspicious:
            choice("suspicious", feature, SUSPICIOUS)

    def _check_sizes(self) -> None:
        """Check and round the sizes of both exams; a solid part must not be larger than the whole nodule."""
        mean_mm = size_mm("mean_mm", self.mean_mm)
        solid_mm = solid_part_mm(self.kind, mean_mm, self.solid_mm)
        prior_mm = None if self.prior_mm is None else size_mm("prior_mm", self.prior_mm)
        prior_solid_mm = (
            None if self.prior_solid_mm is None else number("prior_solid_mm", self.prior_solid_mm, lowest=0)
        )
        if prior_mm is not None and prior_solid_mm is not None and prior_solid_mm > prior_mm:
            raise ValueError(f"prior_solid_mm ({prior_solid_mm:g}) must not be larger than prior_mm ({prior_mm:g})")
        if self.prior_kind is not None:
            choice("prior_kind", self.prior_kind, KINDS)
            solid_part_mm(self.prior_kind, prior_mm or prior_solid_mm or 0.0, prior_solid_mm, "prior_solid_mm")
        self.mean_mm = rounded(mean_mm, 1)
        self.solid_mm = None if solid_mm is None else rounded(solid_mm, 1)
        self.prior_mm = None if prior_mm is None else rounded(prior_mm, 1)
        self.prior_solid_mm = None if prior_solid_mm is None else rounded(prior_solid_mm, 1)

    def _check_prior(self) -> None:
        """Check that earlier exams are given only where the status allows them."""
        self.months = None if self.months is None else positive("months", self.months)
        if self.prior_category is not None:
            choice("prior_category", self.prior_category, CATEGORIES)
        if self.status == "new" and (self.measured_before or self.prior_category or self.prior_kind):
            raise ValueError("a new nodule was absent from the prior exam: it has no prior size and no prior category")
        if self.status == "baseline" and not self.measured_before and (self.prior_category or self.prior_kind):
            raise ValueError("a baseline exam has no prior: with its category or kind, status is 'stable' or 'growing'")
        if self.slow_growth and (self.status == "new" or (self.status == "baseline" and not self.measured_before)):
            raise ValueError(f"slow_growth needs earlier exams: status is 'stable' or 'growing', not {self.status!r}")

    @property
    def measured_before(self) -> bool:
        """Whether a size of the prior exam is known."""
        return self.prior_mm is not None or self.prior_solid_mm is not None

    @property
    def kind_before(self) -> str:
        """Kind at the prior exam.

        Where it was not told, a solid part smaller than the nodule shows that one which is now solid was not; else the
        kind of now.
        """
        if self.prior_kind is not None:
            return self.prior_kind
        if self.kind == "solid" and self.prior_solid_mm is not None and self.prior_solid_mm != self.prior_mm:
            return "part-solid" if self.prior_solid_mm else "non-solid"
        return self.kind

    @property
    def benign(self) -> str:
        """Reason why the nodule is benign by its contents; empty where it is not."""
        if benign_calcification(self.calcification):
            return f"benign: {self.calcification} calcification"
        return "benign: contains fat" if self.fat else ""

    @property
    def typical_juxtapleural(self) -> bool:
        """Whether the nodule is juxtapleural, with the form and size that the table calls benign."""
        form = self.smooth is not False and self.shape in (None, *JUXTAPLEURAL_SHAPES)
        spared = "spiculation" not in self.suspicious and not self.slow_growth
        solid = self.kind == self.kind_before == "solid"
        return self.juxtapleural and solid and self.mean_mm < 10 and form and spared
