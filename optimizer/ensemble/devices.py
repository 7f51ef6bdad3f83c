"""Patients on the devices of a machine: an equal share on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

_PATIENTS = "patients"


def over_devices(function: Callable[..., Any], mapped: Sequence[int | None]) -> Callable[..., Any]:
    """A function of many patients as a program on all devices that there are.

    Args:
        function: of patients in leading axes; no patient's results depend on another's.
        mapped: 0 for an argument with a leading axis of patients, a multiple of the devices; None for what all share.
    """
    if jax.device_count() == 1:
        return jax.jit(function)
    # Each device goes through its own steps: none waits for another's slowest patient.
    mesh = Mesh(np.array(jax.devices()), (_PATIENTS,))
    given = tuple(PartitionSpec() if axis is None else PartitionSpec(_PATIENTS) for axis in mapped)
    return jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=given, out_specs=PartitionSpec(_PATIENTS), check_vma=False)
    )


def shared_out(size: int) -> int:
    """The smallest multiple of the devices that is no less than a number of patients."""
    return -(-size // jax.device_count()) * jax.device_count()
