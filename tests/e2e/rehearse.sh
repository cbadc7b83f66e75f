#!/bin/sh
# Rehearsals, and what they say compared with what the receiver wrote down, row by row:
# 100,000 rows ($ROWS) over all moods, then smaller ones with other settings. Every row final,
# nothing missing, nothing twice.
. "$(dirname "$0")/lib.sh"
wants python3
rows=${ROWS-100000}

make_list() { # rows
    python3 - "$1" <<'P'
import sys
domains = [f"{mood}.example" for mood in
           "accept accept2 distant picky full greylist tempfail filter closer limited narrow "
           "plain dots nobdat old".split()] + ["somewhere.test"]
troubles = ["nxdomain.example", "nullmx.example", "refuse.example", "servfail.example"]
n = int(sys.argv[1])
print("email\tname\tcity")
for i in range(1, n + 1):
    domain = domains[i * 7919 % 10007 % len(domains)]
    if i % 500 < 4: domain = troubles[i % 500]
    who = f"user{i}"
    if i % 997 == 0: who = "not an address"
    address = f"{who}@{domain}"
    if i % 1009 == 0: address = before  # a duplicate
    before = address
    if i % 4999 == 0: address += "\textra"
    print(f"{address}\tName {i} \u98db\u811a\tCity {i % 47}")
P
}

cat >"$work/message.eml" <<'M'
From: News <news@sender.test.example>
Subject: Hello {{name}}
Content-Type: text/plain; charset=UTF-8

Dear {{name}} of {{city}},
.
bye
M

# rehearse JOB ROWS WORKERS [policy lines]
rehearse() {
    cat >"$work/$1.conf" <<C
hostname = "sender.test.example"
workers = $3
policy {
    retry_interval = {"2200ms"}
    lifetime = "8s"
    connection_rate = "0"
    ${4-}
}
C
    make_list "$2" >"$work/$1.tsv"
    "$hikyaku" rehearse -c "$work/$1.conf" -l "$work/$1.tsv" -m "$work/message.eml" -j "$1" \
        --quiet >"$work/$1.sum" 2>"$work/$1.err" || die "$1: exit status $?: $(cat "$work/$1.err")"
    same "$1: standard error" "" "$(cat "$work/$1.err")"
    "$hikyaku" results -c "$work/$1.conf" "$1" >"$work/$1.results" 2>"$work/$1.err"
    same "$1: standard error of results" "" "$(cat "$work/$1.err")"
    same "$1: result lines" $(($2 + 1)) "$(wc -l <"$work/$1.results")"
    python3 "$here/check_job.py" "$XDG_STATE_HOME/hikyaku/$1" "$work/$1.results" \
        "$(cat "$work/$1.sum")" "$XDG_STATE_HOME/hikyaku/$1/received.tsv"
    python3 - "$work/$1.results" <<'P'
# Each mood showed its face, so that the comparison is about something.
import collections, sys
rows = [l.rstrip("\n").split("\t") for l in open(sys.argv[1], encoding="utf-8")]
at = {name: i for i, name in enumerate(rows[0])}
seen = collections.Counter()
for r in rows[1:]:
    get = lambda name: r[at[name]]
    assert "in-doubt" not in get("flags"), r
    if get("stage") == "addr" or get("stage") == "classify":
        seen[get("code")] += 1
        assert get("attempts") == "0" and get("domain") == "", r
        continue
    mood = get("domain").split(".")[0]
    result = " ".join(get(n) for n in ("code", "outcome", "status", "last_code"))
    seen[mood, result] += 1
    want = {
        "picky": ["550 absent 5.1.1 "], "full": ["552 error 5.2.2 "],
        "filter": ["550 error 5.7.1 "], "nxdomain": ["700 absent 5.1.2 "],
        "nullmx": ["720 absent 5.1.10 "],
        "servfail": ["606 error 4.4.7 710", "607 error 4.4.7 710"],
        "refuse": ["606 error 4.4.7 554", "607 error 4.4.7 554"],
        "somewhere": ["550 absent 5.1.1 ", "552 error 5.2.2 ", "550 error 5.7.1 "],
    }.get(mood, [])
    mailed = mood not in ("nxdomain", "nullmx", "servfail", "refuse")
    assert result in want or mailed and result == "250 delivered 2.0.0 ", r
    if get("outcome") == "delivered":
        seen[mood, "tries", get("attempts")] += 1
        seen["reused"] += "reused" in get("flags")
for key in ["611", "800", "801", "reused"]:
    assert seen[key], key
for mood in "picky 550", "full 552", "filter 550", "nxdomain 700", "nullmx 720":
    mood, code = mood.split()
    assert any(k[0] == mood and k[1].startswith(code) for k in seen), mood
for mood in "refuse", "servfail":
    assert any(k[0] == mood and k[1][:3] in ("606", "607") for k in seen), mood
assert not any(k[:2] == ("greylist", "tries") and k[2] == "1" for k in seen), seen
assert seen["tempfail", "tries", "1"] and seen["tempfail", "tries", "2"], seen
P
}

rehearse big "$rows" 2
rehearse one-loop 5000 0 >"$work/out1" 2>&1 & p1=$!
rehearse three-workers 5000 3 >"$work/out2" 2>&1 & p2=$!
rehearse group 5000 2 'pipelining = group' >"$work/out3" 2>&1 & p3=$!
rehearse lock-step 5000 2 'pipelining = off max_attempts = 3' >"$work/out4" 2>&1 & p4=$!
rehearse chunks 5000 2 'chunking = auto' >"$work/out5" 2>&1 & p5=$!
failed=
for n in 1 2 3 4 5; do
    eval "pid=\$p$n"
    wait "$pid" || failed="$failed $n"
    cat "$work/out$n"
done
[ -z "$failed" ] || die "of the smaller rehearsals:$failed"
