# SPDX-License-Identifier: Apache-2.0
"""Seconds, memory and work of the chain: whole runs, against other versions, and against MONAI's stock inferer."""
