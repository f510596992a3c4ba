#!/usr/bin/env python3
"""Runs a program, and looks at a directory whenever the program is about to change something in it.

  at-each-call.py DIR copy TO COMMAND...     copies DIR to TO/0, TO/1, … : what a kill at that system call would leave
  at-each-call.py DIR kill N COMMAND...      kills it at the N-th such call

The program prints a line when it is to be watched from then on, and waits for a line. Calls of all its threads are let
through one at a time, so each copy is what was there at one moment. Prints the names of the calls, a line each. A sync
changes nothing that a killed process leaves (the kernel keeps what was written), so it is no such call.
Status 77: system calls cannot be watched here.
"""
import ctypes
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys

X86 = {1: 'write', 18: 'pwrite64', 20: 'writev', 296: 'pwritev', 328: 'pwritev2', 77: 'ftruncate', 285: 'fallocate',
       40: 'sendfile', 326: 'copy_file_range', 16: 'ioctl', 2: 'open', 257: 'openat', 76: 'truncate', 82: 'rename',
       264: 'renameat', 316: 'renameat2', 87: 'unlink', 263: 'unlinkat', 86: 'link', 265: 'linkat', 83: 'mkdir',
       258: 'mkdirat', 84: 'rmdir'}
ARM = {64: 'write', 68: 'pwrite64', 66: 'writev', 70: 'pwritev', 287: 'pwritev2', 46: 'ftruncate', 47: 'fallocate',
       71: 'sendfile', 285: 'copy_file_range', 29: 'ioctl', 56: 'openat', 45: 'truncate', 38: 'renameat',
       276: 'renameat2', 35: 'unlinkat', 37: 'linkat', 34: 'mkdirat'}
CALLS = {'x86_64': X86, 'aarch64': ARM}.get(platform.machine())
# which argument is the descriptor that is written to
TO = {'copy_file_range': 2}
PATHS = {'truncate', 'rename', 'renameat', 'renameat2', 'unlink', 'unlinkat', 'link', 'linkat', 'mkdir', 'mkdirat',
         'rmdir', 'open', 'openat'}
FICLONE = 0x40049409
SYSCALL, GETEVENTMSG, SEIZE, INTERRUPT, GET_SYSCALL_INFO = 24, 0x4201, 0x4206, 0x4207, 0x420e
OPTIONS = 1 | 8 | 0x100000  # SYSGOOD, TRACECLONE, EXITKILL
WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request, tid, address=0, data=0):
    if libc.ptrace(request, tid, address, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def resume(tid, sig=0):
    try:
        ptrace(SYSCALL, tid, 0, sig)
    except ProcessLookupError:
        pass


def syscall_info(tid):
    """Whether it is an entry, the number, the arguments."""
    buffer = ctypes.create_string_buffer(88)
    if libc.ptrace(GET_SYSCALL_INFO, tid, 88, ctypes.addressof(buffer)) < 0:
        raise OSError(ctypes.get_errno(), 'PTRACE_GET_SYSCALL_INFO')
    return buffer.raw[0], *struct.unpack_from('<Q6Q', buffer.raw, 24)


def changes(pid, nr, args):
    """The name of the call when it may change something in the directory, else None."""
    name = CALLS.get(nr)
    if name is None:
        return None
    if name in PATHS:
        flags = args[1] if name == 'open' else args[2]
        return name if name not in ('open', 'openat') or flags & (os.O_CREAT | os.O_TRUNC) else None
    if name == 'ioctl' and args[1] & 0xffffffff != FICLONE:
        return None
    try:
        target = os.readlink(f'/proc/{pid}/fd/{args[TO.get(name, 0)] & 0xffffffff}')
    except OSError:
        return None
    return name if target.startswith(directory + '/') else None


directory, mode, argument, *command = sys.argv[1:]
if CALLS is None:
    sys.exit(77)
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
if child.stdout.readline() == b'':
    sys.exit(child.wait() or 1)
pid = child.pid
try:
    # threads that start meanwhile are found in the next round
    seen = set()
    while found := {int(tid) for tid in os.listdir(f'/proc/{pid}/task')} - seen:
        for tid in found:
            ptrace(SEIZE, tid, 0, OPTIONS)
            ptrace(INTERRUPT, tid)
            seen.add(tid)
except OSError as error:
    child.kill()
    print(f'at-each-call: {error}', file=sys.stderr)
    sys.exit(77)
child.stdin.write(b'\n')
child.stdin.flush()

count = 0
under_way = None
waiting = []


def at_call(tid, name):
    global count, under_way
    if mode == 'copy':
        shutil.copytree(directory, f'{argument}/{count}', symlinks=True)
    elif count == int(argument):
        print(name)
        child.kill()
        # its end is told when that of each watched thread was taken note of
        while True:
            ended, what = os.waitpid(-1, WALL)
            if ended == pid and (os.WIFEXITED(what) or os.WIFSIGNALED(what)):
                sys.exit(0)
    print(name)
    count += 1
    under_way = tid
    resume(tid)


def next_call():
    global under_way
    under_way = None
    if waiting:
        at_call(*waiting.pop(0))


status = None
while status is None:
    tid, what = os.waitpid(-1, WALL)
    if os.WIFEXITED(what) or os.WIFSIGNALED(what):
        if tid == under_way:
            next_call()
        waiting[:] = [one for one in waiting if one[0] != tid]
        if tid == pid:
            status = os.WEXITSTATUS(what) if os.WIFEXITED(what) else 128 + os.WTERMSIG(what)
        continue
    sig, event = os.WSTOPSIG(what), what >> 16
    if sig == signal.SIGTRAP | 0x80:
        entry, nr, *args = syscall_info(tid)
        name = changes(pid, nr, args) if entry == 1 else None
        if name is not None:
            if under_way is None:
                at_call(tid, name)
            else:
                waiting.append((tid, name))
            continue
        if entry == 2 and tid == under_way:
            next_call()
        resume(tid)
    else:
        resume(tid, 0 if event or sig in (signal.SIGTRAP, signal.SIGSTOP) else sig)
if mode == 'copy':
    shutil.copytree(directory, f'{argument}/{count}', symlinks=True)
sys.exit(status)
