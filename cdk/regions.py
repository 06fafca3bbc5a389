"""The regions of AWS, and those that cannot hold a pair."""

REGIONS = (
    "ap-northeast-1", "eu-central-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2", "af-south-1", "ap-east-1", "ap-east-2",
    "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
    "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-2",
    "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1",
    "me-south-1", "mx-central-1", "sa-east-1",
)  # fmt: skip
"""A region's place in this row is its private network: new ones go to the end, and none ever changes its place."""

WITHOUT_C7G = ("ap-southeast-4", "me-central-1")
"""Where AWS offered no c7g when the versions of this environment were pinned. What is newer than those is not known here."""


def network_of(region: str) -> str:
    """The first two and a half numbers of the region's own /20, such as ``10.40.16`` of 10.40.16.0/20.

    By region, not by the site's place among the sites: a network that changed would take machines and data volume with it.
    """
    place = REGIONS.index(region)
    return f"10.{40 + place // 16}.{place % 16 * 16}"
