"""Everything but EC2: rights, storage, messages, functions, measurements, names."""

import json
import uuid
from collections.abc import Callable
from typing import Any

from aws_double.makers import ACCOUNT, Context, Made, Maker, Properties, text, without


def _calling(service: str, operation: str, pick: Callable[[Made, Properties], dict[str, Any]]) -> Callable[..., None]:
    """A deletion that is one call."""

    def delete(context: Context, made: Made, properties: Properties) -> None:
        getattr(context.client(service), operation)(**pick(made, properties))

    return delete


def _role(context: Context, properties: Properties) -> Made:
    iam, name = context.client("iam"), context.named(properties, "RoleName")
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=text(properties["AssumeRolePolicyDocument"]))["Role"]
    for policy in properties.get("Policies", []):
        iam.put_role_policy(RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=text(policy["PolicyDocument"]))
    for arn in properties.get("ManagedPolicyArns", []):
        if not arn.startswith("arn:aws:iam::aws:"):  # AWS's own policies are not in the double
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    return Made(name, {"Arn": made["Arn"], "RoleId": made["RoleId"]})


def _delete_role(context: Context, made: Made, properties: Properties) -> None:
    iam = context.client("iam")
    for name in iam.list_role_policies(RoleName=made.id)["PolicyNames"]:
        iam.delete_role_policy(RoleName=made.id, PolicyName=name)
    for policy in iam.list_attached_role_policies(RoleName=made.id)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=made.id, PolicyArn=policy["PolicyArn"])
    iam.delete_role(RoleName=made.id)


def _policy(context: Context, properties: Properties) -> Made:
    for role in properties.get("Roles", []):
        name, document = properties["PolicyName"], text(properties["PolicyDocument"])
        context.client("iam").put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
    return Made(properties["PolicyName"])


def _delete_policy(context: Context, made: Made, properties: Properties) -> None:
    for role in properties.get("Roles", []):
        context.client("iam").delete_role_policy(RoleName=role, PolicyName=properties["PolicyName"])


def _managed_policy(context: Context, properties: Properties) -> Made:
    name = context.named(properties, "ManagedPolicyName")
    return Made(
        context.client("iam").create_policy(PolicyName=name, PolicyDocument=text(properties["PolicyDocument"]))["Policy"]["Arn"]
    )


def _profile(context: Context, properties: Properties) -> Made:
    iam, name = context.client("iam"), context.named(properties, "InstanceProfileName")
    arn = iam.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Arn"]
    for role in properties["Roles"]:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    return Made(name, {"Arn": arn})


def _delete_profile(context: Context, made: Made, properties: Properties) -> None:
    for role in properties["Roles"]:
        context.client("iam").remove_role_from_instance_profile(InstanceProfileName=made.id, RoleName=role)
    context.client("iam").delete_instance_profile(InstanceProfileName=made.id)


def _bucket(context: Context, properties: Properties) -> Made:
    s3, name = context.client("s3"), context.named(properties, "BucketName").lower()[:63]
    place = {} if context.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": context.region}}
    s3.create_bucket(Bucket=name, **place)
    if "VersioningConfiguration" in properties:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=properties["VersioningConfiguration"])
    if rules := properties.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration"):
        converted = [{"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]} for rule in rules]
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": converted})
    if "PublicAccessBlockConfiguration" in properties:
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=properties["PublicAccessBlockConfiguration"])
    return Made(name, {"Arn": f"arn:aws:s3:::{name}", "DomainName": f"{name}.s3.amazonaws.com", "RegionalDomainName": name})


def _bucket_policy(context: Context, properties: Properties) -> Made:
    """Not applied: moto's judge takes no notice of conditions, and would lock everybody out by "only over TLS"."""
    return Made(properties["Bucket"])


def _topic(context: Context, properties: Properties) -> Made:
    arn = context.client("sns").create_topic(Name=context.named(properties, "TopicName"))["TopicArn"]
    return Made(arn, {"TopicArn": arn, "TopicName": arn.rpartition(":")[2]})


def _topic_policy(context: Context, properties: Properties) -> Made:
    for topic in properties["Topics"]:
        document = text(properties["PolicyDocument"])
        context.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=document)
    return Made(context.logical_id)


def _subscription(context: Context, properties: Properties) -> Made:
    return Made(context.client("sns").subscribe(ReturnSubscriptionArn=True, **_sns_names(properties))["SubscriptionArn"])


def _sns_names(properties: Properties) -> dict[str, Any]:
    return {name: properties[name] for name in ("TopicArn", "Protocol", "Endpoint")}


def _queue(context: Context, properties: Properties) -> Made:
    attributes = {
        name: json.dumps(value) if isinstance(value, dict) else str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in without(properties, "QueueName", "Tags").items()
    }
    url = context.client("sqs").create_queue(QueueName=context.named(properties, "QueueName"), Attributes=attributes)["QueueUrl"]
    name = url.rpartition("/")[2]
    return Made(url, {"Arn": f"arn:aws:sqs:{context.region}:{ACCOUNT}:{name}", "QueueName": name, "QueueUrl": url})


def _queue_policy(context: Context, properties: Properties) -> Made:
    for queue in properties["Queues"]:
        context.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": text(properties["PolicyDocument"])})
    return Made(context.logical_id)


def _secret(context: Context, properties: Properties) -> Made:
    secrets, wanted = context.client("secretsmanager"), properties.get("GenerateSecretString", {})
    value = properties.get("SecretString")
    if value is None:
        value = secrets.get_random_password(**without(wanted, "SecretStringTemplate", "GenerateStringKey"))["RandomPassword"]
    arn = secrets.create_secret(Name=context.named(properties, "Name"), SecretString=value)["ARN"]
    return Made(arn, {"Id": arn})


def _parameter(context: Context, properties: Properties) -> Made:
    wanted = {name: properties[name] for name in ("Name", "Value", "Type", "Description") if name in properties}
    context.client("ssm").put_parameter(Overwrite=True, **wanted)
    return Made(properties["Name"], {"Value": properties["Value"], "Type": properties["Type"]})


def _association(context: Context, properties: Properties) -> Made:
    return Made(
        context.client("ssm").create_association(**_association_parameters(properties))["AssociationDescription"]["AssociationId"]
    )


def _update_association(context: Context, made: Made, old: Properties, new: Properties) -> Made:
    context.client("ssm").update_association(AssociationId=made.id, **_association_parameters(new))
    return made


def _association_parameters(properties: Properties) -> dict[str, Any]:
    return without(properties, "WaitForSuccessTimeoutSeconds")


def _log_group(context: Context, properties: Properties) -> Made:
    logs, name = context.client("logs"), context.named(properties, "LogGroupName")
    logs.create_log_group(logGroupName=name)
    if "RetentionInDays" in properties:
        logs.put_retention_policy(logGroupName=name, retentionInDays=properties["RetentionInDays"])
    return Made(name, {"Arn": f"arn:aws:logs:{context.region}:{ACCOUNT}:log-group:{name}:*"})


def _alarm(context: Context, properties: Properties) -> Made:
    name = context.named(properties, "AlarmName")
    context.client("cloudwatch").put_metric_alarm(AlarmName=name, **without(properties, "AlarmName", "Tags"))
    return Made(name, {"Arn": f"arn:aws:cloudwatch:{context.region}:{ACCOUNT}:alarm:{name}"})


def _dashboard(context: Context, properties: Properties) -> Made:
    name = context.named(properties, "DashboardName")
    context.client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=properties["DashboardBody"])
    return Made(name)


def _function(context: Context, properties: Properties) -> Made:
    name = context.named(properties, "FunctionName")
    wanted = {
        "FunctionName": name,
        **without(properties, "FunctionName", "Tags", "LoggingConfig", "ReservedConcurrentExecutions"),
    }
    arn = context.client("lambda").create_function(**wanted)["FunctionArn"]
    return Made(name, {"Arn": arn})


def _update_function(context: Context, made: Made, old: Properties, new: Properties) -> Made:
    functions = context.client("lambda")
    functions.update_function_code(FunctionName=made.id, **new["Code"])
    wanted = {name: new[name] for name in ("Handler", "Timeout", "MemorySize", "Environment", "Role", "Runtime") if name in new}
    functions.update_function_configuration(FunctionName=made.id, **wanted)
    return made


def _function_name(arn_or_name: str) -> str:
    return arn_or_name.rpartition(":")[2]


def _permission(context: Context, properties: Properties) -> Made:
    wanted = without(properties, "FunctionName", "FunctionUrlAuthType", "InvokedViaFunctionUrl")
    name = _function_name(properties["FunctionName"])
    context.client("lambda").add_permission(FunctionName=name, StatementId=context.logical_id, **wanted)
    return Made(context.logical_id)


def _url(context: Context, properties: Properties) -> Made:
    name = _function_name(properties["TargetFunctionArn"])
    made = context.client("lambda").create_function_url_config(FunctionName=name, AuthType=properties["AuthType"])
    return Made(made["FunctionArn"], {"FunctionUrl": made["FunctionUrl"], "FunctionArn": made["FunctionArn"]})


def _invoke_config(context: Context, properties: Properties) -> Made:
    wanted = without(properties, "Qualifier", "FunctionName")
    name = _function_name(properties["FunctionName"])
    context.client("lambda").put_function_event_invoke_config(FunctionName=name, **wanted)
    return Made(context.logical_id)


def _rule(context: Context, properties: Properties) -> Made:
    events, name = context.client("events"), context.named(properties, "Name")
    arn = events.put_rule(Name=name, **without(properties, "Name", "Targets"))["RuleArn"]
    events.put_targets(Rule=name, Targets=properties.get("Targets", []))
    return Made(name, {"Arn": arn})


def _delete_rule(context: Context, made: Made, properties: Properties) -> None:
    context.client("events").remove_targets(Rule=made.id, Ids=[target["Id"] for target in properties.get("Targets", [])])
    context.client("events").delete_rule(Name=made.id)


def _table(context: Context, properties: Properties) -> Made:
    name = context.named(properties, "TableName")
    direct = ("AttributeDefinitions", "KeySchema", "BillingMode", "DeletionProtectionEnabled")
    wanted = {key: properties[key] for key in direct if key in properties}
    arn = context.client("dynamodb").create_table(TableName=name, **wanted)["TableDescription"]["TableArn"]
    if recovery := properties.get("PointInTimeRecoverySpecification"):
        context.client("dynamodb").update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
    return Made(name, {"Arn": arn})


def _update_table(context: Context, made: Made, old: Properties, new: Properties) -> Made:
    protected = bool(new.get("DeletionProtectionEnabled", False))
    context.client("dynamodb").update_table(TableName=made.id, DeletionProtectionEnabled=protected)
    return made


def _budget(context: Context, properties: Properties) -> Made:
    name = context.named({}, "BudgetName")
    budget = properties["Budget"] | {"BudgetName": name}
    budget["BudgetLimit"] = {key: str(value) for key, value in budget["BudgetLimit"].items()}
    context.client("budgets").create_budget(AccountId=ACCOUNT, Budget=budget)
    for one in properties["NotificationsWithSubscribers"]:
        context.client("budgets").create_notification(AccountId=ACCOUNT, BudgetName=name, **one)
    return Made(name)


def _health_check(context: Context, properties: Properties) -> Made:
    wanted = properties["HealthCheckConfig"]
    made = context.client("route53").create_health_check(CallerReference=str(uuid.uuid4()), HealthCheckConfig=wanted)
    return Made(made["HealthCheck"]["Id"], {"HealthCheckId": made["HealthCheck"]["Id"]})


def _record(action: str, context: Context, properties: Properties) -> None:
    record = without(properties, "HostedZoneId", "HostedZoneName", "Comment")
    record["ResourceRecords"] = [{"Value": value} for value in properties["ResourceRecords"]]
    record["TTL"] = int(properties["TTL"])
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    context.client("route53").change_resource_record_sets(HostedZoneId=properties["HostedZoneId"], ChangeBatch=batch)


def _create_record(context: Context, properties: Properties) -> Made:
    _record("CREATE", context, properties)
    return Made(properties["Name"])


def _update_record(context: Context, made: Made, old: Properties, new: Properties) -> Made:
    _record("UPSERT", context, new)
    return made


def _delete_record(context: Context, made: Made, properties: Properties) -> None:
    _record("DELETE", context, properties)


def _repository(context: Context, properties: Properties) -> Made:
    name = context.named(properties, "RepositoryName").lower()
    arn = context.client("ecr").create_repository(repositoryName=name)["repository"]["repositoryArn"]
    return Made(name, {"Arn": arn})


MAKERS = {
    "AWS::IAM::Role": Maker(_role, _delete_role, lambda context, made, old, new: made),
    "AWS::IAM::Policy": Maker(_policy, _delete_policy, lambda context, made, old, new: _policy(context, new)),
    "AWS::IAM::ManagedPolicy": Maker(_managed_policy, _calling("iam", "delete_policy", lambda made, _: {"PolicyArn": made.id})),
    "AWS::IAM::InstanceProfile": Maker(_profile, _delete_profile),
    "AWS::S3::Bucket": Maker(_bucket, _calling("s3", "delete_bucket", lambda made, _: {"Bucket": made.id})),
    "AWS::S3::BucketPolicy": Maker(_bucket_policy),
    "AWS::SNS::Topic": Maker(_topic, _calling("sns", "delete_topic", lambda made, _: {"TopicArn": made.id})),
    "AWS::SNS::TopicPolicy": Maker(_topic_policy),
    "AWS::SNS::Subscription": Maker(_subscription, _calling("sns", "unsubscribe", lambda made, _: {"SubscriptionArn": made.id})),
    "AWS::SQS::Queue": Maker(_queue, _calling("sqs", "delete_queue", lambda made, _: {"QueueUrl": made.id})),
    "AWS::SQS::QueuePolicy": Maker(_queue_policy),
    "AWS::SecretsManager::Secret": Maker(
        _secret,
        _calling("secretsmanager", "delete_secret", lambda made, _: {"SecretId": made.id, "ForceDeleteWithoutRecovery": True}),
    ),
    "AWS::SSM::Parameter": Maker(
        _parameter,
        _calling("ssm", "delete_parameter", lambda made, _: {"Name": made.id}),
        lambda context, made, old, new: _parameter(context, new),
    ),
    "AWS::SSM::Association": Maker(
        _association, _calling("ssm", "delete_association", lambda made, _: {"AssociationId": made.id}), _update_association
    ),
    "AWS::Logs::LogGroup": Maker(_log_group, _calling("logs", "delete_log_group", lambda made, _: {"logGroupName": made.id})),
    "AWS::CloudWatch::Alarm": Maker(
        _alarm,
        _calling("cloudwatch", "delete_alarms", lambda made, _: {"AlarmNames": [made.id]}),
        lambda context, made, old, new: _alarm(context, new),
    ),
    "AWS::CloudWatch::Dashboard": Maker(
        _dashboard,
        _calling("cloudwatch", "delete_dashboards", lambda made, _: {"DashboardNames": [made.id]}),
        lambda context, made, old, new: _dashboard(context, new),
    ),
    "AWS::Lambda::Function": Maker(
        _function, _calling("lambda", "delete_function", lambda made, _: {"FunctionName": made.id}), _update_function
    ),
    "AWS::Lambda::Permission": Maker(_permission),
    "AWS::Lambda::Url": Maker(_url),
    "AWS::Lambda::EventInvokeConfig": Maker(_invoke_config),
    "AWS::Events::Rule": Maker(_rule, _delete_rule),
    "AWS::DynamoDB::Table": Maker(
        _table, _calling("dynamodb", "delete_table", lambda made, _: {"TableName": made.id}), _update_table
    ),
    "AWS::Budgets::Budget": Maker(
        _budget, _calling("budgets", "delete_budget", lambda made, _: {"AccountId": ACCOUNT, "BudgetName": made.id})
    ),
    "AWS::Route53::HealthCheck": Maker(
        _health_check, _calling("route53", "delete_health_check", lambda made, _: {"HealthCheckId": made.id})
    ),
    "AWS::Route53::RecordSet": Maker(_create_record, _delete_record, _update_record),
    "AWS::ECR::Repository": Maker(
        _repository, _calling("ecr", "delete_repository", lambda made, _: {"repositoryName": made.id, "force": True})
    ),
}
