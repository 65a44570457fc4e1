"""Commands beside the walk, by name: each a module with `arguments(parser)` and `run(options)`."""

TOOLS = {
    "inspect": "what does the data folder hold, and what would stop the walk?",
    "check": "is this file a valid submission?",
    "provenance": "what was this file made from, and is that still so?",
}
