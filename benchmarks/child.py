"""One part in a process of its own, pinned to its cores before anything is imported that starts threads.

    python -m benchmarks.child patient '{"problem": "colorectal", "cores": 1}'

Prints one JSON list a row.
"""

import json
import os
import sys


def pin(cores: int) -> None:
    """Keep this process and its children on the first cores, and tell the libraries how many those are."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(cores)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def main() -> None:
    """Run the part and print its rows as they come."""
    part, told = sys.argv[1], json.loads(sys.argv[2])
    # Rows alone go to stdout, whatever solvers print.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    pin(told["cores"])
    from benchmarks.parts import PURE, Options

    options = Options(**told)
    if part not in PURE:
        from optimizer.report.terminal import numerics

        numerics()
        if options.precision == "float32":
            import jax

            jax.config.update("jax_enable_x64", False)
    import importlib

    for row in importlib.import_module(f"benchmarks.parts.{part}").measure(options):
        print(json.dumps(row), file=out, flush=True)


if __name__ == "__main__":
    main()
