"""CloudFormation's query interface over the engine: form in, XML out."""

import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import boto3

from aws_double.stacks import Cloud, CloudError, Deployment, Stack, delete, now, parse

Form = Mapping[str, str]


@dataclass(slots=True)
class ChangeSet:
    name: str
    stack: Stack
    deployment: Deployment
    tags: list[dict[str, str]]
    is_needed: bool
    executed: bool = False
    id: str = ""
    created: str = field(default_factory=now)

    def __post_init__(self) -> None:
        self.id = f"arn:aws:cloudformation:{self.stack.region}:123456789012:changeSet/{self.name}/{uuid.uuid4()}"


class CloudFormation:
    """One per server. ``answer`` takes one request at a time: stacks are deployed one after the other."""

    def __init__(self) -> None:
        self.cloud = Cloud()
        self._change_sets: dict[str, ChangeSet] = {}
        self._lock = threading.Lock()

    def answer(self, body: bytes, region: str) -> tuple[int, str]:
        form = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        action = form["Action"]
        known: dict[str, Callable[[Form, str], Any]] = {
            "CreateChangeSet": self._create_change_set,
            "DescribeChangeSet": self._describe_change_set,
            "ExecuteChangeSet": self._execute_change_set,
            "DeleteChangeSet": self._delete_change_set,
            "CreateStack": self._create_stack,
            "UpdateStack": self._update_stack,
            "DescribeStacks": self._describe_stacks,
            "ListStacks": self._describe_stacks,
            "DescribeStackEvents": self._describe_events,
            "DescribeStackResources": self._resources,
            "ListStackResources": self._resources,
            "DescribeStackResource": self._resource,
            "GetTemplate": self._get_template,
            "GetTemplateSummary": self._get_template,
            "UpdateTerminationProtection": self._protect,
            "DeleteStack": self._delete_stack,
            "SignalResource": lambda form, region: {},
            "ValidateTemplate": lambda form, region: {},
        }
        try:
            if action not in known:
                raise CloudError("InvalidAction", f"the double does not know {action}")
            with self._lock:
                result = known[action](form, region)
        except CloudError as failure:
            error = {"Error": {"Type": "Sender", "Code": failure.code, "Message": str(failure)}}
            return 400, f"<ErrorResponse>{xml(error)}<RequestId>0</RequestId></ErrorResponse>"
        return 200, f"<{action}Response><{action}Result>{xml(result)}</{action}Result></{action}Response>"

    def _create_change_set(self, form: Form, region: str) -> Any:
        name = form["StackName"]
        if form.get("ChangeSetType") == "CREATE":
            stack = next((one for one in self.cloud.stacks.values() if self._is_empty(one, name, region)), None)
            stack = stack or self.cloud.add(name, region)
        else:
            stack = self.cloud.find(name, region)
        deployment = Deployment(self.cloud, stack, _template(form, stack), _parameters(form, stack))
        made = ChangeSet(form["ChangeSetName"], stack, deployment, _listed(form, "Tags"), deployment.is_needed())
        self._change_sets[made.id] = made
        return {"Id": made.id, "StackId": stack.id}

    @staticmethod
    def _is_empty(stack: Stack, name: str, region: str) -> bool:
        return stack.name == name and stack.region == region and stack.status == "REVIEW_IN_PROGRESS"

    def _change_set(self, form: Form, region: str) -> ChangeSet:
        name = form["ChangeSetName"]
        for made in self._change_sets.values():
            named = made.name == name and form.get("StackName") in (made.stack.name, made.stack.id)
            if made.id == name or (named and made.stack.region == region):
                return made
        raise CloudError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist")

    def _describe_change_set(self, form: Form, region: str) -> Any:
        made = self._change_set(form, region)
        answer = {
            "ChangeSetName": made.name,
            "ChangeSetId": made.id,
            "StackId": made.stack.id,
            "StackName": made.stack.name,
            "CreationTime": made.created,
            "Status": "CREATE_COMPLETE" if made.is_needed else "FAILED",
            "ExecutionStatus": "AVAILABLE" if made.is_needed else "UNAVAILABLE",
            "Changes": [
                {"Type": "Resource", "ResourceChange": {"Action": action, "LogicalResourceId": name, "ResourceType": type_name}}
                for action, name, type_name in made.deployment.changes()
            ],
        }
        if not made.is_needed:
            answer["StatusReason"] = (
                "The submitted information didn't contain changes. Submit different information to create a change set."
            )
        return answer

    def _execute_change_set(self, form: Form, region: str) -> Any:
        made = self._change_set(form, region)
        made.stack.tags = made.tags or made.stack.tags
        del self._change_sets[made.id]
        made.deployment.run()
        return {}

    def _delete_change_set(self, form: Form, region: str) -> Any:
        """One that is not there is no failure, as in AWS."""
        with suppress(CloudError):
            del self._change_sets[self._change_set(form, region).id]
        return {}

    def _create_stack(self, form: Form, region: str) -> Any:
        stack = self.cloud.add(form["StackName"], region)
        stack.tags = _listed(form, "Tags")
        Deployment(self.cloud, stack, _template(form, stack), _parameters(form, stack)).run()
        return {"StackId": stack.id}

    def _update_stack(self, form: Form, region: str) -> Any:
        stack = self.cloud.find(form["StackName"], region)
        deployment = Deployment(self.cloud, stack, _template(form, stack), _parameters(form, stack))
        if not deployment.is_needed():
            raise CloudError("ValidationError", "No updates are to be performed.")
        deployment.run()
        return {"StackId": stack.id}

    def _describe_stacks(self, form: Form, region: str) -> Any:
        if "StackName" in form:
            stacks = [self.cloud.find(form["StackName"], region)]
        else:
            stacks = [one for one in self.cloud.stacks.values() if one.region == region and one.status != "DELETE_COMPLETE"]
        described = [_described(stack) for stack in stacks]
        return {"StackSummaries": described} if form["Action"] == "ListStacks" else {"Stacks": described}

    def _describe_events(self, form: Form, region: str) -> Any:
        stack = self.cloud.find(form["StackName"], region)
        return {
            "StackEvents": [
                {
                    "EventId": event.id,
                    "StackId": stack.id,
                    "StackName": stack.name,
                    "LogicalResourceId": event.logical_id,
                    "PhysicalResourceId": event.physical_id,
                    "ResourceType": event.type,
                    "ResourceStatus": event.status,
                    "ResourceStatusReason": event.reason,
                    "Timestamp": event.at,
                }
                for event in reversed(stack.events)
            ]
        }

    def _resources(self, form: Form, region: str) -> Any:
        stack = self.cloud.find(form["StackName"], region)
        listed = [_resource(stack, name) for name in stack.resources if form.get("LogicalResourceId", name) == name]
        return {"StackResourceSummaries" if form["Action"] == "ListStackResources" else "StackResources": listed}

    def _resource(self, form: Form, region: str) -> Any:
        return {"StackResourceDetail": _resource(self.cloud.find(form["StackName"], region), form["LogicalResourceId"])}

    def _get_template(self, form: Form, region: str) -> Any:
        if form["Action"] == "GetTemplateSummary":
            body = parse(_template(form, Stack("", region)))
            return {"Parameters": [{"ParameterKey": name, **_plain(item)} for name, item in body.get("Parameters", {}).items()]}
        return {"TemplateBody": self.cloud.find(form["StackName"], region).template, "StagesAvailable": ["Original", "Processed"]}

    def _protect(self, form: Form, region: str) -> Any:
        stack = self.cloud.find(form["StackName"], region)
        stack.protected = form["EnableTerminationProtection"] == "true"
        return {"StackId": stack.id}

    def _delete_stack(self, form: Form, region: str) -> Any:
        try:
            stack = self.cloud.find(form["StackName"], region)
        except CloudError:
            return {}
        delete(self.cloud, stack)
        return {}


def xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{name}>{xml(item)}</{name}>" for name, item in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{xml(item)}</member>" for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))


def _plain(parameter: Mapping[str, Any]) -> dict[str, str]:
    return {"ParameterType": parameter["Type"], **({"DefaultValue": str(parameter["Default"])} if "Default" in parameter else {})}


def _listed(form: Form, name: str) -> list[dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for key, value in form.items():
        parts = key.split(".")
        if parts[:2] == [name, "member"]:
            found.setdefault(int(parts[2]), {})[parts[3]] = value
    return [found[number] for number in sorted(found)]


def _template(form: Form, stack: Stack) -> str:
    if "TemplateBody" in form:
        return form["TemplateBody"]
    if "TemplateURL" not in form:
        return stack.template
    bucket, key = urlsplit(form["TemplateURL"]).path.lstrip("/").split("/", 1)
    return str(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode())


def _parameters(form: Form, stack: Stack) -> dict[str, str]:
    """As given; one whose previous value is to be used falls back to the template's default, which here is the same."""
    return {one["ParameterKey"]: one["ParameterValue"] for one in _listed(form, "Parameters") if "ParameterValue" in one}


def _resource(stack: Stack, name: str) -> dict[str, str]:
    resource = stack.resources[name]
    return {
        "StackName": stack.name,
        "LogicalResourceId": name,
        "PhysicalResourceId": resource.made.id,
        "ResourceType": resource.type,
        "ResourceStatus": "CREATE_COMPLETE",
        "Timestamp": now(),
        "LastUpdatedTimestamp": now(),
    }


def _described(stack: Stack) -> dict[str, Any]:
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "StackStatus": stack.status,
        "StackStatusReason": stack.events[-1].reason if stack.events else "",
        "CreationTime": stack.created,
        "EnableTerminationProtection": stack.protected,
        "Tags": stack.tags,
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in stack.parameters.items()],
        "Outputs": [
            {"OutputKey": name, "OutputValue": output["value"], "Description": output["description"]}
            | ({"ExportName": output["export"]} if "export" in output else {})
            for name, output in stack.outputs.items()
        ],
    }
