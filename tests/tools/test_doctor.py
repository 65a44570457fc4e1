"""What would break a long run is found, with the line to change; scripts play a cluster's commands."""

import argparse
import fcntl
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from naic_reid.errors import ReidError
from naic_reid.tools import doctor

HOME = Path(__file__).parents[2]
PROFILE = yaml.safe_load((HOME / "profiles" / "slurm" / "config.yaml").read_text())
CONFIG = "MinJobAge               = 300 sec\nPreemptMode = OFF\nPreemptType = preempt/none"
PARTITIONS = "cpu|(null)|infinite\ngpu|gpu:a100:4|2-00:00:00"

Cluster = Callable[..., list[doctor.Finding]]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The findings about a cluster whose commands print and return what is said."""

    def findings(
        profile: dict[str, Any] = PROFILE,
        *,
        config: str = CONFIG,
        partitions: str = PARTITIONS,
        sacct: int = 1,
        without: str = "",
    ) -> list[doctor.Finding]:
        scripts = dict.fromkeys(("sbatch", "squeue", "scancel", "srun"), "")
        scripts |= {"scontrol": f"cat <<'.'\n{config}\n.", "sinfo": f"cat <<'.'\n{partitions}\n."}
        scripts["sacct"] = f"exit {sacct}"
        for name, script in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        if without:
            (tmp_path / without).unlink()
        # The shell and cat, and nothing else: this machine may have a Slurm of its own.
        (tmp_path / "cat").symlink_to(shutil.which("cat") or "/bin/cat")
        monkeypatch.setenv("PATH", str(tmp_path))
        return list(doctor.slurm(profile))

    return findings


def breaks(findings: list[doctor.Finding]) -> list[tuple[str, str]]:
    return [(finding.text, finding.change) for finding in findings if finding.kind == "breaks"]


def changed(**settings: Any) -> dict[str, Any]:
    return PROFILE | {name.replace("_", "-"): value for name, value in settings.items()}


def test_the_profile_of_the_project_fits_a_cluster_without_accounting(cluster: Cluster) -> None:
    assert breaks(cluster()) == []


def test_sacct_without_accounting_is_answered_with_the_line_for_squeue(cluster: Cluster) -> None:
    ((text, change),) = breaks(cluster(changed(slurm_status_command="sacct")))
    assert "sacct does not work" in text
    assert "slurm-status-command: squeue" in change


def test_sacct_with_accounting_is_well(cluster: Cluster) -> None:
    assert breaks(cluster(changed(slurm_status_command="sacct"), sacct=0)) == []


def test_a_controller_that_forgets_jobs_sooner_than_they_are_asked_for(cluster: Cluster) -> None:
    ((text, change),) = breaks(cluster(config=CONFIG.replace("300", "12")))
    assert "after 12 s" in text
    assert change.endswith("slurm-init-seconds-before-status-checks: 4")


def test_a_partition_that_is_not_there_is_answered_with_those_that_are(cluster: Cluster) -> None:
    found = breaks(cluster(partitions="main|gpu:1|infinite\ngpu|gpu:1|infinite"))
    assert found == [("there is no partition cpu", "in the profile: slurm_partition: one of gpu, main")]


def test_a_gpu_asked_for_where_there_is_none(cluster: Cluster) -> None:
    found = breaks(cluster(partitions=PARTITIONS.replace("gpu:a100:4", "(null)")))
    assert [text.split()[0] for text, _ in found] == ["train", "extract", "search"]


def test_training_that_asks_for_more_time_than_its_partition_gives(cluster: Cluster) -> None:
    ((text, change),) = breaks(cluster(partitions=PARTITIONS.replace("2-00:00:00", "08:00:00")))
    assert "1440 minutes" in text
    assert "runtime: 480" in change


def test_preemption_that_ends_jobs_is_told(cluster: Cluster) -> None:
    found = cluster(config="MinJobAge=300\nPreemptMode=CANCEL\nPreemptType=preempt/qos")
    assert [finding.text for finding in found if finding.kind == "note"] == ["preemption ends jobs here"]


def test_a_missing_command_and_a_silent_controller_break(cluster: Cluster, tmp_path: Path) -> None:
    assert "sbatch is not on PATH" in breaks(cluster(without="sbatch"))[0][0]
    (tmp_path / "cat").unlink()
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    (tmp_path / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    assert "does not answer" in breaks(list(doctor.slurm(PROFILE)))[0][0]


def test_an_account_in_the_profile_is_told(cluster: Cluster) -> None:
    asked = {"slurm_partition": "cpu", "slurm_account": "ours"}
    assert any("account" in finding.text for finding in cluster(changed(default_resources=asked)))


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("30", 0.5), ("05:00", 5), ("08:00:00", 480), ("2-00:00:00", 2880), ("infinite", float("inf"))],
)
def test_slurms_times_are_read(limit: str, expected: float) -> None:
    assert doctor.minutes(limit) == expected


def test_the_file_system_of_a_path_is_the_deepest_mount_above_it() -> None:
    table = (
        "/dev/a / ext4 rw 0 0\nh:/x /home nfs4 rw,local_lock=none 0 0\nm /home/big lustre rw,localflock 0 0"
    )
    assert doctor.mount(Path("/home/me"), table) == ("nfs4", "rw,local_lock=none")
    assert doctor.mount(Path("/home/big/me"), table) == ("lustre", "rw,localflock")
    assert doctor.mount(Path("/var"), table)[0] == "ext4"


@pytest.mark.parametrize(
    ("mounted", "nodes", "expected"),
    [
        (("ext4", "rw"), "a", []),
        (("nfs4", "rw"), "a\nb", []),
        (("ext4", "rw"), "a\nb\nc", ["the other 2 nodes do not see"]),
        (("lustre", "rw,localflock"), "a\nb", ["locks hold on one node only"]),
    ],
)
def test_several_nodes_need_a_shared_folder_with_locks(
    mounted: tuple[str, str], nodes: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "mount", lambda path: mounted)
    monkeypatch.setattr(doctor, "_answer", lambda *command: nodes)
    found = breaks(list(doctor.seen_by_all_nodes({"folder": Path("x")})))
    assert len(found) == len(expected)
    assert all(words in text for words, (text, _) in zip(expected, found, strict=True))


def test_a_file_system_without_locks_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert any("cannot be locked" in text for text, _ in breaks(list(doctor.place(tmp_path))))


def test_locks_that_hold_nobody_off_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert any("hold nobody off" in text for text, _ in breaks(list(doctor.place(tmp_path))))


def test_a_full_disk_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(1 << 40, 1 << 40, 1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert any("0 GB free" in text for text, _ in breaks(list(doctor.place(tmp_path))))


def test_an_old_or_missing_package_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", {"snakemake": (999, 0), "no-such-package": (1, 0)})
    found = breaks(list(doctor.versions(cluster=True)))
    assert [text.split()[0] for text, _ in found] == ["snakemake", "no-such-package"]


def run(*given: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.arguments(parser)
    return doctor.run(parser.parse_args(given))


def test_the_command_prints_a_line_for_each_finding_and_its_status_says_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--folder", str(tmp_path), "--profile", str(HOME / "profiles" / "default")) == 0
    assert "all well" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "NEEDED", {"no-such-package": (1, 2)})
    assert run("--folder", str(tmp_path)) == 1
    assert "→ pip install 'no-such-package>=1.2'" in capsys.readouterr().out


def test_what_is_no_profile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("[1]")
    with pytest.raises(ReidError, match="not a profile"):
        run("--profile", str(tmp_path))
    with pytest.raises(ReidError, match="name one with --profile"):
        run("--profile", str(tmp_path / "nowhere"))
