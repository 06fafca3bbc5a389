"""State Manager's associations, as far as a release needs them: which command a node is to run."""

import json
import uuid
from collections.abc import Callable
from typing import Any

_store: dict[str, dict[str, dict[str, Any]]] = {}


def answer(target: str, body: bytes, region: str) -> tuple[int, str] | None:
    """None: none of ours."""
    actions: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
        "CreateAssociation": _create,
        "UpdateAssociation": _update,
        "DescribeAssociation": _describe,
        "ListAssociations": lambda request, known: {"Associations": [_without_parameters(one) for one in known.values()]},
        "DeleteAssociation": lambda request, known: known.pop(request["AssociationId"], None) and {},
    }
    action = target.partition(".")[2]
    if action not in actions:
        return None
    try:
        result = actions[action](json.loads(body), _store.setdefault(region, {}))
    except KeyError:
        return 400, json.dumps({"__type": "AssociationDoesNotExist", "message": "no such association"})
    return 200, json.dumps(result or {})


def _create(request: dict[str, Any], known: dict[str, Any]) -> Any:
    made = request | {"AssociationId": str(uuid.uuid4()), "AssociationVersion": "1"}
    known[made["AssociationId"]] = made
    return {"AssociationDescription": made}


def _update(request: dict[str, Any], known: dict[str, Any]) -> Any:
    present = known[request["AssociationId"]]
    present.update(request, AssociationVersion=str(int(present["AssociationVersion"]) + 1))
    return {"AssociationDescription": present}


def _describe(request: dict[str, Any], known: dict[str, Any]) -> Any:
    return {"AssociationDescription": known[request["AssociationId"]]}


def _without_parameters(made: dict[str, Any]) -> dict[str, Any]:
    return {
        name: made[name] for name in ("AssociationId", "AssociationName", "Name", "Targets", "AssociationVersion") if name in made
    }
