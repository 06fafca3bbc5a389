"""CloudFormation's functions, resolved: a template's value in, a plain value out."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

NOTHING = object()
"""What AWS::NoValue stands for; the property that has it is left out."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean while one stack is deployed."""

    ref: Callable[[str], Any]
    attribute: Callable[[str, str], Any]
    export: Callable[[str], Any]
    output_of: Callable[[str, str, str], Any]
    template: dict[str, Any]

    def condition(self, name: str) -> bool:
        return bool(resolve(self.template["Conditions"][name], self))


def resolve(value: Any, scope: Scope) -> Any:
    if isinstance(value, list):
        return [item for item in (resolve(item, scope) for item in value) if item is not NOTHING]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        name, argument = next(iter(value.items()))
        if name in _FUNCTIONS:
            return _FUNCTIONS[name](argument, scope)
        if name.startswith("Fn::"):
            raise ValueError(f"the double does not know {name}")
    resolved = {key: resolve(item, scope) for key, item in value.items()}
    return {key: item for key, item in resolved.items() if item is not NOTHING}


def names_in(value: Any) -> Iterator[str]:
    """Logical names a value refers to."""
    if isinstance(value, list):
        for item in value:
            yield from names_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Ref":
                yield item
            elif key == "Fn::GetAtt":
                yield item[0] if isinstance(item, list) else item.split(".")[0]
            elif key == "Fn::Sub":
                text, more = item if isinstance(item, list) else (item, {})
                yield from (name.split(".")[0] for name in _PLACES.findall(text))
                yield from names_in(more)
            else:
                yield from names_in(item)


_PLACES = re.compile(r"\$\{([^!}][^}]*)\}")


def _sub(argument: Any, scope: Scope) -> str:
    text, given = argument if isinstance(argument, list) else (argument, {})
    values = {name: resolve(value, scope) for name, value in given.items()}

    def one(match: re.Match[str]) -> str:
        name = match[1]
        if name in values:
            return str(values[name])
        return str(scope.attribute(*name.split(".", 1)) if "." in name else scope.ref(name))

    return _PLACES.sub(one, text).replace("${!", "${")


def _if(argument: list[Any], scope: Scope) -> Any:
    return resolve(argument[1] if scope.condition(argument[0]) else argument[2], scope)


def _get_att(argument: Any, scope: Scope) -> Any:
    name, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
    return scope.attribute(name, attribute)


def _stack_output(argument: dict[str, str], scope: Scope) -> Any:
    return scope.output_of(argument["Region"], argument["StackName"], argument["OutputName"])


def _join(argument: list[Any], scope: Scope) -> str:
    return str(argument[0]).join(str(part) for part in resolve(argument[1], scope))


def _split(argument: list[Any], scope: Scope) -> list[str]:
    return str(resolve(argument[1], scope)).split(argument[0])


_FUNCTIONS: dict[str, Callable[[Any, Scope], Any]] = {
    "Ref": lambda name, scope: scope.ref(name),
    "Condition": lambda name, scope: scope.condition(name),
    "Fn::GetAtt": _get_att,
    "Fn::Sub": _sub,
    "Fn::Join": _join,
    "Fn::Split": _split,
    "Fn::Select": lambda argument, scope: resolve(argument[1], scope)[int(argument[0])],
    "Fn::If": _if,
    "Fn::Equals": lambda argument, scope: resolve(argument[0], scope) == resolve(argument[1], scope),
    "Fn::Not": lambda argument, scope: not resolve(argument[0], scope),
    "Fn::And": lambda argument, scope: all(resolve(part, scope) for part in argument),
    "Fn::Or": lambda argument, scope: any(resolve(part, scope) for part in argument),
    "Fn::ImportValue": lambda argument, scope: scope.export(resolve(argument, scope)),
    "Fn::GetStackOutput": _stack_output,
    "Fn::Base64": lambda argument, scope: base64.b64encode(str(resolve(argument, scope)).encode()).decode(),
    "Fn::ToJsonString": lambda argument, scope: json.dumps(resolve(argument, scope)),
}
