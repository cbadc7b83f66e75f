#!/bin/sh
# Two jobs of one spool are one sender for a receiver: never more connections than the limit,
# whoever comes, stands still, ends or is killed; status says how many share it.
. "$(dirname "$0")/lib.sh"
wants python3
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n' >"$work/message.eml"
{
    echo email
    seq -f 'user%g@slow.example' 1 20000
} >"$work/list.tsv"
cat >"$work/zone.conf" <<'Z'
    local-zone: "slow.example." static
    local-data: "slow.example. 300 IN A 127.0.7.1"
Z
start_unbound
port=$(free_port)
python3 "$here/engine_peer.py" "$port" "$work/peer.log" 127.0.7.1=dot:0.1,count:1 &
peer=$!
pids="$pids $peer"
wait_for 127.0.7.1 "$port"
conf=$work/hikyaku.conf
write_conf "$port" 'connections = 4 messages_per_connection = 0'
spool=$XDG_STATE_HOME/hikyaku

send() { # JOB: in the background; its process is $JOB_pid
    "$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j "$1" --quiet \
        >"$work/$1.sum" 2>"$work/$1.err" &
    eval "$1_pid=$!"
    pids="$pids $!"
}
says() { # JOB KEY: of status --json; connections: those of all its sites
    "$hikyaku" status "$spool/$1" --json | python3 -c 'import json, sys
s = json.load(sys.stdin)
s["connections"] = sum(site["connections"] for site in s["sites"])
print(s[sys.argv[1]])' "$2"
}
is() { [ "$(says "$1" "$2" 2>/dev/null)" = "$3" ]; } # JOB KEY VALUE
becomes() {
    until_true is "$@" || die "$1: $2 is $(says "$1" "$2"), not $3: $("$hikyaku" status "$spool/$1")"
}
noted() { # JOB TIMES WORDS: its log says so, so often
    [ "$(cut -f 21 "$spool/$1/attempts.tsv" 2>/dev/null | grep -cx "$3")" = "$2" ]
}
notes() { until_true noted "$@" || die "$1: not $2 times \"$3\": $(cut -f 21 "$spool/$1/attempts.tsv")"; }
# JOB TIMES: it waited so often, and lent nothing meanwhile.
waited() {
    notes "$1" "$2" "$room"
    awk -F '\t' -v room="$room" '$21 == room { waits = 1 } $21 == "goes on" { waits = 0 }
        waits && $8 == "lease" { bad = 1 } END { exit bad }' "$spool/$1/attempts.tsv" ||
        die "$1: it did not wait"
}
room='waits for other jobs to make room'
divided='2 jobs of this spool run: limits are divided by 2'
shared='2 jobs of this spool run: connections and rates are divided by 2'
whole='no other job of this spool runs: limits are whole again'

# A job by itself has all; a rehearsal beside it takes nothing away.
send first
becomes first connections 4
same "jobs" 1 "$(says first jobs)"
printf 'email\nuser@defer.example\n' >"$work/few.tsv"
"$hikyaku" rehearse -c "$conf" -l "$work/few.tsv" -m "$work/message.eml" -j rehearsal --quiet \
    >"$work/rehearsal.sum" 2>"$work/rehearsal.err" || die "rehearsal: $(cat "$work/rehearsal.err")"
noted first 0 "$divided" || die "limits are divided for a rehearsal"

# A second one waits until the first has made room; then each has half.
send second
until_true test -S "$spool/second/control" || die "no socket: $(cat "$work/second.err")"
"$hikyaku" status "$spool/second" >"$work/second.status"
if grep -q "($room)" "$work/second.status"; then
    same "what it says meanwhile" "job second: running ($room)
rows 20000 = delivered 0 + error 0 + absent 0 + pending 20000 (in-doubt 0, assumed 0)
$shared" "$(head -3 "$work/second.status")"
fi
becomes first connections 2
becomes second connections 2
waited second 1
same "jobs" 2 "$(says second jobs)"
same "jobs" 2 "$(says first jobs)"
same "what status says" "$shared" "$("$hikyaku" status "$spool/first" | sed -n 3p)"

# Who stands still leaves its share, and has it again afterwards.
"$hikyaku" pause "$spool/first"
becomes second connections 4
same "jobs of the paused one" 0 "$(says first jobs)"
"$hikyaku" continue "$spool/first"
becomes second connections 2
becomes first connections 2
waited first 1

most=$(sed -n 's/^open //p' "$work/peer.log" | sort -n | tail -1)
same "connections at once, by the receiver's record" 4 "$most"

# Who is killed is counted no more (but our receiver sleeps over the end of its connections).
kill -KILL "$second_pid"
wait "$second_pid" 2>/dev/null || true
becomes first connections 4
same "jobs" 1 "$(says first jobs)"
notes first 1 "$divided"
notes first 1 "$whole"
notes second 2 "$divided"
notes second 1 "$whole"

kill -TERM "$first_pid"
status=0
wait "$first_pid" || status=$?
same "first: exit status" 3 "$status"
same "first: standard error" "" "$(cat "$work/first.err")"
same "the file of the spool" "-rw------- 0" "$(stat -c '%A %s' "$spool/.running")"

# Where there can be no such file a job runs all the same, and says so.
spool=$work/other
mkdir -p "$spool/.running"
echo "spool = '$spool'" >>"$conf"
printf 'email\nuser@slow.example\n' >"$work/list.tsv"
send alone
wait "$alone_pid" || die "alone: $?: $(cat "$work/alone.err")"
notes alone 1 'other jobs do not see this one: cannot lock ".running" of the spool: Is a directory'
echo "share: two jobs, one sender"
