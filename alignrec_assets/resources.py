"""The one resource of the assets: the home, with its warehouse and its settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from alignrec_assets.home import Home
from alignrec_assets.settings.schema import Settings
from alignrec_assets.settings.sources import load_settings
from alignrec_assets.warehouse.connection import Warehouse
from models.language.device import choose_device
from models.progress import Log, silent


class HomeResource(DuckDBResource):
    """The home whose warehouse is ``database``.

    ``get_connection`` of the plain DuckDB resource takes no lock and does not close after an error; here it reads
    through ``Warehouse``, so that an asset of your own over this resource keeps to the rules of the house.
    """

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Before a step: its models run where the settings say."""
        choose_device(self.settings.base_model.device)

    @property
    def home(self) -> Home:
        """Where everything lies."""
        return Home(Path(self.database).parent)

    @property
    def settings(self) -> Settings:
        """The settings as they stand now: a change needs no restart of the code location."""
        return load_settings(self.home)

    def warehouse(self, log: Log = silent) -> Warehouse:
        """The warehouse; ``log`` is told when another process holds it."""
        return Warehouse(self.home, log)

    @contextmanager
    def get_connection(self) -> Iterator[Any]:
        """A read-only connection under the shared lock."""
        with self.warehouse().reading() as connection:
            yield connection
