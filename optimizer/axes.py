"""Axis glossary and array aliases, the same in every room.

K decision intervals, N drugs, M clones, T saved times, Q nodes of one interval, P patients, R restarts.
Inside the package: day, cell, drug amount mg, drug concentration mg/L (= ug/mL), growth factor pg/mL, rates 1/day.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    # A checker of types that does not run the code cannot tell what arithmetic makes of a number or an array.
    Scalar: TypeAlias = Any
    Numbers: TypeAlias = Any
else:
    # A Python number is a scalar too: it stays weakly typed.
    Scalar: TypeAlias = Float[Array, ""] | float
    # Arrays of any shape that broadcast with each other, or a number.
    Numbers: TypeAlias = Float[Array, "..."] | float
Flag: TypeAlias = Bool[Array, ""]
Index: TypeAlias = Int[Array, ""]
Edges: TypeAlias = Float[Array, "edges"]
Doses: TypeAlias = Float[Array, "K N"]
Conc: TypeAlias = Float[Array, "N"]
Clones: TypeAlias = Float[Array, "M"]
Nodes: TypeAlias = Float[Array, "Q"]
Times: TypeAlias = Float[Array, "T"]
