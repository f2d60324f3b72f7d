#!/bin/sh
# All stages of Pocket's training in a row, each from the last one's weights; `sh train.sh export` writes what it has come to.
set -e
cd "$(dirname "$0")"
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0
PYTHON=${PYTHON:-python3}
SHARE=${SHARE:-1}
last=

stage() { # name, minutes, options
  name=$1 minutes=$(awk "BEGIN { print $2 * $SHARE }")
  shift 2
  if [ ! -e "$name.done" ]; then
    "$PYTHON" train.py "${name%%-*}" "$minutes" ${last:+--from "$last"} --to "$name.pt" "$@"
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

stage first-small 8 --small --batch 96 --lr 1.5e-3 --end .5
stage second-small 8 --small --batch 96 --lr 1.5e-3 --end .5
stage sight 60 --batch 96 --lr 1.2e-3 --end .1
stage words 60 --batch 96 --lr 1e-3 --end .1
stage one 30 --batch 24 --lr 1e-3 --end .3
stage talk 60 --batch 24 --lr 1.5e-3 --end .6
stage scenes 70 --batch 24 --lr 9e-4 --end .05
stage world 180 --batch 24 --lr 9e-4 --end .01
