# SPDX-License-Identifier: Apache-2.0
import numpy as np

from check_seams import auc_with_interval


def test_auc_by_hand() -> None:
    negative, positive = [np.array([0.1]), np.array([0.4])], [np.array([0.35]), np.array([0.8])]
    # of four pairs 0.35 < 0.4 alone is in the wrong order
    value, low, high = auc_with_interval(negative, positive, rounds=50)
    assert value == 0.75
    assert low <= value <= high
    assert auc_with_interval([np.zeros(3)], [np.zeros(2)], rounds=5) == (0.5, 0.5, 0.5)  # ties are halves
    assert auc_with_interval([np.zeros(3)], [np.ones(2)], rounds=5)[0] == 1
