# SPDX-License-Identifier: Apache-2.0
"""Compare each slice with its neighbours: what copies, archives and decoders damage without reporting it.

Anatomy changes gradually and noise alike from slice to slice. Uncompressed pixels and raw deflate carry no checksum,
and a rescale intercept can be wrong in one header. A breathing step looks similar, so what is merely unlike is told,
with its place, and only what no scanner writes is refused: a stretch of one value where both neighbours hold tissue,
and a slice of noise. The limits were set on two whole chest CTs (also thinned out to 12 mm and averaged), eight crops
of them, nine lungs resampled to 1 to 5 mm, and two phantoms: none of their slices is told.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lungcad.dicom.errors import AGAIN, DicomSeriesError
from lungcad.dicom.frames import Slice
from lungcad.volume import AIR_BELOW_HU, Notice

METAL_HU = 4095.0
NEARBY = 5
UNLIKE_RATIO, UNLIKE_HU = 2.5, 5.0
"""Mean excess over the range of both neighbours: times the median of the slices around, plus HU. Seen: 1.5 times."""
EVEN_FROM_HU, EVEN_RATIO, EVEN_SPREADS = 8.0, 1.4, 8.0
"""The same among slices with noise that are all alike: from this median on, times the median, plus times the median
absolute deviation."""
FAR_HU, FAR_RATIO, FAR_SHARE = 500.0, 4.0, 0.002
"""Share of pixels that lie FAR_HU outside: times the median around, plus. Seen: 1.9 times."""
FAR_PIXELS = 50
JUMP_HU, JUMP_SHARE = 40.0, 0.7
"""Median difference to the next slice over what is no air, against the usual one: HU, and share of the mean absolute
difference. Seen: 15."""
ROUGH_RATIO, NOISE_RATIO = 1.35, 4.0
"""Mean difference of adjacent pixels against the slices around: unlike, and noise for certain. Seen: 1.2."""
EVEN_ROUGH, EVEN_ROUGH_SPREADS = 1.1, 7.0
STEP_RATIO, STEP_HU = 1.8, 10.0
"""Mean difference of an outermost slice to the only neighbour, against the next ones. Seen: 2."""
EVEN_STEP_RATIO, EVEN_STEP_SPREADS = 1.35, 4.0
RUN_SHARE, RUN_HU = 0.02, 100.0
"""Share of a slice that one value fills without a break, where both neighbours differ from it by more than RUN_HU."""
ALTERNATE = 0.85
"""Difference to the slice after the next, against that to the next, below which slices alternate. Seen: 1.0."""
SHEAR = 0.8
"""Difference from row to row with another row length, against the stated one, below which the rows are sheared."""


@dataclass(frozen=True)
class Look:
    """How one slice compares: all in HU except shares (0 to 1).

    Attributes:
        excess, far: mean distance from the range of both neighbours, and share of pixels beyond FAR_HU; of an
            outermost slice 0.
        jump, step, second: median (over what is no air) and mean absolute difference to the next slice, and mean
            absolute difference to the slice after it; 0 at the end.
        rough: mean difference of adjacent pixels.
        run: share of a stretch of one value that the neighbours do not share.
        blank: one value throughout.
        pixels: that were looked at.
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
    """Judge each slice of HU (Z, Y, X) by its neighbours.

    Returns:
        W-SLICE, which names the slices.

    Raises:
        DicomSeriesError: E-HU-RANGE (damage for certain), E-PIXELS (rows of another length than Columns).
    """
    if len(hu) < 3:
        return []
    _check_row_length(hu[len(hu) // 2])
    with ThreadPoolExecutor(4) as pool:
        looks = list(pool.map(lambda index: _look(hu, index), range(len(hu))))
    for index, look in enumerate(looks):
        if look.run:
            text = f"one value fills {look.run:.0%} of the slice at {_at(pieces[index])} without a break, unlike its"
            raise _damaged(f"{text} neighbours, as after an interrupted copy")
        if not look.blank and look.rough > NOISE_RATIO * (_around(looks, index, "rough") + 2):
            raise _damaged(f"the slice at {_at(pieces[index])} is noise, unlike its neighbours")
    odd = _find_odd(looks)
    notices = [_told(pieces, odd)] if odd else []
    inner = looks[:-2]
    if not odd and np.median([look.second for look in inner]) < ALTERNATE * np.median([look.step for look in inner]):
        text = "every second slice matches better than the next one: two scans may interleave."
        notices.append(Notice("W-SLICE", text))
    return notices


def _look(hu: np.ndarray, index: int) -> Look:
    own = _thin(hu, index)
    before, after = (_thin(hu, other) if 0 <= other < len(hu) else None for other in (index - 1, index + 1))
    beyond = _thin(hu, index + 2) if index + 2 < len(hu) else None
    excess = far = jump = step = second = 0.0
    if before is not None and after is not None:
        outside = np.abs(own - np.clip(own, np.minimum(before, after), np.maximum(before, after)))
        excess, far = float(outside.mean()), float(np.count_nonzero(outside > FAR_HU) / outside.size)
    if after is not None:
        difference = after - own
        step = float(np.abs(difference).mean())
        matter = np.maximum(own, after)[:, ::2] > AIR_BELOW_HU
        jump = float(np.median(difference[:, ::2][matter])) if matter.sum() > 50 else 0.0
    if beyond is not None:
        second = float(np.abs(beyond - own).mean())
    rough = float(np.abs(np.diff(own, axis=1)).mean())
    blank = bool(own.min() == own.max())
    near = [hu[other] for other in (index - 1, index + 1) if 0 <= other < len(hu)]
    return Look(excess, far, jump, step, second, rough, 0.0 if blank else _run(hu[index], near), blank, own.size)


def _thin(hu: np.ndarray, index: int) -> np.ndarray:
    """Every second row, metal cut off."""
    return np.minimum(hu[index, ::2], np.float32(METAL_HU))


def _run(own: np.ndarray, near: Sequence[np.ndarray]) -> float:
    """Share of the longest stretch of one value in storage order, where all neighbours mostly hold something else."""
    flat = own.ravel()
    ends = np.concatenate([[-1], np.flatnonzero(flat[1:] != flat[:-1]), [flat.size - 1]])
    longest = int(np.argmax(np.diff(ends)))
    begin, end = int(ends[longest]) + 1, int(ends[longest + 1]) + 1
    if end - begin < max(RUN_SHARE * flat.size, 2 * own.shape[1]):
        return 0.0
    others = (np.abs(one.ravel()[begin:end] - flat[begin]) > RUN_HU for one in near)
    return (end - begin) / flat.size if all(other.mean() > 0.5 for other in others) else 0.0


def _around(looks: Sequence[Look], index: int, name: str) -> float:
    """Median of a measure over the slices around one, without it, outermost and blank ones."""
    values = _values_around(looks, index, name)
    return float(np.median(values)) if values else 0.0


def _values_around(looks: Sequence[Look], index: int, name: str) -> list[float]:
    low, high = max(index - NEARBY, 0), min(index + NEARBY + 1, len(looks))
    ends = (0, len(looks) - 1) if name in ("excess", "far") else ()
    return [getattr(looks[k], name) for k in range(low, high) if k != index and k not in ends and not looks[k].blank]


def _spread(looks: Sequence[Look], index: int, name: str) -> float:
    """Median absolute deviation of a measure over the slices around one, as for :func:`_around`."""
    values = _values_around(looks, index, name)
    return float(np.median(np.abs(np.array(values) - np.median(values)))) if values else 0.0


def _is_rough(looks: Sequence[Look], index: int) -> bool:
    """Whether adjacent pixels differ more than in the slices around."""
    usual, own = _around(looks, index, "rough"), looks[index].rough
    even = usual > EVEN_FROM_HU and own > EVEN_ROUGH * usual + EVEN_ROUGH_SPREADS * _spread(looks, index, "rough")
    return even or own > ROUGH_RATIO * (usual + 2)


def _find_odd(looks: Sequence[Look]) -> dict[int, str]:
    """Indices of slices that are unlike their neighbours, and why."""
    odd = {index: "blank" for index, look in enumerate(looks) if look.blank}
    beside = {index + way for index in odd for way in (-1, 0, 1)}
    edges = {index for index in range(len(looks) - 1) if not {index, index + 1} & set(odd) and _is_jump(looks, index)}
    single = {index for index in edges if index - 1 in edges and looks[index].jump * looks[index - 1].jump < 0}
    for edge in sorted(edges):
        if not {edge, edge + 1} & single:
            odd[edge + 1 if edge else 0] = "values shifted from here"
    odd |= dict.fromkeys(single, "values shifted")
    for index, look in enumerate(looks):
        if index not in beside and index not in odd and _is_unlike(looks, index):
            odd[index] = "unlike its neighbours"
        elif index not in odd and not look.blank and _is_rough(looks, index):
            odd[index] = "rough"
    return dict(sorted(odd.items()))


def _is_jump(looks: Sequence[Look], index: int) -> bool:
    """Whether the values of a whole slice lie higher or lower than those of the one before."""
    usual = _around(looks, index, "jump")
    return abs(looks[index].jump - usual) > max(JUMP_HU, JUMP_SHARE * _around(looks, index, "step"))


def _is_unlike(looks: Sequence[Look], index: int) -> bool:
    look, last = looks[index], len(looks) - 1
    if index in (0, last):
        steps = [one.step for one in (looks[: NEARBY + 2] if index == 0 else looks[-2 - NEARBY : -1][::-1])]
        if len(steps) < 2:
            return False
        usual = float(np.median(steps[1:]))
        spread = float(np.median(np.abs(np.array(steps[1:]) - usual)))
        even = usual > EVEN_FROM_HU and steps[0] > EVEN_STEP_RATIO * usual + EVEN_STEP_SPREADS * spread
        return even or steps[0] > STEP_RATIO * usual + STEP_HU
    usual, spread = _around(looks, index, "excess"), _spread(looks, index, "excess")
    if look.excess > UNLIKE_RATIO * usual + UNLIKE_HU:
        return True
    if usual > EVEN_FROM_HU and look.excess > EVEN_RATIO * usual + EVEN_SPREADS * spread:
        return True
    return look.far > FAR_RATIO * _around(looks, index, "far") + max(FAR_SHARE, FAR_PIXELS / look.pixels)


def _told(pieces: Sequence[Slice], odd: dict[int, str]) -> Notice:
    shown = [f"{_at(pieces[index])} ({why})" for index, why in list(odd.items())[:6]]
    more = f" and {len(odd) - 6} more" if len(odd) > 6 else ""
    text = f"{len(odd)} slice(s) do not match the slices beside them: {', '.join(shown)}{more}."
    return Notice("W-SLICE", f"{text} Breathing, another scan or damaged data: look at them.")


def _check_row_length(own: np.ndarray) -> None:
    """Refuse a slice (Y, X) whose pixels form rows of another length: Rows and Columns exchanged or altered."""
    flat, columns = own.ravel(), own.shape[1]
    lengths = range(max(8, columns // 2), min(4 * columns, flat.size // 8) + 1)
    steps = {n: _row_step(flat, n) for n in lengths if flat.size % n == 0 and abs(n - columns) > 2}
    best = min(steps, key=lambda length: steps[length], default=columns)
    if best != columns and steps[best] < SHEAR * _row_step(flat, columns) - 1:
        text = f"The pixels form rows of {best}, but Columns is {columns}: the header does not fit them."
        raise DicomSeriesError("E-PIXELS", text, AGAIN)


def _row_step(flat: np.ndarray, length: int) -> float:
    return float(np.abs(flat[length:] - flat[:-length]).mean())


def _damaged(text: str) -> DicomSeriesError:
    return DicomSeriesError("E-HU-RANGE", f"Not plausible for CT: {text}.", AGAIN)


def _at(piece: Slice) -> str:
    return f"z={piece.position_mm[2]:.1f} mm"
