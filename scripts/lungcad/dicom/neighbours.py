# SPDX-License-Identifier: Apache-2.0
"""Comparison of each slice with its neighbours: finds damage that copying, archives and decoders do not report.

Anatomy changes gradually from slice to slice, and the noise is similar. Uncompressed pixels and raw deflate carry no
checksum, and a rescale intercept can be wrong in one header. A breathing step looks similar to damage, so a slice that
merely differs gives a warning with its place. Refused are only patterns that no scanner writes: a long run of one value
where both neighbours hold tissue, and a slice of noise. The limits were set on two whole chest CTs (also thinned out to
12 mm and averaged), eight crops of them, nine lungs resampled to 1 to 5 mm, and two phantoms: none of their slices
gives a warning.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lungcad.dicom.errors import AGAIN, DicomSeriesError, implausible
from lungcad.dicom.frames import Slice
from lungcad.volume import AIR_BELOW_HU, METAL_HU, Notice

NEARBY = 5
"""Number of slices on each side that give the usual value of a measure."""
INTERPOLATED_RATIO = 2.0
"""Ratio of the median over every second slice to that over all, above which the slices between are interpolated."""
UNLIKE_RATIO, UNLIKE_HU = 2.5, 5.0
"""Limit of the mean excess over the range of both neighbours: ratio to the median of the slices around, plus HU.
Largest ratio seen in intact scans: 1.5."""
EVEN_FROM_HU, EVEN_RATIO, EVEN_SPREADS = 8.0, 1.4, 8.0
"""Limit of the same excess among noisy slices with similar values: applies from this median in HU; ratio to the median,
plus number of median absolute deviations."""
FAR_HU, FAR_RATIO, FAR_SHARE = 500.0, 4.0, 0.002
"""Limit of the share of pixels that lie FAR_HU outside the range of both neighbours: ratio to the median of the slices
around, plus share. Largest ratio seen in intact scans: 1.9."""
FAR_PIXELS = 50
"""Smallest number of such pixels that counts."""
JUMP_HU, JUMP_SHARE = 40.0, 0.7
"""Limit of the median difference to the next slice outside air, relative to the usual one: in HU, and as a share of
the mean absolute difference. Largest seen in intact scans: 15 HU."""
ROUGH_RATIO, NOISE_RATIO = 1.35, 4.0
"""Limits of the mean difference of adjacent pixels, as a ratio to the slices around: a warning, and certain noise.
Largest ratio seen in intact scans: 1.2."""
EVEN_ROUGH, EVEN_ROUGH_SPREADS = 1.1, 7.0
"""Limit of the same ratio among noisy slices with similar values, plus number of median absolute deviations."""
STEP_RATIO, STEP_HU = 1.8, 10.0
"""Limit of the mean difference of an outermost slice to its only neighbour: ratio to the next differences, plus HU.
Largest ratio seen in intact scans: 2."""
EVEN_STEP_RATIO, EVEN_STEP_SPREADS = 1.35, 4.0
"""Limit of the same ratio among noisy slices with similar values, plus number of median absolute deviations."""
RUN_SHARE, RUN_HU = 0.02, 100.0
"""Limit of the share of a slice in one run of equal pixels from which both neighbours differ by more than RUN_HU."""
ALTERNATE = 0.85
"""Ratio of the difference to the slice after the next to that to the next, below which two scans alternate.
Smallest seen in intact scans: 1.0."""
SHEAR = 0.8
"""Ratio of the difference between rows of another length to that of the stated length, below which Columns is wrong."""


@dataclass(frozen=True)
class Measures:
    """Measures of one slice against its neighbours, in HU except shares (0 to 1).

    Attributes:
        excess: mean distance of its pixels from the range of both neighbours; 0 for an outermost slice.
        far: share of pixels more than FAR_HU outside that range; 0 for an outermost slice.
        jump: median difference to the next slice, over pixels that are not air; 0 for the last slice.
        step: mean absolute difference to the next slice; 0 for the last slice.
        second: mean absolute difference to the slice after the next; 0 for the last two.
        rough: mean absolute difference of adjacent pixels.
        run: share of the slice in its longest run of equal pixels, where both neighbours differ; else 0.
        blank: whether all pixels are equal.
        pixels: number of pixels that were compared.
    """

    excess: float
    far: float
    jump: float
    step: float
    second: float
    rough: float
    run: float
    blank: bool
    pixels: int


def compare_neighbours(hu: np.ndarray, pieces: Sequence[Slice]) -> list[Notice]:
    """Compare each slice of HU (Z, Y, X) with its neighbours.

    Returns:
        W-SLICE, which names the slices that differ.

    Raises:
        DicomSeriesError: E-HU-RANGE (damage for certain), E-PIXELS (rows of another length than Columns).
    """
    if len(hu) < 3:
        return []
    columns = hu.shape[2]
    if (length := row_length(hu[len(hu) // 2])) != columns:
        text = f"The pixels form rows of {length}, but Columns is {columns}: the header does not fit them."
        raise DicomSeriesError("E-PIXELS", text, AGAIN)
    with ThreadPoolExecutor(4) as pool:
        measured = list(pool.map(lambda index: _measure(hu, index), range(len(hu))))
    for index, measures in enumerate(measured):
        if measures.run:
            text = f"one value fills {measures.run:.0%} of the slice at {pieces[index].height} without a break"
            raise implausible(f"{text}, unlike its neighbours, as after an interrupted copy")
        if not measures.blank and measures.rough > NOISE_RATIO * (_median_around(measured, index, "rough") + 2):
            raise implausible(f"the slice at {pieces[index].height} is noise, unlike its neighbours")
    odd = _find_odd(measured)
    notices = [_slice_notice(pieces, odd)] if odd else []
    steps, second_steps = np.median([(measures.step, measures.second) for measures in measured[:-2]], axis=0)
    if not odd and second_steps < ALTERNATE * steps:
        text = "every second slice matches better than the next one: two scans may interleave."
        notices.append(Notice("W-SLICE", text))
    return notices


def _measure(hu: np.ndarray, index: int) -> Measures:
    """Measure one slice of HU (Z, Y, X) against its neighbours."""
    current = _thinned(hu, index)
    before, after = (_thinned(hu, other) if 0 <= other < len(hu) else None for other in (index - 1, index + 1))
    beyond = _thinned(hu, index + 2) if index + 2 < len(hu) else None
    excess = far = jump = step = second = 0.0
    if before is not None and after is not None:
        outside = np.abs(current - np.clip(current, np.minimum(before, after), np.maximum(before, after)))
        excess, far = float(outside.mean()), float(np.count_nonzero(outside > FAR_HU) / outside.size)
    if after is not None:
        difference = after - current
        step = float(np.abs(difference).mean())
        matter = np.maximum(current, after)[:, ::2] > AIR_BELOW_HU
        jump = float(np.median(difference[:, ::2][matter])) if matter.sum() > 50 else 0.0
    if beyond is not None:
        second = float(np.abs(beyond - current).mean())
    rough = float(np.abs(np.diff(current, axis=1)).mean())
    blank = bool(current.min() == current.max())
    near = [hu[other] for other in (index - 1, index + 1) if 0 <= other < len(hu)]
    run = 0.0 if blank else _equal_run(hu[index], near)
    return Measures(excess, far, jump, step, second, rough, run, blank, current.size)


def _thinned(hu: np.ndarray, index: int) -> np.ndarray:
    """Slice with every second row left out, metal clipped at METAL_HU."""
    return np.minimum(hu[index, ::2], np.float32(METAL_HU))


def _equal_run(pixels: np.ndarray, near: Sequence[np.ndarray]) -> float:
    """Share of a slice (Y, X) in its longest run of equal pixels in storage order; 0 where a neighbour shares it."""
    flat = pixels.ravel()
    ends = np.concatenate([[-1], np.flatnonzero(flat[1:] != flat[:-1]), [flat.size - 1]])
    longest = int(np.argmax(np.diff(ends)))
    begin, end = int(ends[longest]) + 1, int(ends[longest + 1]) + 1
    if end - begin < max(RUN_SHARE * flat.size, 2 * pixels.shape[1]):
        return 0.0
    others = (np.abs(neighbour.ravel()[begin:end] - flat[begin]) > RUN_HU for neighbour in near)
    return (end - begin) / flat.size if all(other.mean() > 0.5 for other in others) else 0.0


def _median_around(measured: Sequence[Measures], index: int, name: str) -> float:
    """Median of a measure over the slices around a slice; see :func:`_values_around`."""
    values = _values_around(measured, index, name)
    return float(np.median(values)) if values else 0.0


def _values_around(measured: Sequence[Measures], index: int, name: str) -> list[float]:
    """Values of a measure over the NEARBY slices on each side of a slice, without outermost and blank slices.

    Where every second slice was interpolated, these are the values of the slices of the same kind.
    """
    without = {index, 0, len(measured) - 1} if name in ("excess", "far") else {index}

    def values(step: int) -> list[float]:
        """Values of every ``step``-th slice on both sides."""
        near = range(index - step * NEARBY, index + step * NEARBY + 1, step)
        kept = [k for k in near if 0 <= k < len(measured) and k not in without and not measured[k].blank]
        return [getattr(measured[k], name) for k in kept]

    every, second = values(1), values(2)
    return second if len(second) > 2 and np.median(second) > INTERPOLATED_RATIO * np.median(every) else every


def _spread_around(measured: Sequence[Measures], index: int, name: str) -> float:
    """Median absolute deviation of a measure over the slices around a slice; see :func:`_values_around`."""
    values = _values_around(measured, index, name)
    return float(np.median(np.abs(np.array(values) - np.median(values)))) if values else 0.0


def _is_rough(measured: Sequence[Measures], index: int) -> bool:
    """Whether adjacent pixels differ more than in the slices around."""
    usual, rough = _median_around(measured, index, "rough"), measured[index].rough
    even = usual > EVEN_FROM_HU and rough > EVEN_ROUGH * usual + EVEN_ROUGH_SPREADS * _spread_around(
        measured, index, "rough"
    )
    return even or rough > ROUGH_RATIO * (usual + 2)


def _find_odd(measured: Sequence[Measures]) -> dict[int, str]:
    """Reason in words by index of each slice that differs from its neighbours."""
    odd = {index: "blank" for index, measures in enumerate(measured) if measures.blank}
    beside = {index + step for index in odd for step in (-1, 0, 1)}
    pairs = (index for index in range(len(measured) - 1) if not {index, index + 1} & set(odd))
    edges = {index for index in pairs if _is_jump(measured, index)}
    single = {index for index in edges if index - 1 in edges and measured[index].jump * measured[index - 1].jump < 0}
    for edge in sorted(edges):
        if not {edge, edge + 1} & single:
            odd[edge + 1 if edge else 0] = "values shifted from here"
    odd |= dict.fromkeys(single, "values shifted")
    for index, measures in enumerate(measured):
        if index not in beside and index not in odd and _is_unlike(measured, index):
            odd[index] = "unlike its neighbours"
        elif index not in odd and not measures.blank and _is_rough(measured, index):
            odd[index] = "rough"
    return dict(sorted(odd.items()))


def _is_jump(measured: Sequence[Measures], index: int) -> bool:
    """Whether the values of the whole next slice lie higher or lower than those of a slice."""
    usual = _median_around(measured, index, "jump")
    return abs(measured[index].jump - usual) > max(JUMP_HU, JUMP_SHARE * _median_around(measured, index, "step"))


def _is_unlike(measured: Sequence[Measures], index: int) -> bool:
    """Whether a slice differs from its neighbours more than the slices around do."""
    measures, last = measured[index], len(measured) - 1
    if index in (0, last):
        nearest = measured[: NEARBY + 2] if index == 0 else measured[-2 - NEARBY : -1][::-1]
        steps = [measures.step for measures in nearest]
        if len(steps) < 2:
            return False
        usual = float(np.median(steps[1:]))
        spread = float(np.median(np.abs(np.array(steps[1:]) - usual)))
        even = usual > EVEN_FROM_HU and steps[0] > EVEN_STEP_RATIO * usual + EVEN_STEP_SPREADS * spread
        return even or steps[0] > STEP_RATIO * usual + STEP_HU
    usual, spread = _median_around(measured, index, "excess"), _spread_around(measured, index, "excess")
    if measures.excess > UNLIKE_RATIO * usual + UNLIKE_HU:
        return True
    if usual > EVEN_FROM_HU and measures.excess > EVEN_RATIO * usual + EVEN_SPREADS * spread:
        return True
    return measures.far > FAR_RATIO * _median_around(measured, index, "far") + max(
        FAR_SHARE, FAR_PIXELS / measures.pixels
    )


def _slice_notice(pieces: Sequence[Slice], odd: dict[int, str]) -> Notice:
    """Notice W-SLICE that names the slices which differ, six at most."""
    shown = [f"{pieces[index].height} ({why})" for index, why in list(odd.items())[:6]]
    further = f" and {len(odd) - 6} more" if len(odd) > 6 else ""
    text = f"{len(odd)} slice(s) do not match the slices beside them: {', '.join(shown)}{further}."
    return Notice("W-SLICE", f"{text} Breathing, another scan or damaged data: look at them.")


def row_length(pixels: np.ndarray) -> int:
    """Length of the rows of a slice (Y, X): X, unless its pixels, in their order, form smoother rows of another one."""
    flat, columns = pixels.ravel(), pixels.shape[1]
    lengths = range(max(8, columns // 2), min(4 * columns, flat.size // 8) + 1)
    steps = {n: _row_step(flat, n) for n in lengths if flat.size % n == 0 and abs(n - columns) > 2}
    best = min(steps, key=lambda length: steps[length], default=columns)
    third = max(columns // 3, 1)
    along = float(np.abs(pixels[:, third:] - pixels[:, :-third]).mean())  # little where rows are uniform: layers, bars
    is_wrong = best != columns and steps[best] < SHEAR * min(_row_step(flat, columns), along) - 1
    return best if is_wrong else columns


def _row_step(flat: np.ndarray, length: int) -> float:
    """Mean absolute difference between pixels one row of ``length`` apart."""
    return float(np.abs(flat[length:] - flat[:-length]).mean())
