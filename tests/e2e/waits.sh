#!/bin/sh
# Why nothing moves: hosts that are dead, refuse us with a greeting, are stopped for a while by a
# rule, greylist, have quiet hours, and a domain that cannot be looked up. `status`, `status
# --json` and `why` name each of them, with the reason, the rule, the reply and the time; and
# after `resume`, before anything is looked up.
. "$(dirname "$0")/lib.sh"
wants unbound python3
for n in 1=dead 2=no 3=busy 4=grey 5=quiet; do
    name=${n#*=}.example
    echo "    local-zone: \"$name.\" static"
    echo "    local-data: \"$name. 300 IN A 127.0.6.${n%=*}\""
done >"$work/zone.conf"
echo '    local-zone: "lost.example." refuse' >>"$work/zone.conf"
start_unbound

# At .1 nobody listens. .5 is asked by nobody.
cat >"$work/peer.py" <<'P'
import socket, sys, threading
port, log = int(sys.argv[1]), open(sys.argv[2], "w")
greetings = {2: b"554 5.7.1 no mail from you\r\n", 3: b"421 4.7.0 busy, \xe3\x81\x82\r\n",
             4: b"220 peer\r\n"}
answers = {b"EHLO": b"250 peer\r\n", b"MAIL": b"250 ok\r\n", b"RSET": b"250 ok\r\n",
           b"RCPT": b"450 4.7.1 greylisted\r\n", b"QUIT": b"221 bye\r\n"}
def serve(c, n):
    c.sendall(greetings[n])
    for line in c.makefile("rb"):
        verb = line[:4].upper()
        c.sendall(answers.get(verb, b"503 no\r\n"))
        if verb == b"QUIT": break
    c.close()
def run(c, n):
    try: serve(c, n)
    except OSError: pass
def listen(n):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((f"127.0.6.{n}", port))
    s.listen(100)
    print("listening", file=log, flush=True)
    while True: threading.Thread(target=run, args=(s.accept()[0], n), daemon=True).start()
for n in greetings: threading.Thread(target=listen, args=(n,), daemon=True).start()
threading.Event().wait()
P
port=$(free_port)
python3 "$work/peer.py" "$port" "$work/peer.log" &
pids="$pids $!"
listening() { [ "$(grep -cs listening "$work/peer.log")" = 3 ]; }
until_true listening || die "the peers do not listen"

write_conf "$port"
sed -i 's/"500ms"/"10m"/; s/"3s"/"1d"/' "$work/hikyaku.conf"
cat >>"$work/hikyaku.conf" <<C
reply "421" { stage = "wait-opening"  action = suspend  for = "20m" }
domain "quiet.example" { quiet_hours = "$(date -d '-2 hours' +%H:%M)-$(date -d '+2 hours' +%H:%M)" }
C
export HIKYAKU_CONFIG="$work/hikyaku.conf"
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi\n' >"$work/message.eml"
{
    echo email
    for name in dead no busy grey quiet lost; do seq -f "user%g@$name.example" 1 5; done
} >"$work/list.tsv"

# Five rows each: those at the hosts and of the domain that is lost have been tried.
all_wait() {
    "$hikyaku" status waits --json 2>/dev/null | python3 -c 'import json, sys
s = json.load(sys.stdin)
sys.exit(not (s["retrying"] == 25 and s["resolving"] == 0 and len(s["sites"]) == 5 and
              all(x["connections"] == 0 for x in s["sites"])))' 2>/dev/null
}
"$hikyaku" send -l "$work/list.tsv" -m "$work/message.eml" -j waits -q >"$work/sum" 2>"$work/err" &
sender=$!
pids="$pids $sender"
until_true all_wait || die "somebody does not wait: $("$hikyaku" status waits)"

"$hikyaku" status waits >"$work/status"
now='20[0-9-]* [0-9:]*'
line() { # NAME REST: the one line about it
    same "lines about $1" 1 "$(grep -c "^  $1 " "$work/status")"
    grep -q "^  $1  *5 rows  $2\$" "$work/status" || die "not \"$2\": $(cat "$work/status")"
}
round='no connection, waiting for the next round'
line dead.example "0/1 connections  next attempt at $now; $round until $now: after 601 Connection refused"
line no.example "0/1 connections  next attempt at $now; $round until $now: after 554 5.7.1 no mail from you"
line busy.example "0/1 connections  next attempt at $now; suspended, $round until $now: \
rule 421 (.*hikyaku.conf:[0-9]*) after 421 4.7.0 busy, あ"
line grey.example "0/[0-9]* connections  next attempt at $now"
line quiet.example "0/1 connections  quiet hours until 20[0-9-]* [0-9]*:[0-9]*:00"
line resolver "1 domain  lookup failed, next attempt at $now: lost.example"

"$hikyaku" status waits --json >"$work/status"
python3 - "$work/status" <<'P'
import datetime, json, re, sys
s = json.load(open(sys.argv[1], encoding="utf-8"))
time = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ"
sites = {x["name"]: x for x in s["sites"]}
assert len(sites) == 5 and s["more_sites"] == 0 and s["more_rows"] == 0, s
def check(name, reasons, rule, reply, waiting=0):
    x = sites[name]
    assert x["waiting"] == waiting and x["retrying"] == 5 - waiting, x
    assert x["reasons"] == reasons and x["reply"] == reply, x
    assert x["rule"] is None if rule is None else re.fullmatch(rule, x["rule"]), x
    assert x["due"] is None if waiting else re.fullmatch(time, x["due"]), x
    held = [r for r in reasons if r != "next-attempt"]
    assert re.fullmatch(time, x["until"]) if held else x["until"] is None, x
    assert x["window"] >= 1 and (not held or x["until"] in x["reason"]), x
    return x
check("dead.example", ["no-connection", "next-attempt"], None, "601 Connection refused")
check("no.example", ["no-connection", "next-attempt"], None, "554 5.7.1 no mail from you")
busy = check("busy.example", ["suspended", "no-connection", "next-attempt"],
             r"421 \(.*hikyaku.conf:\d+\)", "421 4.7.0 busy, あ")
parse = datetime.datetime.fromisoformat
assert parse(busy["until"][:-1]) > parse(busy["due"][:-1]), busy # 20m and 10m
check("grey.example", ["next-attempt"], None, None)
quiet = check("quiet.example", ["quiet-hours"], None, None, 5)
assert quiet["until"].endswith(":00.000Z"), quiet
[lookup] = s["lookups"]
assert re.fullmatch(time, lookup.pop("due")), s
assert lookup == {"reason": "lookup-failed", "rows": 5, "domains": 1, "domain": "lost.example"}, s
P

time='20[0-9-]*T[0-9:.]*Z'
why() { "$hikyaku" why waits "$1" >"$work/why" || die "why $1: exit status $?"; }
says() {
    for line; do
        grep -q "^$line\$" "$work/why" || die "no line \"$line\" in: $(cat "$work/why")"
    done
}
waits="It waits for its next attempt, at $time (in [0-9]* minutes) or later\."
why user2@dead.example
says "$waits" "Meanwhile, at dead.example: $round until $time: after 601 Connection refused\."
why user2@no.example
says "$waits" "Meanwhile, at no.example: $round until $time: after 554 5.7.1 no mail from you\."
why user2@busy.example
says "$waits" "Nor before this ends at busy.example: suspended, $round until $time: \
rule 421 (.*hikyaku.conf:[0-9]*) after 421 4.7.0 busy, あ\."
why user2@grey.example
says "$waits"
! grep -q 'Meanwhile\|Nor before' "$work/why" || die "it only waits: $(cat "$work/why")"
why user2@quiet.example
says "It waits for its turn at quiet.example: quiet hours until 20[0-9-]*T[0-9]*:[0-9]*:00.000Z\."
why user2@lost.example
says "$waits" "Its domain could not be looked up (71[01]); that is tried again then\."

# Ended and taken up again: nothing is known of the domains of rows that wait.
kill -TERM "$sender"
status=0
wait "$sender" || status=$?
same "exit status" 3 "$status"
"$hikyaku" resume waits -q >"$work/sum" 2>"$work/err" &
sender=$!
pids="$pids $sender"
begun() {
    "$hikyaku" status waits >"$work/status" 2>/dev/null
    grep -q '^  quiet.example .*quiet hours' "$work/status"
}
until_true begun || die "it does not go on: $(cat "$work/status")"
grep -q "^  resolver  *25 rows  5 domains  not looked up in this run, next attempt at $now: dead.example and others\$" \
    "$work/status" || die "$(cat "$work/status")"
"$hikyaku" cancel waits
wait "$sender" || true
echo "waits: every row that waits has its reason"
