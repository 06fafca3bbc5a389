"""The double judges as AWS would where the deployment's proof hangs on it: it fails loudly, and takes back what it began."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from toolchain import double


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with double(tmp_path_factory.mktemp("double") / "log") as environment:
        yield environment["AWS_ENDPOINT_URL"]


def client(service: str, endpoint: str) -> Any:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client(service, region_name="eu-central-1", endpoint_url=endpoint, **keys)


def template(**others: object) -> str:
    parameter = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/a", "Type": "String", "Value": {"Ref": "AWS::Region"}}}
    return json.dumps({"Resources": {"Known": parameter, **others}})


def test_a_resource_it_does_not_know_fails_the_stack_and_everything_is_taken_back(endpoint: str) -> None:
    cloudformation = client("cloudformation", endpoint)
    unknown = {"Type": "AWS::Nobody::KnowsThis", "DependsOn": "Known"}
    cloudformation.create_stack(StackName="bad", TemplateBody=template(Unknown=unknown))
    (stack,) = cloudformation.describe_stacks(StackName="bad")["Stacks"]
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "cannot make AWS::Nobody::KnowsThis" in stack["StackStatusReason"]
    with pytest.raises(client("ssm", endpoint).exceptions.ClientError, match="ParameterNotFound"):
        client("ssm", endpoint).get_parameter(Name="/a")


def test_an_update_touches_what_changed_and_nothing_else(endpoint: str) -> None:
    cloudformation = client("cloudformation", endpoint)
    log = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/b"}}
    cloudformation.create_stack(StackName="good", TemplateBody=template(Log=log))
    with pytest.raises(cloudformation.exceptions.ClientError, match="No updates are to be performed"):
        cloudformation.update_stack(StackName="good", TemplateBody=template(Log=log))
    changed = template(Log=log).replace('{"Ref": "AWS::Region"}', '"another"')
    cloudformation.update_stack(StackName="good", TemplateBody=changed)
    assert client("ssm", endpoint).get_parameter(Name="/a")["Parameter"]["Value"] == "another"
    events = cloudformation.describe_stack_events(StackName="good")["StackEvents"]
    assert [event["LogicalResourceId"] for event in events if event["ResourceStatus"] == "UPDATE_COMPLETE"] == ["good", "Known"]
    cloudformation.delete_stack(StackName="good")
    assert client("logs", endpoint).describe_log_groups()["logGroups"] == []
