#!/bin/sh
# 50 domains, four sources, two workers: the receivers' own record shows that no limit of a
# provider and source was ever exceeded, that retries keep their source, and that each
# source says its own name.
. "$(dirname "$0")/lib.sh"
wants python3
printf 'From: News <news@sender.test.example>\nSubject: Hi\n\nHi {{email}}\n' >"$work/message.eml"
conf=$work/hikyaku.conf

# Domains 1-15 and 16-30 have their hosts below one name each, 31-40 below a third; 41-50
# are on their own. Some of the first have limits of their own beside.
host() {
    if [ "$1" -le 15 ]; then echo "mx$1.alpha.example"
    elif [ "$1" -le 30 ]; then echo "mx$1.beta.example"
    elif [ "$1" -le 40 ]; then echo "mx$1.gamma.example"
    else echo "mx$1.own$1.example"; fi
}
for n in $(seq 50); do
    echo "    local-data: \"d$n.example. 300 IN MX 10 $(host "$n").\""
    echo "    local-data: \"$(host "$n"). 300 IN A 127.0.7.$n\""
done >"$work/zone.conf"
start_unbound
port=$(free_port)
mkfifo "$work/end"
python3 "$here/limits.py" "$port" "$work/seen" 127.0.7.1 50 <"$work/end" >"$work/peer.out" &
peer=$!
pids="$pids $peer"
exec 9>"$work/end"
until_true grep -qs ready "$work/peer.out" || die "the receivers do not listen"

rows() { for n in $(seq "$1" "$2"); do seq -f "user%g@d$n.example" 1 "$3"; done; }
{
    echo email
    { rows 1 15 40; rows 16 30 50; rows 31 40 2; rows 41 50 40; } | shuf --random-source="$here/lib.sh"
} >"$work/list.tsv"
write_conf "$port" 'connections = 2 connection_rate = "10/s" messages_per_connection = 10'
sed -i 's/lifetime = "3s"/lifetime = "10m"/' "$conf"
for n in 1 2 3 4; do
    echo "source \"s$n\" { address = \"127.0.1.$n\" hostname = \"s$n.example\" }"
done >>"$conf"
cat >>"$conf" <<'C'
mx '*.alpha.example' {
    connections = 2
    message_rate = "30/s"
    connection_rate = "8/s"
    messages_per_connection = 5
}
mx '*.beta.example' {
    connections = 3
    message_rate = "60/s"
    connection_rate = "5/s"
    messages_per_connection = 0
}
mx '*.gamma.example' { message_rate = "60/min" }
domain "d1.example" { connections = 5  message_rate = "200/s" }
domain "d2.example" { connections = 1  message_rate = "4/s" }
domain "d3.example" { connections = 1  connection_rate = "1/s" }
C
"$hikyaku" send -c "$conf" -l "$work/list.tsv" -m "$work/message.eml" -j limits --quiet \
    >"$work/sum" 2>"$work/err" || die "$?: $(cat "$work/err")"
same "standard error" "" "$(cat "$work/err")"
same "sum" "rows 1770 = delivered 1770 + error 0 + absent 0 + pending 0 (in-doubt 0, assumed 0)" \
    "$(cat "$work/sum")"
exec 9>&-
wait "$peer" || die "the receivers ended with $?"
python3 "$here/limits_check.py" "$work/seen" "$(tail -1 "$work/peer.out")" \
    1-15:2:8:30:5 2-2:1:8:4:5 3-3:1:1:30:5 16-30:3:5:60:0 31-40:2:10:1:10 41-50own:2:10:0:10 || die "limits"
echo "limits: none was exceeded, as seen by the receivers"
