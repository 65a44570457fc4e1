"""A stage that may take only so much more memory than it has once it is loaded: MEGABYTES COMMAND …"""

import resource
import sys
from importlib import import_module
from pathlib import Path

from naic_reid import cli

megabytes, stage = int(sys.argv[1]), sys.argv[2]
import_module(f"naic_reid.stages.{stage}")
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (megabytes << 20), resource.RLIM_INFINITY))
sys.exit(cli.main(sys.argv[2:]))
