"""What a run costs: time, bytes to and from the registry, containers, CPU."""
import os
import subprocess
import time


class Wire:
    """Counts the bytes (with their TCP/IP headers) that pass loopback to and from one port.
    A context manager: its two firewall rules count, decide nothing, and go with it."""

    def __init__(self, port, name):
        ends = {"sent": "--dport", "received": "--sport"}
        self.rules = {
            way: ["INPUT", "-i", "lo", "-p", "tcp", end, str(port), "-m", "comment", "--comment",
                  "railyard-bench-%s-%s" % (name, way)]
            for way, end in ends.items()}

    def __enter__(self):
        for rule in self.rules.values():
            _iptables("-I", *rule)
        return self

    def __exit__(self, *_):
        for rule in self.rules.values():
            _iptables("-D", *rule)

    def read(self):
        """{"sent": bytes, "received": bytes}"""
        listing = _iptables("-nvxL", "INPUT").splitlines()
        return {way: next(int(line.split()[1]) for line in listing if rule[-1] in line)
                for way, rule in self.rules.items()}


class Meter:
    """Measures one run: begin(), then end()."""

    def __init__(self, wire, blobs, container_log, far):
        self.wire = wire
        self.far = far
        self.blobs = blobs
        self.container_log = container_log
        self.before = None
        self.load = None

    def begin(self):
        os.sync()
        self.load = os.getloadavg()[0]
        self.before = self._read()

    def end(self):
        """The growth of every figure since begin(), and the load before it."""
        wall = time.monotonic()
        after = self._read()
        after["wall_s"] = wall
        figures = {name: after[name] - self.before[name] for name in after}
        return dict({name: round(figure, 3) for name, figure in figures.items()}, load_before=self.load)

    def _read(self):
        wire = self.wire.read()
        figures = {
            "sent_bytes": wire["sent"],
            "received_bytes": wire["received"],
            "stored_bytes": _size(self.blobs),
            "containers": _started(self.container_log),
            "requests": self.far.requests,
            "writes": self.far.writes,
            "cpu_s": _busy_seconds(),
        }
        figures["wall_s"] = time.monotonic()
        return figures


def _iptables(*arguments):
    return subprocess.run(["iptables", "-w", "20", *arguments], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def _size(directory):
    sizes = 0
    for place, _, names in os.walk(directory):
        sizes += sum(os.path.getsize(os.path.join(place, name)) for name in names)
    return sizes


def _started(log):
    """Containers that the measured engine has started; a line is "time engine verb"."""
    with open(log, encoding="utf-8") as lines:
        return sum(line.split()[1] == "current" for line in lines)


def _busy_seconds():
    """CPU time of the whole machine that was neither idle nor waiting."""
    with open("/proc/stat", encoding="ascii") as f:
        ticks = [int(field) for field in f.readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = ticks[:7]
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
