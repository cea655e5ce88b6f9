"""A Slurm of one node on this machine's loopback, for as long as a test needs it: munged, slurmctld and slurmd.

Everything of it lies in one folder, and its ports are free ones, so it gets in nobody's way. Any user can run it.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from pathlib import Path

from waiting import until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"  # daemons may not be on a user's path

CONFIG = """
ClusterName=pmsi
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """Return what of Slurm is not on this machine."""
    return [program for program in PROGRAMS if shutil.which(program, path=PLACES) is None]


@contextlib.contextmanager
def slurm_node(folder):
    """Run the daemons while the body works; yields slurm.conf, whose path Slurm's commands expect in SLURM_CONF."""
    folder = Path(folder)
    config = _configure(folder)
    with contextlib.ExitStack() as daemons:
        key = f"--key-file={folder}/munge.key"
        own = [f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "seed-file")]
        daemons.enter_context(_daemon(folder, "munged", "--foreground", "--force", key, *own))
        _wait_for(folder, lambda: (folder / "munge.socket").exists())
        daemons.enter_context(_daemon(folder, "slurmctld", "-D", "-i", "-f", str(config)))
        daemons.enter_context(_daemon(folder, "slurmd", "-D", "-f", str(config)))
        _wait_for(folder, lambda: "idle" in _ask(config, "sinfo", "--noheader", "--format=%T"))
        try:
            yield config
        finally:
            _ask(config, "scancel", "--me")
            with contextlib.suppress(AssertionError):
                _wait_for(folder, lambda: not _ask(config, "squeue", "--noheader"))


def _configure(folder):
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(folder=folder, host=host, ports=_free_ports(2), user=getpass.getuser()))
    return config


def _free_ports(count):
    with contextlib.ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def _daemon(folder, program, *options):
    with (folder / f"{program}.log").open("wb") as log:
        command = [shutil.which(program, path=PLACES), *options]
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ask(config, *words):
    environment = os.environ | {"SLURM_CONF": str(config)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout


def _wait_for(folder, condition):
    def logs():
        return "".join(f"\n== {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in folder.glob("*.log"))

    until(condition, logs)
