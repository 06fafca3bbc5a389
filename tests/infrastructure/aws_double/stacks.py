"""CloudFormation's engine: stacks come up in the order of their references, change by what changed, go in reverse.

A resource of a type without a maker fails the stack: nothing is passed over in silence.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from aws_double.intrinsics import NOTHING, Scope, names_in, resolve
from aws_double.makers import ACCOUNT, Context, Made, maker_of


class CloudError(Exception):
    """An answer with a code, as CloudFormation gives it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Resource:
    logical_id: str
    type: str
    properties: dict[str, Any]
    made: Made
    kept: bool


@dataclass(frozen=True, slots=True)
class Event:
    logical_id: str
    physical_id: str
    type: str
    status: str
    reason: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    at: str = field(default_factory=lambda: now())


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(template: str) -> dict[str, Any]:
    parsed = json.loads(template) if template.lstrip().startswith("{") else yaml.safe_load(template)
    return dict(parsed)


@dataclass(slots=True)
class Stack:
    name: str
    region: str
    status: str = "REVIEW_IN_PROGRESS"
    template: str = "{}"
    parameters: dict[str, str] = field(default_factory=dict)
    tags: list[dict[str, str]] = field(default_factory=list)
    protected: bool = False
    resources: dict[str, Resource] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    created: str = field(default_factory=now)
    id: str = ""

    def __post_init__(self) -> None:
        self.id = f"arn:aws:cloudformation:{self.region}:{ACCOUNT}:stack/{self.name}/{uuid.uuid4()}"

    def note(self, status: str, resource: Resource | None = None, reason: str = "") -> None:
        if resource is None:
            self.status = status
            self.events.append(Event(self.name, self.id, "AWS::CloudFormation::Stack", status, reason))
        else:
            self.events.append(Event(resource.logical_id, resource.made.id, resource.type, status, reason))


class Cloud:
    """Every stack of every region."""

    def __init__(self) -> None:
        self.stacks: dict[str, Stack] = {}

    def find(self, name: str, region: str) -> Stack:
        for stack in self.stacks.values():
            if stack.id == name or (stack.name == name and stack.region == region and stack.status != "DELETE_COMPLETE"):
                return stack
        raise CloudError("ValidationError", f"Stack with id {name} does not exist")

    def add(self, name: str, region: str) -> Stack:
        stack = Stack(name, region)
        self.stacks[stack.id] = stack
        return stack

    def output_of(self, region: str, name: str, output: str) -> str:
        return self.find(name, region).outputs[output]["value"]

    def export(self, region: str, name: str) -> str:
        for stack in self.stacks.values():
            if stack.region == region and stack.status != "DELETE_COMPLETE":
                for output in stack.outputs.values():
                    if output.get("export") == name:
                        return output["value"]
        raise CloudError("ValidationError", f"No export named {name} found.")

    def importers(self, stack: Stack) -> list[str]:
        exported = {output["export"] for output in stack.outputs.values() if "export" in output}
        return [
            other.name
            for other in self.stacks.values()
            if other is not stack and other.region == stack.region and other.status != "DELETE_COMPLETE"
            if any(f'"{name}"' in other.template for name in exported)
        ]


class Deployment:
    """One run of a template over a stack."""

    def __init__(self, cloud: Cloud, stack: Stack, template: str, parameters: dict[str, str]) -> None:
        self._cloud, self._stack = cloud, stack
        self._text, self._template = template, parse(template)
        self._given = parameters
        self._parameters: dict[str, Any] = {}
        self._scope = Scope(self._ref, self._attribute, self._export, cloud.output_of, self._template)

    def changes(self) -> list[tuple[str, str, str]]:
        """(action, logical id, type) of what a deployment would touch, before references are resolved."""
        old = parse(self._stack.template).get("Resources", {})
        new = self._template["Resources"]
        found = [
            ("Add" if name not in old else "Modify", name, body["Type"]) for name, body in new.items() if old.get(name) != body
        ]
        return found + [("Remove", name, body["Type"]) for name, body in old.items() if name not in new]

    def is_needed(self) -> bool:
        self._load_parameters()
        same = parse(self._stack.template) == self._template and self._stack.parameters == self._parameters
        return not same

    def run(self) -> None:
        stack, is_new = self._stack, not self._stack.resources
        verb = "CREATE" if is_new else "UPDATE"
        stack.note(f"{verb}_IN_PROGRESS", reason="User Initiated")
        self._load_parameters()
        stack.changed.clear()
        fresh: list[Resource] = []
        try:
            for name, body in self._in_order():
                self._bring(name, body, fresh)
            self._remove_others()
            stack.outputs = dict(self._outputs())
        except Exception as failure:  # noqa: BLE001  whatever it was: CloudFormation rolls back and says why
            self._roll_back(fresh, verb, failure)
            return
        stack.template, stack.parameters = self._text, self._parameters
        stack.note(f"{verb}_COMPLETE")

    def _bring(self, name: str, body: dict[str, Any], fresh: list[Resource]) -> None:
        properties = resolve(body.get("Properties", {}), self._scope)
        context, maker = self._context(name), maker_of(body["Type"])
        present = self._stack.resources.get(name)
        kept = body.get("DeletionPolicy", "Delete") != "Delete"
        if present is None:
            resource = Resource(name, body["Type"], properties, maker.create(context, properties), kept)
            fresh.append(resource)
            self._stack.resources[name] = resource
            self._stack.note("CREATE_COMPLETE", resource)
            self._stack.changed.append(name)
            return
        present.kept = kept
        if present.properties == properties:
            return
        old = present.made
        present.made = maker.update(context, present.made, present.properties, properties)
        if present.made.id != old.id and maker.delete and maker.replaces:
            maker.delete(context, old, present.properties)
        present.properties = properties
        self._stack.note("UPDATE_COMPLETE", present)
        self._stack.changed.append(name)

    def _remove_others(self) -> None:
        wanted = {name for name, _ in self._in_order()}
        gone = {name: resource for name, resource in self._stack.resources.items() if name not in wanted}
        for name in reversed(gone):
            remove(self._stack, gone[name])
            del self._stack.resources[name]
            self._stack.changed.append(name)

    def _roll_back(self, fresh: list[Resource], verb: str, failure: Exception) -> None:
        reason = f"{type(failure).__name__}: {failure}"
        self._stack.note(f"{verb}_FAILED", reason=reason)
        for resource in reversed(fresh):
            remove(self._stack, resource)
            del self._stack.resources[resource.logical_id]
        self._stack.note("ROLLBACK_COMPLETE" if verb == "CREATE" else "UPDATE_ROLLBACK_COMPLETE", reason=reason)

    def _in_order(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Those whose condition holds, each after what it refers to."""
        bodies = {
            name: body
            for name, body in self._template["Resources"].items()
            if "Condition" not in body or self._scope.condition(body["Condition"])
        }
        done: set[str] = set()

        def visit(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
            if name in done or name not in bodies:
                return
            done.add(name)
            body = bodies[name]
            after = body.get("DependsOn", [])
            for other in [after] if isinstance(after, str) else after:
                yield from visit(other)
            for other in names_in(body.get("Properties", {})):
                yield from visit(other)
            yield name, body

        for name in bodies:
            yield from visit(name)

    def _outputs(self) -> Iterator[tuple[str, dict[str, str]]]:
        for name, body in self._template.get("Outputs", {}).items():
            if "Condition" in body and not self._scope.condition(body["Condition"]):
                continue
            output = {"value": str(resolve(body["Value"], self._scope)), "description": body.get("Description", "")}
            if "Export" in body:
                output["export"] = resolve(body["Export"]["Name"], self._scope)
            yield name, output

    def _load_parameters(self) -> None:
        for name, body in self._template.get("Parameters", {}).items():
            value = self._given.get(name, body.get("Default"))
            if str(body["Type"]).startswith("AWS::SSM::Parameter::Value"):
                value = self._stored(str(value))
            self._parameters[name] = value

    def _stored(self, path: str) -> str:
        if path.startswith("/aws/service/canonical/"):  # public parameters: an image for every path
            return "ami-" + hashlib.sha256(f"{self._stack.region}{path}".encode()).hexdigest()[:17]
        return str(self._context("").client("ssm").get_parameter(Name=path)["Parameter"]["Value"])

    def _ref(self, name: str) -> Any:
        stack = self._stack
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": stack.region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": stack.name,
            "AWS::StackId": stack.id,
            "AWS::NoValue": NOTHING,
        }
        if name in pseudo:
            return pseudo[name]
        if name in self._parameters:
            return self._parameters[name]
        return stack.resources[name].made.id

    def _attribute(self, name: str, attribute: str) -> Any:
        return self._stack.resources[name].made.attributes[attribute]

    def _export(self, name: str) -> str:
        return self._cloud.export(self._stack.region, name)

    def _context(self, logical_id: str) -> Context:
        return Context(self._stack.region, self._stack.name, logical_id)


def remove(stack: Stack, resource: Resource) -> None:
    if resource.kept:
        stack.note("DELETE_SKIPPED", resource)
        return
    maker = maker_of(resource.type)
    if maker.delete:
        maker.delete(Context(stack.region, stack.name, resource.logical_id), resource.made, resource.properties)
    stack.note("DELETE_COMPLETE", resource)


def delete(cloud: Cloud, stack: Stack) -> None:
    if stack.protected:
        raise CloudError("ValidationError", f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
    stack.note("DELETE_IN_PROGRESS", reason="User Initiated")
    if used := cloud.importers(stack):
        stack.note("DELETE_FAILED", reason=f"Its exports are in use by {', '.join(used)}")
        return
    try:
        for resource in reversed(list(stack.resources.values())):
            remove(stack, resource)
            del stack.resources[resource.logical_id]
    except Exception as failure:  # noqa: BLE001
        stack.note("DELETE_FAILED", reason=f"{type(failure).__name__}: {failure}")
        return
    stack.note("DELETE_COMPLETE")
