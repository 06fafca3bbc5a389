"""The pinned command line deploys every stack of both regions to a double of AWS, changes it, and takes it away again.

Not proven here, for want of an engine: rights, alarms' evaluation, schedules, machines that boot, quotas, real replacement.
The tests stand in the order of a system's life and need each other.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from toolchain import ACCOUNT, REGIONS, Variant, double, run, synth_variants

pytestmark = pytest.mark.timeout(300)
SITES = {"tokyo": "ap-northeast-1", "frankfurt": "eu-central-1"}
STACKS = 8
Variants = Callable[[], Mapping[str, Path]]


@dataclass(frozen=True)
class Aws:
    environment: Mapping[str, str]
    folder: Path

    def client(self, service: str, site: str = "tokyo") -> Any:
        environment = self.environment
        return boto3.client(
            service,
            region_name=SITES[site],
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def cdk(self, command: str, app: Path, *arguments: str) -> str:
        return run("cdk", command, "--app", str(app), *arguments, cwd=self.folder, **self.environment)

    def instance(self, site: str, node: str) -> dict[str, Any]:
        filters = [
            {"Name": "tag:Name", "Values": [f"quantcloud-{site}-{node}"]},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]
        (reservation,) = self.client("ec2", site).describe_instances(Filters=filters)["Reservations"]
        return dict(reservation["Instances"][0])

    def tell_function(self, name: str, **variables: str) -> None:
        """In its environment, beside what was deployed."""
        functions, name = self.client("lambda"), f"quantcloud-tokyo-{name}"
        deployed = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": deployed | variables})

    def events(self, site: str) -> list[dict[str, Any]]:
        """Of the nodes' stack, the oldest first."""
        pages = self.client("cloudformation", site).get_paginator("describe_stack_events")
        found = [event for page in pages.paginate(StackName=f"quantcloud-{site}-nodes") for event in page["StackEvents"]]
        return found[::-1]

    def releases(self, site: str) -> dict[str, str]:
        """The command of each release association."""
        ssm = self.client("ssm", site)
        found = {}
        for one in ssm.list_associations()["Associations"]:
            whole = ssm.describe_association(AssociationId=one["AssociationId"])["AssociationDescription"]
            (found[whole["AssociationName"]],) = whole["Parameters"]["commands"]
        return found


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """An account in which nothing is deployed yet."""
    folder = tmp_path_factory.mktemp("aws")
    with double(folder / "double.log") as environment:
        yield Aws(environment, folder)


@pytest.fixture(scope="module")
def variants(endpoint: Aws, assembly: Path, shared_folder: Path) -> Iterator[Variants]:
    """Two more assemblies, made while the first is deployed: a line of code changed; then the sites' roles swapped, a domain
    given, the protection taken off."""
    folder = endpoint.folder / "variants"
    changed = folder / "assets"
    shutil.copytree(shared_folder / "assets", changed)
    (changed / "release" / "app" / "__init__.py").write_text('"""Another release."""\n')
    zone = endpoint.client("route53").create_hosted_zone(Name="example.com", CallerReference="test")["HostedZone"]["Id"]
    swapped = {
        "sites": {
            "tokyo": {"region": SITES["tokyo"], "role": "standby"},
            "frankfurt": {"region": SITES["frankfurt"], "role": "active"},
        },
        "domain": {"name": "hook.example.com", "zone_id": zone.rpartition("/")[2]},
        "protected": False,
    }
    code = Variant(changed, folder / "code", {})
    other = Variant(changed, folder / "swapped", swapped)
    with ThreadPoolExecutor() as pool:
        made = pool.submit(synth_variants, code, other, CDK_VALIDATION="false")

        def when_made() -> Mapping[str, Path]:
            made.result()
            return {"code": code.out, "swapped": other.out}

        yield when_made


@pytest.fixture(scope="module")
def aws(endpoint: Aws, variants: object, assembly: Path) -> Aws:
    """What cdk.json says, deployed."""
    run("cdk", "bootstrap", *(f"aws://{ACCOUNT}/{region}" for region in REGIONS), cwd=endpoint.folder, **endpoint.environment)
    endpoint.cdk("deploy", assembly, "--all", "--require-approval", "never")
    return endpoint


@pytest.mark.parametrize("site", SITES)
def test_the_pair_is_what_was_asked_for(aws: Aws, site: str) -> None:
    stream, engine = aws.instance(site, "stream"), aws.instance(site, "engine")
    assert (stream["InstanceType"], engine["InstanceType"]) == ("c7g.large", "c7g.xlarge")
    assert stream["SubnetId"] == engine["SubnetId"]
    assert stream["Placement"]["AvailabilityZone"] == engine["Placement"]["AvailabilityZone"] == SITES[site] + "a"
    for node in (stream, engine):
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        assert node["Monitoring"]["State"] == "enabled"
        assert "KeyName" not in node or not node["KeyName"]
    assert engine["PublicIpAddress"] in {one["PublicIp"] for one in aws.client("ec2", site).describe_addresses()["Addresses"]}


@pytest.mark.parametrize("site", SITES)
def test_only_tradingview_reaches_the_engine_and_only_the_engine_reaches_redis(aws: Aws, site: str) -> None:
    ec2 = aws.client("ec2", site)

    def rules(node: str) -> list[dict[str, Any]]:
        (group,) = aws.instance(site, node)["SecurityGroups"]
        return list(ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"][0]["IpPermissions"])

    web = {(rule["FromPort"], address["CidrIp"]) for rule in rules("engine") for address in rule["IpRanges"]}
    tradingview = ("52.89.214.238/32", "34.212.75.30/32", "54.218.53.128/32", "52.32.178.7/32")
    assert web == {(port, address) for port in (80, 443) for address in tradingview}
    (redis,) = rules("stream")
    (engine_group,) = aws.instance(site, "engine")["SecurityGroups"]
    assert (redis["FromPort"], redis["ToPort"], redis["IpRanges"]) == (6379, 6379, [])
    assert [pair["GroupId"] for pair in redis["UserIdGroupPairs"]] == [engine_group["GroupId"]]


@pytest.mark.parametrize("site", SITES)
def test_the_data_volume_is_encrypted_and_on_the_engine(aws: Aws, site: str) -> None:
    filters = [{"Name": "tag:Name", "Values": [f"quantcloud-{site}-data"]}]
    (volume,) = aws.client("ec2", site).describe_volumes(Filters=filters)["Volumes"]
    assert (volume["Size"], volume["VolumeType"], volume["Encrypted"]) == (100, "gp3", True)
    assert [one["InstanceId"] for one in volume["Attachments"]] == [aws.instance(site, "engine")["InstanceId"]]


@pytest.mark.parametrize("site", SITES)
def test_the_release_is_where_the_associations_and_the_parameter_say(aws: Aws, site: str) -> None:
    release = aws.client("ssm", site).get_parameter(Name=f"/quantcloud/{site}/release")["Parameter"]["Value"]
    bucket, key = release.removeprefix("s3://").split("/", 1)
    assert aws.client("s3", site).head_object(Bucket=bucket, Key=key)["ContentLength"] > 10_000
    commands = aws.releases(site)
    for node in ("stream", "engine"):
        assert commands[f"quantcloud-{site}-{node}-release"].startswith(f"/opt/quantcloud/bin/deploy {node} {release} ")


def test_topics_queues_secrets_budget_table_dashboards(aws: Aws) -> None:
    for site in SITES:
        topics = {one["TopicArn"].rpartition(":")[2] for one in aws.client("sns", site).list_topics()["Topics"]}
        assert {f"quantcloud-{site}-{severity}" for severity in ("critical", "warning", "info")} <= topics
        names = {url.rpartition("/")[2] for url in aws.client("sqs", site).list_queues()["QueueUrls"]}
        assert {f"quantcloud-{site}-{kind}{end}.fifo" for kind in ("commands", "alerts") for end in ("", "-dlq")} <= names
        secrets = {one["Name"] for one in aws.client("secretsmanager", site).list_secrets()["SecretList"]}
        assert {"quantcloud/telegram", f"quantcloud/{site}/exchange", f"quantcloud/{site}/webhook-token"} <= secrets
        assert aws.client("ssm", site).get_parameter(Name=f"/quantcloud/{site}/exchange/mode")["Parameter"]["Value"] == "demo"
        pages = aws.client("cloudwatch", site).list_dashboards()["DashboardEntries"]
        assert [page["DashboardName"] for page in pages] == [f"quantcloud-{site}"]
    (budget,) = aws.client("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"]
    assert budget["BudgetLimit"] == {"Amount": "150", "Unit": "USD"}
    assert aws.client("dynamodb", "frankfurt").list_tables()["TableNames"] == ["quantcloud-lease"]


@pytest.mark.parametrize("site", SITES)
def test_every_alarm_tells_a_topic_that_is_there(aws: Aws, site: str) -> None:
    topics = {one["TopicArn"] for one in aws.client("sns", site).list_topics()["Topics"]}
    alarms = aws.client("cloudwatch", site).describe_alarms(MaxRecords=100)["MetricAlarms"]
    assert len(alarms) > 25
    for alarm in alarms:
        assert topics & set(alarm["AlarmActions"]), alarm["AlarmName"]
        assert topics & set(alarm["OKActions"]), alarm["AlarmName"]


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def telegram(aws: Aws) -> Iterator[list[str]]:
    """What is sent to it, by a notifier that has been given its token."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.path + self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"ok": true, "result": {}}')

        def log_message(self, *_: object) -> None: ...

    secret = json.dumps({"token": "12:abc", "chat_id": "7"})
    aws.client("secretsmanager").put_secret_value(SecretId="quantcloud/telegram", SecretString=secret)
    with served(Handler) as url:
        aws.tell_function("telegram-notifier", TELEGRAM_URL=url)
        yield heard


def test_what_is_published_reaches_the_operators_telegram(aws: Aws) -> None:
    topic = f"arn:aws:sns:ap-northeast-1:{ACCOUNT}:quantcloud-tokyo-critical"
    with telegram(aws) as heard:
        aws.client("sns").publish(TopicArn=topic, Subject="a test", Message="the heartbeat of nobody")
    (message,) = heard
    assert message.startswith("/bot12:abc/sendMessage")
    assert "the heartbeat of nobody" in message


def test_an_alert_at_the_fallback_webhook_lies_in_the_queue(aws: Aws) -> None:
    token = aws.client("secretsmanager").get_secret_value(SecretId="quantcloud/tokyo/webhook-token")["SecretString"]
    event = {
        "rawPath": f"/webhook/{token}",
        "headers": {"content-type": "application/json"},
        "body": '{"symbol": "BTCUSDT.P", "side": "buy"}',
        "isBase64Encoded": False,
        "requestContext": {
            "requestId": "r-1",
            "timeEpoch": 1_790_000_000_000,
            "http": {"method": "POST", "sourceIp": "52.89.214.238", "path": f"/webhook/{token}"},
        },
    }
    answer = invoke(aws, "webhook-fallback", event)
    assert answer["statusCode"] == 200, answer
    queues = aws.client("sqs")
    url = queues.get_queue_url(QueueName="quantcloud-tokyo-alerts.fifo")["QueueUrl"]
    (message,) = queues.receive_message(QueueUrl=url)["Messages"]
    assert token not in message["Body"]
    event["requestContext"]["http"]["sourceIp"] = "203.0.113.9"
    assert invoke(aws, "webhook-fallback", event)["statusCode"] == 403


def test_the_control_api_wants_the_operators_token(aws: Aws) -> None:
    event = {
        "version": "2.0",
        "rawPath": "/status",
        "rawQueryString": "",
        "headers": {"host": "control"},
        "isBase64Encoded": False,
        "requestContext": {"http": {"method": "GET", "path": "/status", "sourceIp": "203.0.113.9", "protocol": "HTTP/1.1"}},
    }
    assert invoke(aws, "control-api", event)["statusCode"] in (401, 403)


@contextmanager
def exchange() -> Iterator[str]:
    """Its address. It knows funding: BTC's stands above the limit."""
    rates = {"BTCUSDT": "0.00070000", "ETHUSDT": "0.00010000", "SOLUSDT": "-0.00010000"}
    marks = [{"symbol": symbol, "lastFundingRate": rate, "nextFundingTime": 1} for symbol, rate in rates.items()]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(marks if self.path.endswith("premiumIndex") else []).encode())

        def log_message(self, *_: object) -> None: ...

    with served(Handler) as url:
        yield url


def test_funding_is_looked_at_and_told(aws: Aws) -> None:
    with exchange() as url, telegram(aws) as heard:
        aws.tell_function("funding-monitor", EXCHANGE_URL=url)
        said = invoke(aws, "funding-monitor", {})
    (message,) = heard
    assert "BTCUSDT" in message
    value = aws.client("ssm").get_parameter(Name="/quantcloud/tokyo/funding")["Parameter"]["Value"]
    assert json.loads(value) == said
    assert {symbol: found["skip"] for symbol, found in said["symbols"].items()} == {
        "BTCUSDT": True,
        "ETHUSDT": False,
        "SOLUSDT": False,
    }


def test_the_report_of_a_day_lies_in_the_sites_bucket(aws: Aws) -> None:
    with telegram(aws) as heard:
        address = invoke(aws, "daily-report", {"time": "2026-11-20T00:20:00Z"})["report"]
    (message,) = heard
    assert "2026-11-19" in message
    bucket, key = address.removeprefix("s3://").split("/", 1)
    assert key == "reports/2026-11-19.html"
    page = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    assert "2026-11-19" in page


def invoke(aws: Aws, name: str, event: Mapping[str, Any]) -> dict[str, Any]:
    answer = aws.client("lambda").invoke(FunctionName=f"quantcloud-tokyo-{name}", Payload=json.dumps(event))
    payload = answer["Payload"].read().decode()
    assert "FunctionError" not in answer, payload
    return dict(json.loads(payload))


def test_a_second_deploy_changes_nothing(aws: Aws, assembly: Path) -> None:
    said = aws.cdk("deploy", assembly, "--all", "--require-approval", "never")
    assert said.count("(no changes)") == STACKS, said


def test_new_code_changes_one_resource_per_node_and_no_machine(aws: Aws, variants: Variants) -> None:
    """Besides the one parameter that names the release for a node which sleeps."""
    before = {site: [aws.instance(site, node)["InstanceId"] for node in ("stream", "engine")] for site in SITES}
    commands = {site: aws.releases(site) for site in SITES}
    since = {site: len(aws.events(site)) for site in SITES}
    said = aws.cdk("deploy", variants()["code"], "--all", "--require-approval", "never")
    assert said.count("(no changes)") == STACKS - len(SITES), said
    for site in SITES:
        touched = [event for event in aws.events(site)[since[site] :] if event["ResourceStatus"].endswith("_COMPLETE")]
        found = sorted((one["ResourceType"], one["LogicalResourceId"][:11], one["ResourceStatus"]) for one in touched)
        assert [(kind, status) for kind, _, status in found] == [
            ("AWS::CloudFormation::Stack", "UPDATE_COMPLETE"),
            ("AWS::SSM::Association", "UPDATE_COMPLETE"),
            ("AWS::SSM::Association", "UPDATE_COMPLETE"),
            ("AWS::SSM::Parameter", "UPDATE_COMPLETE"),
        ]
        assert [name for _, name, _ in found[1:3]] == ["EngineRelea", "StreamRelea"]
        assert [aws.instance(site, node)["InstanceId"] for node in ("stream", "engine")] == before[site]
        assert all(aws.releases(site)[name] != command for name, command in commands[site].items())


def test_nothing_is_deleted_while_it_is_protected(aws: Aws) -> None:
    cloudformation = aws.client("cloudformation")
    with pytest.raises(cloudformation.exceptions.ClientError, match="TerminationProtection"):
        cloudformation.delete_stack(StackName="quantcloud-tokyo-nodes")


def test_sites_swap_roles_without_a_new_machine_and_the_name_leads_to_the_other(aws: Aws, variants: Variants) -> None:
    before = {site: aws.instance(site, "engine")["InstanceId"] for site in SITES}
    aws.cdk("deploy", variants()["swapped"], "--all", "--require-approval", "never")
    assert {site: aws.instance(site, "engine")["InstanceId"] for site in SITES} == before
    modes = {}
    for site in SITES:
        values = aws.client("ssm", site).get_parameter(Name=f"/quantcloud/{site}/node")["Parameter"]["Value"]
        modes[site] = json.loads(values)["mode"]
        digest = hashlib.sha256(values.encode()).hexdigest()[:12]
        assert all(command.endswith(f" {digest}") for command in aws.releases(site).values())
    assert modes == {"tokyo": "pilot-light", "frankfurt": "active"}
    names = aws.client("route53")
    (zone,) = names.list_hosted_zones()["HostedZones"]
    records = names.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    leads_to = {record["Failover"]: record["ResourceRecords"][0]["Value"] for record in records if "Failover" in record}
    assert leads_to == {
        "PRIMARY": aws.instance("frankfurt", "engine")["PublicIpAddress"],
        "SECONDARY": aws.instance("tokyo", "engine")["PublicIpAddress"],
    }


def test_leaving_keeps_only_what_is_kept_on_purpose(aws: Aws, variants: Variants) -> None:
    """Once the protection is off: the deployment before this one saw to that."""
    aws.cdk("destroy", variants()["swapped"], "--all", "--force")
    for site in SITES:
        names = {stack["StackName"] for stack in aws.client("cloudformation", site).describe_stacks()["Stacks"]}
        assert names == {"CDKToolkit"}
        ec2 = aws.client("ec2", site)
        states = {one["State"]["Name"] for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]}
        assert states <= {"terminated"}
        assert ec2.describe_addresses()["Addresses"] == []
        tagged = ec2.describe_volumes(Filters=[{"Name": "tag-key", "Values": ["Name"]}])["Volumes"]
        volumes = {tag["Value"] for volume in tagged for tag in volume["Tags"] if tag["Key"] == "Name"}
        assert volumes == {f"quantcloud-{site}-data"}
        assert aws.client("lambda", site).list_functions()["Functions"] == []
        assert aws.client("cloudwatch", site).describe_alarms()["MetricAlarms"] == []
        assert aws.client("secretsmanager", site).list_secrets()["SecretList"] == []
        assert aws.client("sqs", site).list_queues().get("QueueUrls", []) == []
    buckets = {one["Name"] for one in aws.client("s3").list_buckets()["Buckets"]}
    assert sorted(name.split("-")[1] for name in buckets if name.startswith("quantcloud-")) == ["frankfurt", "tokyo"]
    assert aws.client("dynamodb", "frankfurt").list_tables()["TableNames"] == ["quantcloud-lease"]
