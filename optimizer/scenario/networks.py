"""Files of trained networks: one JSON document, written by `adose train` and named by a policy of a scenario."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.fields import default_of
from optimizer.files.faults import DataError
from optimizer.files.run_directory import read_regular
from optimizer.policies.network import Network, input_names
from optimizer.scenario.faults import ScenarioError
from optimizer.scenario.fields import show
from optimizer.status import DISCLAIMER

FORMAT = "adose-network-1"
MAX_BYTES = 2**20
# Neurons of a hidden layer where nobody says how many.
HIDDEN = default_of(Network, "hidden")
# Keys of the document that the policy gets; the others say where it comes from, and are checked.
_GIVEN = ("hidden", "span", "weights")
_ACTIVATION = "tanh in the hidden layers, logistic at the output"


def network_document(
    network: Network, drugs: Sequence[str], scenario: str, trained: Mapping[str, Any]
) -> dict[str, Any]:
    """What a file of a network holds: the scenario it was trained on, by name, and further facts of the training."""
    return {
        "format": FORMAT,
        "research_use_only": DISCLAIMER,
        "scenario": scenario,
        "trained": dict(trained),
        "drugs": list(drugs),
        "inputs": input_names(drugs),
        "outputs": [f"share of the largest dose of {drug}" for drug in drugs],
        "activation": _ACTIVATION,
        "hidden": network.hidden,
        "span": f"{float(network.span)!r} day",
        "weights": np.asarray(network.weights, dtype=float).tolist(),
    }


def include_networks(data: dict[str, Any], folder: Path, name: str) -> dict[str, Any]:
    """The tables with the file of each network of a regimen read in: its keys take the place of its name.

    Raises:
        ScenarioError: a file that cannot be read, is no network, or is one for other drugs.
    """
    regimens = data.get("regimen")
    if not isinstance(regimens, list):
        return data
    listed = data.get("drug")
    drugs = [drug.get("name") for drug in (listed if isinstance(listed, list) else []) if isinstance(drug, dict)]
    out = []
    for i, regimen in enumerate(regimens):
        policy = regimen.get("policy") if isinstance(regimen, dict) else None
        if isinstance(policy, dict) and policy.get("kind") == "network":
            regimen = regimen | {"policy": _filled(policy, drugs, folder, f"{name}: regimen[{i}].policy")}
        out.append(regimen)
    return data | {"regimen": out}


def _filled(policy: dict[str, Any], drugs: Sequence[Any], folder: Path, where: str) -> dict[str, Any]:
    """The keys of a policy with those of its file."""
    file, doubled = policy.get("file"), [key for key in _GIVEN if key in policy]
    if file is None:
        if "weights" in policy:
            return policy
        raise ScenarioError([f'{where}.file: wanted a network that adose train wrote, "network.json"; got none'])
    if doubled:
        raise ScenarioError([f"{where}.{doubled[0]}: wanted no such key beside a file, which has it; got one"])
    if not isinstance(file, str) or not file.isprintable() or Path(file).is_absolute() or Path(file).suffix != ".json":
        raise ScenarioError([f"{where}.file: wanted a .json file relative to the scenario; got {show(file)}"])
    document = read_network(folder / file, drugs, f"{where}.file: {file}")
    rest = {key: value for key, value in policy.items() if key != "file"}
    return rest | {key: document[key] for key in _GIVEN}


def read_network(path: Path, drugs: Sequence[Any], where: str) -> dict[str, Any]:
    """The document of a file, which must have been trained for the drugs of a scenario, in their order.

    Raises:
        ScenarioError: it cannot be read, has another format or other drugs, or holds what are no finite numbers.
    """

    def refuse(wanted: str, got: str) -> ScenarioError:
        return ScenarioError([f"{where}: wanted {wanted}; got {got}"])

    try:
        raw = read_regular(path, MAX_BYTES, name=where)
    except DataError as error:
        raise ScenarioError([str(error)]) from None
    try:
        found = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise refuse("a JSON document", "text that is none") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        got = show(found.get("format")) if isinstance(found, dict) else "something else"
        raise refuse(f'the format "{FORMAT}"', got)
    if found.get("drugs") != list(drugs):
        raise refuse(f"a network for {_listed(drugs)}", f"one for {_listed(found.get('drugs'))}")
    if found.get("inputs") != input_names([str(drug) for drug in drugs]) or found.get("activation") != _ACTIVATION:
        raise refuse("the inputs and the activation that this version computes", "others")
    absent = [key for key in _GIVEN if key not in found]
    if absent:
        raise refuse(f"the key {absent[0]}", "none")
    weights = found["weights"]
    if not isinstance(weights, list) or not all(_is_finite(number) for number in weights):
        raise refuse("finite numbers as weights", "something else among them")
    return found


def _is_finite(number: Any) -> bool:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and abs(number) < 1e300 and math.isfinite(number)


def _listed(drugs: Any) -> str:
    names = drugs if isinstance(drugs, list | tuple) else []
    return ", ".join(show(drug) for drug in names[:5]) or "no drugs"
