"""``cdk synth`` and ``cdk deploy`` run this: ``python -m cdk.app``. A wrong configuration ends it with one line."""

import os
import sys
from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from cdk.assets import Assets
from cdk.config import BadConfiguration, Config, Site, read_config
from cdk.foundation import FoundationStack
from cdk.nodes import NodesStack

ROOT = Path(__file__).resolve().parents[1]


def build(app: cdk.App, config: Config, assets: Assets) -> None:
    """All stacks of all sites."""
    for site in config.sites:
        if site.has_nodes:
            _build_site(app, config, site, assets)


def _build_site(app: cdk.App, config: Config, site: Site, assets: Assets) -> None:
    foundation = FoundationStack(app, config=config, site=site)
    NodesStack(app, config=config, site=site, foundation=foundation, assets=assets)


def main() -> None:
    app = cdk.App()
    account = app.node.try_get_context("account") or os.environ.get("CDK_DEFAULT_ACCOUNT")
    folder = app.node.try_get_context("assets") or ROOT / "build"
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        build(app, read_config(app.node.try_get_context("quantcloud"), account), Assets(Path(folder)))
    except BadConfiguration as wrong:
        sys.exit(str(wrong))
    app.synth()


if __name__ == "__main__":
    main()
