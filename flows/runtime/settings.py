"""Environment variables that must be set before Prefect is imported: quiet, offline, no telemetry, no proxy for loopback.

Import this module first. A variable that the user has set keeps its value.
"""

from __future__ import annotations

import os

from codi2_storage.host.folders import settle_home
from codi2_storage.host.loopback import spare_loopback

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_CLI_PROMPT": "false",
    "OMP_WAIT_POLICY": "passive",  # torch's threads sleep instead of spinning, which leaves the cores to other work
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # also of loading weights
    "AWS_EC2_METADATA_DISABLED": "true",
}

for name, value in QUIET.items():
    os.environ.setdefault(name, value)

spare_loopback()
settle_home()
