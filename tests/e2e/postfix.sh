#!/bin/sh
# A real Postfix smtpd takes the blast and delivers it into Maildirs: the bytes on its disk are
# those that the same template renders for smtp-sink's eyes too (compared with what the job's
# own rendering says), unknown users are 550 5.1.1, greeting and EHLO are Postfix's own. Once by
# BDAT and once by DATA: the bytes are the same. Then it is a relay that wants TLS, for one domain
# of a list whose other mail is direct.
. "$(dirname "$0")/lib.sh"
wants postfix python3 openssl
[ "$(id -u)" -eq 0 ] || skip "Postfix's master needs root"
cat >"$work/zone.conf" <<'Z'
    local-zone: "post.example." static
    local-data: "post.example. 300 IN MX 10 mx.post.example."
    local-data: "mx.post.example. 300 IN A 127.0.0.1"
    local-data: "gate.post.example. 300 IN A 127.0.0.1"
    local-data: "direct.example. 300 IN A 127.0.0.2"
Z
start_unbound
port=$(free_port)
gate_port=$(free_port)
authority ours
certificate gate gate.post.example 2 ours
postfix_config="$work/postfix"
mkdir -p "$postfix_config" "$work/queue" "$work/data" "$work/vmail"
chown postfix "$work/data"
chown 65534:65534 "$work/vmail"
cat >"$postfix_config/main.cf" <<P
compatibility_level = 3.6
queue_directory = $work/queue
data_directory = $work/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = $work
maillog_file = $work/maillog
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.post.example
mydestination =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_auth_destination, reject
virtual_mailbox_domains = post.example
virtual_mailbox_base = $work/vmail
virtual_mailbox_maps = texthash:$postfix_config/boxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 2000
P
for i in $(seq 1 200); do
    [ $((i % 10)) -eq 0 ] || echo "user$i@post.example user$i/"
done >"$postfix_config/boxes"
echo ".dots..@post.example dots/" >>"$postfix_config/boxes"

cat >"$postfix_config/master.cf" <<P
127.0.0.1:$port inet n - n - - smtpd
127.0.0.1:$gate_port inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_tls_cert_file=$work/gate.pem
  -o smtpd_tls_key_file=$work/gate.key
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
P
postfix -c "$postfix_config" start >"$work/postfix.out" 2>&1 || { cat "$work/postfix.out"; die "postfix did not start"; }
wait_for 127.0.0.1 "$port"

python3 - >"$work/list.tsv" <<'P'
print("email\tname\ttext")
for i in range(1, 201):
    who = f"user{i}" if i % 10 else f"nobody{i}"
    if i == 33: who = ".dots.."
    print(f"{who}@post.example\t\u9234\u6728 {i}\t.leading dot {i}")
P
cat >"$work/message.eml" <<'M'
From: News <news@sender.test.example>
Subject: Hello {{name}}
Content-Type: text/plain; charset=UTF-8

Dear {{name}},
{{text}}
.
end
M
# blast JOB CHUNKING LINE: how each message leaves, by a line of the trace.
blast() {
    # A tenth of them is unknown on purpose.
    write_conf "$port" "unknown_limit = 0
    chunking = $2"
    status=0
    "$hikyaku" send --config "$work/hikyaku.conf" --list "$work/list.tsv" --trace=smtp \
        --message "$work/message.eml" --job $1 --quiet >"$work/sum" 2>"$work/trace" || status=$?
    same "$1: exit status" 0 "$status"
    same "$1: sum" \
        "rows 200 = delivered 180 + error 0 + absent 20 + pending 0 (in-doubt 0, assumed 0)" \
        "$(cat "$work/sum")"
    same "$1: messages that left so" 180 "$(grep -c "^\[[0-9]*\] $3" "$work/trace")"
    "$hikyaku" results --config "$work/hikyaku.conf" $1 >"$work/results.$1"
    same "$1: unknown users" 20 \
        "$(awk -F '\t' '$3 == 550 && $8 == "5.1.1" && $6 == "absent"' "$work/results.$1" | wc -l)"
}
blast chunks auto 'C: BDAT [0-9]* LAST'
blast dots off 'C: \.$'

python3 - "$work" <<'P'
import collections, email, email.policy, glob, os, re, sys, time
work = sys.argv[1]
deadline = time.monotonic() + 60
while True:  # Postfix delivers from its queue in its own time
    files = glob.glob(work + "/vmail/*/new/*")
    if len(files) >= 360 or time.monotonic() > deadline: break
    time.sleep(0.1)
assert len(files) == 360, len(files)
boxes = [os.path.basename(os.path.dirname(os.path.dirname(f))) for f in files]
assert set(collections.Counter(boxes).values()) == {2}, "a box has not its two"
results = {}  # by Message-ID
for job in "chunks", "dots":
    for line in open(f"{work}/results.{job}", encoding="utf-8").read().split("\n")[1:-1]:
        f = line.split("\t")
        results[f[-1].strip("<>")] = f
seen = collections.defaultdict(set)
for f, box in zip(files, boxes):
    raw = open(f, "rb").read()
    m = email.message_from_bytes(raw, policy=email.policy.default)
    to = ".dots.." + "@post.example" if box == "dots" else box + "@post.example"
    n = 33 if box == "dots" else int(box[4:])
    assert m["Subject"] == f"Hello \u9234\u6728 {n}", m["Subject"]
    assert m.get_content() == f"Dear \u9234\u6728 {n},\n.leading dot {n}\n.\nend\n", repr(m.get_content())
    assert b"\r" not in raw
    row = results.pop(m["Message-ID"].strip("<>"))
    assert int(row[0]) == n and row[5] == "delivered" and row[2] == "250", row
    # Byte by byte, but for what is another for each job or comes from Postfix.
    ours = re.sub(rb"^(Message-ID|Date): .*\n", b"", raw[raw.index(b"From: News"):], flags=re.M)
    seen[box].add(ours)
assert all(len(s) == 1 for s in seen.values()), "a chunk is not what a dot ends"
print("180 boxes with two messages each, as meant, and both the same")
P

# ---- a relay for one domain ----

wait_for 127.0.0.1 "$gate_port"
start_sink "127.0.0.2:$port"
rm -r "$work"/vmail/*
write_conf "$port"
cat >>"$work/hikyaku.conf" <<C
domain "post.example" {
    relay = "gate.post.example:$gate_port"
    tls = verify
    tls_ca_file = "ours.pem"
}
C
{
    printf 'email\tname\ttext\n'
    for i in 1 2 3 10; do printf "user$i@post.example\tA\tx\nuser$i@direct.example\tB\tx\n"; done
} >"$work/list.tsv"
"$hikyaku" send --config "$work/hikyaku.conf" --list "$work/list.tsv" \
    --message "$work/message.eml" --job gate --quiet >"$work/sum" || die "gate: $?"
"$hikyaku" results --config "$work/hikyaku.conf" gate >"$work/results.tsv"
same "by the relay and direct" "1 550 LE verified relay gate.post.example
3 250 - verified relay gate.post.example
4 250 - clear direct direct.example" "$(awk -F '\t' '
    NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
    { print $(c["code"]), $(c["class"]), $(c["tls"]) ~ /:verified$/ ? "verified" : "clear",
        $(c["flags"]) ~ /relay/ ? "relay" : "direct", $(c["mx_host"]) }' "$work/results.tsv" |
    sort | uniq -c | sed 's/^ *//' | sort)"
boxes() { [ "$(find "$work/vmail" -path '*/new/*' -type f | wc -l)" -eq 3 ]; }
until_true boxes || die "Postfix took $(find "$work/vmail" -type f | wc -l)"
same "the direct ones" 4 "$(grep -c '@direct.example' "$work/record.tsv")"
same "only those" 4 "$(wc -l <"$work/record.tsv")"
