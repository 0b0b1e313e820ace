# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes control plane on loopback with partage-scheduler as its extender, and what scenarios need to drive and judge it.

Python's standard library only. Start with scenario.py; objects.py builds nodes and pods, invariants.py judges without using any of our C++.
"""
