"""Kill a job in every way, go on with it, and compare what it says with what was received.

run.py BINARY LIBINJECT WORK DNS-PORT [short|long|PART…]

PARTS: kill (at random moments), calls (at the n-th call), power (unsynced data is lost), damage
(a flipped bit in the log), fail (the n-th call fails), room (a full disk), other (second
process, changed files). SEED=N repeats; RUNS=N says how many of kill, calls, power, damage.

What must hold after all of it is in check()."""
import collections
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time

from receiver import Receiver

binary, library, work, dns_port = sys.argv[1:5]
parts = sys.argv[5:] or ["short"]
LONG = parts == ["long"]
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**9))
RUNS = int(os.environ.get("RUNS") or (75 if LONG else 10))
ROWS = 300
SITES = 4
rng = random.Random(SEED)
receiver = Receiver(SITES, SEED)
KINDS = ["ok"] * 8 + ["slow"] * 4 + ["grey", "late", "no", "bad"]
FINAL = ("delivered", "error", "absent")
FILES = {"attempts.tsv", "job.conf", "list.tsv", "lock", "message.eml"}
figures = collections.Counter()


class Case:
    """One job, from its first start to its last result."""
    number = 0

    def __init__(self, part, rows=ROWS, spool=None, kinds=KINDS):
        Case.number += 1
        self.part, self.name, self.rows = part, f"{part}{Case.number}", rows
        self.folder = f"{work}/{self.name}"
        self.spool = spool or f"{self.folder}/spool"
        self.job = f"{self.spool}/{self.name}"
        os.mkdir(self.folder)
        self.boot, self.story = 0, []
        self.strict = True  # flags only where the dot may have arrived
        self.make_list(kinds)
        with open(f"{self.folder}/message.eml", "w") as f:
            # One for each, or one that several share.
            shared = rng.random() < 0.3
            f.write("From: a@sender.example\nTo: all: ;\nSubject: hello\n\nDear all\n.\n" if shared else
                    "From: a@sender.example\nSubject: hello {{name}}\n\nDear {{name}}\n.\n")
        with open(f"{self.folder}/hikyaku.conf", "w") as f:
            f.write(f'hostname = "sender.example"\nspool = "{self.spool}"\n'
                    f'workers = {rng.randrange(3)}\ndeny_destinations = {{}}\n'
                    f'resolver {{ servers = {{"127.0.0.1:{dns_port}"}} }}\n'
                    f'policy {{ port = {receiver.port}  retry_interval = {{"200ms"}}\n'
                    f'  lifetime = "60s"  connections = {rng.choice((1, 3, 20))}\n'
                    f'  recipients_per_message = {rng.choice((2, 20)) if shared else 1}\n'
                    f'  connection_rate = "0"  messages_per_connection = {rng.choice((0, 5, 20))}\n'
                    f'  chunking = auto\n'
                    f'  pipelining = {rng.choice(("auto", "auto", "group", "off"))} }}\n')

    def make_list(self, kinds):
        self.email, before = {}, None
        for row in range(1, self.rows + 1):
            self.email[row] = (f"{rng.choice(kinds)}{row}.{self.name}"
                               f"@d{rng.randrange(SITES) + 1}.example")
            if row % 97 == 50:
                self.email[row] = "nonsense"
            if row % 97 == 70:
                self.email[row] = self.email[row - 1]
        with open(f"{self.folder}/list.tsv", "w") as f:
            f.write("email\tname\n" +
                    "".join(f"{e}\tName {row}\n" for row, e in self.email.items()))

    def say(self, *words):
        self.story.append(" ".join(str(w) for w in words))

    def start(self, inject=None, environment=None):
        """send, or, when there is a job, resume."""
        base = [binary, "resume" if os.path.exists(self.job) else "send", "--quiet",
                "--config", f"{self.folder}/hikyaku.conf"]
        if base[1] == "send":
            base += ["--list", f"{self.folder}/list.tsv", "--message",
                     f"{self.folder}/message.eml", "--job", self.name]
        else:
            base.append(self.name)
        # Three times all the authorities of the system are half of a start.
        env = os.environ | {"SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": "/nonexistent"}
        if self.part == "power":  # the same machine all the time, or another boot
            inject = inject or "socket:0:EIO"
            with open(f"{self.folder}/boot", "w") as f:
                f.write(f"00000000-0000-0000-0000-{self.boot:012}\n")
            env["INJECT_BOOT_ID"] = f"{self.folder}/boot"
        if inject:
            env |= {"LD_PRELOAD": library, "INJECT": inject, "INJECT_ROOT": self.spool,
                    "INJECT_COUNT": f"{self.folder}/count",
                    "INJECT_SHADOW": f"{self.folder}/shadow",
                    "INJECT_SEED": str(rng.randrange(2**32))}
        self.say(base[1], inject or "")
        self.process = subprocess.Popen(base, env=env, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def end(self, timeout=60):
        try:
            self.out, self.err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError(f"it hangs after {timeout} s")
        self.status = self.process.returncode
        self.say("->", self.status, self.err.strip())
        return self.status

    def calls(self):
        with open(f"{self.folder}/count", "rb") as f:
            return struct.unpack("Q", f.read(8))[0]

    def whole_or_nothing(self):
        """Only whole jobs have a name."""
        if os.path.exists(self.job):
            missing = FILES - set(os.listdir(self.job))
            assert not missing, f"a job without {missing}"
            for file in "list.tsv", "message.eml":
                with open(f"{self.job}/{file}") as a, open(f"{self.folder}/{file}") as b:
                    assert a.read() == b.read(), f"{file} is no copy"

    def finish(self):
        """Without trouble to the end."""
        for _ in range(3):
            self.start()
            if self.end() == 0:
                break
        assert self.status == 0, f"it does not end: {self.status} {self.err}"
        self.check()

    def results(self):
        done = subprocess.run([binary, "results", "--config", f"{self.folder}/hikyaku.conf",
                               self.name], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, ("results", done.returncode, done.stderr)
        lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
        return [dict(zip(lines[0], line)) for line in lines[1:]]

    def leased(self):
        rows = set()
        with open(f"{self.job}/attempts.tsv", "rb") as f:
            for line in f:
                fields = line.decode(errors="replace").split("\t")
                if len(fields) > 20 and fields[7] == "lease":
                    for part in fields[20].split(","):
                        low, _, high = part.partition("-")
                        if low.isascii() and low.isdigit() and (high or low).isdigit():
                            rows.update(range(int(low), int(high or low) + 1))
        return rows

    def check(self):
        """The promises."""
        for _ in range(200):  # what a dead sender left in the sockets is read to its end
            if receiver.open == 0:
                break
            time.sleep(0.01)
        rows = self.results()
        assert [int(r["row"]) for r in rows] == list(range(1, self.rows + 1)), "rows are missing"
        count = collections.Counter(r["outcome"] for r in rows)
        doubt = [r for r in rows if "in-doubt" in r["flags"]]
        want = (f"rows {self.rows} = delivered {count['delivered']} + error {count['error']} + "
                f"absent {count['absent']} + pending 0 (in-doubt {len(doubt)}, assumed 0)")
        assert self.out.strip() == want, (self.out, want)
        leased = set() if self.strict else self.leased()
        for r in rows:
            row, flagged = int(r["row"]), "in-doubt" in r["flags"]
            email = self.email[row]
            twin = email == self.email.get(row - 1)
            seen = receiver.records[email].events if "@" in email and not twin else {}
            taken = seen["taken"] if seen else 0
            assert r["outcome"] in FINAL, ("pending at the end", r)
            if r["outcome"] == "delivered":
                assert taken, ("delivered, and nobody took it", r)
            assert taken <= 1 or flagged, ("taken twice, and nobody says so", r, seen)
            assert taken == 0 or flagged or r["outcome"] == "delivered", \
                ("taken, and nobody says so", r, seen)
            arrived = seen and (seen["taken"] or seen["denied"] or seen["died"])
            assert not flagged or arrived or row in leased, ("flagged without reason", r, seen)
            if email.startswith("no") and "@" in email:
                assert r["outcome"] == "absent" or flagged, r
            if not flagged and "@" in email and not twin and email[:2] in ("ok", "gr", "la", "sl"):
                assert r["outcome"] == "delivered", ("not delivered", r, seen)
            if "@" not in email:
                assert r["code"] == "611", r
            figures["twice"] += taken > 1
        left = [name for name in os.listdir(self.spool) if name.startswith(".new-")]
        assert not left, f"left in the spool: {left}"
        figures["jobs"] += 1
        figures["rows"] += self.rows
        figures["in doubt"] += len(doubt)
        shutil.rmtree(self.folder)
        if os.path.exists(self.job):
            shutil.rmtree(self.job)

    def kill_at_random(self):
        self.start()
        # Starting takes some 30 ms, all of it some 300 ms and the retries.
        try:
            self.process.wait(rng.choice((0.03, 0.1, 0.3, 0.6)) * rng.random() * 2)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
        return self.end()


def kill_random(_):
    case = Case("kill")
    for _ in range(rng.randrange(1, 6)):
        status = case.kill_at_random()
        assert status in (0, -9), status
        figures["kills"] += status == -9
        case.whole_or_nothing()
    case.finish()


CALLS = ("write", "sync", "rename", "send", "open", "write,sync,rename,truncate,send",
         "write,sync,rename,truncate,mmap,open")
USUAL = {"write": 60, "sync": 40, "rename": 2, "send": 500, "open": 14}


def spoil_flight(path):
    """It was never synced: after a power failure anything may be in it."""
    if os.path.exists(path) and rng.random() < 0.7:
        size = os.path.getsize(path)
        with open(path, "r+b") as f:
            if rng.random() < 0.5:
                f.truncate(rng.randrange(size + 1))
            f.seek(rng.choice((0, 400)))
            f.write(bytes(rng.choice((0, 2, 255)) for _ in range(200)))


def hit_calls(number, part, action):
    """Each class of calls in turn; the numbers are spread so that the first ones, which are the
    making of the job, are hit often."""
    case = Case(part)
    classes = CALLS[number % len(CALLS)]
    most = USUAL.get(classes, 120)
    for _ in range(rng.randrange(1, 5)):
        at = 1 + int(most ** rng.random() - 1) if rng.random() < 0.5 else rng.randrange(1, most + 1)
        case.start(f"{classes}:{at}:{action}")
        status = case.end()
        assert status in (0, -9), status
        figures["kills"] += status == -9
        case.whole_or_nothing()
        if action == "forget" and status == -9:
            case.boot += 1
            case.strict = False
            spoil_flight(f"{case.job}/flight")
    case.finish()


def kill_calls(number):
    hit_calls(number, "calls", "kill")


def lose_power(number):
    hit_calls(number, "power", "forget")


def flip(path, wanted=None):
    """One bit of one line behind the header lines. Gives the line."""
    with open(path, "r+b") as f:
        text = f.read()
        lines = text.split(b"\n")
        places, at = [], 0
        for i, line in enumerate(lines[:-1]):
            if i >= 2 and i < len(lines) - 2 and (not wanted or wanted(line)):
                places.append((at, line))
            at += len(line) + 1
        if not places:
            return None
        start, line = rng.choice(places)
        where = start + rng.randrange(len(line))
        f.seek(where)
        f.write(bytes([text[where] ^ 1 << rng.randrange(8)]))
        return line


def damage(number):
    case = Case("damage")
    case.strict = False
    damaged = 0
    for _ in range(rng.randrange(1, 4)):
        case.kill_at_random()
        case.whole_or_nothing()
        log = f"{case.job}/attempts.tsv"
        if case.status == -9 and os.path.exists(log):
            wanted = (lambda line: b"\t611\t" in line) if number % 4 == 3 else None
            line = flip(log, wanted)
            if line:
                damaged += 1
                case.say("damaged", line)
    was = case.job
    case.start()
    # Every damaged line but those that earlier resumes saw is told, and set aside.
    case.end()
    if damaged:
        assert os.path.exists(f"{was}/attempts.damaged"), "nothing was set aside"
        with open(f"{was}/attempts.damaged") as f:
            aside = f.read()
        assert len(aside.splitlines()) >= 1, aside
    figures["damaged lines"] += damaged
    assert case.status == 0, (case.status, case.err)
    case.check()


# What fails, how, and the exit statuses that say so. A call that fails may also do no harm.
# libConfuse aborts or worse when it has no memory; then there is no message of ours, but
# nothing may be lost all the same.
ANY = range(-64, 256)
FAILURES = [("malloc", "ENOMEM", (71,)), ("libmalloc", "ENOMEM", ANY),
            ("open", "EMFILE", (66, 73, 74, 78)),
            ("write", "EIO", (73, 74)), ("write", "ENOSPC+", (73, 74)), ("sync", "EIO", (73, 74)),
            ("rename", "EIO", (73, 74)), ("truncate", "ENOSPC", (73, 74)),
            ("mmap", "ENOMEM", (66, 71, 74)), ("socket", "EMFILE", (69, 71, 74))]


def numbers(count):
    """Which of the calls: all when they are few; the first ones, then some."""
    wanted = 150 if LONG else 8
    if count <= wanted:
        return list(range(1, count + 1))
    return sorted({int(1 + i * count / wanted + rng.random() * count / wanted) % count + 1
                   for i in range(wanted)})


def fail_call(again, classes, action, good, number, tried):
    """The n-th call fails while the job is sent, or, with again, while it goes on."""
    case = Case("fail", rows=12, kinds=["ok"])
    if again:
        case.start("send:9:kill")
        case.end()
    case.start(f"{classes}:{number}:{action}")
    case.end(20)
    what = f"{classes}:{number}:{action} of {'resume' if again else 'send'}"
    status = case.status
    tried[status] += 1
    assert status == 0 or status in good, (what, status, case.err)
    said = [line for line in case.err.splitlines() if line.startswith("hikyaku: ")]
    clear = len(said) == 1 and said[0].split()[1][0] in "-67"  # one line with its code
    assert status == 0 or good is ANY or clear, (what, case.err)
    case.whole_or_nothing()
    case.finish()


def fail():
    for again in False, True:
        for classes, action, good in FAILURES:
            case = Case("fail", rows=12, kinds=["ok"])
            if again:
                case.start("send:9:kill")
                case.end()
            case.start(f"{classes}:0:{action}")
            assert case.end() == 0, case.status
            count = case.calls()
            case.check()
            tried = collections.Counter()
            for number in numbers(count):
                fail_call(again, classes, action, good, number, tried)
            words = ", ".join(f"{n} times {status}" for status, n in sorted(tried.items()))
            print(f"fail: {'resume' if again else 'send'}, {classes} {action}, "
                  f"{count} calls: exit {words}", flush=True)


def room():
    """A file system of its own that fills up, and then has room again."""
    if os.geteuid() != 0:
        print("room: skipped, only root can mount")
        return
    spool = f"{work}/small"
    os.mkdir(spool)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", spool],
                      stderr=subprocess.DEVNULL).returncode:
        print("room: skipped, no mounts here")
        return
    try:
        # No room for the job itself, then some for the job and not for its log.
        for left, waits in ((16 << 10, False), (700 << 10, True), (1 << 20, False)):
            case = Case("room", spool=spool)
            with open(f"{spool}/filler", "wb") as f:
                f.write(bytes((1 << 20) - left))
            case.start()
            if waits:  # nothing is sent, nothing is lost; with room it goes on by itself
                time.sleep(1)
                assert case.process.poll() is None, case.err
                assert not os.path.exists(f"{case.job}/attempts.tsv") or \
                    b"delivered" not in open(f"{case.job}/attempts.tsv", "rb").read()
                os.unlink(f"{spool}/filler")
            case.end()
            assert case.status == (73 if left < 1 << 19 else 0) or \
                case.status in (73, 74), (case.status, case.err)
            case.whole_or_nothing()
            print(f"room: {left >> 10} kB left: exit {case.status} {case.err.strip()}")
            if os.path.exists(f"{spool}/filler"):
                os.unlink(f"{spool}/filler")
            case.finish()
    finally:
        subprocess.run(["umount", "-l", spool], check=True)


def snapshot(folder):
    files = {}
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        st = os.lstat(path)
        content = b""
        if stat.S_ISREG(st.st_mode):
            with open(path, "rb") as f:
                content = f.read()
        files[name] = (st.st_mtime_ns, st.st_ino, content)
    return files


def begin_and_stop(case):
    """A job in the middle of its work, asleep."""
    case.start()
    log = f"{case.job}/attempts.tsv"
    for _ in range(2000):
        if os.path.exists(log) and os.path.getsize(log) > 8000:
            break
        time.sleep(0.001)
    case.process.send_signal(signal.SIGSTOP)
    assert case.process.poll() is None, "it was over too soon"
    os.waitid(os.P_PID, case.process.pid, os.WSTOPPED | os.WNOWAIT)  # each thread of it
    return log


def second_process():
    case = Case("other", kinds=["slow"])
    begin_and_stop(case)
    first, before = case.process, snapshot(case.job)
    case.start()
    assert case.end() == 75, case.status
    assert "another process" in case.err, case.err
    assert snapshot(case.job) == before, "the second process touched something"
    first.send_signal(signal.SIGCONT)
    case.process = first
    assert case.end() == 0, case.status
    case.check()


def moved(log):
    os.rename(log, log + ".1")
    return lambda: os.rename(log + ".1", log)


def replaced(log):
    shutil.copy(log, log + ".1")
    os.rename(log + ".1", log)
    return lambda: None


def shortened(log):
    with open(log, "r+b") as f:
        text = f.read()
        f.truncate(text.rindex(b"\n", 0, len(text) - 40) + 1)

    def mend():
        with open(log, "wb") as f:
            f.write(text)
    return mend


def touch_log(how):
    """The log is not the one that we write: nothing goes out any more, and when it is back the
    job goes on."""
    case = Case("other", kinds=["slow"])
    log = begin_and_stop(case)
    put_back = how(log)
    case.process.send_signal(signal.SIGCONT)
    assert case.end() == 74, (how.__name__, case.status, case.err)
    assert case.err.startswith("hikyaku: -20 LE "), case.err
    put_back()
    case.finish()


def touch_snapshot(file):
    case = Case("other")
    case.start("send:20:kill")
    case.end()
    path = f"{case.job}/{file}"
    with open(path, "r+b") as f:
        whole = f.read()
        f.seek(20)
        f.write(bytes([whole[20] ^ 1]))
    case.start()
    assert case.end() == 65, case.status
    assert case.err.startswith("hikyaku: -21 LE "), case.err
    with open(path, "wb") as f:
        f.write(whole)
    case.finish()


def damaged_at_the_end():
    """A job that is over, and then a result is damaged: its row is in doubt, and sent again."""
    case = Case("other")
    case.strict = False
    case.start()
    assert case.end() == 0, case.status
    line = flip(f"{case.job}/attempts.tsv", lambda line: b"\t250\t" in line)
    assert line
    case.finish()


def other():
    second_process()
    for how in moved, replaced, shortened:
        touch_log(how)
    touch_snapshot("list.tsv")
    touch_snapshot("message.eml")
    damaged_at_the_end()
    print("other: second process, log moved, replaced, shortened, snapshots changed, "
          "damage after the end")


SERIES = {"kill": kill_random, "calls": kill_calls, "power": lose_power, "damage": damage}
ONCE = {"fail": fail, "room": room, "other": other}


def run_series(part):
    began = time.time()
    figures.clear()
    for number in range(RUNS):
        try:
            SERIES[part](number)
        except AssertionError:
            print(f"FAILED: {part}, run {number}")
            raise
    print(f"{part}: {RUNS} runs, {dict(figures)}, {time.time() - began:.1f} s", flush=True)


def main():
    print(f"SEED={SEED}", flush=True)
    wanted = list(SERIES) + list(ONCE) if parts[0] in ("short", "long") else parts
    for part in wanted:
        if part in SERIES:
            run_series(part)
        else:
            ONCE[part]()


main()
