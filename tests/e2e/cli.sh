#!/bin/sh
# The face: every exit status and its one line on standard error; a job that cannot start leaves
# nothing behind and sends nothing; options, formats and help do what they say.
. "$(dirname "$0")/lib.sh"
wants python3
cat >"$work/zone.conf" <<'Z'
    local-zone: "one.example." static
    local-data: "one.example. 300 IN MX 10 mx.one.example."
    local-data: "mx.one.example. 300 IN A 127.0.0.1"
    local-zone: "null.example." static
    local-data: "null.example. 300 IN MX 0 ."
Z
start_unbound
start_sink 127.0.0.1:0
write_conf "$sink_port"
cd "$work"
spool=$XDG_STATE_HOME/hikyaku
tab=$(printf '\t')
printf 'email\tname\na@one.example\tAnna\nb@one.example\tBela\nc@one.example\tCilla\n' >list.tsv
printf 'From: News <news@sender.test.example>\nSubject: Hi {{name}}\n\nHi {{name}}\n' >message.eml

look() { { find "$XDG_STATE_HOME" | sort; cksum <record.tsv; } 2>&1; }

# run STATUS ARG …: standard output in out, standard error in err.
run() {
    want=$1
    shift
    status=0
    "$hikyaku" "$@" >out 2>err </dev/null || status=$?
    [ "$status" = "$want" ] || { cat out err >&2; die "hikyaku $*: exit status $status, not $want"; }
}
# refuse STATUS LINE ARG …: one line that matches the pattern, nothing else, nothing left.
refuse() {
    want_status=$1 pattern=$2
    shift 2
    before=$(look)
    run "$want_status" "$@"
    same "standard output of hikyaku $*" "" "$(cat out)"
    same "lines of standard error of hikyaku $*" 1 "$(wc -l <err)"
    # The pattern is one of the shell.
    case $(cat err) in $pattern) ;; *) die "hikyaku $*: $(cat err)" ;; esac
    same "what hikyaku $* left behind" "$before" "$(look)"
}
# The same for each command that makes or plans a job. It gets a list, a message and settings
# that are good unless the arguments give others: the last one given counts.
refuse_all() {
    all_status=$1 all_pattern=$2
    shift 2
    for verb in send check rehearse; do
        refuse "$all_status" "$all_pattern" $verb -c hikyaku.conf -l list.tsv -m message.eml "$@"
    done
}
settings() { # a line of settings, in printf's words
    printf "$1" >bad.conf
}

# ---- usage: 64
run 64
run 64 nothing
refuse 64 'hikyaku: no command "nothing"*' nothing
for verb in send check rehearse; do
    refuse 64 "hikyaku: $verb: --list is missing;*" $verb -m message.eml
    refuse 64 "hikyaku: $verb: --message is missing;*" $verb -l list.tsv
done
refuse_all 64 'hikyaku: *: unknown option --nothing;*' --nothing
refuse_all 64 'hikyaku: *: option --rows needs a value;*' --rows
refuse_all 64 'hikyaku: *: unexpected "more";*' more
refuse_all 64 'hikyaku: *: --rows "0" is not N or N-M;*' --rows 0
refuse_all 64 'hikyaku: *: --rows "2-1" is not N or N-M;*' --rows 2-1
refuse_all 64 'hikyaku: *: --rows "1x" is not N or N-M;*' --rows 1x
refuse_all 64 'hikyaku: *: --rows "99999999999" is not N or N-M;*' --rows 99999999999
refuse_all 64 'hikyaku: *: --from "nobody"*' --from nobody
refuse_all 64 'hikyaku: *: --to "x y@one.example"*' --to 'x y@one.example'
refuse_all 64 'hikyaku: *: --quiet and --json exclude each other;*' --quiet --json
for name in ../x .x -x a/b 'a b' ''; do
    refuse 64 "hikyaku: -20 LE *" send -c hikyaku.conf -l list.tsv -m message.eml --job="$name"
done
refuse 64 'hikyaku: results: JOB is missing;*' results
refuse 64 'hikyaku: results: --format cannot be "xml";*' results x --format xml
refuse 64 'hikyaku: results: --only cannot be "most";*' results x --only most
refuse 64 'hikyaku: codes: --lang "fr" is not en or ja;*' codes --lang fr
refuse 64 'hikyaku: sink: --listen is missing;*' sink
refuse 64 'hikyaku: sink: "127.0.0.1:0=grumpy" is not *' sink --listen 127.0.0.1:0=grumpy

# ---- list and message: 65 and 66
refuse_all 66 'hikyaku: -8 LE cannot open list "x.tsv": No such file or directory' -l x.tsv
refuse_all 66 'hikyaku: -8 LE *"."*' -l .
refuse_all 66 'hikyaku: -8 LE *"x.txt"*No such file or directory' --exclude x.txt
refuse_all 66 'hikyaku: -20 LE cannot open message "x.eml": No such file or directory' -m x.eml
refuse_all 66 'hikyaku: -20 LE cannot open message ".": Is a directory' -m .
: >empty.tsv
refuse_all 65 'hikyaku: -9 LE *"empty.tsv"*' -l empty.tsv
for header in 'name\tcity' 'email\tname\tname' 'email\t\tname' 'email\tna{me' 'email\tn\001' \
    'email\tEMAIL' '\377\376e\000m\000' 'email,name'; do
    printf "$header\nx\tx\tx\n" >bad.tsv
    refuse_all 65 'hikyaku: -10 LE *"bad.tsv"*' -l bad.tsv
done
refuse_all 65 'hikyaku: -10 LE *"list.tsv"*' --address-column nobody
printf 'name,mail\nx,x@y.example\nz,z@y.example\n' >exclude.csv
refuse_all 65 'hikyaku: -10 LE *"exclude.csv"*' --exclude exclude.csv
printf 'From: n@sender.test.example\n\nHi {{nmae}}\n' >bad.eml
refuse_all 65 'hikyaku: -21 LE bad.eml:3: *nmae*' -m bad.eml
refuse 66 'hikyaku: -20 LE *"nosuch"*' results -c hikyaku.conf nosuch
refuse 66 'hikyaku: -20 LE *' results ./nosuch
refuse 66 'hikyaku: -* LE *' results "$work"

# ---- settings: 78
refuse_all 78 'hikyaku: -4 LE *"x.conf": No such file or directory' -c x.conf
settings 'workers = 2\npolicy {\n'
refuse_all 78 'hikyaku: -5 LE bad.conf:*' -c bad.conf
settings 'workers = 2\n# fine\npolicy { conections = 3 }\n'
refuse_all 78 'hikyaku: -6 LE bad.conf:3: unknown keyword "conections"; did you mean "connections"[?]' -c bad.conf
settings 'xyzzy = 3\n'
refuse_all 78 'hikyaku: -6 LE bad.conf:1: unknown keyword "xyzzy"' -c bad.conf
settings '\npolicy { lifetime = "soon" }\n'
refuse_all 78 'hikyaku: -7 LE bad.conf:2: *' -c bad.conf
settings 'workers = 1\nworkers = 2\n'
refuse_all 78 'hikyaku: -7 LE bad.conf:2: *' -c bad.conf
settings 'deny_destinations = {"everything"}\n'
refuse_all 78 'hikyaku: -7 LE *' -c bad.conf
HIKYAKU_CONFIG=bad.conf
export HIKYAKU_CONFIG
for verb in send check rehearse; do
    refuse 78 'hikyaku: -7 LE *' $verb -l list.tsv -m message.eml
done
unset HIKYAKU_CONFIG

# ---- the spool: 73
: >file
settings 'spool = "file"\n'
refuse 73 'hikyaku: -20 LE *' send -c bad.conf -l list.tsv -m message.eml
settings 'spool = "file/below"\n'
refuse 73 'hikyaku: -20 LE *' rehearse -c bad.conf -l list.tsv -m message.eml
same "spool entries so far" 0 "$(find "$spool" -mindepth 1 2>/dev/null | wc -l)"
same "mail so far" "" "$(cat record.tsv)"

# ---- a job
run 0 send -c hikyaku.conf -l list.tsv -m message.eml -j first
same sum 'rows 3 = delivered 3 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)' "$(cat out)"
grep -q 'hikyaku results first' err || die "no hint at the results: $(cat err)"
same modes '700 600' "$(stat -c %a "$spool/first" | tr '\n' ' ')$(stat -c %a "$spool"/first/* | sort -u)"
refuse 73 'hikyaku: -20 LE cannot create job "first": *' send -c hikyaku.conf -l list.tsv \
    -m message.eml -j first
same 'mail of the first job' 3 "$(wc -l <record.tsv)"
run 0 send -c hikyaku.conf -l list.tsv -m message.eml --quiet
same 'quiet: standard error' '' "$(cat err)"
same 'default names' 1 "$(ls "$spool" | grep -Ecx '[0-9]{8}-[0-9]{6}-[0-9a-z]{4}')"
HIKYAKU_CONFIG=hikyaku.conf "$hikyaku" send --list - --message message.eml --job stdin -q <list.tsv >out
cmp list.tsv "$spool/stdin/list.tsv" || die "standard input was not copied"
cat list.tsv | "$hikyaku" send -c hikyaku.conf --list=- --message=message.eml --job=pipe -q >out
cmp list.tsv "$spool/pipe/list.tsv" || die "a pipe was not copied"
same 'mail so far' 12 "$(wc -l <record.tsv)"

# An empty list is a good one.
printf 'email\tname\n' >none.tsv
run 0 send -c hikyaku.conf -l none.tsv -m message.eml -j none
same 'sum of none' 'rows 0 = delivered 0 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)' "$(cat out)"
run 0 results -c hikyaku.conf none
same 'results of none' 1 "$(wc -l <out)"
run 0 rehearse -c hikyaku.conf -l none.tsv -m message.eml -q
run 0 check -c hikyaku.conf -l none.tsv -m message.eml

# Proof, exclude, duplicates, another address column.
before=$(wc -l <record.tsv)
run 0 send -c hikyaku.conf -l list.tsv -m message.eml -j proof -q --rows 2-3 --to 'me@one.example'
same 'sum of the proof' 'rows 2 = delivered 2 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)' "$(cat out)"
tail -n +$((before + 1)) record.tsv | cut -f 2 >who
same 'who got the proof' 'me@one.example me@one.example' "$(tr '\n' ' ' <who | sed 's/ $//')"
run 0 results -c hikyaku.conf proof
same 'rows of the proof' '2 3' "$(tail -n +2 out | cut -f 1 | tr '\n' ' ' | sed 's/ $//')"
run 0 send -c hikyaku.conf -l list.tsv -m message.eml -j beyond -q --rows 2-99
same 'rows beyond the end' 'rows 2 = delivered 2 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)' "$(cat out)"
printf 'email\tname\nA@ONE.EXAMPLE\tAnna\na@one.example\tAnna\nb@one.example\tBela\nx\tX\n' >twice.tsv
echo 'B@one.example' >exclude
run 0 send -c hikyaku.conf -l twice.tsv -m message.eml -j twice -q --exclude exclude
same 'sum with exclude' 'rows 4 = delivered 1 + error 0 + absent 3 + pending 0 (in-doubt 0, assumed 0)' "$(cat out)"
run 0 results -c hikyaku.conf twice
same 'results with exclude' '250 801 801 611' "$(tail -n +2 out | cut -f 3 | tr '\n' ' ' | sed 's/ $//')"
same 'words' 'duplicate of row 1;excluded' "$(sed -n '3,4p' out | cut -f 5 | tr '\n' ';' | sed 's/;$//')"
run 0 send -c hikyaku.conf -l twice.tsv -m message.eml -j both -q --allow-duplicates
same 'sum with duplicates' 'rows 4 = delivered 3 + error 0 + absent 1 + pending 0 (in-doubt 0, assumed 0)' "$(cat out)"
printf 'name\tPost\nAnna\tz@one.example\n' >post.tsv
run 0 send -c hikyaku.conf -l post.tsv -m message.eml -j post -q --address-column post --from me@sender.test.example
same 'address column and sender' "z@one.example${tab}me@sender.test.example" "$(tail -1 record.tsv | cut -f 2,3)"
run 0 results -c hikyaku.conf post
same 'its results' z@one.example "$(tail -1 out | cut -f 2)"

# ---- JSON
run 0 send -c hikyaku.conf -l list.tsv -m message.eml -j json --json
same 'json: standard error' '' "$(cat err)"
python3 - out <<'P'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1])]
assert lines and lines[-1]["job"] == "json" and lines[-1]["state"] == "finished", lines
for l in lines:
    assert l["rows"] == 3 == l["delivered"] + l["error"] + l["absent"] + l["pending"], l
    assert l["in_doubt"] == 0, l
assert lines[-1]["delivered"] == 3
P

# ---- check sends nothing and makes no job
printf 'a@null.example\tNull\n' >>list.tsv
before=$(look)
run 0 check -c hikyaku.conf -l list.tsv -m message.eml
for words in '4 rows' '3 can be sent' '1 have no place to go' 'mx.one.example' 'null.example' \
    'Subject: Hi Anna' '720' 'at the first attempt' 'BOUNDED BY'; do
    grep -qF "$words" out || die "check does not say \"$words\": $(cat out)"
done
"$hikyaku" check -c hikyaku.conf -l - -m message.eml --json <list.tsv >out
python3 - out <<'P'
import json, sys
plan = json.load(open(sys.argv[1]))
assert plan["rows"] == 4 and plan["sendable"] == 3 and plan["unresolved"] == 1, plan
assert [(s["rows"], s["domains"]) for s in plan["sites"]] == [(3, 1)], plan
assert plan["unresolved_domains"] == [{"domain": "null.example", "rows": 1, "code": 720}], plan
forecast = plan["forecast"]
assert forecast["sent"] == 3 and forecast["left"] == 0 and 0 < forecast["seconds"] < 10, plan
assert [(p["rows"], p["sites"], p["end"]) for p in forecast["providers"]] == [(3, 1, forecast["end"])], plan
P
# A message an hour, for a section: its rows wait for each other, and the forecast says so.
printf 'domain "one.example" { message_rate = "1/h" }\n' | cat hikyaku.conf - >slow.conf
run 0 check -c slow.conf -l list.tsv -m message.eml --until "$(date -u -d '+90 min' +%FT%TZ)"
grep -q '  one.example  .* 1 rows too late$' out || die "check: no forecast for a rate: $(cat out)"
run 0 check -c hikyaku.conf -l list.tsv -m message.eml --start 2099-01-01T00:00:00Z
grep -q '^forecast  from \(2098-12-31\|2099-01-01\) ' out || die "check --start: $(cat out)"
same 'what check left behind' "$before" "$(look)"

# ---- codes and results
run 0 codes --format tsv
python3 - out <<'P'
import sys
lines = [l.rstrip("\n").split("\t") for l in open(sys.argv[1], encoding="utf-8")]
assert lines[0] == ("code class place stage retry outcome weight basic five_digit dsn disable name "
                    "meaning_en meaning_ja trigger note").split(), lines[0]
assert all(len(l) == 16 for l in lines)
assert len({(l[0], l[3]) for l in lines}) == len(lines) > 90
assert {"250", "550", "601", "645", "801", "-21"} <= {l[0] for l in lines}
P
run 0 codes --lang ja
grep -q '相手が受領' out || die "codes --lang ja is not Japanese"
run 0 send -c hikyaku.conf -l list.tsv -m message.eml -j formats -q
for format in tsv csv jsonl; do
    run 0 results -c hikyaku.conf formats --format $format
    mv out "results.$format"
done
run 0 results "$spool/formats"
cmp out results.tsv || die "by path and by name differ"
(cd "$spool" && "$hikyaku" results ./formats) >out
cmp out results.tsv || die "by relative path and by name differ"
run 0 results -c hikyaku.conf formats --only absent --codes five-digit --lang en
mv out absent.tsv
run 0 results -c hikyaku.conf formats --codes basic
mv out basic.tsv
python3 - <<'P'
import csv, json
tsv = [l.rstrip("\n").split("\t") for l in open("results.tsv", encoding="utf-8", newline="")]
table = list(csv.reader(open("results.csv", encoding="utf-8", newline=""), strict=True))
assert table == tsv, table
objects = [json.loads(l) for l in open("results.jsonl", encoding="utf-8")]
assert len(objects) == 4
for o, row in zip(objects, tsv[1:]):
    assert list(o) == tsv[0], o
    assert ["" if v is None else str(v) for v in o.values()] == row, (o, row)
    assert type(o["row"]) is type(o["code"]) is type(o["attempts"]) is int, o
absent = [l.rstrip("\n").split("\t") for l in open("absent.tsv", encoding="utf-8")]
assert len(absent) == 2 and absent[0][-1] == "meaning" and absent[1][-1], absent
code = tsv[0].index("code")
assert tsv[4][code] == "720" and absent[1][code] not in ("720", ""), absent
assert [l.split("\t")[code] for l in open("basic.tsv", encoding="utf-8")][1:] == ["250"] * 3 + ["615"]
P
# Addresses of a rehearsal are marked.
run 0 rehearse -c hikyaku.conf -l list.tsv -m message.eml -j mark -q
run 0 results -c hikyaku.conf mark
same 'rehearsal flags' 4 "$(cut -f 19 out | grep -c rehearsal)"

# ---- help, version, and a standard output that is full
run 0 --help
for verb in $(sed -n 's/^  \([a-z]*\)  .*/\1/p' out); do
    echo "$verb" >>verbs
done
same 'commands' 'check codes rehearse results send sink ' "$(sort verbs | grep -Ex 'send|check|rehearse|results|codes|sink' | tr '\n' ' ')"
for verb in $(cat verbs); do
    run 0 "$verb" --help
    grep -q "^Usage: hikyaku $verb" out || die "$verb --help: $(cat out)"
    same "$verb --help: standard error" '' "$(cat err)"
done
run 0 --version
for command in --help --version 'codes' 'results -c hikyaku.conf first' 'send --help' \
    'send -c hikyaku.conf -l list.tsv -m message.eml -q' 'check -c hikyaku.conf -l list.tsv -m message.eml' \
    'check -c hikyaku.conf -l list.tsv -m message.eml --json'; do
    status=0
    "$hikyaku" $command >/dev/full 2>err || status=$?
    same "exit status of $command with a full standard output" 74 "$status"
done
stop_sink
expect_sink refused 0 bare 0 early 0 bad-commands 0
echo "every exit status with its line; nothing left behind by what cannot start"
