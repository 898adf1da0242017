#!/usr/bin/env bash
# A sweep as a Slurm job: sbatch docs/cluster/slurm.sh grids/full.yaml, in the repository's folder, which all nodes see.
# A Ray of the job's own nodes, which ends with it. When its time ends, trials save a checkpoint; submitting it again goes on.
#SBATCH --job-name=asymmetry-sweep
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
set -euo pipefail
grid=${1:?usage: sbatch docs/cluster/slurm.sh GRID [-o section.key=VALUE ...]}
bin=$PWD/.venv/bin
cpus=${SLURM_CPUS_ON_NODE:?not in a Slurm job}
gpus=${SLURM_GPUS_ON_NODE:-0}

# Whoever reaches Ray's ports runs code as this user: only those who have this job's token do.
umask 077
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN

head=$(hostname)
port=$((20000 + SLURM_JOB_ID % 20000))
export RAY_ADDRESS=$head:$port
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

# Without a trial on it, the first node would idle: it is a worker, too.
srun --nodes=1 --ntasks=1 --nodelist="$head" "$bin/ray" start --head --block --port="$port" --num-cpus="$cpus" \
  --num-gpus="$gpus" --dashboard-host=127.0.0.1 --dashboard-port=$((port + 20000)) &
for _ in $(seq 120); do
  "$bin/ray" status > /dev/null 2>&1 && break
  sleep 1
done
if [ "${SLURM_JOB_NUM_NODES:-1}" -gt 1 ]; then
  others=$((SLURM_JOB_NUM_NODES - 1))
  srun --nodes="$others" --ntasks="$others" --exclude="$head" "$bin/ray" start --block --address="$RAY_ADDRESS" \
    --num-cpus="$cpus" --num-gpus="$gpus" &
fi

# Nodes that come later are used when they are there.
"$bin/python" -m orchestrator sweep "$grid" "${@:2}" &
sweep=$!
trap 'kill -TERM $sweep' TERM
code=0
wait $sweep || code=$?
if kill -0 $sweep 2> /dev/null; then # the signal has ended the wait, and the trials save their checkpoints
  code=0
  wait $sweep || code=$?
fi
exit $code
