# SPDX-License-Identifier: Apache-2.0
"""Archives: an index of all series, their analysis by warm workers that may be killed at any moment, and a summary.

Which file does what: ``index`` and ``study`` list an archive in a ``manifest``; ``run`` works through a shard of it
(``shards``), skipping what ``fingerprints`` and the ``journal`` show to be settled, with a ``pool`` of processes
(``worker``), each with a warm chain (``engine``), as many as ``resources`` allow; ``cluster`` submits shards;
``summary`` counts and merges results, ``cohort`` shows them. Only ``engine`` imports torch, and only workers import
it.
"""
