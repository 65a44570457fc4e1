"""The zoo's recipes constant by constant, written from their published description (release of July 2020)."""

SIZES = {"bot": (256, 128), "agw": (256, 128), "sbs": (384, 128), "mgn": (384, 128)}
POOLING = {"bot": "average", "agw": "gem_learnt", "sbs": "gem_learnt", "mgn": "gem_learnt"}
NON_LOCAL = {"bot": False, "agw": True, "sbs": True, "mgn": False}
EPOCHS = {"bot": 120, "agw": 120, "sbs": 60, "mgn": 60}
IMAGES_OF_A_PERSON = {"bot": 4, "agw": 4, "sbs": 16, "mgn": 16}
BIAS_RATE = {"bot": 2.0, "agw": 2.0, "sbs": 1.0, "mgn": 1.0}
BATCH, RATE, DECAY = 64, 3.5e-4, 5e-4
TRIPLET = {
    "bot": ("hard_triplet", 0.3, "embedding"),
    "agw": ("weighted_triplet_fastreid", None, "embedding"),
    "sbs": ("hard_triplet", None, "feature"),
    "mgn": ("hard_triplet", None, "feature"),
}
CLASSIFIER = {
    "bot": ("linear_fastreid", None, None, 0.1),
    "agw": ("linear_fastreid", None, None, 0.1),
    "sbs": ("circle", 64.0, 0.35, 0.1),
    "mgn": ("circle", 64.0, 0.35, 0.1),
}
FROZEN_EPOCHS = {"bot": None, "agw": None, "sbs": 10, "mgn": 10}
# Learning rate of weights at the begin of an epoch, from 0: warm-up .01 → 1 over 10, then falls or a cosine.
RATES = {
    "bot": {0: 3.5e-6, 5: 1.7675e-4, 10: 3.5e-4, 39: 3.5e-4, 40: 3.5e-5, 89: 3.5e-5, 90: 3.5e-6, 119: 3.5e-6},
    "sbs": {0: 3.5e-6, 10: 3.5e-4, 30: 3.5e-4, 45: 1.75385e-4, 60: 7.7e-7},
}
RATES |= {"agw": RATES["bot"], "mgn": RATES["sbs"]}

# Vehicles, July 2020: size, batch, epochs, falls, factor of biases' rate.
VEHICLES = {
    "vehicleid": ((256, 256), 512, 60, (30, 50), 1.0),
    "veriwild": ((256, 256), 128, 60, (30, 50), 2.0),
}
VERI = {"optimizer": "sgd", "rate": 0.01, "end": 7.7e-5, "batch": 64, "epochs": 60, "momentum": 0.9}

# Today's code (July 2024): what it has otherwise.
TODAY_POOLING = {"bot": "average", "agw": "gem", "sbs": "gem_learnt", "mgn": "gem_learnt"}
TODAY_POLICY = {
    "bot": ("none", 1.0),
    "agw": ("none", 1.0),
    "sbs": ("autoaugment", 0.1),
    "mgn": ("autoaugment", 0.1),
}
TODAY_FROZEN_STEPS = {"bot": None, "agw": None, "sbs": 1000, "mgn": 1000}
TODAY_WARM_UP = {"veri776": 3000, "veriwild": 5000}  # steps; 2000 elsewhere
# Steps of an epoch, and how many epochs are over when the rate falls.
TODAY_FALLS = {
    "market1501": (202, (49, 99)),
    "dukemtmc": (258, (47, 97)),
    "msmt17": (472, (44, 94)),
    "vehicleid_small": (221, (39, 59)),
    "veriwild_large": (542, (39, 79, 99)),
}
TODAY_COSINE = {1: 3.5e-4, 31: 3.5e-4, 32: 3.4904e-4, 60: 1.6568e-6}  # of SBS by epoch from 1, warm-up aside
