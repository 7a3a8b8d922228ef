#!/bin/bash
# Numbers under a real systemd: a real Prometheus scrapes by kanband-metrics.socket, and an alert
# fires when a board is quarantined.
# test-timeout: 300
command -v prometheus >/dev/null || { echo "SKIP: no prometheus; run: make deps"; exit 77; }
. "$(dirname "$0")/lib.sh"
install_kanband
make_root
as_owner kanbanctl --root "$root" --board other init >/dev/null
for i in 1 2 3; do as_owner kanbanctl --root "$root" --board other add --assignee nobody-here "task $i" >/dev/null; done
at=http://127.0.0.1:9745

code() { curl -s -o /dev/null -w '%{http_code}' --max-time 20 "$@"; }

timeout 120 systemctl start kanband-metrics.socket || fail "start of kanband-metrics.socket"
is ActiveState inactive || fail "the daemon is $(property ActiveState) already"
[[ $(code "$at/livez") == 200 ]] || fail "livez: $(curl -s "$at/livez")"
is ActiveState active || fail "not started by a scrape"
wait_for 60 "not ready" curl -sf --max-time 20 "$at/readyz"
ok "the first scrape starts the daemon"

for path in / /v1/status /v1/boards /v1/events /v1/workers /nothing; do
	[[ $(code "$at$path") == 404 ]] || fail "$path is served to anybody"
done
[[ $(code -X POST "$at/v1/drain") == 404 ]] || fail "anybody may drain"
[[ $(curl -s "$at/metrics") == *'kanband_lease{root='*'} 1'* ]] || fail "no numbers"
ok "the socket for scrapes serves numbers and nothing else"
[[ -S /run/kanband/control.sock ]] || fail "no control socket beside it"
ok "the control socket is there as ever"

# ── Prometheus, as the rules file says, but more often ──
state=/var/lib/prometheus-test
mkdir -p "$state"
cat >"$state/prometheus.yml" <<EOP
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [ "/usr/share/doc/kanband/prometheus/kanband.rules.yml" ]
scrape_configs:
  - job_name: kanband
    static_configs: [ { targets: [ "127.0.0.1:9745" ] } ]
EOP
promtool check config "$state/prometheus.yml" >"$state/check" || fail "$(cat "$state/check")"
prometheus --config.file="$state/prometheus.yml" --storage.tsdb.path="$state/data" \
	--web.listen-address=127.0.0.1:9099 --log.level=warn >"$state/log" 2>&1 &
ask() { curl -sfG --max-time 20 "http://127.0.0.1:9099/api/v1/$1" "${@:2}"; }
up() { [[ $(ask query --data-urlencode 'query=up{job="kanband"}') == *'"1"]'* ]]; }
wait_for 60 "Prometheus cannot scrape: $(tail -n 3 "$state/log")" up
ok "a real Prometheus scrapes it"
counted() { [[ $(ask query --data-urlencode 'query=kanband_tasks{board="default",status="ready"}') == *'"1"]'* ]]; }
db "insert into tasks (id, title, status, assignee, created_at, workspace_kind) values ('t_1', 'x', 'ready', 'nobody-here', strftime('%s'), 'scratch')"
wait_for 60 "the ready task is not counted: $(ask query --data-urlencode 'query=kanband_tasks')" counted
ok "and knows how many tasks are ready on which board"

firing() { [[ $(ask alerts) == *"\"alertname\":\"$1\""* ]]; }
sleep 3 # three rounds of evaluation
! firing KanbandBoardQuarantined || fail "it fires for sound boards: $(ask alerts)"
[[ $(ask rules) != *'"health":"err"'* ]] || fail "a rule cannot be evaluated: $(ask rules)"
ok "no alert while all is well"
dd if=/dev/urandom of="$root/kanban/boards/other/kanban.db" bs=4096 count=60 status=none
kanbanctl --root "$root" tick >/dev/null 2>&1 || true
wait_for 90 "no alert: $(ask alerts)" firing KanbandBoardQuarantined
[[ $(ask alerts) == *'"board":"other"'* && $(ask alerts) == *'check other'* ]] || fail "$(ask alerts)"
ok "an alert fires when a board is quarantined, and says what to type"
[[ $(code "$at/readyz") == 200 ]] || fail "one bad board makes the daemon unready"
ok "a bad board does not make the daemon unready"
kill %%

# ── where nothing may listen for a scrape: a file for node_exporter, as kanbanctl(1) has it ──
if command -v prometheus-node-exporter >/dev/null; then
	mkdir "$state/textfile"
	kanbanctl metrics >"$state/textfile/kanband.prom" || fail "metrics"
	prometheus-node-exporter --collector.disable-defaults --collector.textfile \
		--collector.textfile.directory="$state/textfile" --web.listen-address=127.0.0.1:9098 >"$state/log" 2>&1 &
	node() { curl -sf --max-time 20 http://127.0.0.1:9098/metrics; }
	wait_for 60 "node_exporter does not answer: $(tail -n 3 "$state/log")" node
	node >"$state/node"
	grep -qx 'node_textfile_scrape_error 0' "$state/node" || fail "node_exporter refuses the file: $(tail -n 3 "$state/log")"
	# every sample with its value; labels may stand in another order
	samples() { sed -nE 's/^(kanband_[a-z_]*)(\{.*\})? .*/\1/p' "$1" | sort; }
	[[ $(samples "$state/textfile/kanband.prom") == "$(samples "$state/node")" ]] ||
		fail "node_exporter lost: $(diff <(samples "$state/textfile/kanband.prom") <(samples "$state/node"))"
	ok "node_exporter takes all of it from a file"
	kill %%
fi
