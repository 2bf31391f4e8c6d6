#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A Slurm of one node with two cores for tests: `slurm.sh start DIR`, then SLURM_CONF=DIR/slurm.conf; `slurm.sh stop DIR`.
# Needs root and Debian's slurm-wlm and munge (apt-get install --no-install-recommends slurm-wlm munge), no systemd.
set -euo pipefail
action=$1 dir=$(realpath -m "$2")
export SLURM_CONF=$dir/slurm.conf

start() {
    rm -rf "$dir" && mkdir -p "$dir"/{state,spool,munge}
    host=$(hostname -s)
    chown root "$dir/munge"
    chmod 755 "$dir/munge"
    (umask 077 && head -c 1024 /dev/urandom > "$dir/munge/key")
    munged --force --key-file "$dir/munge/key" --socket "$dir/munge/socket" --pid-file "$dir/munge/pid" \
        --log-file "$dir/munge/log" --seed-file "$dir/munge/seed"
    cat > "$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=3
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 - 512))
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    slurmctld -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF"
    for _ in $(seq 60); do
        [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && return
        sleep 0.5
    done
    tail -n 20 "$dir"/slurm*.log >&2
    return 1
}

stop() {
    for file in "$dir"/slurmd.pid "$dir"/slurmctld.pid "$dir"/munge/pid; do
        if [ -f "$file" ]; then kill "$(cat "$file")" || true; fi
    done
}

"$action"
