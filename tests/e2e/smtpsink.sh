#!/bin/sh
# A blast through unbound's MX answers to Postfix's smtp-sink: every row delivered once, and
# every message on the sink's disk is the one meant for its recipient.
. "$(dirname "$0")/lib.sh"
wants smtp-sink python3
cat >"$work/zone.conf" <<'Z'
    local-zone: "one.example." static
    local-data: "one.example. 300 IN MX 10 mx1.one.example."
    local-data: "one.example. 300 IN MX 20 mx2.one.example."
    local-data: "mx1.one.example. 300 IN A 127.0.0.1"
    local-data: "mx2.one.example. 300 IN A 127.0.0.1"
    local-zone: "two.example." static
    local-data: "two.example. 300 IN A 127.0.0.1"
    local-zone: "null.example." static
    local-data: "null.example. 300 IN MX 0 ."
    local-zone: "gone.example." static
    local-zone: "nohost.example." static
    local-data: "nohost.example. 300 IN MX 10 mx.nohost.example."
    local-data: "nohost.example. 300 IN TXT none"
Z
start_unbound
port=$(free_port)
mkdir "$work/mail"
chmod 777 "$work/mail"
user=
[ "$(id -u)" -ne 0 ] || user="-u nobody"
(cd "$work/mail" && exec smtp-sink $user -d "%M." -c 127.0.0.1:"$port" 1000) >/dev/null 2>&1 &
pids="$pids $!"
wait_for 127.0.0.1 "$port"
write_conf "$port"

python3 - >"$work/list.tsv" <<'P'
print("email\tname\ttext")
for i in range(1, 301):
    domain = ["one.example", "two.example"][i % 2]
    if i == 100: domain = "null.example"
    if i == 200: domain = "nohost.example"
    print(f"user{i}@{domain}\tName {i} \u98db\u811a\t.dot {i} {{{{name}}}}")
P
cat >"$work/message.eml" <<'M'
From: News <news@sender.test.example>
Subject: Hello {{name}}
Content-Type: text/plain; charset=UTF-8

Dear {{name}},

{{text}}
.
..two dots
A last line without an end for {{email}}
M
status=0
"$hikyaku" send --config "$work/hikyaku.conf" --list "$work/list.tsv" \
    --message "$work/message.eml" --job sink --quiet >"$work/sum" || status=$?
same "exit status" 0 "$status"
same "sum" "rows 300 = delivered 298 + error 0 + absent 2 + pending 0 (in-doubt 0, assumed 0)" \
    "$(cat "$work/sum")"
"$hikyaku" results --config "$work/hikyaku.conf" sink >"$work/results.tsv"
same "results lines" 301 "$(wc -l <"$work/results.tsv")"
same "null MX" "720 5.1.10" "$(awk -F '\t' '$1 == 100 { print $3, $8 }' "$work/results.tsv")"
same "MX without address" 720 "$(awk -F '\t' '$1 == 200 { print $3 }' "$work/results.tsv")"

python3 - "$work" <<'P'
import email, email.policy, os, sys
work = sys.argv[1]
seen, ids = {}, set()
for name in os.listdir(work + "/mail"):
    raw = open(work + "/mail/" + name, "rb").read()
    # smtp-sink puts X-Client-… lines in front, then Received, then what we sent.
    head, rest = raw.split(b"\nReceived:", 1)
    rcpt = [l.split(b"<")[1].split(b">")[0] for l in head.split(b"\n") if l.startswith(b"X-Rcpt-Args:")]
    assert len(rcpt) == 1, head
    m = email.message_from_bytes(b"Received:" + rest, policy=email.policy.default)
    to = rcpt[0].decode()
    assert to not in seen, "twice: " + to
    number = int(to[4:].split("@")[0])
    seen[to] = name
    assert m["To"] == to, m["To"]
    assert m["Subject"] == f"Hello Name {number} \u98db\u811a", m["Subject"]
    want = (f"Dear Name {number} \u98db\u811a,\n\n.dot {number} {{{{name}}}}\n.\n..two dots\n"
            f"A last line without an end for {to}\n")
    assert m.get_content().rstrip("\n") == want.rstrip("\n"), repr(m.get_content())
    assert m["Message-ID"] not in ids
    ids.add(m["Message-ID"])
assert len(seen) == 298, len(seen)
print("298 messages, each once and as meant")
P
