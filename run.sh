#!/usr/bin/env bash
# The whole reproduction on a fresh machine: environment, workflow, score card.
set -euo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<'TEXT'
bash run.sh [OPTIONS] [-- SNAKEMAKE ARGUMENTS]   from label lists to results/submission.json
bash run.sh choose CONFIG… --folds K             a recipe's score, or the best of several, on training persons:
                                                 K trainings, each person scored once (choose --help)
bash run.sh test                                 format, lint, types, import contracts, tests
bash run.sh install                              only make .venv

  --config FILE    the settings, a file or one of configs/ by name (default: naic2020 where
                   data/MyDataSet exists, else toy, which draws its own images)
  --zoo ROW        a row of FastReID's zoo in the place of --config, e.g. market1501/sbs/resnet50_ibn_a
  --show-config    print these settings, and end
  --data FOLDER    the folder that holds the label lists and images (default: data/MyDataSet)
  --truth FILE     CSV of subset,name,pid,camid to score query and gallery with
  --into FOLDER    where results/, logs/ and scratch/ go (default: the current folder)
  --cores N        processor cores to use (default: all)
  --workflow-profile FOLDER   how to run, e.g. profiles/slurm (default: profiles/default)

This is `naic-reid run` in an environment of its own, made at the first call.
What follows -- goes to Snakemake, e.g.  bash run.sh -- --dry-run
Run it again after a failure or a change: only what failed or changed runs again.
TEXT
}

say() { printf 'run.sh: %s\n' "$*"; }
die() {
    printf 'run.sh: error: %s\n' "$*" >&2
    exit 2
}

# The environment: made once, and again when the lock file changes.
install() {
    local stamp=$home/.venv/.installed-from python
    if [[ -f $stamp ]] && cmp -s "$stamp" "$home/requirements.lock"; then return; fi
    python=$(newest_python) || die "no Python 3.11 or later runs here: apt-get install python3 python3-venv, then run this again"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if ((EUID == 0)) && command -v apt-get >/dev/null; then
            say "installing python3-venv, which Debian packs apart from Python"
            { apt-get update && apt-get install -y python3-venv; } >/dev/null || die "apt-get could not install python3-venv"
        else
            die "Python's venv module is missing: apt-get install python3-venv, then run this again"
        fi
    fi
    say "making .venv from requirements.lock (about a minute, once)"
    # Each command by itself: `set -e` is off in a function that is called before `&&`.
    "$python" -m venv --clear "$home/.venv" || die "$python could not make $home/.venv: see the lines above, then run this again"
    uv_entry >"$home/.venv/uv.lock"
    {
        "$home/.venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$home/.venv/uv.lock" &&
            uv_install --require-hashes --compile-bytecode -r "$home/requirements.lock" &&
            uv_install --no-deps --no-build-isolation -e "$home"
    } || die "the packages of requirements.lock could not be installed (no network, or no room on the disk?): see the lines above, then run this again"
    cp "$home/requirements.lock" "$stamp" || die "$stamp cannot be written: see the line above, then run this again"
}

uv_install() { "$home/.venv/bin/uv" pip install -q --python "$home/.venv/bin/python" "$@"; }

# The first that runs and is new enough; a name alone proves nothing, pyenv leaves names of versions it will not run.
newest_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name" && return
        fi
    done
    return 1
}

# uv's own entry in the lock file, hashes included: the one thing that pip installs.
uv_entry() { awk '/^uv==/ { on = 1 } on { print } on && !/\\$/ { exit }' "$home/requirements.lock"; }

case ${1:-} in
-h | --help) usage ;;
test)
    say "runs the checks of .ci/run: format, lint, types, import contracts, tests"
    install
    PATH=$home/.venv/bin:$PATH make --no-print-directory -C "$home" check
    ;;
choose)
    install
    exec "$home/.venv/bin/naic-reid" "$@"
    ;;
install) install && say ".venv is ready: source .venv/bin/activate" ;;
*)
    install
    exec "$home/.venv/bin/naic-reid" run "$@"
    ;;
esac
