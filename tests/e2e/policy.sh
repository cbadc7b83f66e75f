#!/bin/sh
# Sections domain and mx: other attempts, ports and timeouts for some destinations, as the
# results tell; a reload, and a resume after it; and check --explain names the line of each
# value.
. "$(dirname "$0")/lib.sh"
wants python3
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n' >"$work/message.eml"
conf=$work/hikyaku.conf

# Two domains refuse all; one, behind hosts of its own name, listens elsewhere; one never
# greets; one has no MX. shared and strict have the same MX host.
cat >"$work/zone.conf" <<'Z'
    local-data: "shared.example. 300 IN MX 10 mx.refuses.example."
    local-data: "strict.example. 300 IN MX 10 mx.refuses.example."
    local-data: "mx.refuses.example. 300 IN A 127.0.6.1"
    local-data: "away.example. 300 IN MX 10 mx1.elsewhere.example."
    local-data: "away.example. 300 IN MX 20 mx.refuses.example."
    local-data: "mx1.elsewhere.example. 300 IN A 127.0.6.2"
    local-zone: "mute.example." static
    local-data: "a.mute.example. 300 IN MX 10 mx.mute.example."
    local-data: "mx.mute.example. 300 IN A 127.0.6.3"
    local-data: "plain.example. 300 IN A 127.0.6.4"
Z
start_unbound
printf 'T 60\n' >"$work/mute.txt"
port=$(free_port)
start_sink 127.0.6.1:"$port"=refuse 127.0.6.4:"$port" 127.0.6.2:0
away_port=$(sed -n 's/.*127\.0\.6\.2 port \([0-9]*\),.*/\1/p' "$work/sink.out")
"$hikyaku" sink --listen 127.0.6.3:"$port" --scenario "$work/mute.txt" >"$work/mute.out" 2>&1 &
pids="$pids $!"
until_true grep -qs '^listening' "$work/mute.out" || die "the mute one does not listen"

{
    echo email
    for domain in shared strict away a.mute plain; do
        seq -f "user%g@$domain.example" 1 3
    done
} >"$work/list.tsv"
write_conf "$port" 'max_attempts = 4 timeout { greeting = 20s }'
cat >>"$conf" <<C
domain "STRICT.example" { max_attempts = 2 }
mx 'mx?.elsewhere.example' {
    port = $away_port
    max_attempts = 9
}
domain '*.mute.example' {
    max_attempts = 1
    timeout { greeting = 300ms }
}
mx '*' { connections = 3 }
C

send() { # JOB …
    job=$1
    shift
    "$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j "$job" --quiet "$@" \
        >"$work/$job.sum" 2>"$work/$job.err" || die "$job: $?: $(cat "$work/$job.err")"
    same "$job: standard error" "" "$(cat "$work/$job.err")"
    results "$job"
}
results() {
    "$hikyaku" results -c "$conf" "$1" >"$work/$1.results"
    python3 "$here/check_job.py" "$XDG_STATE_HOME/hikyaku/$1" "$work/$1.results" \
        "$(cat "$work/$1.sum")" "$work/record.tsv" >/dev/null
    for name in domain code last_code attempts; do
        cut -f "$(column "$work/$1.results" $name)" "$work/$1.results" | tail -n +2 >"$work/$name"
    done
    paste -d ' ' "$work/domain" "$work/code" "$work/last_code" "$work/attempts" | sort | uniq -c |
        sed 's/^ *//; s/  / /' >"$work/$1.table"
}
send sections
same "what became of each" "3 a.mute.example 607 640 1
3 away.example 250 1
3 plain.example 250 1
3 shared.example 607 554 4
3 strict.example 607 554 2" "$(cat "$work/sections.table")"
# The copy of the settings holds the sections.
grep -q "^domain 'strict.example' {" "$XDG_STATE_HOME/hikyaku/sections/job.conf" ||
    die "job.conf: no section"

# The plan has two sites for the two domains of one host.
"$hikyaku" check -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" >"$work/check.out"
grep -q "^unused " "$work/check.out" && die "a section that is used: $(cat "$work/check.out")"
sed "s/'mx?.elsewhere.example'/'mx?.elswhere.example'/" "$conf" >"$work/typo.conf"
"$hikyaku" check -c "$work/typo.conf" -l "$work/list.tsv" -m "$work/message.eml" >"$work/typo.out"
grep -qx "unused    no row of this list is for: mx 'mx?.elswhere.example'" "$work/typo.out" ||
    die "a section for nobody: $(cat "$work/typo.out")"
# Limits only add up: one that is larger than that of a wider section is in vain.
sed 's/"STRICT.example" {/"STRICT.example" { connections = 9/' "$conf" >"$work/vain.conf"
"$hikyaku" check -c "$work/vain.conf" -l "$work/list.tsv" -m "$work/message.eml" >"$work/vain.out"
same "in vain" "in vain   $work/vain.conf:$(grep -n 'connections = 9' "$work/vain.conf" | cut -d: -f1): \
domain 'strict.example' { connections = 9 } is never reached, \
for mx '*' { connections = 3 } holds for all that it matches" "$(grep '^in vain' "$work/vain.out")"
grep -q '^in vain' "$work/check.out" && die "nothing is in vain: $(cat "$work/check.out")"
"$hikyaku" check -c "$work/vain.conf" --explain strict.example >"$work/vain.out"
same "whose limits" "budget    domain 'strict.example': its limits hold for all together that share it
within    mx '*': what it gives holds for all together that it matches" \
    "$(grep '^budget\|^within' "$work/vain.out")"
same "sites at one host" 2 "$(grep -c ' mx\.refuses\.example  .*\[' "$work/check.out")"

# explain ADDR: KEY VALUE FROM of the keys asked for
explain() {
    "$hikyaku" check -c "$conf" --explain "$1" >"$work/explain.out" || die "explain $1: $?"
    shift
    for key; do
        sed -n "s|^$key  *\([^ ]*\)  *|$key \1 |p" "$work/explain.out" | sed "s|$work/||"
    done
}
line() { # of the settings where PATTERN stands
    grep -n "$1" "$conf" | head -1 | cut -d: -f1
}
same "strict" "max_attempts 2 hikyaku.conf:$(line STRICT)
connections 3 hikyaku.conf:$(line "^mx '\*'")
lifetime '3s' hikyaku.conf:$(line lifetime)
port $port hikyaku.conf:$(line "port = $port")
tls 'may' default" "$(explain user@strict.example max_attempts connections lifetime port tls)"
grep -q "^MX        mx.refuses.example$" "$work/explain.out" || die "no MX: $(cat "$work/explain.out")"
grep -q "^sections  domain 'strict.example', mx '\*'$" "$work/explain.out" ||
    die "other sections: $(cat "$work/explain.out")"
grep -q "^budget    mx '\*': " "$work/explain.out" || die "no budget: $(cat "$work/explain.out")"
same "away" "port $away_port hikyaku.conf:$(line "port = $away_port")
max_attempts 9 hikyaku.conf:$(line 'attempts = 9')" "$(explain away.example port max_attempts)"
same "mute" "timeout.greeting '300ms' hikyaku.conf:$(line 300ms)
timeout.end '10m' default" "$(explain b.mute.example timeout.greeting timeout.end)"
grep -q '^budget    of its site alone' "$work/explain.out" || die "budget: $(cat "$work/explain.out")"
grep -q '^MX        not known, so no mx section matches: 700 ' "$work/explain.out" ||
    die "no word of the MX: $(cat "$work/explain.out")"
status=0
"$hikyaku" check -c "$conf" --explain 'a b' 2>"$work/err" || status=$?
same "no domain" 64 "$status"

# Mistakes are told with their line, before anything is sent.
echo 'domain "strict.example" { port = 1 }' >>"$conf"
status=0
"$hikyaku" check -c "$conf" --explain strict.example 2>"$work/err" || status=$?
same "twice" 78 "$status"
grep -q "hikyaku.conf:$(wc -l <"$conf"): domain \"strict.example\" is given twice" "$work/err" ||
    die "other words: $(cat "$work/err")"
sed -i '$d' "$conf"

# A rehearsal has its sections too: its hosts are called mx.DOMAIN, and it has its own port.
printf 'email\nuser@refuse.example\nuser@refuse2.example\nuser@accept.example\n' >"$work/list.tsv"
{
    sed 's/STRICT.example/refuse2.example/' "$conf"
    echo "mx 'mx.refuse.*' { max_attempts = 3 port = 9 }"
} >"$work/other.conf"
conf=$work/other.conf
"$hikyaku" rehearse -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j rehearsal --quiet \
    >"$work/rehearsal.sum" 2>"$work/err" || die "rehearsal: $?: $(cat "$work/err")"
"$hikyaku" results -c "$conf" rehearsal >"$work/rehearsal.results"
same "attempts of the rehearsal" "3 2 1" \
    "$(cut -f "$(column "$work/rehearsal.results" attempts)" "$work/rehearsal.results" | tail -n +2 | xargs)"

# A running job takes other values of its sections, but not other sections.
conf=$work/hikyaku.conf
printf 'email\nuser@shared.example\nuser@strict.example\n' >"$work/list.tsv"
sed -i 's/lifetime = "3s"/lifetime = "60s"/; s/max_attempts = 4/max_attempts = 0/;
    s/max_attempts = 2/max_attempts = 0/' "$conf"
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j reloaded --quiet \
    >"$work/reloaded.sum" 2>"$work/err" &
sender=$!
pids="$pids $sender"
until_true test -S "$XDG_STATE_HOME/hikyaku/reloaded/control" || die "no socket"
cp "$conf" "$work/kept.conf"
sed -i 's/STRICT.example/another.example/' "$conf"
status=0
"$hikyaku" reload "$XDG_STATE_HOME/hikyaku/reloaded" >"$work/out" 2>&1 || status=$?
[ "$status" -ne 0 ] || die "other sections are taken"
grep -q 'other sections' "$work/out" || die "other words: $(cat "$work/out")"
sed 's/"STRICT.example" { max_attempts = 0/"STRICT.example" { max_attempts = 1/;
    s/lifetime = "60s"/lifetime = "1s"/' "$work/kept.conf" >"$conf"
"$hikyaku" reload "$XDG_STATE_HOME/hikyaku/reloaded" || die "reload: $?"
wait "$sender" || die "reloaded: $?: $(cat "$work/err")"
"$hikyaku" results -c "$conf" reloaded >"$work/reloaded.results"
same "codes after the reload" "606 607" \
    "$(cut -f "$(column "$work/reloaded.results" code)" "$work/reloaded.results" | tail -n +2 | xargs)"
# Quiet hours of one destination, around now: the others go on. Reload ends them.
hours="$(date -d '-2 hours' +%H:%M)-$(date -d '+2 hours' +%H:%M)"
printf 'email\nuser@plain.example\nuser@away.example\n' >"$work/list.tsv"
log=$XDG_STATE_HOME/hikyaku/hours/attempts.tsv
quiet_conf() { # of policy, of plain.example
    write_conf "$port" "quiet_hours = \"$1\""
    cat >>"$conf" <<C
domain "plain.example" { quiet_hours = "$2" }
mx 'mx?.elsewhere.example' { port = $away_port }
C
}
begin() { # JOB
    "$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j "$1" --quiet \
        >"$work/$1.sum" 2>"$work/$1.err" &
    sender=$!
    pids="$pids $sender"
    log=$XDG_STATE_HOME/hikyaku/$1/attempts.tsv
}
delivered() { grep -qs "@$1.*[[:space:]]delivered[[:space:]]" "$log"; }
status_says() { "$hikyaku" status -c "$conf" "$1" | grep -q "$2"; }
quiet_conf "" "$hours"
begin hours
until_true delivered away.example || die "the others wait too: $(cat "$work/hours.err")"
until_true status_says hours 'plain.example .*quiet hours until 20[0-9-]* [0-9:]*$' ||
    die "no reason: $("$hikyaku" status -c "$conf" hours)"
status_says hours '^job hours: running$' || die "it does not run: $("$hikyaku" status -c "$conf" hours)"
"$hikyaku" why -c "$conf" hours 1 | grep -q '^It waits for its turn at .*: quiet hours until 20.*Z\.$' ||
    die "why: $("$hikyaku" why -c "$conf" hours 1)"
delivered plain.example && die "mail in quiet hours"
quiet_conf "" ""
"$hikyaku" reload -c "$conf" hours || die "reload: $?"
wait "$sender" || die "hours: $?: $(cat "$work/hours.err")"
delivered plain.example || die "it never went"
# The other way round: all are quiet but one. With that one the whole job pauses.
quiet_conf "$hours" ""
begin others
until_true delivered plain.example || die "the one waits too: $(cat "$work/others.err")"
status_says others '^job others: running$' || die "it does not run"
quiet_conf "$hours" "$hours"
"$hikyaku" reload -c "$conf" others || die "reload: $?"
until_true status_says others '^job others: paused (quiet hours until 20[0-9-]* [0-9:]*)$' ||
    die "it does not pause: $("$hikyaku" status -c "$conf" others)"
delivered away.example && die "mail in quiet hours"
"$hikyaku" cancel -c "$conf" others
wait "$sender" || true
echo "each destination by its own lines"
