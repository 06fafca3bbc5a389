"""Several assemblies by one process, each as ``cdk synth`` makes one: ``python synthesize.py '[{"out": …}, …]' [FOLDER]``.

FOLDER: where the templates that break our promises go.
"""

import json
import sys
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import broken_promises

from cdk.app import ROOT, build, check
from cdk.assets import Assets
from cdk.config_file import read_config

_SAID_BY_CDK = {"aws:cdk:enable-path-metadata": True, "aws:cdk:enable-asset-metadata": True}  # by its command line


def synthesize(out: str, assets: str, account: str, settings: dict[str, Any]) -> None:
    whole = context()
    app = cdk.App(outdir=out, context=whole)
    build(app, read_config(whole["quantcloud"] | settings, account), Assets(Path(assets)))
    check(app)
    app.synth()


def context() -> dict[str, Any]:
    return json.loads((ROOT / "cdk.json").read_text())["context"] | _SAID_BY_CDK


def break_promises(out: str) -> None:
    try:
        broken_promises.synthesize(out, context())
    except RuntimeError as error:
        if "ValidationFailed" in str(error):
            return
        raise
    sys.exit("templates that break every promise were synthesized")


if __name__ == "__main__":
    for one in json.loads(sys.argv[1]):
        synthesize(**one)
    for folder in sys.argv[2:]:
        break_promises(folder)
