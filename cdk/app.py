"""``cdk synth`` and ``cdk deploy`` run this: ``python -m cdk.app``. A wrong configuration ends it with one line."""

import os
import sys
from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from cdk.account import AccountStack
from cdk.assets import Assets
from cdk.config import BadConfiguration, Config, Site
from cdk.config_file import read_config
from cdk.foundation import FoundationStack
from cdk.lease import LeaseStack
from cdk.nodes import NodesStack
from cdk.operations import OperationsStack

ROOT = Path(__file__).resolve().parents[1]


def check(app: cdk.App) -> None:
    """AWS's own advice and our promises: a finding of either fails the synth. CDK_VALIDATION=false spares them, too."""
    if os.environ.get("CDK_VALIDATION") == "false":
        return
    promises = cdk.ValidationRuleSource(name="promises", content=(ROOT / "cdk" / "promises.guard").read_text())
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app), cdk.CloudFormationValidatePlugin(guard_rules=[promises]))


def build(app: cdk.App, config: Config, assets: Assets) -> None:
    """All stacks of all sites."""
    lease = LeaseStack(app, config=config)
    built = {site.name: _build_site(app, config, site, assets, lease) for site in config.sites if site.has_nodes}
    account = AccountStack(app, config=config, foundations={name: foundation for name, (foundation, _) in built.items()})
    foundation, operations = built[config.active.name]
    account.add_stack_dependency(foundation, "the budget tells the active site's topic")
    account.add_stack_dependency(operations, "failover looks at its heartbeat alarm")


def _build_site(
    app: cdk.App, config: Config, site: Site, assets: Assets, lease: LeaseStack
) -> tuple[FoundationStack, OperationsStack]:
    foundation = FoundationStack(app, config=config, site=site)
    nodes = NodesStack(app, config=config, site=site, foundation=foundation, assets=assets)
    nodes.add_stack_dependency(lease, "the trader's lease")
    nodes.add_stack_dependency(foundation, "topics and queues, by name")
    operations = OperationsStack(app, config=config, site=site, foundation=foundation, assets=assets)
    operations.add_stack_dependency(nodes, "no alarm before there is something to be alarmed about")
    return foundation, operations


def main() -> None:
    app = cdk.App()
    account = app.node.try_get_context("account") or os.environ.get("CDK_DEFAULT_ACCOUNT")
    folder = app.node.try_get_context("assets") or ROOT / "build"
    try:
        build(app, read_config(app.node.try_get_context("quantcloud"), account), Assets(Path(folder)))
    except BadConfiguration as wrong:
        sys.exit(str(wrong))
    check(app)
    app.synth()


if __name__ == "__main__":
    main()
