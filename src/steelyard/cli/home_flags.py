"""The flags that say in which installation and workspace a command works; commands on what a workspace owns share them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from steelyard.cli.context import get_settings
from steelyard.config import Settings


@Parameter(name="*")
@dataclass(frozen=True)
class HomeFlags:
    """Nothing given is this machine's installation, and its first workspace."""

    workspace: Annotated[str, Parameter(help="Whose it is.")] = "default"
    data_dir: Annotated[Path | None, Parameter(help="The installation's data directory.")] = None
    config: Annotated[Path | None, Parameter(help="Configuration file.")] = None

    @property
    def settings(self) -> Settings:
        """The installation's settings.

        Raises:
            SetupFault: they are not in order.
        """
        return get_settings(self.data_dir, self.config)


HOME = HomeFlags()
