"""EC2: the network, the machines, their disks and addresses."""

import base64
from collections.abc import Callable
from typing import Any

from aws_double.makers import Context, Made, Maker, Properties, tags, without


def _tag(context: Context, made_id: str, properties: Properties) -> None:
    labels = [*tags(properties), {"Key": "stack", "Value": context.stack}]
    context.client("ec2").create_tags(Resources=[made_id], Tags=labels)


def _deleting(operation: str, parameter: str) -> Callable[[Context, Made, Properties], None]:
    def delete(context: Context, made: Made, properties: Properties) -> None:
        getattr(context.client("ec2"), operation)(**{parameter: made.id})

    return delete


def _vpc(context: Context, properties: Properties) -> Made:
    ec2 = context.client("ec2")
    vpc = ec2.create_vpc(CidrBlock=properties["CidrBlock"])["Vpc"]["VpcId"]
    for name in ("EnableDnsHostnames", "EnableDnsSupport"):
        ec2.modify_vpc_attribute(VpcId=vpc, **{name: {"Value": properties.get(name, True)}})
    _tag(context, vpc, properties)
    return Made(vpc, {"VpcId": vpc, "CidrBlock": properties["CidrBlock"]})


def _subnet(context: Context, properties: Properties) -> Made:
    ec2 = context.client("ec2")
    wanted = {name: properties[name] for name in ("VpcId", "CidrBlock", "AvailabilityZone")}
    subnet = ec2.create_subnet(**wanted)["Subnet"]["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": properties.get("MapPublicIpOnLaunch", False)})
    _tag(context, subnet, properties)
    return Made(subnet, {"SubnetId": subnet, "AvailabilityZone": properties["AvailabilityZone"]})


def _internet_gateway(context: Context, properties: Properties) -> Made:
    gateway = context.client("ec2").create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    _tag(context, gateway, properties)
    return Made(gateway, {"InternetGatewayId": gateway})


def _attach_gateway(context: Context, properties: Properties) -> Made:
    context.client("ec2").attach_internet_gateway(**properties)
    return Made("IGW|" + properties["VpcId"])


def _detach_gateway(context: Context, made: Made, properties: Properties) -> None:
    context.client("ec2").detach_internet_gateway(**properties)


def _route_table(context: Context, properties: Properties) -> Made:
    table = context.client("ec2").create_route_table(VpcId=properties["VpcId"])["RouteTable"]["RouteTableId"]
    _tag(context, table, properties)
    return Made(table, {"RouteTableId": table})


def _route(context: Context, properties: Properties) -> Made:
    context.client("ec2").create_route(**properties)
    return Made(properties["RouteTableId"] + "|" + properties["DestinationCidrBlock"])


def _delete_route(context: Context, made: Made, properties: Properties) -> None:
    context.client("ec2").delete_route(**{name: properties[name] for name in ("RouteTableId", "DestinationCidrBlock")})


def _associate_table(context: Context, properties: Properties) -> Made:
    return Made(context.client("ec2").associate_route_table(**properties)["AssociationId"])


def _endpoint(context: Context, properties: Properties) -> Made:
    wanted = without(properties, "Tags", "PolicyDocument")
    return Made(context.client("ec2").create_vpc_endpoint(**wanted)["VpcEndpoint"]["VpcEndpointId"])


def _delete_endpoint(context: Context, made: Made, properties: Properties) -> None:
    context.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[made.id])


def _permission(rule: Properties) -> dict[str, Any]:
    found: dict[str, Any] = {"IpProtocol": str(rule["IpProtocol"])}
    found |= {name: rule[name] for name in ("FromPort", "ToPort") if name in rule}
    words = {"Description": rule["Description"]} if "Description" in rule else {}
    if "CidrIp" in rule:
        found["IpRanges"] = [{"CidrIp": rule["CidrIp"], **words}]
    if "SourceSecurityGroupId" in rule:
        found["UserIdGroupPairs"] = [{"GroupId": rule["SourceSecurityGroupId"], **words}]
    return found


def _security_group(context: Context, properties: Properties) -> Made:
    ec2 = context.client("ec2")
    name = context.named(properties, "GroupName")
    group = ec2.create_security_group(GroupName=name, Description=properties["GroupDescription"], VpcId=properties["VpcId"])[
        "GroupId"
    ]
    for rule in properties.get("SecurityGroupIngress", []):
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[_permission(rule)])
    _tag(context, group, properties)
    return Made(group, {"GroupId": group, "VpcId": properties["VpcId"]})


def _ingress(context: Context, properties: Properties) -> Made:
    context.client("ec2").authorize_security_group_ingress(GroupId=properties["GroupId"], IpPermissions=[_permission(properties)])
    return Made(f"{properties['GroupId']}|{properties['FromPort']}")


def _revoke(context: Context, made: Made, properties: Properties) -> None:
    context.client("ec2").revoke_security_group_ingress(GroupId=properties["GroupId"], IpPermissions=[_permission(properties)])


def _volume(context: Context, properties: Properties) -> Made:
    wanted = {name: properties[name] for name in ("AvailabilityZone", "Size", "VolumeType", "Encrypted") if name in properties}
    volume = context.client("ec2").create_volume(**wanted)["VolumeId"]
    _tag(context, volume, properties)
    return Made(volume, {"VolumeId": volume})


def _attach_volume(context: Context, properties: Properties) -> Made:
    context.client("ec2").attach_volume(**properties)
    return Made(f"{properties['VolumeId']}|{properties['InstanceId']}")


def _detach_volume(context: Context, made: Made, properties: Properties) -> None:
    context.client("ec2").detach_volume(VolumeId=properties["VolumeId"], InstanceId=properties["InstanceId"])


def _address(context: Context, properties: Properties) -> Made:
    answer = context.client("ec2").allocate_address(Domain="vpc")
    _tag(context, answer["AllocationId"], properties)
    return Made(answer["PublicIp"], {"AllocationId": answer["AllocationId"], "PublicIp": answer["PublicIp"]})


def _release_address(context: Context, made: Made, properties: Properties) -> None:
    context.client("ec2").release_address(AllocationId=made.attributes["AllocationId"])


def _associate_address(context: Context, properties: Properties) -> Made:
    return Made(context.client("ec2").associate_address(**properties)["AssociationId"])


def _disassociate_address(context: Context, made: Made, properties: Properties) -> None:
    context.client("ec2").disassociate_address(AssociationId=made.id)


def _placement_group(context: Context, properties: Properties) -> Made:
    """Only its name: moto has no placement."""
    name = context.named(properties, "GroupName")
    return Made(name, {"GroupName": name})


def _instance(context: Context, properties: Properties) -> Made:
    direct = ("ImageId", "InstanceType", "BlockDeviceMappings", "EbsOptimized", "MetadataOptions", "DisableApiTermination")
    wanted = {name: properties[name] for name in direct if name in properties}
    interface = next(iter(properties.get("NetworkInterfaces", [])), {})
    wanted |= {
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": base64.b64decode(properties["UserData"]).decode(),
        "Monitoring": {"Enabled": properties.get("Monitoring", False)},
        "IamInstanceProfile": {"Name": properties["IamInstanceProfile"]},
        "SubnetId": interface.get("SubnetId", properties.get("SubnetId")),
        "SecurityGroupIds": interface.get("GroupSet", properties.get("SecurityGroupIds")),
        "PrivateIpAddress": interface.get("PrivateIpAddress", properties.get("PrivateIpAddress")),
        "TagSpecifications": [{"ResourceType": "instance", "Tags": tags(properties)}],
    }
    ec2 = context.client("ec2")
    made = ec2.run_instances(**wanted)["Instances"][0]
    ec2.modify_instance_metadata_options(InstanceId=made["InstanceId"], **properties.get("MetadataOptions", {}))
    return Made(made["InstanceId"], {"PrivateIp": made["PrivateIpAddress"], "InstanceId": made["InstanceId"]})


_CHANGED_IN_PLACE = {"UserData", "Tags", "DisableApiTermination", "Monitoring", "IamInstanceProfile", "MetadataOptions"}


def _update_instance(context: Context, made: Made, old: Properties, new: Properties) -> Made:
    """In place what EC2 can change on a machine; anything else would be another machine, which nobody wants here."""
    changed = {name for name in {*old, *new} if old.get(name) != new.get(name)}
    if changed - _CHANGED_IN_PLACE:
        raise ValueError(f"{context.logical_id} would be replaced, because of {', '.join(sorted(changed - _CHANGED_IN_PLACE))}")
    protection = {"Value": new.get("DisableApiTermination", False)}
    context.client("ec2").modify_instance_attribute(InstanceId=made.id, DisableApiTermination=protection)
    return made


def _terminate(context: Context, made: Made, properties: Properties) -> None:
    context.client("ec2").terminate_instances(InstanceIds=[made.id])


MAKERS = {
    "AWS::EC2::VPC": Maker(_vpc, _deleting("delete_vpc", "VpcId")),
    "AWS::EC2::Subnet": Maker(_subnet, _deleting("delete_subnet", "SubnetId")),
    "AWS::EC2::InternetGateway": Maker(_internet_gateway, _deleting("delete_internet_gateway", "InternetGatewayId")),
    "AWS::EC2::VPCGatewayAttachment": Maker(_attach_gateway, _detach_gateway),
    "AWS::EC2::RouteTable": Maker(_route_table, _deleting("delete_route_table", "RouteTableId")),
    "AWS::EC2::Route": Maker(_route, _delete_route),
    "AWS::EC2::SubnetRouteTableAssociation": Maker(_associate_table, _deleting("disassociate_route_table", "AssociationId")),
    "AWS::EC2::VPCEndpoint": Maker(_endpoint, _delete_endpoint),
    "AWS::EC2::SecurityGroup": Maker(_security_group, _deleting("delete_security_group", "GroupId")),
    "AWS::EC2::SecurityGroupIngress": Maker(_ingress, _revoke),
    "AWS::EC2::Volume": Maker(_volume, _deleting("delete_volume", "VolumeId")),
    "AWS::EC2::VolumeAttachment": Maker(_attach_volume, _detach_volume),
    "AWS::EC2::EIP": Maker(_address, _release_address),
    "AWS::EC2::EIPAssociation": Maker(_associate_address, _disassociate_address),
    "AWS::EC2::PlacementGroup": Maker(_placement_group),
    "AWS::EC2::Instance": Maker(_instance, _terminate, _update_instance),
}
