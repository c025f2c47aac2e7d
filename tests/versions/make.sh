#!/bin/sh
# make.sh PROGRAM: keeps the directory that a released program leaves, for the programs after it to open.
# Makes tests/versions/VERSION beside itself; refuses to replace one, for what was released is not made anew.
set -eu
program=$(readlink -f "$1")
kept=$(dirname "$(readlink -f "$0")")/$("$program" --version | cut -d' ' -f2)
[ ! -e "$kept" ] || { echo "$kept is there already"; exit 1; }
work=$(mktemp -d)
trap 'kill ${server:-} 2> /dev/null || true; rm -rf "$work"' EXIT
cd "$work"
mkdir fleet events
"$program" simulate --events fleet --seed 11 --agents 5 --lines 360 > said

# write FROM TO: so much of every stream, in percent.
write() {
  for stream in fleet/*.jsonl; do
    lines=$(wc -l < "$stream")
    sed -n "$((lines * $1 / 100 + 1)),$((lines * $2 / 100))p" "$stream" >> "events/$(basename "$stream")"
  done
  sleep 1
}

write 0 40
"$program" serve --events events --listen 127.0.0.1:0 --snapshot-every 0.2 > said &
server=$!
until grep -q http:// said; do sleep 0.1; done
sleep 1
printf '[quarantine]\ndrawdown_limit = -0.5\nclear_drawdown = -0.4\n[budget]\ndaily_usd = 3.0\n' > policy.toml
"$program" policy apply policy.toml --events events --reason "a tighter limit"
agents=$(sed -n 's/.*"agent":"\([^"]*\)".*/\1/p' fleet/runs.jsonl | sort -u)
first=$(echo "$agents" | sed -n 1p)
"$program" pause "$first" --events events --reason "a look"
"$program" kill "$(echo "$agents" | sed -n 2p)" --events events --reason "bad feed" --yes
mv events/runs.jsonl events/runs.jsonl.1
write 40 80
"$program" resume "$first" --events events --yes
late='{"agent":"late","reward":0.1,"event_id":"l1"}'
printf '%s\n%s\nno line\n' "$late" "$late" >> events/runs.jsonl.1
sleep 1
write 80 100
kill "$server"
wait "$server"
server=

mkdir -p "$kept"
cp -r events/.runtape "$kept/own"
rm -f "$kept/own/lock" "$kept/own/server.json" "$kept/own/controls.json" "$kept/own/quarantine.json"
# Hard links do not survive in a repository: which file had which name.
for name in events/*.jsonl*; do
  for link in events/.runtape/streams/*; do
    [ ! "$name" -ef "$link" ] || echo "$(basename "$link") $(basename "$name")" >> "$kept/names"
  done
done
"$program" replay --events events -o json > "$kept/state.json"
"$program" replay --events events --decisions -o jsonl > "$kept/decisions.jsonl"
"$program" verify --events events
