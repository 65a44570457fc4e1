#!/usr/bin/env bash
# The whole reproduction on a fresh machine: environment, workflow, score card.
set -euo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<'TEXT'
bash run.sh [OPTIONS] [-- SNAKEMAKE ARGUMENTS]   from label lists to results/submission.json
bash run.sh test                                 format, lint, types, import contracts, tests
bash run.sh install                              only make .venv

  --config FILE    the settings (default: configs/naic2020.yaml where data/MyDataSet exists,
                   else configs/toy.yaml, which draws its own images)
  --data FOLDER    the folder that holds the label lists and images (default: data/MyDataSet)
  --truth FILE     CSV of subset,name,pid,camid to score query and gallery with
  --into FOLDER    where results/, logs/ and scratch/ go (default: the current folder)
  --cores N        processor cores to use (default: all)
  --workflow-profile FOLDER   how to run, e.g. profiles/slurm (default: profiles/default)

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
    "$python" -m venv --clear "$home/.venv"
    uv_entry >"$home/.venv/uv.lock"
    "$home/.venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$home/.venv/uv.lock"
    "$home/.venv/bin/uv" pip install -q --python "$home/.venv/bin/python" --require-hashes --compile-bytecode -r "$home/requirements.lock"
    "$home/.venv/bin/uv" pip install -q --python "$home/.venv/bin/python" --no-deps --no-build-isolation -e "$home"
    cp "$home/requirements.lock" "$stamp"
}

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

# Options that name files become absolute, because the walk may take place in another folder.
existing() {
    [[ -e $2 ]] || die "$1: $2 does not exist"
    realpath -s "$2"
}

walk() {
    local config='' data='' truth='' into=$PWD cores=all profile=$home/profiles/default extra=() settings=()
    while (($#)); do
        case $1 in
        --config | --data | --truth | --into | --cores | --workflow-profile)
            (($# > 1)) || die "$1 needs a value; bash run.sh --help"
            case $1 in
            --config) config=$(existing "$1" "$2") ;;
            --data) data=$(existing "$1" "$2") ;;
            --truth) truth=$(existing "$1" "$2") ;;
            --into) into=$2 ;;
            --cores) cores=$2 ;;
            --workflow-profile) profile=$(existing "$1" "$2") ;;
            esac
            shift 2
            ;;
        --)
            shift
            extra=("$@")
            break
            ;;
        *) die "unknown option $1; bash run.sh --help lists them, and what is for Snakemake follows --" ;;
        esac
    done

    mkdir -p "$into" && into=$(realpath "$into")
    local found="found ${data:-$into/data/MyDataSet}"
    if [[ -n $config ]]; then
        say "runs ${config#"$PWD"/}, as --config asks"
    elif [[ -d ${data:-$into/data/MyDataSet} ]]; then
        config=$home/configs/naic2020.yaml
        say "runs configs/naic2020.yaml, the competition: $found"
    else
        config=$home/configs/toy.yaml
        say "runs configs/toy.yaml on generated images: there is no data/MyDataSet (--data names another folder)"
    fi
    install

    [[ -z $data ]] || settings+=("data=$data")
    [[ -z $truth ]] || settings+=("truth=$truth")
    ((${#settings[@]} == 0)) || settings=(--config "${settings[@]}")

    exec 9>"$into/.run.lock"
    flock --nonblock 9 || die "another run.sh is at work in $into; wait for it or stop it"
    trap '' HUP # a closed terminal does not stop the walk
    export PATH=$home/.venv/bin:$PATH
    cd "$into"
    if snakemake --snakefile "$home/Snakefile" --configfile "$config" --workflow-profile "$profile" --cores "$cores" \
        --quiet rules host "${settings[@]}" "${extra[@]}" 9>&-; then
        finished
    else
        die "stopped before the end, the cause stands above; mend it, repeat the same command, and only what failed or changed runs again"
    fi
}

finished() {
    case " ${extra[*]} " in *' --dry-run '* | *' -n '* | *' --unlock '* | *' --list'* | *' --summary '*) return ;; esac
    [[ ! -f results/card/card.txt ]] || { echo && cat results/card/card.txt; }
    [[ ! -f results/submission.json ]] || say "the submission: $(realpath --relative-to="$OLDPWD" results/submission.json)"
}

case ${1:-} in
-h | --help) usage ;;
test)
    say "runs the checks of .ci/run: format, lint, types, import contracts, tests"
    install
    PATH=$home/.venv/bin:$PATH make --no-print-directory -C "$home" check
    ;;
install) install && say ".venv is ready: source .venv/bin/activate" ;;
*) walk "$@" ;;
esac
