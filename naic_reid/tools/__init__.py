"""Commands beside the walk, by name: each a module with `arguments(parser)` and `run(options)`."""

TOOLS = {
    "run": "the whole workflow, in any folder: label lists → submission and score card",
    "embed": "a folder or list of images → a feature for each",
    "find": "photographs of a person → where in a folder it was seen",
    "heatmap": "a model and photographs → where in them it looks",
    "hard": "a finished run → its worst queries, and where in them a model looks",
    "export": "a model → ONNX or torch.export, compared with the model on images",
    "benchmark": "a model → its inference card: structure, speed, memory",
    "zoo": "FastReID's zoo: its rows as configs, its published files checked",
    "inspect": "what does the data folder hold, and what would stop the walk?",
    "prepare": "a data set in any layout → a folder for each identity, by links or copies",
    "rank": "two .npy files of features → the re-ranked best of the gallery",
    "score": "two .npy files of features and who is on them → CMC, mAP, mINP under a protocol",
    "compare": "two or more finished runs → which recipe is better, and whether that is luck",
    "choose": "two or more configs → the best by folds over the training persons",
    "check": "is this file a valid submission?",
    "provenance": "what was this file made from, and is that still so?",
    "on_gpu": "starts a command on a GPU that no other has: several GPUs without Slurm",
    "plan": "how long will a run take here, and how much memory and disk?",
    "doctor": "what here would break a long run, on this machine or a cluster?",
}
