"""The logger through which the command line follows a run; whoever wants to listen adds a handler to it."""

import logging

import dagster as dg

STEP_LOGGER = "alignrec.steps"


@dg.logger({}, description="Hands every record of a run to the command line, which prints one line per step.")
def step_logger(_: dg.InitLoggerContext) -> logging.Logger:
    """The named logger, silent unless somebody listens."""
    logger = logging.getLogger(STEP_LOGGER)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    return logger
