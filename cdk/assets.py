"""What is deployed beside the templates: the release for the nodes and one folder per Lambda, built by ``make assets``."""

from dataclasses import dataclass
from pathlib import Path

from cdk.config import BadConfiguration


@dataclass(frozen=True, slots=True)
class Assets:
    """``folder`` holds ``release`` and ``lambdas/<name>``."""

    folder: Path

    @property
    def release(self) -> Path:
        return self._made(self.folder / "release")

    def function(self, name: str) -> Path:
        return self._made(self.folder / "lambdas" / name)

    def _made(self, path: Path) -> Path:
        if not path.is_dir():
            raise BadConfiguration(f"{path}: is not there; run `make assets` first")
        return path
