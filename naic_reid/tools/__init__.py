"""Commands beside the walk, by name: each a module with `arguments(parser)` and `run(options)`."""

TOOLS = {
    "check": "is this file a valid submission?",
    "provenance": "what was this file made from, and is that still so?",
}
