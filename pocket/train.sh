#!/bin/sh
# Trains Pocket, each stage from the last one's weights.
#   sh train.sh          from nothing: 13 hours on two cores
#   sh train.sh on       on from begun.pt: 5 hours
#   sh train.sh export   writes what either has come to, also while it runs
# Stopped at any moment and started again, it goes on where it was. SHARE=0.1 takes a tenth of the time.
set -e
cd "$(dirname "$0")"
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0
# glibc gives the memory of each large tensor back at once, and the kernel clears it anew: a third of the time.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000 GLIBC_TUNABLES=glibc.malloc.hugetlb=1
PYTHON=${PYTHON:-python3}
SHARE=${SHARE:-1}
last=

stage() { # name, minutes, options
  name=$1 minutes=$(awk "BEGIN { print $2 * $SHARE }")
  shift 2
  if [ ! -e "$name.done" ]; then
    "$PYTHON" train.py "$name" "$minutes" ${last:+--from "$last"} --to "$name.pt" "$@"
    touch "$name.done"
  fi
  last=$name.pt
}

if [ "$1" = export ]; then
  newest=$(ls -t ./*.pt | head -n 1)
  "$PYTHON" export.py "$newest" ../models/pocket --reference ../test/encoders/pocket-reference.json
  "$PYTHON" evaluate.py "$newest" --write ../test/pocket/pytorch.json
  exit
fi

# What is seen in pictures without text, and what is thought of them, stays while it learns to read.
if [ "$1" = on ]; then
  last=begun.pt seen=begun.pt known=published.pt
  [ -e published.pt ] || "$PYTHON" import.py ../models/pocket published.pt
else
  stage first 8 --batch 40 --lr 1.5e-3 --end .5
  stage second 8 --batch 40 --lr 1.5e-3 --end .5
  stage sight 60 --batch 40 --lr 1.2e-3 --end .1
  stage one 30 --batch 20 --lr 1e-3 --end .3
  stage talk 60 --batch 20 --lr 1.5e-3 --end .6
  stage things 150 --batch 20 --lr 1e-3 --end .1
  stage glyphs 35 --batch 24 --lr 2e-3 --end .5
  seen=$last known=$last
  stage words 90 --batch 32 --lr 1e-3 --end .1 --hold "$seen"
fi
stage lines 120 --batch 32 --lr 6e-4 --end .04 --hold "$seen"
# The vision half stays as it is: who learns to read from letters that change learns little.
stage spell 90 --batch 20 --lr 3e-4 --end .15 --still --keep "$known"
stage read 90 --batch 20 --lr 2e-4 --end .02 --still --keep "$known"
