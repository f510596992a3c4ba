#!/usr/bin/python3
"""Runs a command and writes what it took as JSON: when it began and ended (s), peak memory (KiB), CPU (s), status.

measure.py REPORT COMMAND...
"""
import json
import os
import sys
import time

report, command = sys.argv[1], sys.argv[2:]
begin = time.monotonic()
pid = os.posix_spawnp(command[0], command, os.environ)
# Else this process, too, would keep the ends of the pipe open.
for fd in (0, 1):
    os.close(fd)
_, status, usage = os.wait4(pid, 0)
end = time.monotonic()
with open(report, "w") as file:
    json.dump({"begin": begin, "end": end, "peakKiB": usage.ru_maxrss, "cpu": usage.ru_utime + usage.ru_stime,
               "status": os.waitstatus_to_exitcode(status)}, file)
sys.exit(0 if status == 0 else 1)
