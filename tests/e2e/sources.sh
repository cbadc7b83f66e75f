#!/bin/sh
# Several sending addresses: the receiver's record shows that each has its own address and
# EHLO name, that pools are kept, and that a row is tried again from the source that it had,
# also after a resume; that hosts are left to the sources of their family; what cannot be
# bound is told before anything is sent.
. "$(dirname "$0")/lib.sh"
wants python3
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n' >"$work/message.eml"
conf=$work/hikyaku.conf
python3 -c 'import socket; socket.socket(socket.AF_INET6).bind(("::1", 0))' 2>/dev/null ||
    skip "no IPv6 on loopback"

cat >"$work/zone.conf" <<'Z'
    local-data: "mx.all.example. 300 IN A 127.0.7.1"
    local-data: "mx.grey.example. 300 IN A 127.0.7.2"
    local-data: "only6.example. 300 IN MX 10 mx.only6.example."
    local-data: "mx.only6.example. 300 IN AAAA 2001:db8::1"
    local-data: "six.example. 300 IN MX 10 mx.six.example."
    local-data: "mx.six.example. 300 IN AAAA ::1"
    local-data: "grey.example. 300 IN MX 10 mx.grey.example."
    local-data: "one.example. 300 IN MX 10 mx.one.example."
    local-data: "mx.one.example. 300 IN A 127.0.7.1"
    local-data: "two.example. 300 IN MX 10 mx.two.example."
    local-data: "mx.two.example. 300 IN A 127.0.7.1"
    local-data: "all1.example. 300 IN MX 10 mx.all.example."
    local-data: "all2.example. 300 IN MX 10 mx.all.example."
    local-data: "picky.example. 300 IN MX 10 mx.picky.example."
    local-data: "mx.picky.example. 300 IN A 127.0.7.3"
Z
start_unbound
port=$(free_port)
start_sink 127.0.7.1:"$port" 127.0.7.2:"$port"=greylist "[::1]:$port"

write_conf "$port" 'connections = 2 messages_per_connection = 5'
for i in 1 2 3 4; do
    echo "source 's$i' { address = '127.0.1.$i' hostname = 's$i.test.example' }" >>"$conf"
done
cat >>"$conf" <<'C'
source 's6' { address = '::1' hostname = 's6.test.example' }
pool 'pair' { sources = {'s3', 's4'} }
domain 'one.example' { pool = 's2' }
domain 'two.example' { pool = 'pair' }
domain 'grey.example' { retry_interval = {'2200ms'} lifetime = '60s' }
domain 'only6.example' { max_attempts = 2 pool = 'pair' }
C
{
    echo email
    for domain in all1 all2 one two grey six; do
        seq -f "user%g@$domain.example" 1 60
    done
    echo user@only6.example
} >"$work/list.tsv"

"$hikyaku" check -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" >"$work/check.out" 2>"$work/err" ||
    die "check: $?: $(cat "$work/err")"
same "sources that check shows" "s1: 127.0.1.1, EHLO s1.test.example
s2: 127.0.1.2, EHLO s2.test.example
s3: 127.0.1.3, EHLO s3.test.example
s4: 127.0.1.4, EHLO s4.test.example
s6: ::1, EHLO s6.test.example" "$(sed -n 's/^source  *//p' "$work/check.out")"
grep -q '^ *1 rows are not in it: no source of their pool is of the family' "$work/check.out" &&
    ! grep -q 'only6.example .*warm\|too late' "$work/check.out" ||
    die "check of a host of the other family: $(cat "$work/check.out")"

# look JOB: the log and the results against the receiver's record.
look() {
    "$hikyaku" results -c "$conf" "$1" >"$work/$1.results"
    python3 "$here/check_job.py" "$XDG_STATE_HOME/hikyaku/$1" "$work/$1.results" \
        "$(cat "$work/$1.sum")" "$work/record.tsv" >/dev/null
    python3 - "$XDG_STATE_HOME/hikyaku/$1/attempts.tsv" "$work/$1.results" "$work/record.tsv" <<'P'
import collections, sys
def table(path, skip=0):
    lines = open(path, encoding="utf-8").read().split("\n")[skip:-1]
    names = lines[0].split("\t")
    return [dict(zip(names, line.split("\t"))) for line in lines[1:]]
log, results = table(sys.argv[1], 1), table(sys.argv[2])
address = {f"s{i}": (f"127.0.1.{i}", f"s{i}.test.example") for i in range(1, 5)}
four = set(address)
address["s6"] = ("::1", "s6.test.example")
may = {"one.example": {"s2"}, "two.example": {"s3", "s4"}, "six.example": {"s6"}}
came = {line.split("\t")[3].strip("<>"): tuple(line.rstrip("\n").split("\t")[5:])
        for line in open(sys.argv[3], encoding="utf-8")}
used = collections.defaultdict(set)
delivered = 0
for r in results:
    if r["domain"] == "only6.example":
        assert (r["code"], r["last_code"], r["attempts"]) == ("607", "609", "2"), r
        assert r["source"] in address and r["class"] == "BE", r
        assert r["message"] == f"source {r['source']} is an IPv4 address, and no host here has one", r
        continue
    assert r["code"] == "250", r
    assert came[r["message_id"]] == address[r["source"]], (r, came[r["message_id"]])
    used[r["domain"]].add(r["source"])
    delivered += 1
assert delivered == 360, delivered
for domain, sources in used.items():
    want = may.get(domain, four)
    assert sources == want, (domain, sources)
# A row keeps its source, where that came as far as MAIL.
tried = collections.defaultdict(list)
for line in log:
    if line["row"] != "0" and line["source"]:
        tried[line["row"]].append((line["source"], line["domain"]))
again = 0
for row, lines in tried.items():
    assert len(set(lines)) == 1 or lines[0][1] == "only6.example", (row, lines)
    again += len(lines) > 1 and lines[0][1] == "grey.example"
assert again == 60, again
P
}

"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j four --quiet \
    >"$work/four.sum" 2>"$work/err" || die "four: $?: $(cat "$work/err")"
same "standard error" "" "$(cat "$work/err")"
look four
"$hikyaku" why -c "$conf" four user7@one.example >"$work/why.out"
grep -q 'from s2$' "$work/why.out" || die "why does not name the source: $(cat "$work/why.out")"

# Stopped while all that is greylisted waits, and resumed.
stop_sink
start_sink 127.0.7.1:"$port" 127.0.7.2:"$port"=greylist "[::1]:$port"
sed -i "s/'2200ms'/'5s'/" "$conf"
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j later --quiet \
    >"$work/later.sum" 2>"$work/err" &
sender=$!
pids="$pids $sender"
waiting() {
    log=$XDG_STATE_HOME/hikyaku/later/attempts.tsv
    test -f "$log" && [ "$(grep -c "$(printf '\tretry\t.*\tgrey.example\t')" "$log")" -ge 60 ]
}
until_true waiting || die "nobody is greylisted"
kill -TERM "$sender"
status=0
wait "$sender" || status=$?
same "stopped" 3 "$status"
grep -q "^source 's4' {" "$XDG_STATE_HOME/hikyaku/later/job.conf" || die "job.conf: no source"
"$hikyaku" resume --quiet "$XDG_STATE_HOME/hikyaku/later" >"$work/later.sum" 2>"$work/err" ||
    die "resume: $?: $(cat "$work/err")"
look later

# An address that is not this machine's: told with its line, and no job is made.
sed "s/127\.0\.1\.3/192.0.2.1/" "$conf" >"$work/far.conf"
line=$(grep -n 192.0.2.1 "$work/far.conf" | cut -d: -f1)
for command in send check; do
    status=0
    "$hikyaku" $command -c "$work/far.conf" -l "$work/list.tsv" -m "$work/message.eml" \
        >"$work/out" 2>"$work/err" || status=$?
    same "$command from an address of others" 78 "$status"
    same "its words" "hikyaku: -7 LE $work/far.conf:$line: source \"s3\": cannot send from 192.0.2.1: Cannot assign requested address" \
        "$(cat "$work/err")"
done
same "jobs" "four later" "$(ls "$XDG_STATE_HOME/hikyaku" | xargs)"

# A rehearsal sends from none, so it may name any.
printf 'email\nuser@accept.example\n' >"$work/list.tsv"
"$hikyaku" rehearse -c "$work/far.conf" -l "$work/list.tsv" -m "$work/message.eml" -j played --quiet \
    >"$work/out" 2>"$work/err" || die "rehearse: $?: $(cat "$work/err")"
"$hikyaku" results -c "$conf" played >"$work/played.results"
same "source in a rehearsal" "" "$(cut -f "$(column "$work/played.results" source)" "$work/played.results" | tail -n +2)"
same "EHLO in a rehearsal" sender.test.example "$(cut -f 7 "$XDG_STATE_HOME/hikyaku/played/received.tsv")"

# A running job takes another pool for a destination, but no other sources.
printf 'email\nuser@grey.example\n' >"$work/list.tsv"
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j reloaded --quiet \
    >"$work/reloaded.sum" 2>"$work/err" &
sender=$!
pids="$pids $sender"
until_true test -S "$XDG_STATE_HOME/hikyaku/reloaded/control" || die "no socket"
cp "$conf" "$work/kept.conf"
echo "pool 'new' { sources = {'s1'} }" >>"$conf"
status=0
"$hikyaku" reload "$XDG_STATE_HOME/hikyaku/reloaded" >"$work/out" 2>&1 || status=$?
[ "$status" -ne 0 ] || die "another pool is taken"
grep -q 'other sections source, pool and warmup' "$work/out" || die "other words: $(cat "$work/out")"
sed "s/pool = 's2'/pool = 'pair'/" "$work/kept.conf" >"$conf"
"$hikyaku" reload "$XDG_STATE_HOME/hikyaku/reloaded" >"$work/out" 2>&1 || die "reload: $(cat "$work/out")"
wait "$sender" || die "reloaded: $?: $(cat "$work/err")"

# A receiver that refuses one address: the other one carries all, and each refused connection
# costs one row one attempt; with a rule that suspends that path there is only one.
echo "pool 'first' { sources = {'s1', 's2'} }" >>"$conf"
echo "domain 'picky.example' { pool = 'first'  retry_interval = {'2s'}  lifetime = '60s' }" >>"$conf"
{ echo email; seq -f 'user%g@picky.example' 1 40; } >"$work/list.tsv"
python3 "$here/engine_peer.py" "$port" "$work/peer.log" 127.0.7.3=refuse:127.0.1.1 &
pids="$pids $!"
wait_for 127.0.7.3 "$port"
before=0
for rule in none tss04; do
    [ "$rule" = none ] || echo 'reply "421" { text = "TSS04"  action = suspend  for = 1h }' >>"$conf"
    "$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j "$rule" --quiet \
        >"$work/$rule.sum" 2>"$work/err" || die "$rule: $?: $(cat "$work/err")"
    "$hikyaku" results -c "$conf" "$rule" >"$work/$rule.results"
    refused=$(($(grep -c '^refused' "$work/peer.log") - before))
    before=$((before + refused))
    [ "$refused" -ge 1 ] || die "$rule: nobody came from s1"
    [ "$rule" = none ] || same "connections from a suspended source" 1 "$refused"
    same "$rule: attempts" "$((40 + refused))" \
        "$(cut -f "$(column "$work/$rule.results" attempts)" "$work/$rule.results" | awk '{ n += $1 } END { print n }')"
    same "$rule: delivered from" "40 s2" \
        "$(cut -f "$(column "$work/$rule.results" source)" "$work/$rule.results" | tail -n +2 | sort | uniq -c | sed 's/^ *//')"
done
echo "each source with its own address and name; one that is refused leaves all to the others"
