"""A site deployed to the AWS double by CDK's own command line, and read back: what its nodes are given, and when."""

import base64
import json
import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from toolchain import ACCOUNT, make_assets, run, synth

from deployment.release import REPOSITORY, requirements, wheelhouse

KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@dataclass(frozen=True)
class Place:
    """A site by its name in cdk.json; ``network``: what its private addresses begin with."""

    site: str
    region: str
    network: str
    role: str

    @property
    def host(self) -> str:
        """This host's own address on the site's network, where AWS and the exchange are."""
        return f"{self.network}.1"


TOKYO = Place("tokyo", "ap-northeast-1", "10.40.0", "active")
FRANKFURT = Place("frankfurt", "eu-central-1", "10.40.16", "standby")


class Stack:
    """``environment`` leads CDK to the double; ``settings`` and ``operator_cidrs`` are what cdk.json would say."""

    def __init__(
        self,
        place: Place,
        folder: Path,
        environment: Mapping[str, str],
        settings: Mapping[str, str],
        operator_cidrs: list[str],
    ) -> None:
        self.place, self._folder, self._environment = place, folder, environment
        self._secrets: dict[str, str] = {}
        places = dict.fromkeys((TOKYO, place))  # there is always an active one
        self._context = {
            "sites": {each.site: {"region": each.region, "zone": "a", "role": each.role} for each in places},
            "settings": {"exchange.mode": "paper", **settings},
            "operator_cidrs": operator_cidrs,
        }
        self._assets = folder / "assets"
        self._times = 0

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=self.place.region, endpoint_url=self._environment["AWS_ENDPOINT_URL"], **KEYS)

    def prepare(self) -> None:
        """Assets whose release holds this host's wheels, and an account that CDK can deploy to."""
        make_assets(self._assets)
        release = self._assets / "release"
        shutil.rmtree(release / "wheels", ignore_errors=True)
        (release / "wheels").mkdir()
        for wheel in wheelhouse().glob("*.whl"):
            shutil.copy(wheel, release / "wheels")
        (release / "requirements.txt").write_text(requirements())
        run("cdk", "bootstrap", f"aws://{ACCOUNT}/{self.place.region}", cwd=self._folder, **self._environment)

    def deploy(self, version: str, replaced: Mapping[str, str]) -> None:
        """``replaced``: files of the release with another text than the repository's."""
        self._times += 1
        release = self._assets / "release"
        (release / "VERSION").write_text(f"{version}\n")
        for name, text in replaced.items():
            (release / name).write_text(text)
        out = synth(self._assets, self._folder / f"cdk.out.{self._times}", settings=self._context, CDK_VALIDATION="false")
        stacks = [f"quantcloud-{self.place.site}-{part}" for part in ("foundation", "nodes")]
        run("cdk", "deploy", "--app", str(out), *stacks, "--require-approval", "never", cwd=self._folder, **self._environment)
        for name in replaced:
            shutil.copy(REPOSITORY / name, release / name)

    def user_data(self, role: str) -> str:
        ec2 = self.client("ec2")
        wanted = [{"Name": "tag:Name", "Values": [f"quantcloud-{self.place.site}-{role}"]}]
        instance = ec2.describe_instances(Filters=wanted)["Reservations"][0]["Instances"][0]
        data = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")["UserData"]["Value"]
        return base64.b64decode(data).decode()

    def release_command(self, role: str) -> list[str]:
        """What the association would have the node run."""
        ssm = self.client("ssm")
        for one in ssm.list_associations()["Associations"]:
            whole = ssm.describe_association(AssociationId=one["AssociationId"])["AssociationDescription"]
            if whole["AssociationName"] == f"quantcloud-{self.place.site}-{role}-release":
                (command,) = whole["Parameters"]["commands"]
                return shlex.split(command)
        raise AssertionError(f"the {role} node has no release association")

    def secret(self, name: str) -> str:
        """Asked for once: also known while AWS is silent."""
        if name not in self._secrets:
            found = self.client("secretsmanager").get_secret_value(SecretId=f"quantcloud/{self.place.site}/{name}")
            self._secrets[name] = str(found["SecretString"])
        return self._secrets[name]

    def stored(self, folder: str) -> list[str]:
        """Keys of the site's bucket under it."""
        bucket = self.client("ssm").get_parameter(Name=f"/quantcloud/{self.place.site}/bucket")["Parameter"]["Value"]
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/")
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def fill_exchange_secret(self, api_key: str, api_secret: str) -> None:
        """By the operator's hand, once."""
        value = json.dumps({"api_key": api_key, "api_secret": api_secret})
        self.client("secretsmanager").put_secret_value(SecretId=f"quantcloud/{self.place.site}/exchange", SecretString=value)


def double_environment(host: str, port: int, region: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**keys, **nowhere, "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
