#!/bin/bash
# A grid of runs on four nodes of a Slurm cluster: sbatch slurm.sh
#
# Slurm warns two minutes before the time limit. All runs then write a checkpoint, and the job is queued again;
# it continues every run that is not complete, and ends when all are.
#
# Ray has no authentication by default: whoever reaches its ports can run code on every node. Use it on a
# private network only.
#SBATCH --job-name=spinup
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -u

# The environment and the folder of the runs lie on a file system that all nodes share.
PATH=$HOME/venv/bin:$PATH
DATA=$HOME/data

HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
PORT=$((20000 + SLURM_JOB_ID % 20000)) # jobs of others may be on the same nodes
IP=$(srun --overlap --nodes=1 --ntasks=1 --nodelist="$HEAD" hostname -I | cut -d " " -f 1)
ADDRESS=$IP:$PORT
srun --overlap --nodes=1 --ntasks=1 --nodelist="$HEAD" ray start --head --block --disable-usage-stats \
  --include-dashboard=false --node-ip-address="$IP" --port="$PORT" --num-cpus="$SLURM_CPUS_PER_TASK" &
until ray health-check --address="$ADDRESS"; do sleep 2; done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  srun --overlap --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$HEAD" \
    ray start --block --address="$ADDRESS" --num-cpus="$SLURM_CPUS_PER_TASK" &
fi

# The batch script itself runs on the first node, where the command joins Ray.
spinup sac --env Hopper-v5 --exp_name hop --seed 0 1 2 3 4 5 6 7 --lr 1e-3 3e-4 \
  --data_dir "$DATA" --ray "$ADDRESS" --resume &
COMMAND=$!
trap 'kill -USR1 $COMMAND' USR1
wait $COMMAND
CODE=$?
if [ $CODE -gt 128 ]; then # the signal has interrupted `wait`
  wait $COMMAND
  CODE=$?
fi
if [ $CODE -eq 138 ]; then # stopped by SIGUSR1, with checkpoints
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $CODE
