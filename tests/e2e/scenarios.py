"""The scenarios' other half: what a row's log must say (docs/scenarios.md).

scenarios.py prepare WORK BASE FILE...   zone.conf, list.tsv and scenario.args in WORK; each
                                         scenario has its own domain and the address BASE + i
scenarios.py compare WORK ATTEMPTS BASE FILE...  the log against the files' `=` lines
scenarios.py rules BASE PORT FILE...     nft rules for their `drop` lines
scenarios.py pad WORK RECORD BASE FILE...  list.tsv anew, so that messages have the size that
                                         `wire` lines ask for; RECORD tells what they had
"""
import ipaddress
import os
import sys

REFUSED = "127.0.2.1"  # nobody listens there


class Scenario:
    def __init__(self, path, address):
        self.path = path
        self.name = os.path.splitext(os.path.basename(path))[0]
        self.domain = self.name.replace("_", "-") + ".test"
        self.address = address
        self.rows, self.expected, self.epilogues, self.mx = ["user"], {}, [], ["SELF"]
        self.body, self.wire, self.drops, given = 0, 0, [], []
        for line in open(path, encoding="utf-8", errors="surrogateescape"):
            words = line.split()
            if line.startswith("= "):
                self.expected.setdefault(int(words[1]), []).append(words[2:])
            elif line.startswith("epilogue "):
                self.epilogues.append(words[1:])
            elif line.startswith("mx "):
                self.mx = words[1:]
            elif line.startswith("rcpt "):
                given.append(words[1])
            elif line.startswith("body "):
                self.body = int(words[1])
            elif line.startswith("wire "):
                self.wire = int(words[1])
            elif line.startswith("drop "):
                self.drops.append(words[1])
        self.rows = given or self.rows


def scenarios(files, base):
    base = ipaddress.ip_address(base)
    return [Scenario(path, str(base + i)) for i, path in enumerate(files)]


def write_list(work, plays, pads):
    with open(work + "/list.tsv", "w") as rows:
        rows.write("email\ttext\tpad\n")
        for s in plays:
            for row in s.rows:
                email = f"{row}@{s.domain}"
                rows.write(f"{email}\t{'x' * s.body}\t{'y' * pads.get(email, 0)}\n")


def pad(work, record, base, files):
    plays = scenarios(files, base)
    wires = {f"{row}@{s.domain}": s.wire for s in plays for row in s.rows if s.wire}
    pads = {}
    for line in open(record):
        words = line.split("\t")
        if words[1] in wires:
            pads[words[1]] = wires[words[1]] - int(words[4])
    assert set(pads) == set(wires) and all(0 < n < 990 for n in pads.values()), pads
    write_list(work, plays, pads)


def rules(base, port, files):
    """Segments that begin with a word are lost: TCP headers here have 32 bytes, for
    timestamps are on. SYN: the connection's first one; REJECT: refused by a router."""
    for s in scenarios(files, base):
        for word in s.drops:
            to = f"add rule inet lost in ip daddr {s.address} tcp dport {port}"
            text = word.encode().decode("unicode_escape").encode()
            if word == "SYN":
                print(f"{to} tcp flags syn drop")
            elif word == "REJECT":
                print(f"{to} tcp flags syn reject with icmp type admin-prohibited")
            else:
                print(f"{to} @th,256,{8 * len(text)} 0x{text.hex()} drop")


def prepare(work, base, files):
    plays = scenarios(files, base)
    by_name = {s.name: s.address for s in plays}
    write_list(work, plays, {})
    with open(work + "/zone.conf", "w") as zone:
        for s in plays:
            zone.write(f'    local-zone: "{s.domain}." static\n')
            for i, host in enumerate(s.mx):
                address = by_name.get(s.name if host == "SELF" else host, host)
                if host == "refused":
                    address = REFUSED
                ipaddress.ip_address(address)
                zone.write(f'    local-data: "{s.domain}. 300 IN MX {i + 1} mx{i + 1}.{s.domain}."\n')
                zone.write(f'    local-data: "mx{i + 1}.{s.domain}. 300 IN A {address}"\n')
    with open(work + "/scenario.args", "w") as out:
        out.write("".join(f"--scenario\n{s.path}\n" for s in plays))


def read_log(path):
    """email -> [[step, code, outcome, flags]...] of real attempts; domain -> events."""
    attempts, events = {}, {}
    lines = open(path, encoding="utf-8").read().split("\n")
    names = lines[1].split("\t")
    for line in lines[2:-1]:
        f = dict(zip(names, line.split("\t")))
        got = [f["stage"], f["code"], f["outcome"]] + [x for x in f["flags"].split(",") if x == "in-doubt"]
        if f["outcome"] == "event":
            events.setdefault(f["domain"] or f["site"], []).append(got + [f["message"]])
        elif f["outcome"] != "lease" and f["code"] not in ("606", "607"):
            attempts.setdefault(f["email"], []).append(got + [f["message"]])
    return attempts, events


def agrees(expected, got):
    """STEP CODE [outcome] [in-doubt]; the doubt's absence counts, too."""
    words = expected[2:]
    doubt = "in-doubt" in words
    outcomes = [w for w in words if w != "in-doubt"]
    return (expected[:2] == got[:2] and doubt == ("in-doubt" in got[2:])
            and (not outcomes or outcomes[0] == got[2]))


def compare(work, log, base, files):
    attempts, events = read_log(log)
    failures = 0

    def fail(s, words):
        nonlocal failures
        failures += 1
        print(f"{s.name}: {words}")

    for s in scenarios(files, base):
        for n, row in enumerate(s.rows, 1):
            got = attempts.get(f"{row}@{s.domain}", [])
            expected = s.expected.get(n)
            if not expected:
                fail(s, f"row {n} is never checked")
                continue
            shown = " | ".join(" ".join(g) for g in got)
            for i, e in enumerate(expected):
                if i >= len(got) or not agrees(e, got[i]):
                    fail(s, f"row {n}: expected {' '.join(e)}, got {shown or 'nothing'}")
                    break
            else:
                if "retry" not in expected[-1] and len(got) > len(expected):
                    fail(s, f"row {n}: too many attempts: {shown}")
        seen = [g for key, values in events.items() if key.endswith(s.domain) for g in values]
        for e in s.epilogues:
            if not any(g[:2] == e[:2] for g in seen):
                fail(s, f"expected the event {' '.join(e)}, got {seen}")
    print(f"{len(files)} scenarios, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    if sys.argv[1] == "compare":
        sys.exit(compare(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:]))
    elif sys.argv[1] == "prepare":
        prepare(sys.argv[2], sys.argv[3], sys.argv[4:])
    elif sys.argv[1] == "pad":
        pad(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    else:
        rules(sys.argv[2], sys.argv[3], sys.argv[4:])
