"""The settings, as one typed tree: what changes the answer, and nothing else.

One YAML file describes one result. `load` reads it into an immutable `Config` and refuses unknown
keys, wrong types, impossible values and dangling names together, each with its dotted key and a
sentence. Each section is named after the stage that owns it; `models` and `rerank` are tables, of
which a stage receives one entry.
"""

from naic_reid.config.config import Config
from naic_reid.config.data import (
    LAYOUTS,
    PROTOCOLS,
    Collect,
    Cut,
    DataSet,
    Dedupe,
    Holdout,
    Source,
    Split,
    Test,
    Toy,
)
from naic_reid.config.model import Model
from naic_reid.config.reading import describe, load, parse, text_of, typed
from naic_reid.config.retrieval import (
    Channels,
    Ensemble,
    Extract,
    Fuse,
    PseudoLabel,
    Published,
    QueryExpansion,
    Report,
    Rerank,
    Search,
    Shards,
)
from naic_reid.config.section import HOLDOUT, Section
from naic_reid.config.training import (
    IDENTITY_LOSSES,
    METRIC_LOSSES,
    Attributes,
    Augment,
    Loss,
    Ratio,
    Schedule,
    Train,
    Unlabelled,
)

__all__ = [
    "HOLDOUT",
    "IDENTITY_LOSSES",
    "LAYOUTS",
    "METRIC_LOSSES",
    "PROTOCOLS",
    "Attributes",
    "Augment",
    "Channels",
    "Collect",
    "Config",
    "Cut",
    "DataSet",
    "Dedupe",
    "Ensemble",
    "Extract",
    "Fuse",
    "Holdout",
    "Loss",
    "Model",
    "PseudoLabel",
    "Published",
    "QueryExpansion",
    "Ratio",
    "Report",
    "Rerank",
    "Schedule",
    "Search",
    "Section",
    "Shards",
    "Source",
    "Split",
    "Test",
    "Toy",
    "Train",
    "Unlabelled",
    "describe",
    "load",
    "parse",
    "text_of",
    "typed",
]
