#!/bin/sh
# New sources: the receiver's record shows that each sends no more than its cap of the day to
# a provider, over several jobs, beside each other, and after kill -9; that fresh mail goes by
# other sources; and what status says of what waits.
. "$(dirname "$0")/lib.sh"
wants python3
# It is noon here, so that no midnight comes between.
TZ="NOON$(($(date -u +%-H) - 12))"
export TZ
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n' >"$work/message.eml"
conf=$work/hikyaku.conf
for name in big1 big2 small both early late second; do
    case $name in big*) host=mx.$name.big.example ;; *) host=mx.$name.example ;; esac
    echo "    local-data: \"$name.example. 300 IN MX 10 $host.\""
    echo "    local-data: \"$host. 300 IN A 127.0.7.1\""
done >"$work/zone.conf"
start_unbound
port=$(free_port)
start_sink 127.0.7.1:"$port"

write_conf "$port" 'connections = 2'
sed -i 's/lifetime = "3s"/lifetime = "10m"/' "$conf"
cat >>"$conf" <<C
warmup "slowly" { start = $(date +%F)  caps = {5, 1000} }
warmup "second" { start = $(date -d yesterday +%F)  caps = {5, 8} }
warmup "early" { start = $(date -d tomorrow +%F)  caps = {5} }
warmup "late" { start = $(date -d '10 days ago' +%F)  caps = {1, 1} }
source "new" { address = "127.0.1.1"  warmup = "slowly" }
source "old" { address = "127.0.1.2" }
source "second" { address = "127.0.1.3"  warmup = "second" }
source "early" { address = "127.0.1.4"  warmup = "early" }
source "late" { address = "127.0.1.5"  warmup = "late" }
pool "two" { sources = {"new", "old"} }
mx '*.big.example' { pool = "two"  connections = 2 }
domain "small.example" { pool = "new" }
domain "both.example" { pool = "new" }
domain "second.example" { pool = "second" }
domain "early.example" { pool = "early" }
domain "late.example" { pool = "late" }
C

# What the spool holds, and when it was changed.
look() { find "$XDG_STATE_HOME" -path '*/.*' -type f -printf '%p %s %T@\n' 2>/dev/null | sort; }
check() { # DOMAIN ROWS [OPTION …]: the forecast of so many rows
    { echo email; seq -f "check%g@$1.example" 1 "$2"; } >"$work/check.tsv"
    shift 2
    before=$(look)
    "$hikyaku" check -c "$conf" -l "$work/check.tsv" -m "$work/message.eml" "$@" >"$work/check" 2>"$work/err" ||
        die "check: $?: $(cat "$work/err")"
    same "what check left behind" "$before" "$(look)"
}
foretells() { grep -q "$1" "$work/check" || die "check does not say \"$1\": $(cat "$work/check")"; }
tomorrow=$(date -d tomorrow +%F)

# Before anything is used up: five today, the rest at midnight; on two days; and not at all.
check small 15
foretells "^ *15  $tomorrow 00:00:0.  .*mx.small.example  *warm-up$"
check small 15 --until 20:00
foretells '^          too late: 10 rows would not be sent before .* 20:00:00 (--until), and end as 606$'
foretells ' mx.small.example  *warm-up, 10 rows too late$'
check early 15 --until 20:00
foretells '^forecast  from .* on: nothing would be sent$'
foretells ' mx.early.example  *warm-up, 15 rows too late$'
check second 15
foretells "^ *15  $tomorrow 00:00:0.  .*mx.second.example  *warm-up$"
check big1 15 # the known source takes the rest
! grep -q "warm-up$" "$work/check" || die "check: $(cat "$work/check")"

begin() { # JOB DOMAIN … : 15 rows of each
    job=$1
    shift
    {
        echo email
        for domain; do seq -f "$job%g@$domain.example" 1 15; done
    } >"$work/$job.tsv"
    "$hikyaku" send -c "$conf" -l "$work/$job.tsv" -m "$work/message.eml" -j "$job" --quiet \
        >"$work/$job.sum" 2>"$work/$job.err" &
    eval "pid_$job=$!"
    pids="$pids $!"
}
came() { # DOMAIN [SOURCE]: messages that the receiver took
    awk -F '\t' -v domain="@$1[.]example" -v from="${2-.}" '$2 ~ domain && $6 ~ from' "$work/record.tsv" | wc -l
}
is_used_up() {
    "$hikyaku" status -c "$conf" "$1" 2>"$work/err" |
        grep -q "mx.$2.example .*warm-up cap of today until 20[0-9-]* 00:00:00$"
}
used_up() {
    until_true is_used_up "$1" "$2" ||
        die "$1: $("$hikyaku" status -c "$conf" "$1"), $(cat "$work/$1.err")"
}

# Two domains of one section: one provider. What the new source may not send goes by the other.
begin first big1 big2
wait "$pid_first" || die "first: $?: $(cat "$work/first.err")"
same "all of it" 30 "$(($(came big1) + $(came big2)))"
same "the new source's part" 5 "$(($(came big1 127.0.1.1) + $(came big2 127.0.1.1)))"

# Alone it stops at its cap. A kill and a resume change nothing, and nothing more goes to the
# first provider today.
begin alone small big1
used_up alone small
same "its cap" 5 "$(came small)"
"$hikyaku" why -c "$conf" alone alone15@small.example |
    grep -q '^It waits for its turn at mx.small.example: warm-up cap of today until 20.*Z\.$' ||
    die "why: $("$hikyaku" why -c "$conf" alone alone15@small.example)"
kill -KILL "$pid_alone"
wait "$pid_alone" 2>/dev/null || true
"$hikyaku" resume -c "$conf" alone --quiet >"$work/alone.sum" 2>"$work/alone.err" &
pids="$pids $!"
resumed=$!
used_up alone small
same "its cap after a kill" 5 "$(came small)"
"$hikyaku" cancel -c "$conf" alone
wait "$resumed" || true
# The forecast knows what is used up of today.
check small 5
foretells "^ *5  $tomorrow 00:00:0.  .*mx.small.example  *warm-up$"
same "to the first provider" 5 "$(($(came big1 127.0.1.1) + $(came big2 127.0.1.1)))"

# Two jobs beside each other.
begin one both
begin other both
used_up one both
used_up other both
check small 5
foretells '^          2 other jobs of this spool run now: limits are shared'
same "both together" 5 "$(came both)"
"$hikyaku" cancel -c "$conf" one
"$hikyaku" cancel -c "$conf" other
wait "$pid_one" "$pid_other" || true

# The second day, the day before the first, and the days behind the last.
begin days second early late
used_up days second
used_up days early
same "the second day" "8 0" "$(came second) $(came early)"
all_came() { [ "$(came late)" -eq 15 ]; }
until_true all_came || die "behind the last day: $(came late)"
"$hikyaku" cancel -c "$conf" days
wait "$pid_days" || true
grep -q "^#hikyaku-warmup $(date +%F)$" "$XDG_STATE_HOME/hikyaku/.warmup" || die "another file"
echo "new sources: no more than their caps"
