"""`python -m naic_reid` is the command `naic-reid`."""

from naic_reid.cli import main

raise SystemExit(main())
