"""Axis glossary and array aliases, the same in every room.

K decision intervals, N drugs, M clones, T saved times, Q nodes of one interval, P patients, R restarts.
Inside the package: day, cell, drug amount mg, drug concentration mg/L (= ug/mL), growth factor pg/mL, rates 1/day.
"""

from typing import TypeAlias

from jaxtyping import Array, Bool, Float, Int

Scalar: TypeAlias = Float[Array, ""]
Flag: TypeAlias = Bool[Array, ""]
Index: TypeAlias = Int[Array, ""]
Edges: TypeAlias = Float[Array, "edges"]
Doses: TypeAlias = Float[Array, "K N"]
Conc: TypeAlias = Float[Array, "N"]
Clones: TypeAlias = Float[Array, "M"]
Nodes: TypeAlias = Float[Array, "Q"]
Times: TypeAlias = Float[Array, "T"]
