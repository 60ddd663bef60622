"""Several ``dg`` commands one after the other in one process; each argument is one, its words as a JSON list."""

import json
import sys

from dagster_dg_cli.cli import cli

for words in sys.argv[1:]:
    cli(json.loads(words), prog_name="dg", standalone_mode=False)
