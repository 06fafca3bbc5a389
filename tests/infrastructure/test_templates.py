"""What the templates say that neither cdk-nag nor the Guard rules look at. Both of those passed when the templates were made."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from template_reading import resources
from toolchain import ACCOUNT, ROOT, Assemblies

from app.cloud.names import SiteNames as Deployed
from cdk.names import SiteNames

Templates = Mapping[str, dict[str, Any]]
pytestmark = pytest.mark.timeout(300)
SITES = ("tokyo", "frankfurt")


def test_eight_stacks_for_two_sites(templates: Templates) -> None:
    parts = [f"quantcloud-{site}-{part}" for site in SITES for part in ("foundation", "nodes", "operations")]
    assert sorted(templates) == sorted([*parts, "quantcloud-account", "quantcloud-lease"])


def test_no_template_holds_a_custom_resource_or_was_looked_up(templates: Templates, assembly: Path) -> None:
    types = {resource["Type"] for template in templates.values() for resource in template["Resources"].values()}
    assert not [one for one in types if one.startswith("Custom::") or "CustomResource" in one]
    assert "missing" not in json.loads((assembly / "manifest.json").read_text())


def test_neither_cdks_rules_nor_nags_nor_ours_found_anything(assemblies: Assemblies) -> None:
    for assembly in (assemblies.shipped, assemblies.with_a_domain):
        reports = json.loads((assembly / "validation-report.json").read_text())["pluginReports"]
        assert [finding for report in reports for finding in report["violations"]] == []
        waived = [finding for report in reports for finding in report.get("suppressedViolations", [])]
        assert all(len(finding["reason"]) > 40 for finding in waived)


@pytest.mark.parametrize("site", SITES)
def test_user_data_holds_nothing_that_changes(templates: Templates, site: str) -> None:
    for node in resources(templates[f"quantcloud-{site}-nodes"], "AWS::EC2::Instance"):
        text = json.dumps(node["Properties"]["UserData"])
        assert not re.search(r"[0-9a-f]{64}", text)
        assert "cdk-hnb659fds" not in text
        assert not re.search(r"@[A-Z_]+@", text)
        assert node["CreationPolicy"] == {"ResourceSignal": {"Count": 1, "Timeout": "PT15M"}}


def test_the_active_site_waits_for_its_releases_and_the_sleeping_one_does_not(templates: Templates) -> None:
    def waits(site: str) -> set[bool]:
        found = resources(templates[f"quantcloud-{site}-nodes"], "AWS::SSM::Association")
        return {"WaitForSuccessTimeoutSeconds" in association["Properties"] for association in found}

    assert (waits("tokyo"), waits("frankfurt")) == ({True}, {False})


@pytest.mark.parametrize(("site", "role"), [("tokyo", "active"), ("frankfurt", "standby")])
def test_each_function_knows_its_sites_role(templates: Templates, site: str, role: str) -> None:
    functions = list(resources(templates[f"quantcloud-{site}-operations"], "AWS::Lambda::Function"))
    told = [function["Properties"]["Environment"]["Variables"].get("ROLE") for function in functions]
    assert told == [role] * 5


def test_what_is_kept_when_all_else_goes(templates: Templates) -> None:
    kept = {
        resource["Type"]
        for template in templates.values()
        for resource in template["Resources"].values()
        if resource.get("DeletionPolicy", "Delete") != "Delete"
    }
    assert kept == {"AWS::S3::Bucket", "AWS::EC2::Volume", "AWS::DynamoDB::Table"}


def test_the_bucket_keeps_what_it_should_and_no_longer(templates: Templates) -> None:
    """The journal and its reports have no end; old versions of what is written every half minute have one soon."""
    (bucket,) = resources(templates["quantcloud-tokyo-foundation"], "AWS::S3::Bucket")
    rules = {rule.get("Prefix", ""): rule for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]}
    assert {prefix: rule.get("ExpirationInDays") for prefix, rule in rules.items()} == {
        "logs/": 90,
        "snapshots/": 30,
        "backups/": 35,
        "": None,
    }
    assert rules["snapshots/"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert rules[""]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}


def test_what_runs_by_the_clock(templates: Templates) -> None:
    template = templates["quantcloud-tokyo-operations"]
    functions = {name: one for name, one in template["Resources"].items() if one["Type"] == "AWS::Lambda::Function"}
    schedules = {
        functions[rule["Properties"]["Targets"][0]["Arn"]["Fn::GetAtt"][0]]["Properties"]["FunctionName"]: rule["Properties"][
            "ScheduleExpression"
        ]
        for rule in resources(template, "AWS::Events::Rule")
    }
    assert schedules == {
        "quantcloud-tokyo-funding-monitor": "rate(10 minutes)",
        "quantcloud-tokyo-daily-report": "cron(20 0 * * ? *)",
    }


@pytest.mark.parametrize("site", SITES)
def test_a_node_is_reached_by_session_manager_alone_and_not_ended_by_a_slip(templates: Templates, site: str) -> None:
    template = templates[f"quantcloud-{site}-nodes"]
    for node in resources(template, "AWS::EC2::Instance"):
        assert node["Properties"]["DisableApiTermination"] is True
        assert "KeyName" not in node["Properties"]
    roles = list(resources(template, "AWS::IAM::Role"))
    assert len(roles) == 2
    assert all("AmazonSSMManagedInstanceCore" in json.dumps(role["Properties"]["ManagedPolicyArns"]) for role in roles)


def test_every_log_a_node_ships_has_its_group(templates: Templates) -> None:
    shipped = set(re.findall(r"\.log=([a-z]+)", (ROOT / "ec2_bootstrap" / "steps" / "agent.sh").read_text()))
    groups = {
        one["Properties"]["LogGroupName"] for one in resources(templates["quantcloud-tokyo-foundation"], "AWS::Logs::LogGroup")
    }
    assert len(shipped) > 5
    assert {f"/quantcloud/tokyo/{service}" for service in shipped} <= groups


def test_the_system_and_its_infrastructure_call_things_the_same() -> None:
    theirs, ours = Deployed("tokyo"), SiteNames("tokyo", "ap-northeast-1", ACCOUNT)
    for name in ("commands", "alerts"):
        assert theirs.queue(name) == ours.queue(name)
    for severity in ("critical", "warning", "info"):
        assert theirs.topic(severity) == ours.topic(severity)
    assert theirs.secret("webhook-token") == ours.secret("webhook-token")
    assert theirs.parameter("release") == ours.parameter("release")


def test_the_image_is_pinned(templates: Templates) -> None:
    defaults = {
        parameter["Default"]
        for name in ("quantcloud-tokyo-nodes", "quantcloud-frankfurt-nodes")
        for parameter in templates[name]["Parameters"].values()
        if "canonical" in str(parameter.get("Default"))
    }
    assert len(defaults) == 1
    assert re.fullmatch(r"/aws/service/canonical/ubuntu/server/24\.04/stable/20\d{6}/arm64/hvm/ebs-gp3/ami-id", defaults.pop())


def test_the_budget_warns_at_each_threshold(templates: Templates) -> None:
    (budget,) = resources(templates["quantcloud-account"], "AWS::Budgets::Budget")
    properties = budget["Properties"]
    assert properties["Budget"]["BudgetLimit"] == {"Amount": 150, "Unit": "USD"}
    told = [one["Notification"] for one in properties["NotificationsWithSubscribers"]]
    assert [(one["NotificationType"], one["Threshold"]) for one in told] == [
        ("ACTUAL", 50),
        ("ACTUAL", 80),
        ("ACTUAL", 100),
        ("FORECASTED", 100),
    ]


def test_each_function_may_do_what_it_needs_by_name(templates: Templates) -> None:
    """No two share a role, and none may everything anywhere."""
    template = templates["quantcloud-tokyo-operations"]
    functions = list(resources(template, "AWS::Lambda::Function"))
    assert len({json.dumps(one["Properties"]["Role"]) for one in functions}) == len(functions) == 5
    for policy in resources(template, "AWS::IAM::Policy"):
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not [action for action in actions if action == "*" or action.endswith(":*")]
            assert statement["Resource"] != "*"


WITHOUT_RESOURCES = {"cloudwatch:PutMetricData", "route53:ListHostedZones", "route53:GetChange"}


def test_no_node_may_do_more_than_its_sites_own_things(with_a_domain: Templates) -> None:
    """AWS knows no resources for what may be done to all: those are listed, and measurements are held to our namespace."""
    seen = set()
    for policy in resources(with_a_domain["quantcloud-tokyo-nodes"], "AWS::IAM::Policy"):
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            actions = {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
            assert not [action for action in actions if "*" in action]
            if statement["Resource"] == "*":
                assert actions <= WITHOUT_RESOURCES
                assert "cloudwatch:PutMetricData" not in actions or "cloudwatch:namespace" in json.dumps(statement["Condition"])
                seen |= actions
    assert seen == WITHOUT_RESOURCES


def test_in_the_domains_zone_a_node_may_write_the_proof_for_its_certificate_alone(with_a_domain: Templates) -> None:
    found = [
        (statement["Resource"], statement["Condition"])
        for policy in resources(with_a_domain["quantcloud-tokyo-nodes"], "AWS::IAM::Policy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "ChangeResourceRecordSets" in json.dumps(statement["Action"])
    ]
    (zone, condition), *others = found
    assert not others
    assert zone.startswith("arn:aws:route53:::hostedzone/Z")
    record = next(iter(resources(with_a_domain["quantcloud-account"], "AWS::Route53::RecordSet")))
    assert condition["ForAllValues:StringEquals"] == {
        "route53:ChangeResourceRecordSetsNormalizedRecordNames": [f"_acme-challenge.{record['Properties']['Name']}"],
        "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
    }


def test_a_domain_leads_to_the_site_with_a_heartbeat_or_else_to_a_running_standby(with_a_domain: Templates) -> None:
    template = with_a_domain["quantcloud-account"]
    leads_to = {
        one["Properties"]["Failover"]: one["Properties"]["ResourceRecords"][0]["Fn::GetStackOutput"]["StackName"]
        for one in resources(template, "AWS::Route53::RecordSet")
    }
    assert leads_to == {"PRIMARY": "quantcloud-tokyo-foundation", "SECONDARY": "quantcloud-ohio-foundation"}
    by_kind = {one["Properties"]["Failover"]: one["Properties"] for one in resources(template, "AWS::Route53::RecordSet")}
    assert "HealthCheckId" in by_kind["PRIMARY"]
    assert "HealthCheckId" not in by_kind["SECONDARY"]  # the last resort is never taken away


def test_the_health_check_hears_of_a_dark_region_and_of_a_dead_trader(with_a_domain: Templates) -> None:
    """Without data Route 53 must not go on believing the last; and it can follow an alarm of one plain metric alone."""
    (check,) = resources(with_a_domain["quantcloud-account"], "AWS::Route53::HealthCheck")
    followed = check["Properties"]["HealthCheckConfig"]
    name = "quantcloud-tokyo-trader-heartbeat"
    assert followed["AlarmIdentifier"] == {"Name": name, "Region": "ap-northeast-1"}
    assert followed["InsufficientDataHealthStatus"] == "Unhealthy"
    alarms = resources(with_a_domain["quantcloud-tokyo-operations"], "AWS::CloudWatch::Alarm")
    (heartbeat,) = (one["Properties"] for one in alarms if one["Properties"]["AlarmName"] == name)
    assert heartbeat["Statistic"] in {"Average", "Minimum", "Maximum", "Sum", "SampleCount"}
    assert heartbeat["Period"] >= 60
    assert "Metrics" not in heartbeat
    assert "DatapointsToAlarm" not in heartbeat


def test_what_sites_share_lies_where_no_swap_of_roles_moves_it(with_a_domain: Templates, assemblies: Assemblies) -> None:
    artifacts = json.loads((assemblies.with_a_domain / "manifest.json").read_text())["artifacts"]
    for stack in ("quantcloud-account", "quantcloud-lease"):
        assert artifacts[stack]["environment"].endswith("/eu-central-1")
    sites = {name.split("-")[1] for name in with_a_domain if name.endswith("-nodes")}
    assert sites == {"tokyo", "frankfurt", "ohio"}


def test_failing_over_asks_nothing_of_a_region_that_is_dark(assemblies: Assemblies) -> None:
    artifacts = json.loads((assemblies.dark / "manifest.json").read_text())["artifacts"]
    stacks = {name: one["environment"] for name, one in artifacts.items() if one["type"] == "aws:cloudformation:stack"}
    parts = ("frankfurt-foundation", "frankfurt-nodes", "frankfurt-operations", "account", "lease")
    assert stacks == {f"quantcloud-{part}": f"aws://{ACCOUNT}/eu-central-1" for part in parts}
    for name in stacks:
        template = (assemblies.dark / f"{name}.template.json").read_text()
        assert "ap-northeast-1" not in template
        assert "quantcloud-tokyo" not in template


def test_the_operators_address_is_let_in_beside_tradingviews(with_a_domain: Templates) -> None:
    template = with_a_domain["quantcloud-tokyo-foundation"]
    rules = [
        rule
        for group in resources(template, "AWS::EC2::SecurityGroup")
        for rule in group["Properties"].get("SecurityGroupIngress", [])
        if rule["CidrIp"] == "203.0.113.7/32"
    ]
    assert sorted(rule["FromPort"] for rule in rules) == [80, 443]


def test_a_warm_standby_is_released_to_and_missed_but_not_its_trader(with_a_domain: Templates) -> None:
    associations = resources(with_a_domain["quantcloud-ohio-nodes"], "AWS::SSM::Association")
    assert all("WaitForSuccessTimeoutSeconds" in one["Properties"] for one in associations)
    silence = {
        one["Properties"]["AlarmName"]: one["Properties"]["TreatMissingData"]
        for one in resources(with_a_domain["quantcloud-ohio-operations"], "AWS::CloudWatch::Alarm")
    }
    assert silence["quantcloud-ohio-gateway-down"] == silence["quantcloud-ohio-market-redis-down"] == "breaching"
    assert silence["quantcloud-ohio-trader-heartbeat"] == "notBreaching"  # which does not run there


def test_the_pair_stands_close_together_when_asked_to(with_a_domain: Templates, templates: Templates) -> None:
    def groups(found: Templates) -> list[object]:
        nodes = resources(found["quantcloud-tokyo-nodes"], "AWS::EC2::Instance")
        return [node["Properties"].get("PlacementGroupName") for node in nodes]

    stream, engine = groups(with_a_domain)
    assert stream == engine
    assert stream is not None
    assert groups(templates) == [None, None]
